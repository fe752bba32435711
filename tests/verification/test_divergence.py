"""Steps taken again: all of them agree, in every world, unless something is different."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.core.events import Granted, Start, WorkStopped
from elector.core.identity import Candidate
from elector.core.timing import LeaseTiming
from elector.errors import TraceError
from elector.protocols import lease, raft
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import Faults, Trouble
from elector.simulation.recording import record
from elector.simulation.run import Configuration, ProtocolName
from elector.trace import records
from elector.trace.lease import effect_record, event_record
from elector.trace.ndjson import Writer, read
from elector.trace.plain import plain
from elector.trace.records import Header, Record, Step
from elector.verification.divergence import Difference, Divergence, first_divergence
from elector.verification.members import explore
from elector.verification.scope import Scope
from tests.mutants.mutation import mutated
from tests.verification.raft_bugs import SAFETY

Trace = tuple[Header, tuple[Record, ...]]

LEASED = RaftSettings.of("150ms", "300ms", lease=True, priorities={0: 2, 2: 0})
ORDERED = RaftSettings.of("150ms", "300ms", retransmit_ns=40_000_000, stagger_ns=20_000_000)


@cache
def simulated(protocol: ProtocolName, seed: int = 1) -> Trace:
    """A run in which everything fails."""
    return recorded(
        Configuration(protocol=protocol, plan="chaos", duration_ns=20 * SECOND_NS), seed
    )


def recorded(configuration: Configuration, seed: int) -> Trace:
    header, told, _ = record(configuration, seed)
    return header, tuple(told)


def first(told: Sequence[Record], fits: Callable[[Any], bool]) -> int:
    return next(number for number, one in enumerate(told) if fits(one))


def step_with(told: Sequence[Record], effect: str) -> int:
    """The number of the first step that asks for this."""
    return first(
        told, lambda one: isinstance(one, Step) and effect in {e["type"] for e in one.effects}
    )


def edited(trace: Trace, number: int, **changes: Any) -> Trace:
    """The trace with one record changed."""
    header, told = trace
    return header, (*told[:number], replace(told[number], **changes), *told[number + 1 :])


def found(trace: Trace, **build: Any) -> Divergence:
    divergence = first_divergence(*trace, **build)
    assert divergence is not None
    return divergence


def refused(header: Header, *told: Record) -> str:
    with pytest.raises(TraceError) as refusal:
        first_divergence(header, told)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


# -- traces as they should be ------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("protocol", ["lease", "raft"])
def test_what_was_simulated_is_taken_again_so(protocol: ProtocolName, seed: int) -> None:
    header, told = simulated(protocol, seed)
    assert sum(isinstance(one, Step) for one in told) > 50
    assert first_divergence(header, told) is None


@pytest.mark.parametrize("members", [LEASED, ORDERED])
def test_settings_come_from_the_header(members: RaftSettings) -> None:
    world = Configuration(protocol="raft", raft=members, plan="chaos", duration_ns=20 * SECOND_NS)
    header, told = recorded(world, 2)
    assert any(isinstance(one, records.Lead) for one in told)
    assert first_divergence(header, told) is None


def test_it_is_the_same_from_a_file(tmp_path: Path) -> None:
    for protocol in ("lease", "raft"):
        header, told = simulated(protocol)
        path = tmp_path / f"{protocol}.ndjson"
        with Writer(path, header) as writer:
            for one in told:
                writer.write(one)
        assert first_divergence(*read(path)) is None


def amnesia(again: bool) -> Trace:
    """A member whose disk forgets its last write, once or twice."""
    troubles = [Trouble(2 * SECOND_NS, "amnesia", (0,), 3 * SECOND_NS)]
    if again:
        troubles.append(Trouble(4 * SECOND_NS, "amnesia", (0,), 5 * SECOND_NS))
    world = Configuration(
        protocol="raft", duration_ns=8 * SECOND_NS, faults=Faults(troubles=tuple(troubles))
    )
    return recorded(world, 1)


@pytest.mark.parametrize("again", [False, True])
def test_a_disk_that_forgets(again: bool) -> None:
    header, told = amnesia(again)
    assert first_divergence(header, told) is None
    forgetful = first(told, lambda one: isinstance(one, records.Fault))
    unsaid = (*told[:forgetful], *told[forgetful + 1 :])
    assert first_divergence(header, unsaid) is not None


def test_logs_reach_as_far_as_they_did() -> None:
    world = Configuration(
        protocol="raft", logs=((1, 3), (1, 4), (1, 5)), duration_ns=4 * SECOND_NS, plan="chaos"
    )
    header, told = recorded(world, 3)
    assert first_divergence(header, told) is None


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("1 vote lost on restart", Scope(nodes=3, terms=1, restarts=1)),
        ("3 a second vote in one term", Scope(nodes=3, terms=1)),
    ],
)
def test_a_counterexample_is_of_the_code_that_was_explored(name: str, scope: Scope) -> None:
    mutant = mutated(raft, SAFETY[name].old, SAFETY[name].new).Raft
    violation = explore(scope, mutant).violation
    assert violation is not None
    trace = (violation.header, violation.records)
    assert first_divergence(*trace, raft=mutant) is None
    assert found(trace).differences


# -- traces that were edited -------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["lease", "raft"])
def test_an_edited_state_is_found_where_it_stands(protocol: ProtocolName) -> None:
    trace = simulated(protocol)
    number = step_with(trace[1], "Lead" if protocol == "lease" else "LeadTerm")
    name = "token" if protocol == "lease" else "term"
    step = trace[1][number]
    assert isinstance(step, Step)
    divergence = found(edited(trace, number, after={**step.after, name: 99}))
    assert divergence == Divergence(
        record=number,
        line=number + 2,
        t=step.t,
        node=f"n{step.node}",
        what=f"told {step.event['type']}",
        differences=(Difference(f"after.{name}", 99, step.after[name]),),
    )
    assert str(divergence) == (
        f"line {number + 2}: n{step.node}, told {step.event['type']}:\n"
        f"  after.{name}: recorded 99, now {step.after[name]}"
    )


def test_an_edited_deadline_is_found_in_all_its_places() -> None:
    trace = simulated("lease")
    number = step_with(trace[1], "Lead")
    step = trace[1][number]
    assert isinstance(step, Step)
    later = {"soft_ns": 7, "hard_ns": 8}
    effects = tuple(
        {**effect, "deadlines": later} if effect["type"] == "Lead" else effect
        for effect in step.effects
    )
    divergence = found(edited(trace, number, effects=effects))
    assert [one.where for one in divergence.differences] == [
        "effects[0].deadlines.soft_ns",
        "effects[0].deadlines.hard_ns",
    ]


@pytest.mark.parametrize("keeps", [0, 1])
def test_effects_that_are_missing(keeps: int) -> None:
    trace = simulated("lease")
    number = step_with(trace[1], "Lead")
    step = trace[1][number]
    assert isinstance(step, Step)
    assert len(step.effects) > 1
    divergence = found(edited(trace, number, effects=step.effects[:keeps]))
    assert [one.where for one in divergence.differences] == [
        f"effects[{place}]" for place in range(keeps, len(step.effects))
    ]
    assert "recorded nothing, now " in str(divergence)


def test_another_effect_is_told_as_a_whole() -> None:
    trace = simulated("lease")
    number = step_with(trace[1], "Acquire")
    divergence = found(edited(trace, number, effects=({"type": "Renew", "op": 1, "token": 2},)))
    assert str(divergence.differences[0]) == (
        "effects[0]: recorded Renew(op=1, token=2), now Acquire(op=1)"
    )


def test_an_edited_event_changes_what_comes_of_it() -> None:
    trace = simulated("lease")
    number = first(trace[1], lambda one: isinstance(one, Step) and one.event["type"] == "Granted")
    step = trace[1][number]
    assert isinstance(step, Step)
    divergence = found(edited(trace, number, event={**step.event, "token": 99}))
    assert divergence.record == number
    assert {one.now for one in divergence.differences} == {99}


def test_a_step_that_was_cut_out() -> None:
    header, told = simulated("lease")
    number = step_with(told, "Lead")
    divergence = found((header, (*told[:number], *told[number + 1 :])))
    node = told[number].node  # type: ignore[union-attr] # a step, and it has one
    following = first(told[number + 1 :], lambda one: isinstance(one, Step) and one.node == node)
    assert divergence.record == number + following


def test_an_event_that_the_protocol_does_not_know() -> None:
    trace = simulated("raft")
    number = first(
        trace[1], lambda one: isinstance(one, Step) and one.event["type"] == "TimerFired"
    )
    divergence = found(edited(trace, number, event={"type": "TimerFired", "at": 1, "name": "tea"}))
    assert divergence.record == number
    assert divergence.differences == (Difference("fails", now="KeyError('tea')"),)


def test_true_is_not_one() -> None:
    trace = simulated("lease")
    number = step_with(trace[1], "Acquire")
    step = trace[1][number]
    assert isinstance(step, Step)
    divergence = found(edited(trace, number, after={**step.after, "healthy": 1}))
    assert divergence.differences == (Difference("after.healthy", 1, now=True),)


def test_a_divergence_is_json() -> None:
    trace = simulated("lease")
    number = step_with(trace[1], "Acquire")
    told = msgspec.json.decode(msgspec.json.encode(found(edited(trace, number, effects=()))))
    assert told["record"] == number
    assert told["differences"] == [
        {"where": "effects[0]", "now": {"type": "Acquire", "op": 1}},
    ]


# -- other code --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (
            "deadlines = self.timing.deadlines(state.sent_at)",
            "deadlines = self.timing.deadlines(event.at)",
            "deadlines.hard_ns",
        ),
        ("sent_at + period - period // 5", "sent_at + period - period // 4", "].earliest"),
    ],
)
def test_a_candidate_with_a_bug(old: str, new: str, where: str) -> None:
    mutant = mutated(lease, old, new).LeaseCandidate
    finds = [first_divergence(*simulated("lease", seed), lease=mutant) for seed in range(6)]
    seen = [one for one in finds if one is not None]
    assert any(where in difference.where for one in seen for difference in one.differences)


@pytest.mark.parametrize(
    "name",
    [
        "1 vote lost on restart",
        "4 messages of a lower term accepted",
        "6 votes not cleared on a new candidacy",
        "10 sent before it is persisted",
    ],
)
def test_a_member_with_a_bug(name: str) -> None:
    mutant = mutated(raft, SAFETY[name].old, SAFETY[name].new).Raft
    finds = [first_divergence(*simulated("raft", seed), raft=mutant) for seed in range(6)]
    assert any(finds)


# -- production --------------------------------------------------------------------------

TIMING = LeaseTiming.of("15s")


def produced() -> Trace:
    """A tenure in production, as the recorder writes it."""
    header = Header(1, "0.1", "production", "lease", ("web-1",), settings={"timing": plain(TIMING)})
    candidate = lease.LeaseCandidate(Candidate("web-1", "web-1#1"), TIMING)
    state = candidate.initial()
    told: list[Record | None] = [records.Boot(0, 0, "web-1#1")]
    for event in (Start(1), Granted(2, 1, 7), WorkStopped(3, 7)):
        state, effects = candidate.step(state, event)
        told.append(event_record(event.at, 0, event))
        asked = tuple(plain(effect) for effect in effects)
        told.append(Step(event.at, 0, plain(event), asked, plain(state)))
        told += [effect_record(event.at, 0, effect, {"web-1": 0}) for effect in effects]
    return header, tuple(one for one in told if one is not None)


def test_a_production_trace() -> None:
    header, told = produced()
    kinds = [type(one).__name__ for one in told]
    assert kinds == [
        *("Boot", "Step", "Request"),
        *("Answer", "Step", "Lead", "Follow"),
        *("Step", "StepDown", "Request"),
    ]
    assert first_divergence(header, told) is None
    for end in range(len(told)):  # killed at any moment
        assert first_divergence(header, told[:end]) is None


def test_work_stands_where_it_happened() -> None:
    header, told = produced()
    work = (records.Work(2, 0, 7, "began"), records.Work(3, 0, 7, "stopped"))
    assert first_divergence(header, (*told[:7], *work, *told[7:])) is None


@pytest.mark.parametrize(
    ("number", "changes", "where"),
    [
        (2, {"what": "renew"}, "request.what"),
        (2, {"op": 5}, "request.op"),
        (5, {"until": 99}, "lead.until"),
        (5, {"token": 8}, "lead.token"),
        (6, {"leader": None}, "follow.leader"),
        (8, {"reason": "lost"}, "stepdown.reason"),
    ],
)
def test_a_record_that_says_otherwise_than_its_step(
    number: int, changes: dict[str, Any], where: str
) -> None:
    divergence = found(edited(produced(), number, **changes))
    assert divergence.record == number
    assert divergence.what == "what its last step means"
    assert [one.where for one in divergence.differences] == [where]


def test_an_answer_that_says_otherwise_than_its_step() -> None:
    divergence = found(edited(produced(), 3, outcome="occupied"))
    assert divergence.record == 4
    assert divergence.differences == (Difference("answer.outcome", "occupied", "granted"),)


@pytest.mark.parametrize("number", [2, 3, 5, 6, 8])
def test_a_record_that_was_cut_out(number: int) -> None:
    header, told = produced()
    divergence = found((header, (*told[:number], *told[number + 1 :])))
    assert divergence.record in {number, number + 1}


@pytest.mark.parametrize("number", [3, 5])
def test_a_record_that_was_put_in(number: int) -> None:
    header, told = produced()
    divergence = found((header, (*told[:number], records.Lead(2, 0, 8, 99), *told[number:])))
    assert divergence.record == number


# -- traces that cannot be used so -------------------------------------------------------


def test_an_unknown_protocol() -> None:
    said = refused(Header(1, "0.1", "simulation", "bully", ("a",)))
    assert said == (
        "line 1 of the trace: the protocol is 'bully'; steps can be taken again of: lease, raft"
    )


@pytest.mark.parametrize(
    ("protocol", "settings", "why"),
    [
        ("lease", {}, "Expected `object`, got `null`"),
        ("raft", {}, "Expected `object`, got `null`"),
        ("lease", {"timing": {"ttl_ns": 1}}, "missing required field"),
        ("lease", {"timing": {**plain(TIMING), "attempts": 99}}, "does not fit"),
        ("raft", {"raft": {**plain(ORDERED), "heartbeat_ns": 0}}, "heartbeat"),
    ],
)
def test_settings_that_make_no_sense(protocol: str, settings: dict[str, Any], why: str) -> None:
    said = refused(Header(1, "0.1", "simulation", protocol, ("a",), settings))
    assert said.startswith("line 1 of the trace: the settings make no sense: ")
    assert why in said


LEASE = Header(1, "0.1", "production", "lease", ("a",), {"timing": plain(TIMING)})
RAFT = Header(1, "0.1", "simulation", "raft", ("a",), {"raft": plain(ORDERED)})
START = {"type": "Start", "at": 0}


@pytest.mark.parametrize(
    ("header", "told", "why"),
    [
        (LEASE, [Step(0, 0, START)], "line 2 of the trace: node 0 takes a step, but it has not"),
        (LEASE, [records.Boot(0, 1)], "line 2 of the trace: there is no node 1; the header nam"),
        (LEASE, [records.Boot(0, -1)], "line 2 of the trace: there is no node -1; the header na"),
        (
            LEASE,
            [records.Boot(0, 0), records.Crash(1, 0), Step(2, 0, START)],
            "line 4 of the trace: node 0 takes a step, but it has not begun to run",
        ),
        (LEASE, [records.Boot(0, 0), Step(0, 0, {"type": "Tea"})], "Invalid value 'Tea'"),
        (LEASE, [records.Boot(0, 0), Step(0, 0, {})], "missing required field `type`"),
        (LEASE, [records.Boot(0, 0), Step(0, 0, {"type": "Start"})], "field `at`"),
        (RAFT, [records.Persist(0, 0, {"type": "Tea"})], "Invalid value 'Tea'"),
        (RAFT, [records.Boot(0, 0), Step(0, 0, START, (), {"log": "long"})], "Expected `array`"),
    ],
)
def test_records_that_make_no_sense(header: Header, told: list[Record], why: str) -> None:
    assert why in refused(header, *told)


def test_a_trace_without_steps_is_fine() -> None:
    assert first_divergence(LEASE, ()) is None
    assert first_divergence(LEASE, [records.Boot(0, 0), records.End(0)]) is None
