"""What lasted, and what passed between lanes, read out of records."""

from pathlib import Path

import pytest

from elector.trace import records
from elector.trace.ndjson import read
from elector.trace.page.arrows import Archer, Arrow
from elector.trace.page.spans import STORE, WORLD, Span, Teller
from elector.trace.records import Record

EXAMPLES = Path(__file__).parent / "examples"


def spans(told: list[Record], end: int = 100, nodes: int = 3) -> list[Span]:
    teller = Teller(nodes)
    for number, record in enumerate(told):
        teller.take(number, record)
    return teller.finish(end)


def arrows(told: list[Record], end: int = 100) -> list[Arrow]:
    archer = Archer()
    for number, record in enumerate(told):
        archer.take(number, record)
    return archer.finish(end)


def of(kind: str, found: list[Span]) -> list[tuple[int, int, int]]:
    return [(span.lane, span.begin, span.end) for span in found if span.kind == kind]


def example(name: str) -> list[Span]:
    header, told = read(EXAMPLES / f"{name}.ndjson")
    everything = list(told)
    return spans(everything, everything[-1].t, len(header.nodes))


# -- office ----------------------------------------------------------------------------------


def test_a_tenure_that_is_prolonged_is_one() -> None:
    found = spans([records.Lead(1, 0, 7, 10), records.Lead(5, 0, 7, 15), records.StepDown(9, 0, 7)])
    assert of("belief", found) == [(0, 1, 9)]
    assert of("stale", found) == []


def test_belief_behind_the_deadline_is_stale() -> None:
    found = spans([records.Lead(1, 0, 7, 10), records.StepDown(30, 0, 7)])
    assert of("belief", found) == [(0, 1, 10)]
    assert of("stale", found) == [(0, 10, 30)]


def test_a_lead_said_late_leaves_a_gap_of_stale_belief() -> None:
    found = spans([records.Lead(1, 0, 7, 10), records.Lead(15, 0, 7, 25)], end=20)
    assert of("belief", found) == [(0, 1, 10), (0, 15, 20)]
    assert of("stale", found) == [(0, 10, 15)]


def test_office_without_a_lease_lasts_until_it_is_left() -> None:
    found = spans([records.Lead(1, 0, 1), records.Lead(9, 0, 3)], end=20)
    assert of("belief", found) == [(0, 1, 9), (0, 9, 20)]


@pytest.mark.parametrize("end", [records.Crash(8, 0), records.Boot(8, 0)])
def test_a_process_that_is_gone_leads_nobody_and_works_no_more(end: Record) -> None:
    told: list[Record] = [
        records.Boot(0, 0),
        records.Lead(1, 0, 1, 20),
        records.Work(1, 0, 1, "began"),
        end,
    ]
    found = spans(told)
    assert of("belief", found) == of("work", found) == [(0, 1, 8)]


def test_work_is_told_to_stop_and_stops() -> None:
    said = [(1, "began"), (5, "stopping"), (8, "stopped")]
    found = spans([records.Work(t, 0, 1, what) for t, what in said])  # type: ignore[arg-type] # words
    assert of("work", found) == [(0, 1, 5)]
    assert of("stopping", found) == [(0, 5, 8)]


# -- the store -------------------------------------------------------------------------------


def test_a_lease_ends_when_it_must_unless_the_store_says_otherwise() -> None:
    grant = records.Apply(1, 0, 1, "acquire", "granted", holder=0, token=1, until=10)
    renewal = records.Apply(5, 0, 2, "renew", "renewed", holder=0, token=1, until=15)
    assert of("lease", spans([grant])) == [(STORE, 1, 10)]
    assert of("lease", spans([grant, renewal])) == [(STORE, 1, 15)]
    assert of("lease", spans([grant, records.Expire(8, 1)])) == [(STORE, 1, 8)]
    assert of("lease", spans([grant, records.Expire(12, 1)])) == [(STORE, 1, 12)]
    release = records.Apply(4, 0, 2, "release", "released", token=1)
    assert of("lease", spans([grant, release])) == [(STORE, 1, 4)]
    other = records.Apply(6, 1, 1, "acquire", "granted", holder=1, token=2, until=30)
    assert of("lease", spans([grant, other])) == [(STORE, 1, 6), (STORE, 6, 30)]


# -- two at once -----------------------------------------------------------------------------


def test_two_with_a_right_to_it_are_an_overlap() -> None:
    told: list[Record] = [
        records.Lead(1, 0, 1, 20),
        records.Lead(10, 1, 2, 30),
        records.StepDown(40, 1, 2),
    ]
    assert of("overlap", spans(told)) == [(0, 10, 20)]
    assert of("outlived", spans(told)) == [(0, 20, 30), (0, 30, 40)]


def test_tenures_that_touch_are_no_overlap() -> None:
    told: list[Record] = [
        records.Lead(1, 0, 1, 20),
        records.StepDown(10, 0, 1),
        records.Lead(10, 1, 2, 30),
    ]
    assert of("overlap", spans(told)) == of("outlived", spans(told)) == []


def test_an_old_term_without_a_lease_is_merely_outlived() -> None:
    told: list[Record] = [records.Lead(1, 2, 1), records.Lead(10, 0, 2), records.StepDown(15, 2, 1)]
    found = spans(told)
    assert of("overlap", found) == []
    assert of("outlived", found) == [(2, 10, 15)], "it stands where the older token is"


def test_two_under_one_token_are_an_overlap_always() -> None:
    assert of("overlap", spans([records.Lead(1, 0, 7), records.Lead(10, 1, 7)])) == [(0, 10, 100)]


def works(first: int, *, until: int | None, pause: tuple[int, int] | None) -> list[Span]:
    """Node 0 works from 1 to 25, is told to stop at 22; node 1 begins at `first`."""
    told: list[Record] = [records.Lead(1, 0, 1, until), records.Work(1, 0, 1, "began")]
    if pause is not None:
        told.append(records.Pause(pause[0], 0, pause[1]))
    told += [
        records.Work(first, 1, 2, "began"),
        records.Work(22, 0, 1, "stopping"),
        records.Work(25, 0, 1, "stopped"),
    ]
    return [span for span in spans(told) if span.of == "work"]


def test_work_that_runs_when_another_begins_is_one_overlap() -> None:
    found = works(10, until=None, pause=None)
    assert of("overlap", found) == [(0, 10, 25)], "though it was told to stop meanwhile"


def test_work_that_stands_still_has_merely_outlived_its_office() -> None:
    assert of("outlived", works(10, until=8, pause=(5, 20))) == [(0, 10, 25)]
    assert of("outlived", works(21, until=8, pause=(5, 20))) == [(0, 21, 25)], "it overslept"


def test_a_pause_that_ends_before_the_lease_excuses_nothing() -> None:
    assert of("overlap", works(10, until=8, pause=(5, 7))) == [(0, 10, 25)]


# -- what goes wrong -------------------------------------------------------------------------


def test_a_node_is_down_between_its_end_and_its_beginning() -> None:
    told: list[Record] = [
        records.Boot(5, 0),
        records.Crash(10, 0),
        records.Boot(12, 0),
        records.Crash(50, 0),
    ]
    found = spans([records.Boot(0, 1), *told])
    assert of("down", found) == [(0, 0, 5), (0, 10, 12), (0, 50, 100)]


def test_a_cut_lies_on_both_lanes_and_says_which_way() -> None:
    told: list[Record] = [records.Cut(10, 0, 1), records.Cut(20, 1, 0), records.Heal(30, 0, 1)]
    found = [span for span in spans(told, end=40) if span.kind == "cut"]
    assert [(span.lane, span.begin, span.end, span.label) for span in found] == [
        (0, 10, 20, "unheard by 1"),
        (1, 10, 20, "deaf to 0"),
        (0, 20, 30, "cut from 1"),
        (1, 20, 30, "cut from 0"),
        (0, 30, 40, "deaf to 1"),
        (1, 30, 40, "unheard by 0"),
    ]


def test_cuts_of_one_moment_are_one_band() -> None:
    told: list[Record] = [
        records.Cut(10, 0, STORE),
        records.Cut(10, STORE, 0),
        records.Cut(10, 0, 2),
    ]
    mine = [span for span in spans(told) if span.kind == "cut" and span.lane == 0]
    assert [span.label for span in mine] == ["cut from store; unheard by 2"]


def test_a_fault_of_nobody_belongs_to_the_world() -> None:
    found = spans([records.Fault(5, "storm", None, 20), records.Fault(7, "append", 1)])
    assert of("fault", found) == [(WORLD, 5, 20), (1, 7, 7)]


# -- arrows ----------------------------------------------------------------------------------


def test_a_message_comes_or_does_not_or_comes_twice() -> None:
    told: list[Record] = [
        records.Send(1, 0, 1, 10, {"type": "Vote"}),
        records.Send(2, 0, 2, 11),
        records.Send(3, 1, 0, 12),
        records.Deliver(4, 1, 10),
        records.Drop(5, 2, 11, "lost"),
        records.Deliver(6, 1, 10),
    ]
    assert [(a.label, a.source, a.target, a.end, a.fate, a.came) for a in arrows(told)] == [
        ("Vote", 0, 1, 4, "arrived", 3),
        ("Vote", 0, 1, 6, "arrived", 5),
        ("message", 0, 2, 5, "dropped", 4),
        ("message", 1, 0, 100, "underway", None),
    ]


def test_a_request_and_its_answer() -> None:
    told: list[Record] = [
        records.Request(1, 0, 1, "acquire"),
        records.Apply(2, 0, 1, "acquire", "granted", 0, 1, 50),
        records.Answer(3, 0, 1, "granted"),
    ]
    assert [(a.kind, a.label, a.begin, a.end, a.fate) for a in arrows(told)] == [
        ("request", "acquire", 1, 2, "arrived"),
        ("answer", "granted", 2, 3, "arrived"),
    ]


def test_an_answer_says_that_the_request_came() -> None:
    told: list[Record] = [
        records.Request(1, 0, 1, "renew"),
        records.Answer(9, 0, 1, "renewed"),
    ]
    assert [(a.kind, a.label, a.begin, a.end, a.fate) for a in arrows(told)] == [
        ("request", "renew", 1, 5, "arrived"),
        ("answer", "renewed", 5, 9, "arrived"),
    ]


def test_an_applied_request_whose_answer_is_lost() -> None:
    told: list[Record] = [
        records.Request(1, 0, 1, "acquire"),
        records.Apply(2, 0, 1, "acquire", "granted", 0, 1, 50),
        records.Answer(9, 0, 1, "unknown"),
    ]
    request, answer = arrows(told)
    assert (request.fate, answer.fate, answer.label) == ("arrived", "dropped", "granted")
    assert answer.why == "the candidate knows only: unknown"


def test_a_request_that_never_came() -> None:
    told: list[Record] = [records.Request(1, 0, 1, "acquire"), records.Answer(9, 0, 1, "unknown")]
    (request,) = arrows(told)
    assert (request.fate, request.end, request.came) == ("dropped", 9, 1)


def test_a_request_that_came_when_nobody_waited_any_more() -> None:
    told: list[Record] = [
        records.Request(1, 0, 1, "acquire"),
        records.Answer(9, 0, 1, "unknown"),
        records.Apply(12, 0, 1, "acquire", "granted", 0, 1, 50),
    ]
    (request,) = arrows(told)
    assert (request.fate, request.end) == ("arrived", 12)


def test_a_new_process_counts_its_requests_anew() -> None:
    told: list[Record] = [records.Request(1, 0, 1, "acquire"), records.Request(20, 0, 1, "acquire")]
    assert [(a.begin, a.end, a.fate) for a in arrows(told)] == [
        (1, 20, "underway"),
        (20, 100, "underway"),
    ]


# -- the examples ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "overlaps", "outlived"),
    [("handover", 0, 0), ("paused-holder", 0, 2), ("two-leaders", 2, 0), ("election", 0, 1)],
)
def test_the_examples_are_what_they_say(name: str, overlaps: int, outlived: int) -> None:
    found = example(name)
    assert len(of("overlap", found)) == overlaps
    assert len(of("outlived", found)) == outlived
