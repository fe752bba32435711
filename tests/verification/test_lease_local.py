"""Why situations may be merged: shifts of clocks and names of requests do not matter."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from msgspec.structs import fields, replace

from elector.core.effects import Acquire, Release, Renew
from elector.core.events import (
    CandidateEvent,
    Changed,
    Desist,
    Failed,
    Granted,
    Health,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Resign,
    Start,
    StoreEvent,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.core.office import Deadlines, EndReason, Led, Unknown, Vacant
from elector.protocols.lease import DEADLINE, RENEW, RETRY, LeaseCandidate, LeaseState, Phase
from elector.verification.lease_local import (
    STUBBORN,
    Local,
    Sent,
    aged,
    normal,
    shifted,
    shifted_effect,
)
from elector.verification.lease_moves import Move, Mover
from elector.verification.lease_scope import SMALL, Budgets, LeaseScope

TTL = SMALL.ttl_ns
TIMES = {"sent_at", "doubt_since", "deadlines", "drain_until", "rest_until", "seen"}
NUMBERS = {"op", "pending"}
MACHINE = LeaseCandidate(Candidate("n0", "n0#1"), SMALL)
EVERYTHING = LeaseScope(
    wishes=("resign", "transfer", "withdraw", "finish", "fail", "stall", "stubborn"),
    budgets=Budgets(lost=1, late=1, pauses=1, crashes=1, wishes=1, steps=1),
)
BACK = Mover(0, EVERYTHING, LeaseCandidate).back

at = st.integers(-2 * TTL, 2 * TTL)
tokens = st.integers(0, 3)
ops = st.integers(1, 6)
names = st.sampled_from(("n0", "n1", None))
observed = st.one_of(
    st.none(), st.builds(Led, st.just("n1"), tokens), st.just(Vacant()), st.builds(Unknown, at)
)
states = st.builds(
    LeaseState,
    phase=st.sampled_from(Phase),
    op=st.just(6),
    pending=st.one_of(st.just(0), ops),
    sent_at=at,
    doubt_since=st.one_of(st.none(), at),
    token=tokens,
    newest=tokens,
    ours=tokens,
    deadlines=st.builds(Deadlines, at, at),
    leave=st.one_of(st.none(), st.sampled_from(EndReason)),
    heir=st.one_of(st.none(), st.just("n1")),
    renewing=st.booleans(),
    drain_until=at,
    rest_until=at,
    failures=st.integers(0, 3),
    failed_works=st.integers(0, 3),
    contending=st.booleans(),
    closing=st.booleans(),
    healthy=st.booleans(),
    again=st.booleans(),
    seen=observed,
)
hints = st.one_of(st.none(), st.integers(1, TTL))
answers: st.SearchStrategy[StoreEvent] = st.one_of(
    st.builds(Granted, st.just(0), ops, tokens),
    st.builds(Occupied, st.just(0), ops, names, tokens, hints),
    *(st.builds(kind, st.just(0), ops) for kind in (Renewed, Lost, Released, Failed)),
)
changes = st.builds(
    Changed, st.just(0), names, st.sampled_from(("n0#1", "n1#0", None)), tokens, hints
)
events: st.SearchStrategy[CandidateEvent] = st.one_of(
    answers,
    changes,
    *(st.builds(kind, st.just(0)) for kind in (Start, Desist, Withdraw)),
    st.builds(Resign, st.just(0), st.one_of(st.none(), st.just("n1"))),
    st.builds(TimerFired, st.just(0), st.sampled_from((RETRY, RENEW, DEADLINE))),
    st.builds(OutcomeLost, st.just(0), ops),
    st.builds(WorkStopped, st.just(0), tokens, st.booleans()),
    st.builds(Health, st.just(0), st.booleans()),
)


def test_every_field_is_known_for_a_time_or_for_none() -> None:
    """A field that is new has to be put into one of the two lists, and into `shifted`."""
    moved = shifted(LeaseState(doubt_since=0, seen=Unknown(0)), 5)
    still = LeaseState(doubt_since=0, seen=Unknown(0))
    changed = {
        f.name for f in fields(LeaseState) if getattr(moved, f.name) != getattr(still, f.name)
    }
    assert changed == TIMES
    known = TIMES | NUMBERS | {"token", "newest", "ours", "failures", "failed_works"}
    assert {f.name for f in fields(LeaseState) if f.type is int} <= known


@given(states, events, st.integers(-(10**15), 10**15))
def test_a_step_commutes_with_a_shift_of_the_clock(
    state: LeaseState, event: CandidateEvent, by: int
) -> None:
    after, effects = MACHINE.step(state, event)
    later, their_effects = MACHINE.step(shifted(state, by), replace(event, at=by))
    assert later == shifted(after, by)
    assert their_effects == tuple(shifted_effect(effect, by) for effect in effects)


@st.composite
def locals_(draw: st.DrawFn) -> Local:
    """A candidate in any state at all, with anything on its way."""
    timers = draw(st.dictionaries(st.sampled_from((RETRY, RENEW, DEADLINE)), st.tuples(at, at)))
    waits = draw(st.dictionaries(ops, at, max_size=2))
    requests = st.one_of(
        st.builds(Acquire, ops),
        st.builds(Renew, ops, tokens),
        st.builds(Release, ops, tokens, st.just(EndReason.RESIGNED)),
    )
    dues = st.one_of(st.none(), at)
    return Local(
        instance=1,
        state=draw(states),
        timers=tuple((name, min(edges), max(edges)) for name, edges in timers.items()),
        waits=tuple(waits.items()),
        sent=tuple(
            draw(
                st.lists(
                    st.builds(Sent, st.integers(0, 1), requests, dues),
                    max_size=2,
                    unique_by=lambda sent: (sent.instance, sent.request.op),
                )
            )
        ),
        replies=tuple(draw(st.lists(answers, max_size=2, unique_by=lambda reply: reply.op))),
        news=tuple(draw(st.lists(st.tuples(st.booleans(), changes), max_size=2))),
        work=draw(tokens),
        told=draw(st.one_of(st.none(), st.just(STUBBORN), st.integers(0, TTL))),
        returned=draw(st.one_of(st.none(), st.tuples(tokens, st.booleans()))),
        office=draw(at),
        paused=draw(st.booleans()),
        overslept=draw(st.booleans()),
        listens=draw(st.booleans()),
    )


def outcomes(local: Local) -> set[Any]:
    """All that can come of it, whatever it is called."""
    mover = Mover(0, EVERYTHING, LeaseCandidate)
    return {(m.what, _from_then_on(m), m.spent, m.kept, m.resumes) for m in mover.moves(local)}


def _from_then_on(move: Move) -> Local:
    """What is behind a move; once a clock has gone back, it does not go back again."""
    return normal(move.after, TTL)[0] if move.what == "step back" else move.after


@settings(max_examples=200)
@given(locals_())
def test_what_is_forgotten_changes_nothing_that_can_happen(local: Local) -> None:
    now = normal(local, TTL, BACK)[0]
    raw = local._replace(
        timers=tuple((name, max(0, early), max(0, late)) for name, early, late in local.timers),
        waits=tuple((op, max(0, due)) for op, due in local.waits),
        sent=tuple(s if s.due is None else s._replace(due=max(0, s.due)) for s in local.sent),
    )
    assert outcomes(now) == outcomes(raw)
    assert normal(now, TTL, BACK)[0] == now


@given(locals_(), st.integers(0, 2 * TTL))
def test_what_is_forgotten_changes_nothing_later(local: Local, by: int) -> None:
    assert aged(normal(local, TTL, BACK)[0], by, TTL, BACK) == aged(local, by, TTL, BACK)


@pytest.mark.parametrize("name", ["doubt_since", "deadlines", "drain_until", "rest_until"])
def test_the_check_can_fail(name: str) -> None:
    """A reduction that forgets too much is seen."""
    state = LeaseState(
        phase=Phase.STOPPING,
        pending=1,
        op=1,
        doubt_since=-1,
        deadlines=Deadlines(4, 8),
        drain_until=8,
        rest_until=8,
    )
    clean = {f.name: f.default for f in fields(LeaseState)}
    assert (
        normal(Local(1, state), TTL)[0].state
        != normal(Local(1, replace(state, **{name: clean[name]})), TTL)[0].state
    )
