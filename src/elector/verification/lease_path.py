"""A way through a space, told in the records that every world writes.

Theory
    The explorer's situations know no absolute times, and number requests anew after each step.
    Here the way is walked once more as production would walk it: the candidates count on clocks
    that never start again, and keep their own numbers. Each step is compared with the explorer's:
    should the two ever differ, the explorer's reductions would be wrong, and the difference is
    an error rather than a trace.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from elector.core.effects import (
    AbortWork,
    Acquire,
    Extend,
    Lead,
    Observe,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
)
from elector.core.events import OutcomeLost, Start, StoreEvent, WorkStopped
from elector.core.office import Deadlines, Led
from elector.errors import InvariantViolation
from elector.protocols.lease import LeaseState
from elector.trace import records
from elector.trace.plain import plain
from elector.trace.records import FORMAT, Header, Record
from elector.verification.lease_local import Local, normal, shifted, shifted_effect
from elector.verification.lease_moves import Move
from elector.verification.lease_register import Register, name_of
from elector.verification.lease_scope import LEASE_LIVENESS
from elector.verification.lease_space import Arrival, Passed, Space, World, Wrong
from elector.verification.scope import Violation
from elector.version import __version__

_STORE = -1
_MILLION = 1_000_000


def told(space: Space, path: Sequence[World], wrong: Wrong) -> Violation:
    """The way to a violation: a trace whose ``t`` is true time, ns.

    Args:
        space: where it leads through.
        path: all situations on it; the last one is behind the step that violates something.
        wrong: what is violated.

    Raises:
        InvariantViolation: the explorer and the protocol do not agree on a step.
    """
    story = _Story(space)
    for before, after in pairwise(path):
        story.tell(before, _passage(space, before, after, wrong if after is path[-1] else None))
    if wrong.property == LEASE_LIVENESS:
        story.wait_in_vain()
    scope = space.scope
    header = Header(
        format=FORMAT,
        elector=__version__,
        world="verification",
        protocol="lease",
        nodes=tuple(name_of(node) for node in space.nodes),
        settings={"timing": plain(scope.timing)},
        run=plain(scope),
        void=scope.void,
    )
    return Violation(wrong.property, wrong.text, len(path) - 1, header, tuple(story.records))


def _passage(space: Space, before: World, after: World, wrong: Wrong | None) -> Passed:
    ways = [passed for passed in space.next(before) if passed.world == after]
    return next((passed for passed in ways if passed.wrong == wrong), ways[0])


class _Story:
    """The candidates as production has them, beside the explorer's numbers for them."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.ticks = 0
        self.states: list[LeaseState] = []
        self.instances = [0] * len(space.nodes)
        self.ops: list[dict[int, int]] = [{} for _ in space.nodes]
        self.gone: dict[tuple[int, int], list[int]] = {}
        self.skew = [0] * len(space.nodes)
        self.paused: dict[int, int] = {}
        self.work = [0] * len(space.nodes)
        self.records: list[Record] = []
        self._held = False
        self._begin()

    # -- times and numbers -------------------------------------------------------------------

    @property
    def now(self) -> int:
        """True time, ns."""
        return self.ticks * self.space.scope.tick_ns

    def shows(self, node: int) -> int:
        """A candidate's clock, ns."""
        return self.ticks * self.space.clocks[node] + self.skew[node]

    def true(self, node: int, shown: int) -> int:
        """The first true time at which a clock shows this, ns."""
        ticks = -(-(shown - self.skew[node]) // self.space.clocks[node])
        return ticks * self.space.scope.tick_ns

    def _add(self, record: Record) -> None:
        self.records.append(record)

    def _ppm(self, clock: int) -> int:
        tick = self.space.scope.tick_ns
        return (clock - tick) * _MILLION // tick

    # -- the story -----------------------------------------------------------------------------

    def _begin(self) -> None:
        for node, clock in enumerate((*self.space.clocks[:-1],)):
            self._add(records.Clock(0, node, 0, self._ppm(clock), "start"))
        self._add(records.Clock(0, _STORE, 0, self._ppm(self.space.clocks[-1]), "start"))
        for node, mover in enumerate(self.space.movers):
            self._add(records.Boot(0, node, f"{name_of(node)}#0"))
            machine = mover.machine(0)
            self.states.append(machine.initial())
            self._move(node, Local(0, machine.initial()), mover.first())

    def tell(self, before: World, passed: Passed) -> None:
        """Go one step further."""
        match passed.what:
            case None:
                self._add(records.Fault(self.now, "store forgets"))
            case int(ticks):
                self._time(passed, ticks)
            case Arrival() as arrival:
                self._arrival(passed, arrival)
            case move:
                self._move(passed.node, self.space.local(before, passed.node), move)

    def _time(self, passed: Passed, ticks: int) -> None:
        self.ticks += ticks
        after = self.space.stores.values[passed.world[-2]]
        if self._held and not after.held:
            self._add(records.Expire(self.now, after.token))
        self._held = after.held

    def _arrival(self, passed: Passed, arrival: Arrival) -> None:
        node, request = passed.node, arrival.sent.request
        if arrival.sent.instance == self.instances[node]:
            op = self.ops[node][request.op]
        else:
            op = self.gone[node, arrival.sent.instance].pop(request.op - 1)
        after: Register = self.space.stores.values[passed.world[-2]]
        outcome = type(arrival.reply).__name__.lower()
        until = self._expiry(after.left) if after.held else None
        holder = None if after.holder is None else after.holder[0]
        what = type(request).__name__.lower()
        self._add(records.Apply(self.now, node, op, what, outcome, holder, after.token, until))
        self._held = after.held
        self._renumber(node, arrival.renamed)

    def _expiry(self, left: int) -> int:
        """The true time at which a lease ends that will last so long on the store's clock, ns."""
        ticks = self.ticks - (-left // self.space.clocks[-1])
        return ticks * self.space.scope.tick_ns

    def _move(self, node: int, before: Local, move: Move) -> None:
        if move.resumes:
            self._wake(node)
        match move.what:
            case "pause":
                self.paused[node] = len(self.records)
                self._add(records.Pause(self.now, node, self.now + 1))
            case "drop" | "late" | "refuse" | "stubborn":
                self._add(records.Fault(self.now, move.what, node))
            case "step back":
                self.skew[node] -= self.space.ttl // 2
                ppm = self._ppm(self.space.clocks[node])
                self._add(records.Clock(self.now, node, self.shows(node), ppm, "step"))
        if move.event is not None:
            self._step(node, move)
        if move.kept is not None or move.what == "crash":
            self._crash(node, before, move)
        if move.sent is not None:
            self.gone[node, move.sent.instance].pop(move.sent.request.op - 1)
        self._renumber(node, move.renamed)

    def _wake(self, node: int) -> None:
        index = self.paused.pop(node)
        self.records[index] = records.Pause(self.records[index].t, node, self.now)

    def _step(self, node: int, move: Move) -> None:
        at, event = self.shows(node), move.event
        if hasattr(event, "op"):
            event = replace(event, op=self.ops[node][event.op])
        event = replace(event, at=at)
        if isinstance(event, StoreEvent):
            outcome = type(event).__name__.lower()
            self._add(
                records.Answer(
                    self.now,
                    node,
                    event.op,
                    "unknown" if isinstance(event, OutcomeLost) else outcome,
                )
            )
        if isinstance(event, WorkStopped) and self.work[node] == event.token:
            self._worked(node, "stopped", failed=event.failed)
        self._take(node, event, move.done())
        if move.kept is None:
            self._compare(node, move)

    def _take(self, node: int, event: Any, expected: tuple[Any, ...]) -> None:
        machine = self.space.movers[node].machine(self.instances[node])
        state, effects = machine.step(self.states[node], event)
        self.states[node] = state
        self._add(
            records.Step(
                self.now, node, plain(event), tuple(plain(e) for e in effects), plain(state)
            )
        )
        awaited = iter(expected)
        for effect in effects:
            if not isinstance(effect, Observe):
                theirs = next(awaited, None)
                if theirs is None:  # it crashed before this
                    return
                self._same(node, shifted_effect(effect, -event.at), theirs)
            self._effect(node, effect)

    def _same(self, node: int, ours: Any, theirs: Any) -> None:
        """An effect in the protocol's numbers and in the explorer's, from now."""
        if hasattr(ours, "op") and type(ours) is type(theirs):
            self.ops[node][theirs.op] = ours.op
            ours = replace(ours, op=theirs.op)
        if _ahead(ours) != _ahead(theirs):
            raise InvariantViolation(f"the explorer saw {theirs!r}, the protocol did {ours!r}")

    def _effect(self, node: int, effect: Any) -> None:
        now = self.now
        match effect:
            case Acquire() | Renew() | Release():
                what, token = type(effect).__name__.lower(), getattr(effect, "token", 0)
                self._add(records.Request(now, node, effect.op, what, token))
            case Lead(token, deadlines) | Extend(token, deadlines):
                until = self.true(node, deadlines.hard_ns)
                self._add(records.Lead(now, node, token, until))
                if isinstance(effect, Lead):
                    self.work[node] = token
                    self._worked(node, "began")
            case StepDown(token, reason):
                self._add(records.StepDown(now, node, token, reason))
            case StopWork(token) if self.work[node] == token:
                self._worked(node, "stopping")
            case AbortWork(token) if self.work[node] == token:
                self._worked(node, "stopped")
            case Observe(Led(leader, token)):
                self._add(records.Follow(now, node, int(leader.removeprefix("n")), token))
            case Observe():
                self._add(records.Follow(now, node, None, 0))

    def _worked(self, node: int, what: Any, *, failed: bool = False) -> None:
        self._add(records.Work(self.now, node, self.work[node], what, failed))
        if what == "stopped":
            self.work[node] = 0

    def _crash(self, node: int, before: Local, move: Move) -> None:
        self._add(records.Crash(self.now, node))
        instance = self.instances[node]
        sent = [s.request.op for s in before.sent if s.instance == instance]
        sent += [effect.op for effect in move.done() if hasattr(effect, "op")]
        self.gone[node, instance] = sorted(self.ops[node][op] for op in sent)
        self.instances[node] = instance + 1
        self.ops[node], self.work[node] = {}, 0
        machine = self.space.movers[node].machine(instance + 1)
        self.states[node] = machine.initial()
        self._add(records.Boot(self.now, node, f"{name_of(node)}#{instance + 1}"))
        _, effects = machine.step(machine.initial(), Start(0))
        self._take(node, Start(self.shows(node)), effects)

    def wait_in_vain(self) -> None:
        """Nothing more goes wrong, the last lease runs out, and nobody leads."""
        for node in tuple(self.paused):
            self._wake(node)
        timing = self.space.scope.timing
        slowest = self.space.scope.gains["slow"]
        lease = -(-timing.ttl_ns // slowest) * self.space.scope.tick_ns
        self._add(records.Calm(self.now, timing.failover_bound_ns(), tuple(self.space.nodes)))
        self._add(records.End(self.now + 2 * lease + 2 * timing.failover_bound_ns()))

    # -- the comparison ------------------------------------------------------------------------

    def _renumber(self, node: int, renamed: tuple[int, ...]) -> None:
        ops = self.ops[node]
        self.ops[node] = {rank: ops[old] for rank, old in enumerate(renamed, start=1)}

    def _compare(self, node: int, move: Move) -> None:
        """The explorer's state must be the normal form of the one that is real."""
        real = shifted(self.states[node], -self.shows(node))
        alone = Local(self.instances[node], real)
        ours, theirs = (
            normal(alone, self.space.ttl, self.space.movers[node].back)[0].state,
            move.after.state,
        )
        if bool(ours.pending) != bool(theirs.pending) or _unnumbered(ours) != _unnumbered(theirs):
            raise InvariantViolation(f"the explorer has {theirs!r}, the protocol {ours!r}")


def _unnumbered(state: LeaseState) -> LeaseState:
    return replace(state, op=0, pending=0)


def _ahead(effect: Any) -> Any:
    """An effect; what lies in the past is now."""
    match effect:
        case SetTimer(name, earliest, latest):
            return SetTimer(name, max(0, earliest), max(0, latest))
        case Lead(_, deadlines) | Extend(_, deadlines):
            ahead = Deadlines(max(0, deadlines.soft_ns), max(0, deadlines.hard_ns))
            return replace(effect, deadlines=ahead)
    return effect
