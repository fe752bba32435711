"""Candidates as processes: steps, timers, pauses and crashes, on an agenda of tuples.

An entry of the agenda is a method, the process that it is for, and one value; a process that
was killed stays killed, and its successor is another object, so what is late for it finds
nobody. What comes for a process that stands still waits until it wakes, all at one instant
and in an order that is left to chance.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from elector.core.effects import CandidateEffect, SetTimer
from elector.core.events import CandidateEvent, Start, TimerFired
from elector.core.identity import Candidate
from elector.core.office import Led, Observation
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.simulation.chance import Chance
from elector.simulation.clock import Clock
from elector.simulation.exposure import Exposure
from elector.simulation.faults import STORE, Faults, Trouble, Weather
from elector.simulation.world import Watcher, World
from elector.trace import records
from elector.trace.plain import plain

MakeCandidate = Callable[[Candidate, LeaseTiming], LeaseCandidate]
OnStep = Callable[[int, Candidate, CandidateEvent, tuple[CandidateEffect, ...]], None]

_ORDERS = 8  # of what waits for a process to wake


class Process:
    """One candidate's process: what it runs, and what of it the world has to know.

    Attributes:
        number: its node.
        timers: by name, the name again and when it fires on the node's clock.
        unanswered: requests by number, and until when the candidate waits for an answer.
        applied_at: when its last request reaches the store.
        listens: to what the store announces.
        work: the token of the work that runs.
        office: the token under which it is in office.
        hard: when its tenure ends, on the node's clock.
        fuse: after so many effects it is killed; None: it is not.
        waiting: what is to be done when it wakes.
    """

    __slots__ = (
        "alive",
        "applied_at",
        "clock",
        "fuse",
        "hard",
        "listens",
        "machine",
        "number",
        "office",
        "seen",
        "state",
        "timers",
        "unanswered",
        "waiting",
        "who",
        "work",
    )

    def __init__(self, number: int, who: Candidate, clock: Clock, machine: LeaseCandidate) -> None:
        self.number, self.who, self.clock, self.machine = number, who, clock, machine
        self.state = machine.initial()
        self.alive = True
        self.timers: dict[str, tuple[str, int]] = {}
        self.unanswered: dict[int, int] = {}
        self.applied_at = 0
        self.listens = True
        self.work: int | None = None
        self.office: int | None = None
        self.hard = 0
        self.fuse: int | None = None
        self.seen: Observation | None = None
        self.waiting: list[tuple[Act, Any]] = []


Act = Callable[[Process, Any], None]
Told = tuple[Callable[..., CandidateEvent], tuple[Any, ...]]
"""An event that is not dated yet: its type, and its values after `at`."""


class Processes(World):
    """The part of `Candidates` that runs them; how effects are carried out is left open.

    Attributes:
        processes: by node, those that run now.
        exposures: by node, what befalls it all the time.
        events: how many steps were taken.
    """

    def __init__(
        self,
        nodes: int,
        timing: LeaseTiming,
        faults: Faults,
        chance: Chance,
        watchers: tuple[Watcher, ...],
        make: MakeCandidate,
        on_step: OnStep | None,
    ) -> None:
        super().__init__(nodes, faults, chance, watchers)
        self.timing = timing
        self.processes: list[Process] = []
        self.exposures = [self._exposure(self.weather)] * nodes
        self.events = 0
        self._queue: list[Any] = self._agenda  # longer entries, if they are for a process
        self._make, self._on_step = make, on_step
        self._births = 0
        self._steps_told = records.Step in self.wanted

    def expose(self, node: int, weather: Weather) -> None:
        """Give one candidate a weather of its own."""
        self.exposures[node] = self._exposure(weather)

    def _exposure(self, weather: Weather) -> Exposure:
        timing = self.timing
        return Exposure(weather, self.chance.random, timing.ttl_ns, timing.request_timeout_ns)

    def choose(self, what: str, node: int, draw: Callable[[], int], harmless: int) -> int:
        """A choice that concerns one node; see `Chance.choose`."""
        if self.chance.tape is None:
            return draw()
        return self.chance.choose(f"{what} {node}", draw, harmless)

    # -- the course of time --------------------------------------------------------------

    def begin(self) -> None:
        """See `World.begin`."""
        for node in range(self.nodes):
            self.clocks.append(self.new_clock(f"clock {node}"))
            self.tell_clock(node, "start")
        self.processes = [self._new_process(node) for node in range(self.nodes)]
        for node in range(self.nodes):
            self.boot(node)
        for trouble in self.faults.troubles:
            self._schedule(trouble)

    def put(self, when: int, act: Act, process: Process, value: Any) -> None:
        """Do something about a process at a true time; never in the past."""
        self._sequence += 1
        when = max(when, self.now)
        heappush(self._queue, (when, self._sequence, process.number, act, process, value))

    def run_until(self, end: int, stop: Callable[[], bool] | None = None) -> bool:
        """See `World.run_until`; `stop` is looked at before every event."""
        queue = self._queue
        while queue and queue[0][0] <= end and not self.over:
            if stop is not None and stop():
                return True
            entry = heappop(queue)
            self.now = entry[0]
            if entry[2] < 0:
                self._deeds.pop(entry[1])()
            else:
                entry[3](entry[4], entry[5])
        if not self.over:
            self.now = max(self.now, end)
        return stop is not None and stop()

    # -- steps ---------------------------------------------------------------------------

    def deliver(self, process: Process, told: Told) -> None:
        """Give an event to a candidate, now or when its process is not paused any more."""
        if not process.alive:
            return
        if self.now < self.paused_until[process.number]:
            process.waiting.append((self.deliver, told))
            return
        kind, values = told
        self.take(process, kind(process.clock.shows(self.now), *values))

    def take(self, process: Process, event: CandidateEvent) -> None:
        """Let a candidate take one step, and carry out what it asks for."""
        self.events += 1
        process.state, effects = process.machine.step(process.state, event)
        node = process.number
        if self._steps_told:
            told = tuple(plain(effect) for effect in effects)
            self.tell(records.Step(self.now, node, plain(event), told, plain(process.state)))
        if self._on_step is not None:
            self._on_step(node, process.who, event, effects)
        endangered = process.fuse is not None or self.exposures[node].weather.crash > 0
        for effect in effects:
            if endangered and self._dies(process):
                return
            self.perform(process, effect)

    def perform(self, process: Process, effect: CandidateEffect) -> None:
        """Carry out one effect."""
        raise NotImplementedError

    def _dies(self, process: Process) -> bool:
        """Whether the process is killed before its next effect."""
        node = process.number
        exposure = self.exposures[node]
        if process.fuse is not None:
            process.fuse -= 1
            dies = process.fuse < 0
        else:
            dies = bool(self.choose("crash", node, exposure.crashes, 0))
        if dies:
            down = self.choose("down", node, exposure.down, exposure.weather.down[0])
            self.crash(node, self.now + down)
        return dies

    # -- timers --------------------------------------------------------------------------

    def set_timer(self, process: Process, timer: SetTimer) -> None:
        """Let it fire inside its window, or a little beside it where timers are untimely."""
        name, shown, width = timer.name, timer.earliest, timer.latest - timer.earliest
        node = process.number
        if width > 0:
            if self.chance.tape is None:
                shown += self._inside(width)
            else:
                what = f"timer {node} {name}"
                shown += self.chance.choose(what, lambda: self._inside(width), 0)
        exposure = self.exposures[node]
        if exposure.untimely:
            shown += self.choose("late", node, exposure.error, 0)
        value = process.timers[name] = (name, shown)
        self.put(process.clock.true(shown), self._fire, process, value)

    def _inside(self, width: int) -> int:
        """Often one of the ends: there the arithmetic is put to the test."""
        drawn = self.chance.random.random()
        if drawn < 1 / 2:
            return width if drawn < 1 / 4 else 0
        return int((2 * drawn - 1) * width)

    def _fire(self, process: Process, value: tuple[str, int]) -> None:
        name, shown = value
        at = process.clock.shows(self.now)
        if process.timers.get(name) is not value or not process.alive or at < shown:
            return  # replaced, or moved because the clock had changed
        if self.now < self.paused_until[process.number]:
            process.waiting.append((self._fire, value))
            return
        del process.timers[name]
        self.take(process, TimerFired(at, name))

    # -- life and death ------------------------------------------------------------------

    def _new_process(self, node: int) -> Process:
        self._births += 1
        who = Candidate(f"n{node}", f"n{node}#{self._births}")
        return Process(node, who, self.clocks[node], self._make(who, self.timing))

    def boot(self, node: int) -> None:
        """Start a node, as a new instance of the same name; one that is up stays as it is."""
        if self.up[node]:
            return
        self.up[node] = True
        if not self.processes[node].alive:
            self.processes[node] = self._new_process(node)
        process = self.processes[node]
        self.tell(records.Boot(self.now, node, process.who.instance))
        self.deliver(process, (Start, ()))

    def crash(self, node: int, until: int) -> None:
        """Kill a process and its work without a word; another one starts at `until`."""
        if not self.up[node]:
            return
        self.up[node] = False
        process = self.processes[node]
        process.alive, process.work, process.office = False, None, None
        self.tell(records.Crash(self.now, node))
        self.buried(process)
        self.put(until, self._follow, process, None)

    def _follow(self, process: Process, _: None) -> None:
        """Start what comes after a process, unless somebody else has done so."""
        if self.processes[process.number] is process:
            self.boot(process.number)

    def buried(self, process: Process) -> None:
        """Whoever watches processes, as a kernel does, sees that one has ended."""

    def pause(self, node: int, until: int) -> None:
        """See `World.pause`."""
        super().pause(node, until)
        self._wake_later(node)

    def _wake_later(self, node: int) -> None:
        self.put(self.paused_until[node], self._wake, self.processes[node], None)

    def _wake(self, sleeper: Process, _: None) -> None:
        """Do what has been waiting; the process may be another one by now."""
        node = sleeper.number
        if self.now < self.paused_until[node]:
            return
        process = self.processes[node]
        todo, process.waiting = process.waiting, []
        if len(todo) > 1:
            random = self.chance.random
            order = self.choose("wake", node, lambda: random.randrange(_ORDERS), 0)
            if order:
                Random(order).shuffle(todo)  # noqa: S311 - a world, not a secret
        self.awake(process)
        for act, value in todo:
            act(process, value)

    def awake(self, process: Process) -> None:
        """What a process does first when it goes on, before it looks at anything."""

    # -- clocks --------------------------------------------------------------------------

    def change_clock(self, what: str, node: int, trouble: Trouble) -> Callable[[], None] | None:
        """Give a clock another rate, stop it or let it jump; what waits for it is moved.

        Returns:
            What starts a clock again that was stopped.
        """
        clock = self.clock_of(node)
        before = clock.ppm
        if what == "step":
            clock.change(self.now, step=trouble.value)
        else:
            clock.change(self.now, ppm=-1_000_000 if what == "freeze" else trouble.value)
        self.tell(records.Clock(self.now, node, clock.shows(self.now), clock.ppm, what))
        self.clock_changed(node)
        if what != "freeze":
            return None
        thaw = Trouble(trouble.until, "drift", (node,), value=before)

        def start() -> None:
            self.change_clock("drift", node, thaw)

        return start

    def clock_of(self, node: int) -> Clock:
        """A node's clock."""
        return self.clocks[node]

    def clock_changed(self, node: int) -> None:
        """Move what waits for a clock to show something."""
        process = self.processes[node]
        for value in process.timers.values():
            self.put(process.clock.true(value[1]), self._fire, process, value)

    # -- who leads -----------------------------------------------------------------------

    def leader(self) -> int | None:
        """Who is in office, under the newest token."""
        newest, leader = -1, None
        for process in self.processes:
            if process.office is not None and process.office > newest:
                newest, leader = process.office, process.number
        return leader

    def follows(self, node: int) -> int | None:
        """Whom a node takes for the leader; itself if it is in office."""
        seen = self.processes[node].seen
        return number_of(seen.leader) if isinstance(seen, Led) else None

    def _resolved(self, trouble: Trouble) -> tuple[int, ...] | None:
        return (STORE,) if trouble.nodes == (STORE,) else super()._resolved(trouble)


def number_of(name: str) -> int:
    """The node of a candidate's name."""
    return int(name[1:])
