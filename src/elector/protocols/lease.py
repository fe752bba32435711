"""The lease candidate: office held by a lease on a compare-and-set register.

Source
    Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed
    file cache consistency", SOSP 1989. The register with a rising epoch is what Chubby
    calls a sequencer (Burrows, OSDI 2006, section 2.4) and we call a fencing token.

Model
    One linearizable store, any number of candidates. Requests and replies may be lost,
    late or repeated; candidates may pause or crash at any instruction. Clock rates stay
    within the drift bound; clock offsets do not matter.

Laws
    1. A tenure's deadlines count from before its request was sent, never from the reply.
    2. An unknown outcome is neither success nor failure. An acquisition in doubt is asked
       again, and if it then turns out to be ours it counts from the earliest attempt that
       may have been the one.
    3. The work is told to stop at the soft deadline, and ended by force at the hard one.
    4. Release comes after the work has stopped, or not at all: never late, never early.
    5. A token that is not above every token seen before is refused: nobody leads.
    6. An office is kept only while the application is healthy.

The phases::

                 Start           Acquire               Granted
      RESTING ----------> ASKING <-------- WAITING      |
         ^                  |  Occupied, Failed, lost ^  |
         |                  +-------------------------+  v
         |   Released                 WorkStopped     LEADING
      RELEASING <--------------------------------------/ |  resign, soft deadline,
         ^                                               v  lost, stalled
         +------------------------------------------ STOPPING
                          WorkStopped                    |  hard deadline
                                                         v
      RESTING <------------ WorkStopped -------------- OVERRUN

    and from any of them, once the candidate holds nothing, Withdraw leads to CLOSED.

Cost
    Waiting: one request per lease duration. Leading: one renewal per renew period, which
    the runtime sends in one batch for all elections of a process. Takeover after a goodbye:
    one request. After a silent death: at most a ttl stretched by drift + jitter + three
    requests (`LeaseTiming.failover_bound_ns`).

Traps
    Counting from the reply (client-go, etcd's client), counting an ambiguous acquisition
    from the last attempt, treating an error as "nobody leads" (python-etcd3), releasing
    while the work still runs (pinniped#800), and keeping office for dead work.
"""

import enum
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    LeaveQueue,
    Observe,
    Refuse,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
    Withdrawn,
)
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
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.core.office import Deadlines, EndReason, Led, Observation, Unknown, Vacant
from elector.core.protocol import Requirements
from elector.core.timing import LeaseTiming

RETRY, RENEW, DEADLINE = "retry", "renew", "deadline"

_HANDOVER_PAUSE_NS = 100_000_000
_MAX_DOUBLINGS = 6


class Phase(enum.Enum):
    """Where the candidate stands; see the picture above."""

    RESTING = "resting"
    WAITING = "waiting"
    ASKING = "asking"
    LEADING = "leading"
    STOPPING = "stopping"
    OVERRUN = "overrun"
    RELEASING = "releasing"
    CLOSED = "closed"


_HOLDING = frozenset({Phase.LEADING, Phase.STOPPING, Phase.RELEASING})
_IDLE = frozenset({Phase.RESTING, Phase.WAITING, Phase.CLOSED})


class LeaseState(msgspec.Struct, frozen=True):
    """Everything a candidate remembers.

    Attributes:
        phase: where it stands.
        op: number of the last request.
        pending: number of the request in flight, 0 for none.
        sent_at: when the pending request was sent, at the latest (law 1).
        doubt_since: when the earliest acquisition of unknown outcome was sent (law 2).
        token: the fencing token of the current or last tenure, 0 before the first.
        newest: the highest token known to have been used by anyone (law 5).
        ours: the highest token ever granted to us; once led with or given back, it is spent.
        deadlines: of the current tenure.
        leave: why the work was told to stop; during an acquisition, why not to lead.
        heir: whom the office is to be kept for.
        renewing: whether the lease may still be prolonged.
        drain_until: until when a stopping tenure may still be renewed.
        rest_until: until when not to contend.
        failures: store failures in a row, for back-off.
        failed_works: tenures in a row whose work failed, for back-off.
        contending: the user wants us to stand.
        closing: the user wants us out.
        healthy: the application shows progress.
        again: a vacancy was announced while an acquisition was in flight.
        seen: what observers were last told.
    """

    phase: Phase = Phase.RESTING
    op: int = 0
    pending: int = 0
    sent_at: int = 0
    doubt_since: int | None = None
    token: int = 0
    newest: int = 0
    ours: int = 0
    deadlines: Deadlines = Deadlines(0, 0)
    leave: EndReason | None = None
    heir: str | None = None
    renewing: bool = True
    drain_until: int = 0
    rest_until: int = 0
    failures: int = 0
    failed_works: int = 0
    contending: bool = False
    closing: bool = False
    healthy: bool = True
    again: bool = False
    seen: Observation | None = None


Step = tuple[LeaseState, tuple[CandidateEffect, ...]]


class LeaseCandidate:
    """One candidate of one election, as a pure state machine.

    >>> candidate = LeaseCandidate(Candidate("a", "a#1"), LeaseTiming.of("15s"))
    >>> state, effects = candidate.step(candidate.initial(), Start(at=0))
    >>> effects
    (Acquire(op=1),)
    >>> state, effects = candidate.step(state, Granted(at=1_000, op=1, token=7))
    >>> effects[0]
    Lead(token=7, deadlines=Deadlines(soft_ns=11402970297, hard_ns=14402970297))
    """

    requires = Requirements(drift_bound=True, linearizable_store=True, rising_tokens=True)
    timeless = False

    def __init__(self, candidate: Candidate, timing: LeaseTiming) -> None:
        self.candidate = candidate
        self.timing = timing

    def initial(self) -> LeaseState:
        """The state of a candidate that has not been told to stand."""
        return LeaseState()

    def step(self, state: LeaseState, event: CandidateEvent) -> Step:
        """Take one event; see `elector.core.protocol.Protocol`.

        Whatever the event is, the clock it carries is looked at first: a pause shows
        itself as the next event being late.
        """
        late = state.phase in _HOLDING and event.at >= state.deadlines.hard_ns
        if not late or isinstance(event, WorkStopped):
            return self._dispatch(state, event)
        after, effects = self._past_hard_deadline(state, event.at)
        final, more = self._dispatch(after, event)
        return final, effects + more

    def _dispatch(self, state: LeaseState, event: CandidateEvent) -> Step:
        return self._HANDLERS[type(event)](self, state, event)

    # -- standing for office -----------------------------------------------------------

    def _start(self, state: LeaseState, event: Start) -> Step:
        if state.contending or state.closing:
            return state, ()
        return self._contend(replace(state, contending=True), event.at)

    def _desist(self, state: LeaseState, _event: Desist) -> Step:
        return self._unwilling(replace(state, contending=False))

    def _contend(self, state: LeaseState, at: int) -> Step:
        """Ask for the office if nothing speaks against it."""
        ready = state.contending and state.healthy and at >= state.rest_until
        if state.phase in {Phase.RESTING, Phase.WAITING} and ready:
            return self._ask(state, at)
        return state, ()

    @staticmethod
    def _unwilling(state: LeaseState) -> Step:
        """Nobody here would take the office: leave the queue to those who would."""
        if state.phase is not Phase.WAITING:
            return state, ()
        return replace(state, phase=Phase.RESTING), (LeaveQueue(),)

    def _ask(self, state: LeaseState, at: int) -> Step:
        op = state.op + 1
        asking = replace(
            state,
            phase=Phase.ASKING,
            op=op,
            pending=op,
            sent_at=at,
            leave=None,
            heir=None,
            again=False,
        )
        return asking, (Acquire(op),)

    def _granted(self, state: LeaseState, event: Granted) -> Step:
        if state.phase is not Phase.ASKING or event.op != state.pending:
            return self._stray_grant(state, event)
        since = state.sent_at if state.doubt_since is None else state.doubt_since
        held = replace(
            state,
            pending=0,
            token=event.token,
            deadlines=self.timing.deadlines(since),
            doubt_since=None,
            failures=0,
            renewing=True,
        )
        held = self._note_ours(held, event.token)
        unwanted = self._why_not_lead(held, event.at)
        if unwanted is None and event.token == state.ours:
            unwanted = EndReason.EXPIRED  # what is left of a tenure of ours that is over
        if unwanted is not None:
            return self._release(held, unwanted)
        if event.token <= state.newest:
            refused, effects = self._release(held, EndReason.LOST)
            return refused, (Refuse(event.token, state.newest), *effects)
        return self._lead(held, event.at, in_doubt=since != state.sent_at)

    def _why_not_lead(self, state: LeaseState, at: int) -> EndReason | None:
        if state.closing:
            return EndReason.SHUTDOWN
        if state.leave is not None:
            return state.leave
        if not state.contending:
            return EndReason.RESIGNED
        if not state.healthy:
            return EndReason.STALLED
        return EndReason.EXPIRED if at >= state.deadlines.soft_ns else None

    def _lead(self, state: LeaseState, at: int, *, in_doubt: bool) -> Step:
        """Begin the tenure; one that counts from a doubtful attempt is renewed at once."""
        state, observed = self._observe(
            replace(state, phase=Phase.LEADING), Led(self.candidate.name, state.token)
        )
        renewal = SetTimer(RENEW, at, at) if in_doubt else self._renewal_timer(state.sent_at)
        effects = (
            Lead(state.token, state.deadlines),
            renewal,
            SetTimer(DEADLINE, state.deadlines.soft_ns, state.deadlines.soft_ns),
        )
        return state, effects + observed

    def _stray_grant(self, state: LeaseState, event: Granted) -> Step:
        """A grant that we no longer wait for: give it back unless it may be our own."""
        if state.phase not in _IDLE:
            return state, ()
        op = state.op + 1
        given_back = self._note_ours(replace(state, op=op), event.token)
        return given_back, (Release(op, event.token, EndReason.LOST),)

    @staticmethod
    def _note_ours(state: LeaseState, token: int) -> LeaseState:
        return replace(state, newest=max(state.newest, token), ours=max(state.ours, token))

    def _occupied(self, state: LeaseState, event: Occupied) -> Step:
        if event.token > state.newest:  # also of a question that was given up: it was used
            state = replace(state, newest=event.token)
        if state.phase is not Phase.ASKING or event.op != state.pending:
            return state, ()
        known: Observation = Led(event.leader, event.token) if event.leader else Vacant()
        state, observed = self._observe(
            replace(state, phase=Phase.WAITING, pending=0, doubt_since=None, failures=0), known
        )
        after, effects = self._settle(state, event.at, event.retry_in_ns)
        return after, observed + effects

    def _settle(self, state: LeaseState, at: int, retry_in_ns: int | None) -> Step:
        """Without office and without a request in flight: wait, rest, ask again or close."""
        if state.closing:
            return self._close(state)
        if state.leave is not None:
            return self._rest(state, at, self.timing.cooldown_ns)
        if not (state.contending and state.healthy):
            return self._unwilling(state)
        if state.again:
            return self._ask(state, at)
        return state, (self._retry_timer(at, retry_in_ns),)

    def _retry_timer(self, at: int, retry_in_ns: int | None) -> SetTimer:
        earliest = at + (self.timing.ttl_ns // 2 if retry_in_ns is None else retry_in_ns)
        return SetTimer(RETRY, earliest, earliest + self.timing.jitter_ns)

    # -- holding office ----------------------------------------------------------------

    def _renewal_timer(self, sent_at: int) -> SetTimer:
        """A window, so that the renewals of one process meet in one batch."""
        period = self.timing.renew_period_ns
        return SetTimer(RENEW, sent_at + period - period // 5, sent_at + period)

    def _renewed(self, state: LeaseState, event: Renewed) -> Step:
        if event.op != state.pending or state.phase not in {Phase.LEADING, Phase.STOPPING}:
            return state, ()
        deadlines = self.timing.deadlines(state.sent_at)
        held = replace(state, pending=0, deadlines=deadlines, failures=0)
        ends = deadlines.soft_ns if state.phase is Phase.LEADING else deadlines.hard_ns
        return held, (
            Extend(state.token, deadlines),
            self._renewal_timer(state.sent_at),
            SetTimer(DEADLINE, ends, ends),
        )

    def _lost(self, state: LeaseState, event: Lost) -> Step:
        if event.op != state.pending or state.phase not in {Phase.LEADING, Phase.STOPPING}:
            return state, ()
        return self._superseded(state, event.at)

    def _superseded(self, state: LeaseState, at: int) -> Step:
        """The lease is not ours any more: stop, do not renew, do not release."""
        state, observed = self._doubt_own_office(replace(state, pending=0), at)
        if state.phase is Phase.LEADING:
            after, effects = self._stop(state, at, EndReason.LOST)
            return after, effects + observed
        return replace(state, leave=EndReason.LOST, renewing=False), observed

    def _doubt_own_office(
        self, state: LeaseState, at: int
    ) -> tuple[LeaseState, tuple[Observe, ...]]:
        """Do not let observers believe that we lead when we cannot vouch for it."""
        believed = isinstance(state.seen, Led) and state.seen.token == state.token
        return self._observe(state, Unknown(at)) if believed else (state, ())

    def _stop(self, state: LeaseState, at: int, reason: EndReason) -> Step:
        """Tell the work to stop, and keep the office while it does."""
        stopping = replace(
            state,
            phase=Phase.STOPPING,
            leave=reason,
            renewing=reason not in {EndReason.LOST, EndReason.STALLED},
            drain_until=at + self.timing.drain_limit_ns,
        )
        hard = state.deadlines.hard_ns
        return stopping, (StopWork(state.token, reason), SetTimer(DEADLINE, hard, hard))

    def _resign(self, state: LeaseState, event: Resign) -> Step:
        reason = EndReason.RESIGNED if event.heir is None else EndReason.TRANSFERRED
        if state.phase is Phase.LEADING:
            return self._stop(replace(state, heir=event.heir), event.at, reason)
        if state.phase is Phase.ASKING:
            return replace(state, leave=reason, heir=event.heir), ()
        return state, ()

    def _health(self, state: LeaseState, event: Health) -> Step:
        known = replace(state, healthy=event.healthy)
        if event.healthy:
            return self._contend(known, event.at) if state.phase is Phase.RESTING else (known, ())
        if state.phase is Phase.LEADING:
            return self._stop(known, event.at, EndReason.STALLED)
        if state.phase is Phase.STOPPING:
            return replace(known, renewing=False), ()
        return self._unwilling(known)

    def _work_stopped(self, state: LeaseState, event: WorkStopped) -> Step:
        if event.token != state.token:
            return state, ()
        if state.phase is Phase.OVERRUN:
            return self._after_tenure(state, event.at, state.leave or EndReason.EXPIRED)
        if state.phase is Phase.LEADING:
            reason = EndReason.FAILED if event.failed else EndReason.COMPLETED
        elif state.phase is Phase.STOPPING and state.leave is not None:
            reason = state.leave
        else:
            return state, ()
        down = StepDown(state.token, reason)
        if reason is EndReason.LOST or event.at >= state.deadlines.hard_ns:
            after, effects = self._lapsed(state, event.at, reason)
        else:
            after, effects = self._release(state, reason)
        return after, (down, *effects)

    def _lapsed(self, state: LeaseState, at: int, reason: EndReason) -> Step:
        """The tenure ended without a confirmed release: the lease runs out by itself."""
        state, observed = self._doubt_own_office(state, at)
        after, effects = self._after_tenure(state, at, reason)
        return after, observed + effects

    def _past_hard_deadline(self, state: LeaseState, at: int) -> Step:
        """Law 3, and law 4: a release that was not confirmed by now is not sent again."""
        if state.phase is Phase.RELEASING:
            return self._lapsed(state, at, state.leave or EndReason.EXPIRED)
        reason = state.leave or EndReason.EXPIRED
        told = () if state.phase is Phase.STOPPING else (StopWork(state.token, reason),)
        state, observed = self._observe(
            replace(state, phase=Phase.OVERRUN, leave=reason, renewing=False, pending=0),
            Unknown(at),
        )
        return state, (
            *told,
            AbortWork(state.token),
            StepDown(state.token, reason),
            *observed,
        )

    # -- leaving office ----------------------------------------------------------------

    def _release(self, state: LeaseState, reason: EndReason) -> Step:
        op = state.op + 1
        releasing = replace(
            state, phase=Phase.RELEASING, op=op, pending=op, leave=reason, renewing=False
        )
        return releasing, (Release(op, state.token, reason, state.heir),)

    def _released(self, state: LeaseState, event: Released) -> Step:
        if state.phase is not Phase.RELEASING or event.op != state.pending:
            return state, ()
        overtaken = isinstance(state.seen, Led) and state.seen.token > state.token
        state, observed = (state, ()) if overtaken else self._observe(state, Vacant())
        after, effects = self._after_tenure(state, event.at, state.leave or EndReason.COMPLETED)
        return after, observed + effects

    def _after_tenure(self, state: LeaseState, at: int, reason: EndReason) -> Step:
        failed_works = state.failed_works + 1 if reason is EndReason.FAILED else 0
        ended = replace(
            state, failed_works=failed_works, leave=None, heir=None, pending=0, failures=0
        )
        if state.closing:
            return self._close(ended)
        if reason is EndReason.FAILED:
            pause = self._backoff(failed_works)
        elif reason is EndReason.COMPLETED:
            pause = min(self.timing.retry_period_ns, _HANDOVER_PAUSE_NS)
        elif reason.involuntary:
            pause = self.timing.retry_period_ns
        else:
            pause = self.timing.cooldown_ns
        return self._rest(ended, at, pause)

    def _rest(self, state: LeaseState, at: int, pause: int) -> Step:
        """Do not contend for a while, so that others get their turn."""
        until = at + pause
        resting = replace(state, phase=Phase.RESTING, leave=None, rest_until=until, again=False)
        leave_queue = (LeaveQueue(),) if state.phase is Phase.WAITING else ()
        return resting, (*leave_queue, SetTimer(RETRY, until, until + self.timing.jitter_ns))

    def _withdraw(self, state: LeaseState, event: Withdraw) -> Step:
        closing = replace(state, closing=True)
        if state.phase is Phase.LEADING:
            return self._stop(closing, event.at, EndReason.SHUTDOWN)
        if state.phase in {Phase.RESTING, Phase.WAITING}:
            # In doubt we may hold the office: find out, and give it back.
            return (
                self._close(closing) if state.doubt_since is None else self._ask(closing, event.at)
            )
        return closing, ()

    def _close(self, state: LeaseState) -> Step:
        return replace(state, phase=Phase.CLOSED, pending=0), (LeaveQueue(), Withdrawn())

    # -- the store does not answer -------------------------------------------------------

    def _unanswered(self, state: LeaseState, event: Failed | OutcomeLost) -> Step:
        if event.op != state.pending:
            return state, ()
        failed = replace(state, pending=0, failures=state.failures + 1)
        if state.phase is Phase.ASKING:
            return self._acquisition_unanswered(failed, event)
        # Leading, stopping or releasing: try again until the deadline says otherwise.
        pause = self.timing.retry_period_ns
        if state.phase is Phase.RELEASING:
            return failed, (SetTimer(RETRY, event.at + pause // 2, event.at + pause),)
        if isinstance(event, Failed):
            return failed, (SetTimer(RENEW, event.at + pause // 2, event.at + pause),)
        # The timing budget counts a lost renewal as one request timeout, and no more.
        again = max(event.at, state.sent_at + self.timing.request_timeout_ns)
        return failed, (SetTimer(RENEW, again, again),)

    def _acquisition_unanswered(self, state: LeaseState, event: Failed | OutcomeLost) -> Step:
        if isinstance(event, OutcomeLost) and state.doubt_since is None:
            state = replace(state, doubt_since=state.sent_at)
            if state.closing:  # we may hold the office: ask once more, to give it back
                return self._ask(state, event.at)
        since = state.seen if isinstance(state.seen, Unknown) else Unknown(event.at)
        state, observed = self._observe(replace(state, phase=Phase.WAITING), since)
        after, effects = self._settle(
            replace(state, again=False), event.at, self._backoff(state.failures)
        )
        return after, observed + effects

    def _backoff(self, failures: int) -> int:
        doublings = min(failures - 1, _MAX_DOUBLINGS)
        return min(self.timing.retry_period_ns << doublings, self.timing.ttl_ns)

    # -- timers and news -----------------------------------------------------------------

    def _timer(self, state: LeaseState, event: TimerFired) -> Step:
        if event.name == RENEW:
            return self._renew_due(state, event.at)
        if event.name == DEADLINE:
            return self._deadline_due(state, event.at)
        if state.phase is Phase.RELEASING and state.pending == 0:
            return self._release(state, state.leave or EndReason.COMPLETED)
        if state.phase is Phase.RESTING and event.at < state.rest_until:
            return state, (SetTimer(RETRY, state.rest_until, state.rest_until),)
        return self._contend(state, event.at)

    def _renew_due(self, state: LeaseState, at: int) -> Step:
        holds = state.phase in {Phase.LEADING, Phase.STOPPING}
        drained = state.phase is Phase.STOPPING and at >= state.drain_until
        if not holds or drained or not state.renewing or state.pending:
            return state, ()
        op = state.op + 1
        return replace(state, op=op, pending=op, sent_at=at), (Renew(op, state.token),)

    def _deadline_due(self, state: LeaseState, at: int) -> Step:
        """The soft deadline; the hard one is seen by `step`. Early timers are set again."""
        if state.phase is Phase.LEADING and at >= state.deadlines.soft_ns:
            return self._stop(state, at, EndReason.EXPIRED)
        if state.phase in {Phase.LEADING, Phase.STOPPING}:
            leading = state.phase is Phase.LEADING
            ends = state.deadlines.soft_ns if leading else state.deadlines.hard_ns
            return state, (SetTimer(DEADLINE, ends, ends),)
        return state, ()

    def _changed(self, state: LeaseState, event: Changed) -> Step:
        if event.instance == self.candidate.instance:
            # An attempt that we hold for unanswered has won: ask, to make it ours.
            return self._contend(state, event.at) if state.phase is Phase.WAITING else (state, ())
        if state.phase not in {Phase.LEADING, Phase.STOPPING}:
            return self._news(state, event)
        gone = event.leader is None and event.token == state.token
        if event.token > state.token or gone:
            known = replace(state, newest=max(state.newest, event.token))
            return self._superseded(known, event.at)
        return state, ()

    def _news(self, state: LeaseState, event: Changed) -> Step:
        """Without office: remember who leads, and try for it if nobody does."""
        if event.token < state.newest:
            return state, ()  # late news, of a tenure before the last one we know of
        vacant = event.leader is None
        known: Observation = Led(event.leader, event.token) if event.leader else Vacant()
        state, observed = self._observe(
            replace(state, newest=max(state.newest, event.token)), known
        )
        if state.phase is Phase.ASKING:
            return replace(state, again=state.again or vacant), observed
        if state.phase is not Phase.WAITING:
            return state, observed
        if vacant and not event.retry_in_ns:
            asking, effects = self._contend(state, event.at)
            return asking, observed + effects
        return state, (*observed, self._retry_timer(event.at, event.retry_in_ns))

    @staticmethod
    def _observe(
        state: LeaseState, observation: Observation
    ) -> tuple[LeaseState, tuple[Observe, ...]]:
        if state.seen == observation:
            return state, ()
        return replace(state, seen=observation), (Observe(observation),)

    _HANDLERS: ClassVar[dict[type[CandidateEvent], Callable[[Any, LeaseState, Any], Step]]] = {
        Start: _start,
        Desist: _desist,
        Withdraw: _withdraw,
        Resign: _resign,
        TimerFired: _timer,
        Granted: _granted,
        Occupied: _occupied,
        Renewed: _renewed,
        Lost: _lost,
        Released: _released,
        Failed: _unanswered,
        OutcomeLost: _unanswered,
        Changed: _changed,
        WorkStopped: _work_stopped,
        Health: _health,
    }
