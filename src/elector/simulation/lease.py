"""A world of lease candidates: their store, the way to it, their work, and everything that fails.

The candidates are the production protocol, unchanged. What is judged is told in records; the
world itself judges nothing.
"""

from collections.abc import Callable

import msgspec

from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
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
from elector.core.office import Led, Observation
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.simulation.chance import Chance
from elector.simulation.clock import Clock
from elector.simulation.faults import MS, STORE, Faults, Trouble
from elector.simulation.store import Refusal, Register, model_named
from elector.simulation.world import Deed, Watcher, World
from elector.trace import records
from elector.trace.plain import plain

MakeCandidate = Callable[[Candidate, LeaseTiming], LeaseCandidate]
OnStep = Callable[[int, Candidate, CandidateEvent, tuple[CandidateEffect, ...]], None]
_Request = Acquire | Renew | Release
_Reply = Callable[[int], CandidateEvent]

_NO_FAULTS = Faults()
_WRITES_PER_TTL = 5
_PROMPT, _REFUSED, _LOST_REQUEST, _LOST_REPLY, _LATE_REQUEST, _LATE_REPLY, _TWICE = range(7)


class _Process:
    """One candidate's process: what it runs, and what of it the world has to know."""

    def __init__(self, who: Candidate, machine: LeaseCandidate) -> None:
        self.who = who
        self.machine = machine
        self.state = machine.initial()
        self.alive = True
        self.timers: dict[str, int] = {}
        self.unanswered: set[int] = set()
        self.applied_at = 0
        self.listens = True
        self.work: int | None = None  # token of the work that runs
        self.office: int | None = None  # token under which it is in office
        self.seen: Observation | None = None


class Candidates(World):
    """n candidates of one election.

    Args:
        nodes: how many.
        timing: of each of them.
        faults: what befalls them.
        chance: where choices come from.
        watchers: who is told what happens.
        make: makes a candidate; other than `LeaseCandidate` to try other code.
        store: the name of the store's model.
        on_step: told of every step, for those who look inside.
    """

    def __init__(
        self,
        nodes: int,
        timing: LeaseTiming,
        faults: Faults = _NO_FAULTS,
        chance: Chance | None = None,
        watchers: tuple[Watcher, ...] = (),
        *,
        make: MakeCandidate = LeaseCandidate,
        store: str = "sqlite",
        on_step: OnStep | None = None,
    ) -> None:
        super().__init__(nodes, faults, chance or Chance(), watchers)
        self.timing = timing
        self.register = Register(model_named(store), timing.ttl_ns)
        self.store_clock = Clock()
        self.events = 0
        self.processes: list[_Process] = []
        self.newest_write = 0
        self._make = make
        self._on_step = on_step
        self._births = 0
        self._timer = 0
        self._mute = [0] * nodes
        self._numb = [0] * nodes
        self._slow = [0] * nodes
        self._down = self._silent = 0
        self._lenient_until = 0
        self._delay = self.weather.delay.sampler(self.chance.random)

    def begin(self) -> None:
        """See `World.begin`."""
        self.store_clock = self.new_clock("clock of the store")
        shows, ppm = self.store_clock.shows(0), self.store_clock.ppm
        self.tell(records.Clock(self.now, STORE, shows, ppm, "start"))
        self.processes = [self._new_process(node) for node in range(self.nodes)]
        super().begin()

    # -- who leads -----------------------------------------------------------------------

    def leader(self) -> int | None:
        """Who is in office, under the newest token."""
        offices = {n: p.office for n, p in enumerate(self.processes) if p.office is not None}
        return max(offices, key=offices.__getitem__) if offices else None

    def follows(self, node: int) -> int | None:
        """Whom a node takes for the leader; itself if it is in office."""
        seen = self.processes[node].seen
        return self._number(seen.leader) if isinstance(seen, Led) else None

    @staticmethod
    def _number(name: str) -> int:
        return int(name.removeprefix("n"))

    # -- processes -----------------------------------------------------------------------

    def _new_process(self, node: int) -> _Process:
        self._births += 1
        who = Candidate(f"n{node}", f"n{node}#{self._births}")
        return _Process(who, self._make(who, self.timing))

    def boot(self, node: int) -> None:
        """Start a node, as a new instance of the same name."""
        if self.up[node]:
            return
        self.up[node] = True
        if not self.processes[node].alive:
            self.processes[node] = self._new_process(node)
        self.tell(records.Boot(self.now, node, self.processes[node].who.instance))
        self.feed(self.processes[node], Start)

    def crash(self, node: int, until: int) -> None:
        """Kill a process and its work without a word; another one starts at `until`."""
        if not self.up[node]:
            return
        self.up[node] = False
        process = self.processes[node]
        process.alive, process.work, process.office = False, None, None
        self.tell(records.Crash(self.now, node))
        self.at(until, lambda: self.boot(node))

    def feed(self, process: _Process, event: Callable[[int], CandidateEvent]) -> None:
        """Give an event to a candidate, now or when its process is not paused any more."""
        if not process.alive or self.over:
            return
        node = self._number(process.who.name)
        until = self.paused_until[node]
        if self.now < until:
            shuffled = self.chance.random.randrange(3) * MS if not self.chance.replays else 0
            self.at(until + shuffled, lambda: self.feed(process, event))
            return
        self._step(node, process, event(self.clocks[node].shows(self.now)))

    def _step(self, node: int, process: _Process, event: CandidateEvent) -> None:
        self.events += 1
        process.state, effects = process.machine.step(process.state, event)
        if records.Step in self.wanted:
            told = tuple(plain(effect) for effect in effects)
            self.tell(records.Step(self.now, node, plain(event), told, plain(process.state)))
        if self._on_step is not None:
            self._on_step(node, process.who, event, effects)
        for effect in effects:
            if self.weather.crash and self._crashes(node):
                return
            self._perform(node, process, effect)

    def _crashes(self, node: int) -> bool:
        rate, random = self.weather.crash, self.chance.random
        if not self.chance.choose(f"crash {node}", lambda: int(random.random() < rate), 0):
            return False
        low, high = self.weather.down
        down = self.chance.choose(f"down {node}", lambda: random.randint(low, high), low)
        self.crash(node, self.now + down)
        return True

    # -- effects -------------------------------------------------------------------------

    def _perform(self, node: int, process: _Process, effect: CandidateEffect) -> None:
        match effect:
            case SetTimer():
                self._set_timer(node, process, effect)
            case Acquire() | Renew() | Release():
                process.listens |= isinstance(effect, Acquire)
                self._send(node, process, effect)
            case Lead(token, deadlines):
                process.office = token
                self.tell(
                    records.Lead(self.now, node, token, self.clocks[node].true(deadlines.hard_ns))
                )
                self._begin_work(node, process, token)
            case Extend(token, deadlines):
                until = self.clocks[node].true(deadlines.hard_ns)
                self.tell(records.Lead(self.now, node, token, until))
            case StepDown(token, reason):
                process.office = None
                self.tell(records.StepDown(self.now, node, token, reason))
            case StopWork():
                self._stop_work(node, process)
            case AbortWork(token):
                self.finish(process, token)
            case LeaveQueue():
                process.listens = False
            case Observe(observation):
                self._observe(node, process, observation)
            case _:
                pass

    def _observe(self, node: int, process: _Process, observation: Observation) -> None:
        process.seen = observation
        leader, token = None, 0
        if isinstance(observation, Led):
            leader, token = self._number(observation.leader), observation.token
        self.tell(records.Follow(self.now, node, leader, token))

    def _set_timer(self, node: int, process: _Process, timer: SetTimer) -> None:
        self._timer += 1
        mine = process.timers[timer.name] = self._timer
        random, earliest, latest = self.chance.random, timer.earliest, timer.latest
        name = f"timer {node} {timer.name}"
        shown = earliest
        if latest > earliest:
            width = latest - earliest
            shown += self.chance.choose(
                name, lambda: random.choice((0, width, int(random.random() * width))), 0
            )
        # Later than the margin allows for is a pause, and those come as such.
        late = min(self.weather.late_ns, self.timing.margin_ns // 2)
        if late:
            shown += self.chance.choose(f"late {node}", lambda: random.randint(0, late), 0)
        self._wait_for(node, process, timer.name, mine, shown)

    def _wait_for(self, node: int, process: _Process, name: str, mine: int, shown: int) -> None:
        """Fire when the node's clock shows this, whatever its rate becomes meanwhile."""

        def fire() -> None:
            if process.timers.get(name) != mine or not process.alive:
                return
            if self.clocks[node].shows(self.now) < shown:
                self._wait_for(node, process, name, mine, shown)
                return
            self.feed(process, lambda at: TimerFired(at, name))

        self.at(self.clocks[node].true(shown), fire)

    # -- work ----------------------------------------------------------------------------

    def _begin_work(self, node: int, process: _Process, token: int) -> None:
        process.work = token
        self.tell(records.Work(self.now, node, token, "began"))
        if records.Write in self.wanted:
            self._write_later(node, process, token)
        low, high = self.weather.work
        if high:
            random = self.chance.random
            lasts = self.chance.choose(f"work {node}", lambda: random.randint(low, high), high)
            self.after(lasts, lambda: self.finish(process, token, by_itself=True))

    def _write_later(self, node: int, process: _Process, token: int) -> None:
        def write() -> None:
            if process.work != token or not process.alive:
                return
            if self.now < self.paused_until[node]:
                self.at(self.paused_until[node], write)
                return
            accepted = token >= self.newest_write
            self.newest_write = max(self.newest_write, token)
            self.tell(records.Write(self.now, node, token, accepted, self.newest_write))
            self._write_later(node, process, token)

        self.after(self.timing.ttl_ns // _WRITES_PER_TTL, write)

    def _stop_work(self, node: int, process: _Process) -> None:
        token, random = process.work, self.chance.random
        if token is None:
            return
        self.tell(records.Work(self.now, node, token, "stopping"))
        stubborn = self.weather.stubborn
        if stubborn and self.chance.choose(
            f"stubborn {node}", lambda: int(random.random() < stubborn), 0
        ):
            return
        low, high = self.weather.stop
        takes = self.chance.choose(f"stop {node}", lambda: random.randint(low, high), low)
        self.after(takes, lambda: self.finish(process, token))

    def finish(self, process: _Process, token: int, *, by_itself: bool = False) -> None:
        """The work of a tenure returns, by itself or because it was told to."""
        node = self._number(process.who.name)
        if process.work != token or not process.alive:
            return
        if self.now < self.paused_until[node]:
            self.at(
                self.paused_until[node], lambda: self.finish(process, token, by_itself=by_itself)
            )
            return
        failing, random = self.weather.failing, self.chance.random
        failed = bool(
            by_itself
            and failing
            and self.chance.choose(f"fails {node}", lambda: int(random.random() < failing), 0)
        )
        process.work = None
        self.tell(records.Work(self.now, node, token, "stopped", failed))
        self.feed(process, lambda at: WorkStopped(at, token, failed))

    # -- the way to the store --------------------------------------------------------------

    def _send(self, node: int, process: _Process, request: _Request) -> None:
        process.unanswered.add(request.op)
        what, token = type(request).__name__.lower(), getattr(request, "token", 0)
        self.tell(records.Request(self.now, node, request.op, what, token))
        fate = self._fate(node)
        low, timeout = self.weather.delay.low_ns, self.timing.request_timeout_ns
        there = self.chance.choose(f"way {node}", self._delay, low) + self._slow[node]
        back = self.chance.choose(f"way back {node}", self._delay, low) + self._slow[node]
        if fate == _REFUSED:
            op = request.op
            self.after(there + back, lambda: self._answer(process, op, lambda at: Failed(at, op)))
            return
        if fate == _LATE_REQUEST:
            there += self._lateness(node)
        if fate == _LATE_REPLY:
            back += self._lateness(node)
        if fate != _LOST_REQUEST:
            replies = {_LOST_REPLY: 0, _TWICE: 2}.get(fate, 1)
            self._arrive(node, process, request, there, [back * (n + 1) for n in range(replies)])
        op = request.op
        lasts = self.clocks[node].lasts(timeout)
        self.after(lasts, lambda: self._answer(process, op, lambda at: OutcomeLost(at, op)))

    def _fate(self, node: int) -> int:
        if self._down:
            return _REFUSED
        if self._mute[node]:
            return _LOST_REQUEST
        if self._numb[node] or self._silent:
            return _LOST_REPLY
        return self.chance.choose(f"request {node}", self._draw_fate, _PROMPT)

    def _draw_fate(self) -> int:
        weather, drawn = self.weather, self.chance.random.random()
        for fate, probability in (
            (_REFUSED, weather.refused),
            (_LOST_REQUEST, weather.lost_request),
            (_LOST_REPLY, weather.lost_reply),
            (_LATE_REQUEST, weather.late_request),
            (_LATE_REPLY, weather.late_reply),
            (_TWICE, weather.repeated),
        ):
            if drawn < probability:
                return fate
            drawn -= probability
        return _PROMPT

    def _lateness(self, node: int) -> int:
        random, longest = self.chance.random, 2 * self.timing.ttl_ns
        timeout = self.timing.request_timeout_ns
        return timeout + self.chance.choose(
            f"late request {node}", lambda: random.randint(0, longest), 0
        )

    def _arrive(
        self, node: int, process: _Process, request: _Request, there: int, back: list[int]
    ) -> None:
        if self.register.model.ordered:  # a request that is late holds up those behind it
            process.applied_at = max(process.applied_at, self.now + there)
            there = process.applied_at - self.now

        def apply() -> None:
            reply = self._apply(node, process.who, request)
            for delay in back:
                self.after(delay, lambda: self._reply(process, request.op, reply))

        self.after(there, apply)

    def _answer(self, process: _Process, op: int, event: _Reply) -> None:
        """The candidate's own side gives up waiting, unless there was an answer."""

        def unless_answered(at: int) -> CandidateEvent:
            process.unanswered.discard(op)
            return self._told(process, op, event(at))

        if op in process.unanswered:
            self.feed(process, unless_answered)

    def _reply(self, process: _Process, op: int, reply: _Reply) -> None:
        """A reply comes in, perhaps after we gave up waiting for it, perhaps once more."""
        process.unanswered.discard(op)
        self.feed(process, lambda at: self._told(process, op, reply(at)))

    def _told(self, process: _Process, op: int, event: CandidateEvent) -> CandidateEvent:
        if records.Answer in self.wanted:
            outcome = "unknown" if isinstance(event, OutcomeLost) else type(event).__name__.lower()
            node = self._number(process.who.name)
            self.tell(records.Answer(self.now, node, op, outcome))
        return event

    # -- the store -----------------------------------------------------------------------

    def _apply(self, node: int, who: Candidate, request: _Request) -> _Reply:
        register, op = self.register, request.op
        now = self.store_clock.shows(self.now)
        before = (register.holder, register.token, register.held(now))
        reply: _Reply
        outcome = ""
        match request:
            case Acquire():
                found = register.acquire(who, now, self.clocks[node].shows(self.now))
                if isinstance(found, Refusal):
                    refusal, last = found, register.token
                    outcome = "occupied"
                    reply = lambda at: Occupied(at, op, refusal.leader, last, refusal.retry_in_ns)  # noqa: E731 - one of four shapes
                else:
                    token, outcome = found, "granted"
                    reply = lambda at: Granted(at, op, token)  # noqa: E731 - the same
            case Renew(_, token):
                kept = register.renew(who, token, now)
                outcome = "renewed" if kept else "lost"
                reply = lambda at: Renewed(at, op) if kept else Lost(at, op)  # noqa: E731 - the same
            case Release(_, token, _, heir):
                outcome = "released" if register.release(who, token, heir, now) else "lost"
                reply = lambda at: Released(at, op)  # noqa: E731 - the same
        if records.Apply in self.wanted:
            self._tell_applied(node, op, request, outcome)
        if before != (register.holder, register.token, register.held(now)):
            self._announce()
        self._expect_expiry()
        return reply

    def _tell_applied(self, node: int, op: int, request: _Request, outcome: str) -> None:
        register = self.register
        held = register.held(self.store_clock.shows(self.now))
        holder = self._number(register.holder.name) if held and register.holder else None
        until = self.store_clock.true(register.expires) if held else None
        what = type(request).__name__.lower()
        self.tell(records.Apply(self.now, node, op, what, outcome, holder, register.token, until))

    def _expect_expiry(self) -> None:
        register = self.register
        if register.model.observed or not register.held(self.store_clock.shows(self.now)):
            return
        ends, token = register.expires, register.token

        def expired() -> None:
            if (register.expires, register.token) != (ends, token) or register.holder is None:
                return
            if self.now < self._lenient_until:
                register.expires += self.store_clock.shows(self._lenient_until) - ends
                self._expect_expiry()
                return
            self._expired(token, "expired")

        self.at(self.store_clock.true(ends), expired)

    def _expired(self, token: int, why: str) -> None:
        self.tell(records.Expire(self.now, token, why))
        if self.register.model.announces:
            self._announce()

    def _announce(self) -> None:
        register, now = self.register, self.store_clock.shows(self.now)
        if not register.model.pushes:
            return
        change = Changed(0, None, None, register.token, register.kept_for_ns(now))
        if register.held(now) and register.holder is not None:
            hint = register.expires - now if register.model.hints else None
            holder = register.holder
            change = Changed(0, holder.name, holder.instance, register.token, hint)
        for node, process in enumerate(self.processes):
            if process.listens and process.alive:
                self._notify(node, process, change)

    def _notify(self, node: int, process: _Process, change: Changed) -> None:
        weather, random = self.weather, self.chance.random

        def draw() -> int:
            drawn = random.random()
            if drawn < weather.blind:
                return -1
            if drawn - weather.blind < weather.late_news:
                return random.randint(0, self.timing.ttl_ns)
            return 0

        late = self.chance.choose(f"news {node}", draw, 0)
        if late < 0 or self._numb[node]:
            return
        delay = weather.delay.low_ns + late + self._slow[node]
        self.after(
            delay,
            lambda: self.feed(process, lambda at: msgspec.structs.replace(change, at=at)),
        )

    # -- troubles ------------------------------------------------------------------------

    def strike(self, what: str, nodes: tuple[int, ...], trouble: Trouble) -> Deed | None:
        """See `World.strike`."""
        return _TROUBLES[what](self, nodes, trouble)

    def storm(self, until: int) -> None:
        """Kill every process."""
        for node in range(self.nodes):
            self.crash(node, until)

    def bar(self, field: str, node: int | None = None) -> Deed:
        """Let something not work; troubles of one kind may overlap, so they are counted."""

        def count(by: int) -> None:
            value = getattr(self, field)
            if node is None:
                setattr(self, field, max(0, value + by))
            else:
                value[node] = max(0, value[node] + by)

        count(1)
        return lambda: count(-1)

    def slow(self, node: int, by: int) -> Deed:
        """Let everything from and to a node take longer."""
        self._slow[node] += by

        def recover() -> None:
            self._slow[node] = max(0, self._slow[node] - by)

        return recover

    def stall(self, node: int) -> Deed:
        """Let an application show no progress."""
        process = self.processes[node]
        self.feed(process, lambda at: Health(at, healthy=False))
        return lambda: self.feed(process, lambda at: Health(at, healthy=True))

    def desist(self, node: int) -> Deed:
        """Let a candidate not stand for a while."""
        process = self.processes[node]
        self.feed(process, Desist)
        return lambda: self.feed(process, Start)

    def withdraw(self, node: int) -> Deed:
        """Let a candidate leave; later another one joins in its place."""
        process = self.processes[node]
        self.feed(process, Withdraw)
        return lambda: self._replace(node, process)

    def _replace(self, node: int, process: _Process) -> None:
        if self.processes[node] is process:
            self.crash(node, self.now)

    def resign(self, node: int, heir: int | None = None) -> None:
        """Ask a candidate to hand over, to a certain one if given."""
        name = None if heir is None else f"n{heir}"
        self.feed(self.processes[node], lambda at: Resign(at, name))

    def expire_early(self) -> None:
        """Let the store end a lease before its time."""
        now = self.store_clock.shows(self.now)
        if self.register.held(now):
            self.register.expires = now
            self._expired(self.register.token, "early")

    def fail_over(self) -> None:
        """Let the store forget its last write."""
        self.register.fail_over()
        self.tell(records.Expire(self.now, self.register.token, "failover"))

    def lenient(self, until: int) -> None:
        """Let no lease expire before this."""
        self._lenient_until = max(self._lenient_until, until)

    def change_clock(self, what: str, node: int, trouble: Trouble) -> Deed | None:
        """Give a clock another rate, stop it or let it jump; timers look at it when they fire."""
        clock, before = self.clocks[node], self.clocks[node].ppm
        if what == "step":
            clock.change(self.now, step=trouble.value)
        else:
            clock.change(self.now, ppm=-1_000_000 if what == "freeze" else trouble.value)
        self.tell_clock(node, what)
        if what != "freeze":
            return None
        thaw = Trouble(trouble.until, "drift", (node,), value=before)
        return lambda: self.change_clock("drift", node, thaw) and None

    def settle(self) -> None:
        """See `World.settle`."""
        self._mute, self._numb = [0] * self.nodes, [0] * self.nodes
        self._slow = [0] * self.nodes
        self._down = self._silent = self._lenient_until = 0
        self._delay = self.weather.delay.sampler(self.chance.random)
        for node in range(self.nodes):
            self.paused_until[node] = min(self.paused_until[node], self.now)
            self.boot(node)
            process = self.processes[node]
            if process.state.closing:
                self._replace(node, process)
                continue
            self.feed(process, lambda at: Health(at, healthy=True))
            self.feed(process, Start)
            if process.work is not None and process.office is not None and process.state.leave:
                self._stop_work(node, process)


_TROUBLES: dict[str, Callable[[Candidates, tuple[int, ...], Trouble], Deed | None]] = {
    "crash": lambda world, nodes, trouble: world.crash(nodes[0], trouble.until),
    "storm": lambda world, _, trouble: world.storm(trouble.until),
    "pause": lambda world, nodes, trouble: world.pause(nodes[0], trouble.until),
    "slow": lambda world, nodes, trouble: world.slow(nodes[0], trouble.value),
    "stall": lambda world, nodes, _: world.stall(nodes[0]),
    "desist": lambda world, nodes, _: world.desist(nodes[0]),
    "withdraw": lambda world, nodes, _: world.withdraw(nodes[0]),
    "resign": lambda world, nodes, _: world.resign(nodes[0]),
    "transfer": lambda world, nodes, _: world.resign(nodes[0], nodes[1]),
    "mute": lambda world, nodes, _: world.bar("_mute", nodes[0]),
    "numb": lambda world, nodes, _: world.bar("_numb", nodes[0]),
    "down": lambda world, *_: world.bar("_down"),
    "silent": lambda world, *_: world.bar("_silent"),
    "expire-late": lambda world, _, trouble: world.lenient(trouble.until),
    "expire-early": lambda world, *_: world.expire_early(),
    "failover": lambda world, *_: world.fail_over(),
    "drift": lambda world, nodes, trouble: world.change_clock("drift", nodes[0], trouble),
    "freeze": lambda world, nodes, trouble: world.change_clock("freeze", nodes[0], trouble),
    "step": lambda world, nodes, trouble: world.change_clock("step", nodes[0], trouble),
}
