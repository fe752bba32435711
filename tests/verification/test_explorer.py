"""The explorer sees everything, finds every bug that is put in, and shows the shortest way."""

from typing import Any

import pytest
from msgspec.structs import replace

from elector.core.effects import SetTimer
from elector.core.events import TimerFired
from elector.core.peers import Delivered, Send
from elector.errors import ConfigurationError
from elector.properties.catalogue import properties_for
from elector.properties.judge import Judge
from elector.protocols import raft
from elector.protocols.raft import HEARTBEAT, Raft, RaftState, Role
from elector.protocols.raft_messages import Heartbeat, Vote
from elector.protocols.raft_settings import RaftSettings
from elector.trace import records
from elector.verification.divergence import first_divergence
from elector.verification.members import REDUCTIONS, explore
from elector.verification.scope import PLAIN, SAFETY, Exploration, Progress, Reduction, Scope
from elector.verification.space import Space
from elector.verification.symmetry import Symmetry
from tests.verification.naive import reachable
from tests.verification.raft_bugs import SAFETY as MUTANTS
from tests.verification.raft_bugs import mutated

NONE: tuple[Reduction, ...] = ()

# The smallest world that is known to show each bug, and what it breaks first.
BUGS = {
    "1 vote lost on restart": (Scope(nodes=3, terms=1, restarts=1), "VoteOnce"),
    "2 term lost on restart": (Scope(nodes=3, terms=1, restarts=1), "VoteOnce"),
    "3 a second vote in one term": (Scope(nodes=3, terms=1), "VoteOnce"),
    "4 messages of a lower term accepted": (Scope(nodes=3, terms=2), "Majority"),
    "5 an old term's vote counted now": (Scope(nodes=3, terms=2), "Majority"),
    "6 votes not cleared on a new candidacy": (Scope(nodes=4, terms=2), "Majority"),
    "7 a repeated vote counted twice": (Scope(nodes=4, terms=1), "Majority"),
    "8 half is a quorum": (Scope(nodes=4, terms=1), "Majority"),
    "10 sent before it is persisted": (Scope(nodes=3, terms=1, restarts=1), "Durable"),
}
# All but number 6 are quick to find without any reduction, too.
QUICK = [name for name in BUGS if not name.startswith("6")]
TINY = (
    Scope(nodes=1, terms=2, restarts=1),
    Scope(nodes=2, terms=2, restarts=1),
    Scope(nodes=2, terms=1, restarts=1, settings=replace(PLAIN, pre_vote=True)),
    Scope(nodes=2, terms=2, restarts=1, settings=replace(PLAIN, check_quorum=True)),
    Scope(nodes=3, terms=1, restarts=1),
    Scope(nodes=3, terms=1, restarts=2),
)


def mutant(name: str) -> Any:
    return mutated(MUTANTS[name]).Raft


def confirmed(found: Exploration, build: Any) -> None:
    """The trace of a violation shows it to somebody who knows nothing of the explorer."""
    violation = found.violation
    assert violation is not None
    nodes = len(violation.header.nodes)
    properties = properties_for("raft", [violation.property], nodes=nodes, every_message=True)
    judge = Judge(properties)
    for record in violation.records:
        judge.watch(record)
    assert judge.violated is not None, violation.text
    assert judge.violated.name == violation.property
    assert isinstance(violation.records[-1], records.End)
    assert first_divergence(violation.header, violation.records, raft=build) is None


@pytest.mark.parametrize("scope", TINY, ids=str)
def test_the_states_are_those_that_a_naive_search_finds(scope: Scope) -> None:
    found = explore(scope, reductions=NONE)
    assert found.complete
    assert found.progress.states == len(reachable(scope))


@pytest.mark.parametrize(
    ("scope", "states", "merged"),
    [
        (Scope(nodes=2, terms=2, restarts=1), 2138, 159),
        (Scope(nodes=3, terms=1), 593, 18),
        (Scope(nodes=4, terms=1), 15657, 36),
        (Scope(nodes=3, terms=1, restarts=1), 3232, 436),
        (Scope(nodes=4, terms=1, restarts=1), 112646, 2860),
    ],
    ids=str,
)
def test_clean_code_holds(scope: Scope, states: int, merged: int) -> None:
    everything, less = explore(scope, reductions=NONE), explore(scope)
    assert everything.holds
    assert less.holds
    assert (everything.progress.states, less.progress.states) == (states, merged)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"check_quorum": True},
        {"retransmit_ns": 1},
        {"stagger_ns": 1, "priorities": {0: 2, 2: 0}},
    ],
    ids=str,
)
def test_clean_code_holds_with_options_and_transfer(options: dict[str, Any]) -> None:
    settings = replace(PLAIN, **options)
    assert explore(Scope(nodes=3, terms=2, settings=settings)).holds
    assert explore(Scope(nodes=3, terms=1, restarts=1, transfer=True, settings=settings)).holds


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found(name: str) -> None:
    scope, notices = BUGS[name]
    build = mutant(name)
    found = explore(scope, build)
    assert found.violation is not None
    assert found.violation.property == notices
    confirmed(found, build)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_makes_two_lead_one_term(name: str) -> None:
    build = mutant(name)
    found = explore(BUGS[name][0], build, ("TermUnique",))
    confirmed(found, build)
    assert found.violation is not None
    told = [record for record in found.violation.records if isinstance(record, records.Lead)]
    assert len({record.node for record in told if record.token == told[-1].token}) == 2


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("properties", [SAFETY, ("TermUnique",)], ids=["all", "TermUnique"])
def test_reductions_change_no_verdict_and_no_length(name: str, properties: tuple[str, ...]) -> None:
    scope = BUGS[name][0]
    build = mutant(name)
    reference = explore(scope, build, properties, reductions=NONE).violation
    assert reference is not None
    for reductions in (REDUCTIONS, ("messages",), ("timers",), ("symmetry",)):
        violation = explore(scope, build, properties, reductions=reductions).violation
        assert violation is not None
        assert violation.steps == reference.steps
        assert violation.property == reference.property


class Hoarder(Raft):
    """Heeds a vote of term 1 only when it follows in term 2: until then it is quiet, not dead.

    Of two nodes, the one that voted is in term 1 when it does, and only it can make a follower
    in term 2 of the other: so the vote has been there for long when it comes to matter.
    """

    def step(self, state: RaftState, event: Any) -> Any:
        old = isinstance(event, Delivered) and event.message == Vote(1, granted=True)
        if not old or state.term < 2:
            return (state, ()) if old else super().step(state, event)
        return (replace(state, heir=0), ()) if state.role is Role.FOLLOWER else (state, ())


class Shy(Raft):
    """Says that it leads only when its timer tells it to, and once."""

    def step(self, state: RaftState, event: Any) -> Any:
        after, effects = super().step(state, event)
        beats = isinstance(event, TimerFired) and event.name == HEARTBEAT
        return after, tuple(effect for effect in effects if not self._left_out(effect, beats))

    @staticmethod
    def _left_out(effect: Any, beats: bool) -> bool:
        if isinstance(effect, Send) and isinstance(effect.message, Heartbeat):
            return not beats
        return isinstance(effect, SetTimer) and effect.name == HEARTBEAT and beats


def known_states(scope: Scope, build: Any, reductions: tuple[Reduction, ...]) -> set[Any]:
    """What nodes know, in every state that is reached: no timers, no messages."""
    space = Space(scope, build, SAFETY, reductions)
    states, todo = {space.start}, [space.start]
    while todo:
        for _, _, after in space.moves(todo.pop()):
            if after not in states:
                states.add(after)
                todo.append(after)
    known = set()
    for state in states:
        cores = [
            node.cores.values[space.core(number, state)] for number, node in enumerate(space.nodes)
        ]
        told = [node.memo.state(core.state) for node, core in zip(space.nodes, cores, strict=True)]
        known.add((tuple(told), tuple(core.disk for core in cores)))
    return known


@pytest.mark.parametrize(
    ("scope", "build"),
    [
        (Scope(nodes=2, terms=2, restarts=1), Raft),
        (Scope(nodes=3, terms=1, restarts=1), Raft),
        (Scope(nodes=2, terms=1, restarts=1, settings=replace(PLAIN, pre_vote=True)), Raft),
        (Scope(nodes=2, terms=2), Hoarder),
        (Scope(nodes=2, terms=2), Shy),
    ],
    ids=str,
)
def test_what_is_dead_has_no_part_in_what_nodes_come_to_know(scope: Scope, build: Any) -> None:
    reference = known_states(scope, build, NONE)
    if build is Hoarder:
        assert any(told.heir == 0 for states, _ in reference for told in states)
    assert known_states(scope, build, ("messages",)) == reference
    assert known_states(scope, build, ("timers",)) == reference
    assert known_states(scope, build, ("messages", "timers")) == reference


@pytest.mark.parametrize("reductions", [NONE, ("messages", "timers")], ids=str)
def test_one_state_stands_for_all_that_differ_in_names(reductions: tuple[Reduction, ...]) -> None:
    scope = Scope(nodes=3, terms=1)
    space = Space(scope, Raft, SAFETY, (*reductions, "symmetry"))
    canonical = Symmetry(space).canonical
    states = {space.start}
    todo = [space.start]
    while todo:
        for _, _, after in space.moves(todo.pop()):
            if after not in states:
                states.add(after)
                todo.append(after)
    assert len(states) == explore(scope, reductions=reductions).progress.states
    kept = {canonical(state) for state in states}
    assert kept <= states
    assert {canonical(state) for state in kept} == kept
    found = explore(scope, reductions=(*reductions, "symmetry"))
    assert found.progress.states == len(kept)
    assert "symmetry" in found.reductions


@pytest.mark.parametrize(
    "scope",
    [
        Scope(nodes=3, terms=1, settings=replace(PLAIN, priorities={1: 0})),
        Scope(nodes=3, terms=1, restarts=1),
    ],
    ids=str,
)
def test_nodes_that_are_not_alike_are_not_taken_for_one(scope: Scope) -> None:
    """Priorities tell nodes apart; and in a crash, who was told first, and who not yet."""
    found = explore(scope)
    assert found.holds
    assert found.reductions == ("messages", "timers")
    assert found.progress.states == explore(scope, reductions=found.reductions).progress.states


def test_nodes_are_alike_with_transfers() -> None:
    scope = Scope(nodes=3, terms=2, transfer=True)
    found, everything = explore(scope), explore(scope, reductions=("messages", "timers"))
    assert "symmetry" in found.reductions
    assert everything.progress.states / 6 <= found.progress.states < everything.progress.states / 4


def test_code_that_favours_a_node_is_not_symmetric() -> None:
    """The bug is in one node alone: merging it with the others would hide it."""

    wrong = mutant("3 a second vote in one term")

    def build(node: int, members: tuple[int, ...], settings: RaftSettings) -> Raft:
        kind = wrong if node == 2 else Raft
        made: Raft = kind(node, members, settings)
        return made

    found = explore(Scope(nodes=3, terms=1), build, ("TermUnique",))
    assert "symmetry" not in found.reductions
    confirmed(found, build)


@pytest.mark.parametrize("name", ["7 a repeated vote counted twice", "8 half is a quorum"])
def test_three_nodes_do_not_show_it(name: str) -> None:
    assert explore(Scope(nodes=3, terms=1, restarts=1), mutant(name)).holds


def test_without_a_crash_a_lost_vote_does_no_harm() -> None:
    assert explore(Scope(nodes=3, terms=2), mutant("1 vote lost on restart")).holds


def test_a_vote_that_is_not_cleared_is_no_violation() -> None:
    """Number 9 breaks nothing but liveness."""
    name = "9 vote not cleared in a new term"
    assert explore(Scope(nodes=3, terms=2, restarts=1), mutant(name)).holds


def test_a_crash_falls_between_two_effects() -> None:
    """What was sent before the crash is out, what was to be written after it is not."""
    early = mutant("10 sent before it is persisted")
    found = explore(Scope(nodes=3, terms=1, restarts=1), early, ("TermUnique",))
    assert found.violation is not None
    told = found.violation.records
    crash = next(place for place, record in enumerate(told) if isinstance(record, records.Crash))
    step = next(record for record in reversed(told[:crash]) if isinstance(record, records.Step))
    done = [record for record in told[:crash] if record.t == told[crash].t]
    assert [effect["type"] for effect in step.effects][-1] == "Persist"
    assert any(isinstance(record, records.Send) for record in done)
    assert not any(isinstance(record, records.Persist) for record in done)
    assert explore(Scope(nodes=3, terms=1), early, ("TermUnique",)).holds


def test_the_way_is_the_shortest() -> None:
    """Two leaders of a term need two candidacies, two votes and their arrival."""
    found = explore(Scope(nodes=3, terms=1), mutant("3 a second vote in one term"), ("TermUnique",))
    assert found.violation is not None
    assert found.violation.steps == 6


def test_it_stops_at_a_number_of_states() -> None:
    found = explore(Scope(nodes=3, terms=2), reductions=NONE, max_states=20_000)
    assert (found.stopped, found.complete, found.holds) == ("states", False, False)
    assert found.progress.queue > 0


def test_it_stops_when_memory_is_short() -> None:
    found = explore(Scope(nodes=3, terms=2), max_memory=1)
    assert found.stopped in {"memory", ""}  # empty where the system does not tell
    assert found.stopped == ("memory" if found.progress.memory else "")


def test_it_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elector.verification.members._TELL_EVERY_S", 0)
    told: list[Progress] = []
    found = explore(Scope(nodes=4, terms=1, restarts=1), reductions=NONE, on_progress=told.append)
    states = [progress.states for progress in told]
    assert states == sorted(states)
    assert told[-1].queue > 0
    assert told[-1].rate > 0
    assert found.progress.queue == 0


def test_an_interrupt_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elector.verification.members._TELL_EVERY_S", 0)

    def interrupt(progress: Progress) -> None:
        if progress.states > 1000:
            raise KeyboardInterrupt

    found = explore(Scope(nodes=4, terms=1, restarts=1), reductions=NONE, on_progress=interrupt)
    assert found.stopped == "interrupted"
    assert found.progress.states > 1000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"nodes": 8}, "1 to 7"),
        ({"terms": 0}, "terms"),
        ({"restarts": -1}, "restarts"),
        ({"settings": RaftSettings.of("1s", "2s", lease=True)}, "lease"),
    ],
    ids=str,
)
def test_what_cannot_be_explored_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Scope(**options)


def test_an_unknown_property_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="TermUnique"):
        explore(Scope(), properties=("Unique",))


def test_an_effect_that_no_world_knows_is_refused() -> None:
    class Odd(Raft):
        def step(self, state: Any, event: Any) -> Any:
            after, effects = super().step(state, event)
            return after, (*effects, "sing") if effects else effects

    with pytest.raises(TypeError, match="sing"):
        explore(Scope(nodes=2, terms=1), Odd)


def test_the_code_under_test_is_what_ships() -> None:
    assert explore.__defaults__ is not None
    assert explore.__defaults__[0] is raft.Raft
