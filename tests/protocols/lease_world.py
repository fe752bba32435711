"""A little world for lease candidates: clocks that drift, a store, and everything that fails.

It is a discrete-event simulation on true time, which no candidate can see. Whatever is left
to chance is drawn from one `random.Random`: Hypothesis gives one that it can shrink, the
mutant tests give one with a seed. After each step the candidate is judged by
`CandidateLaws`, and all together by the law that no law of one candidate can express: their
tenures never overlap on true time.
"""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

import msgspec

from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    LeaveQueue,
    Refuse,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
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
from elector.core.timing import LeaseTiming
from elector.protocols.lease import Phase
from tests.protocols.laws import CandidateLaws, LawBroken
from tests.protocols.lease_store import Clock, Store, StoreKind
from tests.protocols.transcript import CLEAN, Build, say_effect, say_event, say_time

MS = 1_000_000
S = 1000 * MS
_REMEMBERED_LINES = 150

# How a request fares, and the moods of a link: what it draws from.
PROMPT, SLOW, REFUSED = "prompt", "slow", "refused"
LOST_BEFORE, LOST_AFTER = "lost before", "lost after"
LATE_REPLY, LATE_REQUEST, TWICE = "late reply", "late request", "twice"
JUST_IN_TIME = "just in time"
LINKS = {
    "fine": (PROMPT,),
    "slow": (PROMPT, SLOW, LATE_REPLY, LATE_REQUEST, TWICE),
    "deaf": (PROMPT, LOST_AFTER, LOST_AFTER, LATE_REPLY),
    "mute": (PROMPT, LOST_BEFORE, LOST_BEFORE, REFUSED),
    "slowest": (JUST_IN_TIME,),
    "down": (REFUSED, LOST_BEFORE, LOST_BEFORE),
    "bad": (PROMPT, SLOW, REFUSED, LOST_BEFORE, LOST_AFTER, LATE_REPLY, LATE_REQUEST, TWICE),
}
# For whole lives, not as an accident: requests overtake each other all the time.
_MOODS = LINKS | {"late": (PROMPT, LATE_REPLY, LATE_REQUEST)}
WATCHES = {
    "fine": (PROMPT,),
    "blind": (LOST_AFTER,),
    "bad": (PROMPT, LOST_AFTER, LATE_REPLY, TWICE),
}
WORKS = {"obedient": 50 * MS, "slow": 3 * S, "stubborn": 40 * S, "deaf": None}
TIMERS = {"fine": (PROMPT,), "bad": (PROMPT, PROMPT, LATE_REPLY, "early")}


class Node:
    """One candidate with its process, its clock, its links and its work."""

    def __init__(self, name: str, instance: int, clock: Clock, build: Build, timing: LeaseTiming):
        self.who = Candidate(name, f"{name}#{instance}")
        self.clock = clock
        self.machine = build.candidate(self.who, timing)
        self.state = self.machine.initial()
        self.laws = CandidateLaws(timing, self.who.instance)
        self.link = self.watching = self.timers_mood = "fine"
        self.work_mood = "obedient"
        self.alive = True
        self.fuse: int | None = None  # after so many effects the process is killed
        self.paused_until = 0
        self.timers: dict[str, int] = {}
        self.unanswered: set[int] = set()
        self.applied_at = 0
        self.listens = True
        self.work: int | None = None  # token of the work that runs
        self.office_ends: int | None = None  # true time; None when not in office

    @property
    def wanted(self) -> bool:
        """Whether this candidate could and should lead some day."""
        return self.alive and self.laws.standing and not self.laws.closing and self.laws.healthy


Reply = Callable[[int], CandidateEvent]


class World:
    """Everything, on true time."""

    def __init__(
        self,
        random: Random,
        *,
        candidates: int = 3,
        kind: StoreKind | None = None,
        build: Build = CLEAN,
        drift_ppm: int | None = None,
        judges_each: bool = True,
        **settings: str,
    ) -> None:
        # No margin: it is for what the arithmetic does not model, and here there is none.
        given = {"ttl": "15s", "margin": "0s"} | settings
        self.timing = build.timing.of(**given)  # type: ignore[arg-type] # only texts are given
        self.random = random
        self.build = build
        self.judges_each = judges_each
        self.drift_ppm = self.timing.drift_ppm if drift_ppm is None else drift_ppm
        self.now = 0
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.scheduled = 0
        self.transcript: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        self.tokens_led = [0]
        self.births = 0
        self.broken = False
        self.met: set[type[CandidateEffect] | Phase] = set()
        self.store = Store(StoreKind() if kind is None else kind, self._clock(), self.timing.ttl_ns)
        self.nodes = [self._born(name) for name in "abc"[:candidates]]

    def _clock(self) -> Clock:
        drift = self.drift_ppm
        return Clock(self.random.choice((0, 7, 10**15)), self.random.choice((0, drift, -drift)))

    def _born(self, name: str) -> Node:
        self.births += 1
        node = Node(name, self.births, self._clock(), self.build, self.timing)
        self.after(0, lambda: self.tell(node, Start))
        return node

    # -- the course of time --------------------------------------------------------------

    def after(self, delay: int, act: Callable[[], None]) -> None:
        """Do something later; what is due at one time happens in the order it was asked."""
        self.scheduled += 1
        heapq.heappush(self.agenda, (self.now + max(0, delay), self.scheduled, act))

    def run(self, duration: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; stop early, and return True, when `until` holds."""
        end = self.now + duration
        while not until():
            if not self.agenda or self.agenda[0][0] > end:
                self.now = end
                return until()
            self.now, _, act = heapq.heappop(self.agenda)
            act()
        return True

    def tell(self, node: Node, event: Callable[[int], CandidateEvent]) -> None:
        """Give an event to a candidate, now or when its process is not paused any more."""
        if not node.alive:
            return
        if self.now < node.paused_until:
            shuffled = self.random.randrange(3) * MS
            self.after(node.paused_until - self.now + shuffled, lambda: self.tell(node, event))
            return
        self._step(node, event(node.clock.shows(self.now)))

    def _step(self, node: Node, event: CandidateEvent) -> None:
        self._note(f"> {node.who.name} {say_event(event, node.clock.offset)}")
        node.state, effects = node.machine.step(node.state, event)
        self.met |= {node.state.phase, *map(type, effects)}
        for effect in effects:
            self._note(f"    {say_effect(effect, node.clock.offset)}")
        self._note(f"    = {node.state.phase.value}")
        try:
            hash(node.state)
            self._judge(node, event, effects)
            for effect in effects:
                if node.fuse is not None:
                    node.fuse -= 1
                    if node.fuse < 0:
                        self.crash(node)
                        return
                self._perform(node, effect)
        except LawBroken as broken:
            self.broken = True
            raise LawBroken(f"{broken}\n" + "\n".join(self.transcript)) from None

    def _judge(
        self, node: Node, event: CandidateEvent, effects: tuple[CandidateEffect, ...]
    ) -> None:
        try:
            node.laws.watch(event, effects)
        except LawBroken:
            if self.judges_each:
                raise

    def _note(self, line: str) -> None:
        if line.startswith(">"):
            line = f"{say_time(self.now)} {line}"
        self.transcript.append(line)

    # -- effects -------------------------------------------------------------------------

    def _perform(self, node: Node, effect: CandidateEffect) -> None:
        match effect:
            case Acquire() | Renew() | Release():
                if isinstance(effect, Acquire):
                    node.listens = True
                self._send(node, effect)
            case SetTimer():
                self._set_timer(node, effect)
            case Lead() | Extend():
                self._in_office(node, effect)
            case StepDown():
                node.office_ends = None
            case StopWork():
                self._stop_work(node, WORKS[node.work_mood])
            case AbortWork():
                self._stop_work(node, 500 * MS)
            case LeaveQueue():
                node.listens = False
            case Refuse():
                raise LawBroken("blamed the store, which did nothing wrong")
            case _:
                pass

    def _in_office(self, node: Node, effect: Lead | Extend) -> None:
        """LeaseDisjoint: a tenure lasts until the step down or the hard deadline."""
        for other in self.nodes:
            ends = other.office_ends
            if other is not node and ends is not None and self.now < ends:
                raise LawBroken(
                    f"two lead: {node.who.name} at {say_time(self.now)}, while "
                    f"{other.who.name} is in office until {say_time(ends)}"
                )
        if isinstance(effect, Lead):
            if effect.token <= self.tokens_led[-1]:
                raise LawBroken(f"token {effect.token} was led after {self.tokens_led[-1]}")
            self.tokens_led.append(effect.token)
            node.work = effect.token
        node.office_ends = node.clock.true(effect.deadlines.hard_ns)

    def _stop_work(self, node: Node, longest: int | None) -> None:
        token = node.work
        if longest is not None:
            self.after(self.random.randint(0, longest), lambda: self.finish(node, token))

    def finish(self, node: Node, token: int | None, *, failed: bool = False) -> None:
        """The work returns, by itself or because it was told to."""
        if token is not None and node.work == token:
            node.work = None
            self.tell(node, lambda at: WorkStopped(at, token, failed))

    def _set_timer(self, node: Node, timer: SetTimer) -> None:
        self.scheduled += 1
        mine = node.timers[timer.name] = self.scheduled
        shown = self.random.choice((timer.earliest, timer.latest))
        due = node.clock.true(shown) - self.now
        fate = self.random.choice(TIMERS[node.timers_mood])
        if fate == "early":
            due = max(due - 5 * MS, MS)
        elif fate == LATE_REPLY:
            due += self.random.randint(0, 3 * S)

        def fire() -> None:
            if node.timers.get(timer.name) == mine:
                self.tell(node, lambda at: TimerFired(at, timer.name))

        self.after(due, fire)

    # -- the store and the way to it -----------------------------------------------------

    def _send(self, node: Node, request: Acquire | Renew | Release) -> None:
        node.unanswered.add(request.op)
        fate = self.random.choice(_MOODS[node.link])
        if fate == REFUSED:
            self.after(
                MS, lambda: self._answer(node, request.op, lambda at: Failed(at, request.op))
            )
            return
        timeout = self.timing.request_timeout_ns
        there, back = MS, MS
        if fate in {SLOW, TWICE}:
            there = self.random.randint(0, timeout // 2)
            back = self.random.randint(0, timeout - there)
        elif fate == JUST_IN_TIME:
            there = back = timeout // 2 - MS
        elif fate == LATE_REPLY:
            back = timeout + self.random.randint(0, 2 * self.timing.ttl_ns)
        elif fate == LATE_REQUEST:
            there = timeout + self.random.randint(0, 2 * self.timing.ttl_ns)
        if fate != LOST_BEFORE:
            replies = {LOST_AFTER: 0, TWICE: 2}.get(fate, 1)
            self._arrive(node, request, there, [back * (n + 1) for n in range(replies)])
        self.after(
            timeout, lambda: self._answer(node, request.op, lambda at: OutcomeLost(at, request.op))
        )

    def _arrive(
        self, node: Node, request: Acquire | Renew | Release, there: int, back: list[int]
    ) -> None:
        if self.store.kind.ordered:
            # A request that is late holds up those behind it.
            node.applied_at = max(node.applied_at, self.now + there)
            there = node.applied_at - self.now

        def apply() -> None:
            reply = self._apply(node.who, request)
            for delay in back:
                self.after(delay, lambda: self._reply(node, request.op, reply))

        self.after(there, apply)

    def _apply(self, who: Candidate, request: Acquire | Renew | Release) -> Reply:
        store, op = self.store, request.op
        now = store.clock.shows(self.now)
        before = (store.holder, store.token, store.held(now))
        reply: Reply
        match request:
            case Acquire():
                found = store.acquire(who, now)
                if isinstance(found, int):
                    token = found
                    reply = lambda at: Granted(at, op, token)  # noqa: E731 - one of four shapes
                else:
                    leader, hint = found
                    last = store.token
                    reply = lambda at: Occupied(at, op, leader, last, hint)  # noqa: E731 - the same
            case Renew(_, token):
                kept = store.renew(who, token, now)
                reply = lambda at: Renewed(at, op) if kept else Lost(at, op)  # noqa: E731 - the same
            case Release(_, token, _, heir):
                store.release(who, token, heir, now)
                reply = lambda at: Released(at, op)  # noqa: E731 - the same
        self._note(f"{say_time(self.now)} store: {who.name} {say_effect(request)}")
        if before != (store.holder, store.token, store.held(now)):
            self._announce()
        self._expect_expiry()
        return reply

    def _expect_expiry(self) -> None:
        store = self.store
        if store.kind.announces and store.held(store.clock.shows(self.now)):
            ends, token = store.expires, store.token

            def expired() -> None:
                if (store.expires, store.token) == (ends, token) and store.holder is not None:
                    self._announce()

            self.after(store.clock.true(ends) - self.now, expired)

    def _announce(self) -> None:
        change = self.store.change(0, self.store.clock.shows(self.now))
        for node in self.nodes:
            if not node.listens:
                continue
            fate = self.random.choice(WATCHES[node.watching])
            delay = MS
            if fate == LATE_REPLY:
                delay = self.random.randint(0, self.timing.ttl_ns)
            for copy in range({LOST_AFTER: 0, TWICE: 2}.get(fate, 1)):
                self.after(delay * (1 + 3 * copy), self._telling(node, change))

    def _telling(self, node: Node, change: Changed) -> Callable[[], None]:
        return lambda: self.tell(node, lambda at: msgspec.structs.replace(change, at=at))

    def _answer(self, node: Node, op: int, event: Callable[[int], CandidateEvent]) -> None:
        """The candidate's own side gives up waiting, unless there was an answer."""

        def unless_answered(at: int) -> CandidateEvent:
            node.unanswered.discard(op)
            return event(at)

        if op in node.unanswered:
            self.tell(node, unless_answered)

    def _reply(self, node: Node, op: int, reply: Reply) -> None:
        """A reply comes in, perhaps after we gave up waiting for it, perhaps once more."""
        node.unanswered.discard(op)
        self.tell(node, reply)

    # -- what may befall a candidate -------------------------------------------------------

    def resign(self, node: Node, heir: str | None = None) -> None:
        self.tell(node, lambda at: Resign(at, heir))

    def stand(self, node: Node, *, wanted: bool) -> None:
        self.tell(node, Start if wanted else Desist)

    def withdraw(self, node: Node) -> None:
        self.tell(node, Withdraw)

    def health(self, node: Node, *, healthy: bool) -> None:
        self.tell(node, lambda at: Health(at, healthy))

    def pause(self, node: Node, duration: int) -> None:
        node.paused_until = max(node.paused_until, self.now + duration)

    def kill(self, node: Node) -> None:
        """End the process and its work, without a word to anybody."""
        self._note(f"{say_time(self.now)} {node.who.name} is killed")
        node.alive = False
        node.office_ends = None

    def crash(self, node: Node) -> None:
        """Kill the process; another is started in its place."""
        self.kill(node)
        self.nodes[self.nodes.index(node)] = self._born(node.who.name)

    # -- at the end ------------------------------------------------------------------------

    def heal(self) -> None:
        """Everything works again, and who had lost its health finds it."""
        for node in self.nodes:
            node.link = node.watching = node.timers_mood = "fine"
            node.work_mood = "obedient"
            node.paused_until, node.fuse = self.now, None
            if not node.laws.healthy:
                self.health(node, healthy=True)
            told = node.laws.tenure is not None and node.laws.tenure.told
            if node.work is not None and told:
                self._stop_work(node, 50 * MS)

    def somebody_leads(self) -> bool:
        """Whether somebody leads, with the store's consent."""
        store = self.store
        held = store.held(store.clock.shows(self.now))
        return held and any(
            node.who == store.holder and node.work == store.token for node in self.nodes
        )

    def must_elect(self) -> None:
        """Liveness: once everything works, somebody leads before long.

        Raises:
            LawBroken: nobody does.
        """
        self.heal()
        bound = self.timing.failover_bound_ns() + self.timing.cooldown_ns
        # What was under way when the faults ended: a lease, requests, pauses after failures.
        slack = 5 * self.timing.ttl_ns
        elected = self.run(bound + slack, self.somebody_leads)
        if not elected and any(node.wanted for node in self.nodes):
            raise LawBroken("nobody leads, though nothing is in the way\n" + self.told())

    def told(self) -> str:
        """The last lines of what happened."""
        return "\n".join(self.transcript)
