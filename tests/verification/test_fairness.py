"""Ways to go on for ever without a leader: found in wrong code, and absent in ours."""

from typing import Any

import pytest
from msgspec.structs import replace

from elector.core.events import TimerFired
from elector.core.peers import NO_LOG
from elector.errors import ConfigurationError
from elector.protocols.raft import HEARTBEAT, Raft, RaftState, Role
from elector.protocols.raft_settings import RaftSettings
from elector.trace.records import Boot, Cut, Deliver, Drop, End, Fault, Header, Lead, Send, Step
from elector.verification.components import components
from elector.verification.divergence import first_divergence
from elector.verification.fairness import Liveness, Situation, find_lasso
from elector.verification.kind import Links, both_ways, everyone
from elector.verification.scope import PLAIN
from tests.verification.raft_bugs import SAFETY as MUTANTS
from tests.verification.raft_bugs import Mutant, mutated

PRE_VOTE = replace(PLAIN, pre_vote=True)
CHECKED = replace(PLAIN, check_quorum=True)
BOTH = replace(PLAIN, pre_vote=True, check_quorum=True)
VARIANTS = {"plain": PLAIN, "pre-vote": PRE_VOTE, "check-quorum": CHECKED, "both": BOTH}

ALL3 = everyone(3)
DEAF = ALL3 - {(1, 0), (2, 0)}  # node 0 is heard, and hears nobody
WITHOUT_0 = both_ways((1, 2))
# The links of the catalogue, 1-2, 1-3, 2-3, 2-4, 3-5; we count from 0.
CHAINED = both_ways((0, 1), (0, 2), (1, 2), (1, 3), (2, 4))
LOG = (1, 1)

LOST = {"links": WITHOUT_0, "before": (ALL3,)}
MUTE = {"links": DEAF, "before": (ALL3,)}
# The one that may be elected has a log and an old term, the other has a term and no log.
UNEQUAL = {"links": WITHOUT_0, "disks": ((0, NO_LOG), (1, LOG), (3, NO_LOG))}

NO_STEP_DOWN = Mutant(
    "        if len(state.heard) + 1 < self.quorum:\n"
    "            return self._step_down(state, at)\n",
    "",
    "",
)
BUGS: dict[str, tuple[Mutant, RaftSettings, dict[str, Any]]] = {
    "9": (MUTANTS["9 vote not cleared in a new term"], PLAIN, LOST),
    "9 with all options": (MUTANTS["9 vote not cleared in a new term"], BOTH, LOST),
    "11": (MUTANTS["11 PreVote ignores a lower term"], BOTH, UNEQUAL),
    "12": (MUTANTS["12 a node that stands does not forget its leader"], BOTH, LOST),
    "13": (NO_STEP_DOWN, BOTH, MUTE),
}


def situation(settings: RaftSettings, **links: Any) -> Situation:
    return Situation(nodes=3, settings=settings, **links)


def loops(found: Liveness, build: Any = Raft) -> None:
    """The way back ends where it began, but for terms; nothing of the search is believed."""
    violation = found.violation
    assert violation is not None
    records = violation.records
    mark = next(place for place, record in enumerate(records) if isinstance(record, Fault))
    for circle in found.situation.circles:
        begins, ends = (
            [_after(records[:upto], node) for node in sorted(circle)]
            for upto in (mark, len(records))
        )
        shift = {end.pop("term") - begin.pop("term") for begin, end in zip(begins, ends)}  # noqa: B905 - one circle
        assert begins == ends
        assert len(shift) == 1
    assert isinstance(records[-1], End)
    assert first_divergence(violation.header, records, raft=build) is None


def _after(records: tuple[Any, ...], node: int) -> dict[str, Any]:
    steps = [record for record in records if isinstance(record, Step) and record.node == node]
    return dict(steps[-1].after)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(
    "links",
    [{"links": ALL3}, LOST, UNEQUAL, {"links": ALL3, "before": (WITHOUT_0, DEAF)}],
    ids=["all links", "a leader is lost", "unequal logs", "after a partition"],
)
def test_our_code_elects_a_leader_for_good(settings: RaftSettings, links: dict[str, Any]) -> None:
    assert find_lasso(situation(settings, **links)).violation is None


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found(name: str) -> None:
    mutant, settings, links = BUGS[name]
    build = mutated(mutant).Raft
    loops(find_lasso(situation(settings, **links), build), build)
    right = find_lasso(situation(settings, **links))
    assert right.violation is None
    assert right.complete


@pytest.mark.parametrize("settings", [PLAIN, PRE_VOTE], ids=["plain", "pre-vote"])
def test_a_leader_that_hears_nobody_is_why_the_quorum_is_checked(settings: RaftSettings) -> None:
    loops(find_lasso(situation(settings, **MUTE)))
    assert find_lasso(situation(BOTH, **MUTE)).violation is None


@pytest.mark.parametrize(
    ("settings", "lives"),
    [(PLAIN, False), (PRE_VOTE, True), (BOTH, True)],
    ids=["plain", "pre-vote", "both"],
)
def test_partial_links_need_more_than_plain_raft(settings: RaftSettings, lives: bool) -> None:
    chained = Situation(nodes=5, settings=settings, links=CHAINED, before=(everyone(5),))
    found = find_lasso(chained)
    if lives:
        assert found.violation is None
        assert found.complete
    else:
        loops(found)


def test_a_lasso_is_told_with_its_links_and_times() -> None:
    found = find_lasso(situation(PLAIN, **MUTE))
    assert found.violation is not None
    header, records = found.violation.header, found.violation.records
    assert isinstance(header, Header)
    assert header.run["violates"]["property"] == found.violation.property == "EventuallyLed"
    assert [record.node for record in records if isinstance(record, Boot)] == [0, 1, 2]
    assert {(r.node, r.to) for r in records if isinstance(r, Cut)} == {(1, 0), (2, 0)}
    times = [record.t for record in records]
    assert times == sorted(times)
    sent = {record.number: record for record in records if isinstance(record, Send)}
    arrived = [record.number for record in records if isinstance(record, Deliver)]
    dropped = [record.number for record in records if isinstance(record, Drop)]
    assert set(arrived).isdisjoint(dropped)
    assert all((sent[number].node, sent[number].to) in DEAF for number in arrived[-3:])
    assert any(isinstance(record, Lead) for record in records)


class Restless(Raft):
    """Has itself elected anew instead of telling the others that it leads."""

    def step(self, state: RaftState, event: Any) -> Any:
        if isinstance(event, TimerFired) and event.name == HEARTBEAT:
            again, effects = self._campaign(state, event.at, Role.CANDIDATE)
            return again, self._in_order(replace(state, role=Role.FOLLOWER), again, effects)
        return super().step(state, event)


def test_a_leader_of_ever_new_terms_is_not_stable() -> None:
    alone = Situation(nodes=1, settings=PLAIN, links=frozenset())
    assert find_lasso(alone).violation is None
    loops(find_lasso(alone, Restless), Restless)


def test_ways_on_which_terms_drift_apart_are_counted() -> None:
    found = find_lasso(situation(CHECKED, **MUTE), gap=3)
    assert found.cut
    assert not found.complete


def test_links_that_come_back_are_told() -> None:
    lost = Mutant(
        "return replace(state, leader=None), (self._patience", "return state, (self._patience", ""
    )
    links: dict[str, Any] = {"links": WITHOUT_0, "before": (WITHOUT_0, ALL3)}
    build = mutated(lost).Raft
    loops(find_lasso(situation(BOTH, **links), build), build)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"links": both_ways((0, 1)), "nodes": 4}, "majority"),
        ({"links": frozenset({(0, 1), (1, 2), (2, 0)})}, "majority"),
        ({"links": ALL3, "disks": ((0, NO_LOG),)}, "1 disks"),
        ({"links": ALL3, "settings": RaftSettings.of("1s", "2s", lease=True)}, "lease"),
    ],
    ids=str,
)
def test_what_cannot_be_judged_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Situation(**{"nodes": 3, "settings": PLAIN, **options})


def test_nodes_that_talk_without_end_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elector.verification.kind._ENDLESS", 5)
    with pytest.raises(RuntimeError, match="without end"):
        find_lasso(Situation(nodes=5, settings=PLAIN, links=everyone(5)), Raft)


def test_links() -> None:
    expected: Links = frozenset({(0, 1), (1, 0)})
    assert both_ways((0, 1)) == everyone(2) == expected


def test_components_of_a_line_of_circles() -> None:
    graph = [[1], [2], [0, 3], [4], [3, 5], [], [6]]
    assert sorted(map(sorted, components(graph))) == [[0, 1, 2], [3, 4], [5], [6]]
