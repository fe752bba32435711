"""The judge must be able to find somebody guilty: hand-made evidence, good and bad."""

from collections.abc import Sequence

import pytest

from elector.demo.judge import problems, stays
from elector.demo.ledger import Entry
from elector.demo.witness import Deed, Line

Evidence = tuple[list[Line], list[Entry]]


def tenure(
    token: int, replica: str, at: Sequence[int], *, last: Deed = "wrote", end: int | None = None
) -> Evidence:
    """The evidence of a leader that began one tick before its first entry."""
    lines, entries = [Line(at[0] - 1, replica, "begin", token)], []
    for entry, when in enumerate(at, 1):
        lines += [
            Line(when, replica, "writing", token, entry),
            Line(when + 2, replica, "wrote", token, entry),
        ]
        entries.append(Entry(0, token, replica, entry, when + 1))
    if last == "refused":
        refused = len(at)
        lines[-1] = Line(at[-1] + 2, replica, "refused", token, refused, token + 1)
        entries.pop()
    if end is not None:
        lines.append(Line(end, replica, "end", token))
    return lines, entries


def verdict(*tenures: Evidence) -> list[str]:
    lines = sorted((line for lines, _ in tenures for line in lines), key=lambda line: line.at)
    return problems(lines, numbered(*tenures))


def numbered(*tenures: Evidence) -> list[Entry]:
    """The ledger in the order of its commits."""
    entries = sorted((e for _, entries in tenures for e in entries), key=lambda e: e.at)
    return [Entry(n, e.token, e.replica, e.entry, e.at) for n, e in enumerate(entries, 1)]


def test_one_after_the_other_is_innocent() -> None:
    first, second = tenure(1, "anna", [10, 20], end=30), tenure(2, "bert", [40], end=50)
    assert verdict(first, second) == []


def test_the_same_replica_may_come_back() -> None:
    assert verdict(tenure(1, "anna", [10], end=20), tenure(2, "anna", [30], end=40)) == []


def test_a_killed_leader_leaves_no_end() -> None:
    assert verdict(tenure(1, "anna", [10, 20]), tenure(2, "bert", [40], end=50)) == []


def test_a_killed_leader_may_have_written_what_it_could_no_longer_note() -> None:
    lines, entries = tenure(1, "anna", [10, 20])
    assert verdict((lines[:-1], entries), tenure(2, "bert", [40])) == []


def test_a_paused_leader_that_is_refused_harmed_nobody() -> None:
    paused = tenure(1, "anna", [10, 100], last="refused", end=110)
    assert verdict(paused, tenure(2, "bert", [50, 60, 120], end=130)) == []
    (stay,) = stays(paused[0], numbered(paused))
    assert (stay.begin_ns, stay.end_ns, stay.entries) == (9, 12, 1)


@pytest.mark.parametrize("begin", [12, 20, 29])
def test_work_that_went_on_when_the_next_began_is_found(begin: int) -> None:
    (problem,) = verdict(tenure(1, "anna", [5], end=30), tenure(2, "bert", [begin + 1], end=50))
    assert problem == (
        f"anna (token 1) was still at work when bert (token 2) began, for {30 - begin} ns"
    )


def test_an_overlap_without_any_write_is_found() -> None:
    idle = [Line(10, "anna", "begin", 1), Line(40, "anna", "end", 1)]
    assert "anna (token 1) was still at work" in verdict((idle, []), tenure(2, "bert", [20]))[0]


def test_a_long_tenure_overlaps_more_than_its_neighbour() -> None:
    found = verdict(
        tenure(1, "anna", [5], end=90), tenure(2, "bert", [20], end=30), tenure(3, "cleo", [40])
    )
    assert [problem.partition(" began")[0] for problem in found] == [
        "anna (token 1) was still at work when bert (token 2)",
        "anna (token 1) was still at work when cleo (token 3)",
    ]


def test_tenures_in_the_wrong_order_are_found() -> None:
    assert verdict(tenure(2, "anna", [10], end=20), tenure(1, "bert", [30], end=40))


def test_a_stale_write_is_found() -> None:
    paused = tenure(1, "anna", [10, 100])  # it woke up, and nobody refused it
    found = verdict(paused, tenure(2, "bert", [50]))
    assert (
        "the ledger accepted a stale write: entry 3 of anna (token 1) "
        "came after one of bert (token 2)"
    ) in found
    assert "anna (token 1) was still at work when bert (token 2) began, for 53 ns" in found


def test_a_stale_write_that_no_witness_saw_is_found() -> None:
    lines, entries = tenure(1, "anna", [10, 100])
    silent = [line for line in lines if line.entry != 2]
    found = verdict((silent, entries), tenure(2, "bert", [50]))
    assert len(found) == 3  # the overlap, the stale write, and that nobody saw it


def test_one_token_for_two_is_found() -> None:
    found = verdict(tenure(1, "anna", [10], end=20), tenure(1, "bert", [30], end=40))
    assert found == ["token 1 was given to anna and to bert"]


def test_an_accepted_write_that_is_missing_is_found() -> None:
    lines, _ = tenure(1, "anna", [10])
    assert verdict((lines, [])) == [
        "entry 1 of anna (token 1) was seen being written, but is not in the ledger"
    ]


def test_a_refused_write_that_is_there_all_the_same_is_found() -> None:
    lines, entries = tenure(1, "anna", [10, 20])
    lines[-1] = Line(22, "anna", "refused", 1, 2, 2)
    assert verdict((lines, entries)) == [
        "entry 2 of anna (token 1) was refused, and is in the ledger all the same"
    ]
