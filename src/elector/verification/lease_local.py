"""One candidate and all that is on its way from and to it, so that equal situations are equal.

Theory
    All clock values are kept as distances from now. That is sound because the protocol's
    step commutes with a shift of the clock: it compares clock values with ``event.at`` and
    with each other, and adds constants to them, nothing else. What lies so far back that every
    comparison with it has long been decided is moved up to that horizon.

    The numbers of requests are replaced by their ranks among those that are still in use: the
    protocol compares them for equality, and makes a new one by adding 1 to the highest.

    Both are tested with arbitrary states and events, and once more along each counterexample,
    which is walked again with the numbers and times that production would see.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from elector.core.effects import Extend, Lead, Observe, SetTimer
from elector.core.events import Changed, StoreEvent
from elector.core.office import Deadlines, Unknown
from elector.protocols.lease import LeaseState, Phase
from elector.verification.lease_register import Request


class Sent(NamedTuple):
    """A request on its way to the store.

    Attributes:
        instance: of the candidate, that sent it.
        request: itself.
        due: when its sender gives up; None if it is late: then it may arrive whenever.
    """

    instance: int
    request: Request
    due: int | None


class Local(NamedTuple):
    """A candidate, its timers, its work, and its messages; times are from now, own clock, ns.

    Attributes:
        instance: how often it has crashed.
        state: of the protocol.
        timers: name, earliest, latest.
        waits: for the replies to which requests, and until when.
        sent: requests that have not arrived.
        replies: that have not arrived; all dated 0.
        news: that have not arrived, in order, and whether they are late.
        work: the token of the work that runs, 0 if none does.
        told: until when the work will have returned, if it was told to; -1: it will not.
        returned: the work that has returned without the candidate knowing, and if it failed.
        office: how long its tenure lasts still, 0 outside.
        paused: it stands still.
        overslept: its tenure ended during a pause, and its work has not: nothing could stop it,
            and what it does when it wakes is for a guard to refuse.
        listens: it is told news.
    """

    instance: int
    state: LeaseState
    timers: tuple[tuple[str, int, int], ...] = ()
    waits: tuple[tuple[int, int], ...] = ()
    sent: tuple[Sent, ...] = ()
    replies: tuple[StoreEvent, ...] = ()
    news: tuple[tuple[bool, Changed], ...] = ()
    work: int = 0
    told: int | None = None
    returned: tuple[int, bool] | None = None
    office: int = 0
    paused: bool = False
    overslept: bool = False
    listens: bool = False

    def due(self) -> bool:
        """Whether something has to happen before time can go on."""
        if any(sent.instance != self.instance and sent.due == 0 for sent in self.sent):
            return True
        if self.paused:
            return False
        return (
            self.returned is not None
            or self.told == 0
            or any(latest == 0 for _, _, latest in self.timers)
            or any(due == 0 for _, due in self.waits)
            or any(not late for late, _ in self.news)
        )

    def corners(self) -> list[int]:
        """When something becomes due, possible or over."""
        found = [self.office, self.told or 0]
        found += [edge for _, *edges in self.timers for edge in edges]
        found += [due for _, due in self.waits]
        found += [sent.due or 0 for sent in self.sent]
        return [at for at in found if at > 0]


STUBBORN = -1
"""`Local.told` of work that will not return until it is aborted."""


def is_in(state: LeaseState, *phases: Phase) -> bool:
    """Whether a candidate is in one of these phases; by value, for a mutant has its own class."""
    return any(state.phase.value == phase.value for phase in phases)


def shifted(state: LeaseState, by: int) -> LeaseState:
    """A state as it would be had the clock shown `by` ns more all the time."""
    seen = Unknown(state.seen.since_ns + by) if isinstance(state.seen, Unknown) else state.seen
    return replace(
        state,
        sent_at=state.sent_at + by,
        doubt_since=None if state.doubt_since is None else state.doubt_since + by,
        deadlines=_moved(state.deadlines, by),
        drain_until=state.drain_until + by,
        rest_until=state.rest_until + by,
        seen=seen,
    )


def shifted_effect(effect: Any, by: int) -> Any:
    """An effect, likewise."""
    match effect:
        case SetTimer(name, earliest, latest):
            return SetTimer(name, earliest + by, latest + by)
        case Lead(token, deadlines):
            return Lead(token, _moved(deadlines, by))
        case Extend(token, deadlines):
            return Extend(token, _moved(deadlines, by))
        case Observe(Unknown(since)):
            return Observe(Unknown(since + by))
    return effect


def _moved(deadlines: Deadlines, by: int) -> Deadlines:
    return Deadlines(deadlines.soft_ns + by, deadlines.hard_ns + by)


def aged(local: Local, by: int, ttl: int, back: int = 0) -> Local:
    """A candidate when its clock has moved on by `by`, in normal form; else as in `normal`."""
    later = local._replace(
        state=shifted(local.state, -by),
        timers=tuple((name, early - by, late - by) for name, early, late in local.timers),
        waits=tuple((op, due - by) for op, due in local.waits),
        sent=tuple(s if s.due is None else s._replace(due=s.due - by) for s in local.sent),
        told=local.told if local.told in {None, STUBBORN} else max(0, (local.told or 0) - by),
        office=local.office - by,
        overslept=local.overslept or (local.paused and 0 < local.office <= by),
    )
    return normal(later, ttl, back)[0]


def normal(local: Local, ttl: int, back: int = 0) -> tuple[Local, tuple[int, ...]]:
    """The one form of all situations from which the same can happen.

    Args:
        local: a situation.
        ttl: of the lease.
        back: how far the candidate's clock may still go back, so that what is over may come
            again; 0 for a clock that does not.

    Returns:
        It, and what its requests of ranks 1, 2, ... were numbered before.
    """
    state = local.state
    live = {op for op, _ in local.waits} | {reply.op for reply in local.replies}
    live |= {s.request.op for s in local.sent if s.instance == local.instance}
    if state.pending:
        live.add(state.pending)
    old = tuple(sorted(live))
    rank = {op: number for number, op in enumerate(old, start=1)}
    return (
        local._replace(
            state=_state(state, rank, ttl, back),
            timers=tuple(sorted((n, max(0, e), max(0, late)) for n, e, late in local.timers)),
            waits=tuple(sorted((rank[op], max(0, due)) for op, due in local.waits)),
            sent=_sent(local, rank),
            replies=tuple(
                sorted((replace(r, op=rank[r.op]) for r in local.replies), key=lambda r: r.op)
            ),
            office=max(0, local.office),
            overslept=local.overslept and local.work > 0,
        ),
        old,
    )


def _state(state: LeaseState, rank: dict[int, int], ttl: int, back: int) -> LeaseState:
    """What the protocol remembers: what cannot matter any more is forgotten.

    - a deadline or a rest that is over is over now;
    - of an attempt as old as a ttl nothing is left, however old it is;
    - `sent_at` means something only while a request other than a release is pending, the soft
      deadline only to a leader, the hard one only to one who holds office;
    - what observers were told changes nothing but what they are told next.
    """
    doubt, deadlines = state.doubt_since, state.deadlines
    asks = state.pending and not is_in(state, Phase.RELEASING)
    holds = is_in(state, Phase.LEADING, Phase.STOPPING, Phase.RELEASING)
    return replace(
        state,
        op=len(rank),
        pending=rank.get(state.pending, 0),
        sent_at=max(-ttl - back, state.sent_at) if asks else 0,
        doubt_since=None if doubt is None else max(-ttl - back, doubt),
        deadlines=Deadlines(
            max(-back, deadlines.soft_ns) if is_in(state, Phase.LEADING) else 0,
            max(-back, deadlines.hard_ns) if holds else 0,
        ),
        drain_until=max(-back, state.drain_until) if is_in(state, Phase.STOPPING) else 0,
        rest_until=max(-back, state.rest_until),
        seen=None,
    )


def _sent(local: Local, rank: dict[int, int]) -> tuple[Sent, ...]:
    """Requests in the order they were sent; those of former instances are numbered apart."""
    gone: dict[int, list[int]] = {}
    for sent in local.sent:
        if sent.instance != local.instance:
            gone.setdefault(sent.instance, []).append(sent.request.op)
    ranks = {
        instance: {op: n for n, op in enumerate(sorted(ops), start=1)}
        for instance, ops in gone.items()
    }
    ranks[local.instance] = rank
    found = (
        Sent(
            s.instance,
            _plainer(s.request, ranks[s.instance][s.request.op]),
            None if s.due is None else max(0, s.due),
        )
        for s in local.sent
    )
    return tuple(sorted(found, key=lambda s: (s.instance, s.request.op)))


def _plainer(request: Any, op: int) -> Any:
    return replace(request, op=op)


def without(items: Iterable[Any], item: Any) -> tuple[Any, ...]:
    """A tuple without its first such item."""
    rest = list(items)
    rest.remove(item)
    return tuple(rest)
