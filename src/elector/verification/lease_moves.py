"""What one candidate can do next, and what it costs: steps of the protocol, and faults.

Theory
    A step is taken at once: all its effects, or, if the process crashes during it, the first k
    of them. A paused candidate does nothing, while its clock runs and its messages move; what
    it does first when it goes on is the move with which its pause ends, so that a pause shows
    itself to the protocol as the next event being late.

    Something due stops the time: a timer at its latest, a request without an answer, work that
    has to return. So whatever may happen at one instant is tried in every order.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from elector.core.effects import (
    AbortWork,
    Acquire,
    Extend,
    Lead,
    LeaveQueue,
    Observe,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
)
from elector.core.events import (
    Changed,
    Failed,
    Health,
    OutcomeLost,
    Resign,
    Start,
    StoreEvent,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.protocols.lease import LeaseCandidate, Phase
from elector.verification.lease_local import STUBBORN, Local, Sent, is_in, normal, shifted, without
from elector.verification.lease_register import name_of
from elector.verification.lease_scope import Budgets, LeaseScope, MakeCandidate

BUDGETS = Budgets.__struct_fields__
FREE = (0,) * len(BUDGETS)


LEADS = (Lead, Extend)
"""The effects by which a candidate says that it leads."""


def cost(**spent: int) -> tuple[int, ...]:
    """What a move takes from the budgets."""
    return tuple(spent.get(name, 0) for name in BUDGETS)


LOST, LOST_AND_LATE, LATE = cost(lost=1), cost(lost=1, late=1), cost(late=1)
PAUSE, CRASH, WISH, STEP_BACK = cost(pauses=1), cost(crashes=1), cost(wishes=1), cost(steps=1)
FORGET = cost(forgets=1)


class Move(NamedTuple):
    """One thing that a candidate can do, or that can befall it.

    Attributes:
        what: for people: ``step``, ``pause``, ``crash`` and so on.
        after: the candidate then, in normal form.
        renamed: what its requests of ranks 1, 2, ... were numbered before.
        spent: of the budgets.
        event: what it is told, dated 0; None if nothing.
        effects: what it asks for, but for what observers are told: the explorer does not
            remember what they know.
        kept: how many of them are carried out before it crashes; None if it does not.
        resumes: a pause ends with it.
        sent: the request of a former instance that is dropped.
    """

    what: str
    after: Local
    renamed: tuple[int, ...]
    spent: tuple[int, ...] = FREE
    event: Any = None
    effects: tuple[Any, ...] = ()
    kept: int | None = None
    resumes: bool = False
    sent: Sent | None = None

    def done(self) -> tuple[Any, ...]:
        """The effects that are carried out."""
        return self.effects[: self.kept]


class Mover:
    """All moves of the candidate of one number.

    Args:
        number: its number.
        scope: what is explored.
        build: makes the candidate.

    Attributes:
        back: how far its clock may go back, in all.
    """

    def __init__(self, number: int, scope: LeaseScope, build: MakeCandidate) -> None:
        self.number = number
        self.scope = scope
        self.build = build
        self.timing = scope.timing
        self.back = scope.budgets.steps * (scope.timing.ttl_ns // 2)
        self._machines: dict[int, LeaseCandidate] = {}

    def machine(self, instance: int) -> LeaseCandidate:
        """The candidate after so many crashes."""
        if instance not in self._machines:
            name = name_of(self.number)
            who = Candidate(name, f"{name}#{instance}")
            self._machines[instance] = self.build(who, self.timing)
        return self._machines[instance]

    def first(self) -> Move:
        """It is told to stand for the first time."""
        *_, whole = self._told("step", Local(0, self.machine(0).initial()), Start(0))
        return whole

    def moves(self, local: Local) -> Iterator[Move]:
        """Everything it can do now."""
        yield from self._messages(local)
        if not local.paused:
            yield from self._events(local)
            yield from self._wishes(local)
            yield from self._faults(local)
            return
        awake = local._replace(paused=False)
        if not awake.due():
            yield self._move("resume", awake, resumes=True)
        for move in self._events(awake):
            yield move._replace(resumes=True)

    # -- events ----------------------------------------------------------------------------

    def _events(self, local: Local) -> Iterator[Move]:
        """What it can be told."""
        for timer in local.timers:
            name, earliest, _ = timer
            if earliest == 0:
                rest = local._replace(timers=without(local.timers, timer))
                yield from self._told("step", rest, TimerFired(0, name))
        for reply in local.replies:
            yield from self._told("answer", _answered(local, reply), reply)
        for op, due in local.waits:
            if due == 0:
                yield from self._unanswered(local, op)
        for late, news in local.news:
            rest = local._replace(news=without(local.news, (late, news)))
            yield from self._told("step", rest, news)
            if not late:
                break
        if local.returned is not None:
            token, failed = local.returned
            rest = local._replace(returned=None)
            yield from self._told("step", rest, WorkStopped(0, token, failed))
        if local.work and local.told is not None and local.told != STUBBORN:
            yield from self._returns(local, failed=False)

    def _returns(self, local: Local, *, failed: bool, **spent: int) -> Iterator[Move]:
        rest = local._replace(work=0, told=None)
        event = WorkStopped(0, local.work, failed)
        yield from self._told("returns", rest, event, cost(**spent))

    def _unanswered(self, local: Local, op: int) -> Iterator[Move]:
        """It gives up waiting: what is under way is lost, or late."""
        waits = tuple(wait for wait in local.waits if wait[0] != op)
        mine = [s for s in local.sent if s.instance == local.instance and s.request.op == op]
        replies = tuple(reply for reply in local.replies if reply.op != op)
        rest = local._replace(waits=waits)
        event = OutcomeLost(0, op)
        sent = tuple(s for s in local.sent if s not in mine)
        yield from self._told("answer", rest._replace(sent=sent, replies=replies), event, LOST)
        if self.scope.budgets.late:
            late = tuple(s._replace(due=None) if s in mine else s for s in local.sent)
            yield from self._told("answer", rest._replace(sent=late), event, LOST_AND_LATE)

    def _wishes(self, local: Local) -> Iterator[Move]:
        """What users want, and what their work does by itself."""
        if not local.state.healthy:
            yield from self._told("step", local, Health(0, healthy=True))
        if not self.scope.budgets.wishes:
            return
        for wish in self.scope.wishes:
            if wish in {"resign", "transfer"} and is_in(local.state, Phase.LEADING, Phase.ASKING):
                for heir in self._heirs() if wish == "transfer" else (None,):
                    yield from self._told("step", local, Resign(0, heir), WISH)
            elif wish == "withdraw" and not local.state.closing:
                yield from self._told("step", local, Withdraw(0), WISH)
            elif wish == "stall" and local.state.healthy:
                yield from self._told("step", local, Health(0, healthy=False), WISH)
            elif wish in {"finish", "fail"} and local.work and local.told is None:
                yield from self._returns(local, failed=wish == "fail", wishes=1)
            elif wish == "stubborn" and local.work and local.told not in {None, STUBBORN}:
                yield self._move("stubborn", local._replace(told=STUBBORN), WISH)

    def _heirs(self) -> list[str]:
        return [name_of(n) for n in range(self.scope.candidates) if n != self.number]

    # -- steps -----------------------------------------------------------------------------

    def _told(
        self, what: str, local: Local, event: Any, spent: tuple[int, ...] = FREE
    ) -> Iterator[Move]:
        """A step, and the crashes during it."""
        state, effects = self.machine(local.instance).step(local.state, event)
        effects = tuple(effect for effect in effects if not isinstance(effect, Observe))
        after = local._replace(state=state)
        crashes = self.scope.budgets.crashes
        for kept, effect in enumerate(effects, start=1):
            after = self._perform(after, effect, event)
            if crashes and kept < len(effects):
                fallen, renamed = self._restarted(after)
                paid = tuple(map(sum, zip(spent, CRASH, strict=True)))
                yield Move(what, fallen, renamed, paid, event, effects, kept)
        yield self._move(what, after, spent)._replace(event=event, effects=effects)

    def _move(
        self, what: str, after: Local, spent: tuple[int, ...] = FREE, *, resumes: bool = False
    ) -> Move:
        return Move(what, *normal(after, self.timing.ttl_ns, self.back), spent, resumes=resumes)

    def _perform(self, local: Local, effect: Any, event: Any) -> Local:
        changed: dict[str, Any] = {}
        match effect:
            case SetTimer(name, earliest, latest):
                if latest <= 0 and isinstance(event, TimerFired) and event.name == name:
                    earliest = latest = 1  # a clock moves between two firings of one timer
                others = tuple(timer for timer in local.timers if timer[0] != name)
                changed = {"timers": (*others, (name, earliest, latest))}
            case Acquire(op) | Renew(op) | Release(op):
                due = self.timing.request_timeout_ns
                changed = {
                    "listens": local.listens or isinstance(effect, Acquire),
                    "sent": (*local.sent, Sent(local.instance, effect, due)),
                    "waits": (*local.waits, (op, due)),
                }
            case Lead(token, deadlines):
                changed = {"work": token, "told": None}
                changed |= {"office": deadlines.hard_ns, "overslept": False}
            case Extend(_, deadlines):
                changed = {"office": deadlines.hard_ns, "overslept": False}
            case StepDown():
                changed = {"office": 0}
            case StopWork(token) if local.work == token and local.told is None:
                changed = {"told": self.timing.stop_grace_ns}
            case AbortWork(token) if local.work == token:
                changed = {"work": 0, "told": None, "returned": (token, False)}
            case LeaveQueue():
                changed = {"listens": False}
        return local._replace(**changed)

    # -- faults ----------------------------------------------------------------------------

    def _faults(self, local: Local) -> Iterator[Move]:
        budgets = self.scope.budgets
        if budgets.pauses:
            yield self._move("pause", local._replace(paused=True), PAUSE)
        if budgets.crashes:
            yield Move("crash", *self._restarted(local), CRASH)
        if budgets.steps:
            back = shifted(local.state, self.timing.ttl_ns // 2)
            yield self._move("step back", local._replace(state=back), STEP_BACK)

    def _restarted(self, local: Local) -> tuple[Local, tuple[int, ...]]:
        """Killed, and a new instance told to stand; what was sent is still under way."""
        instance = local.instance + 1
        born = Local(instance, self.machine(instance).initial(), sent=local.sent)
        state, effects = self.machine(instance).step(born.state, Start(0))
        after = born._replace(state=state)
        for effect in effects:
            after = self._perform(after, effect, Start(0))
        return normal(after, self.timing.ttl_ns, self.back)

    def _messages(self, local: Local) -> Iterator[Move]:
        """What may become of messages without the candidate's doing."""
        for sent in local.sent:
            rest = without(local.sent, sent)
            if sent.due is None:
                continue
            if sent.instance != local.instance:
                if sent.due == 0:  # who sent it is gone: nobody misses it
                    yield self._move("drop", local._replace(sent=rest))._replace(sent=sent)
                    if self.scope.budgets.late:
                        late = (*rest, sent._replace(due=None))
                        yield self._move("late", local._replace(sent=late), LATE)
            elif self.scope.budgets.lost:
                refusal: tuple[StoreEvent, ...] = (*local.replies, Failed(0, sent.request.op))
                refused = local._replace(sent=rest, replies=refusal)
                yield self._move("refuse", refused, LOST)

    def notified(self, local: Local, news: Changed) -> list[tuple[tuple[int, ...], Local]]:
        """What news can become: they come in at once, get lost, or come in whenever."""
        if not local.listens:
            return [(FREE, local)]
        ways = [(FREE, local._replace(news=(*local.news, (False, news))))]
        if self.scope.budgets.lost:
            ways.append((LOST, local))
        if self.scope.budgets.late:
            ways.append((LATE, local._replace(news=(*local.news, (True, news)))))
        return ways


def _answered(local: Local, reply: StoreEvent) -> Local:
    return local._replace(
        replies=without(local.replies, reply),
        waits=tuple(wait for wait in local.waits if wait[0] != reply.op),
    )
