"""Candidates and their store: requests on their way, what they meet there, and its news.

The store is one `Register`, linearizable by construction: a request takes effect at the
instant at which it reaches it, also when its candidate is dead by then.
"""

from typing import Any, NamedTuple

from elector.core.effects import Acquire, Release, Renew
from elector.core.events import (
    Changed,
    Failed,
    Granted,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
)
from elector.core.timing import LeaseTiming
from elector.simulation.chance import Chance
from elector.simulation.clock import Clock
from elector.simulation.exposure import (
    LATE_REPLY,
    LATE_REQUEST,
    LOST_NEWS,
    LOST_REPLY,
    LOST_REQUEST,
    PROMPT,
    REFUSED,
    TWICE,
)
from elector.simulation.faults import STORE, Faults
from elector.simulation.processes import (
    MakeCandidate,
    OnStep,
    Process,
    Processes,
    Told,
    number_of,
)
from elector.simulation.store import MakeRegister, Model, model_named
from elector.simulation.world import Deed, Watcher
from elector.trace import records

Request = Acquire | Renew | Release

_ONCE, _NEVER, _REPEATED = (1,), (), (1, 2)
_COPIES = {LOST_REPLY: _NEVER, TWICE: _REPEATED}
_LATER_COPY = 4


class _Sent(NamedTuple):
    """A request on its way.

    Attributes:
        request: what was asked.
        shown: the candidate's clock when it asked.
        basis: the version of the record that it had read.
        back: how long the reply will take, ns.
    """

    request: Request
    shown: int
    basis: int
    back: int


class Traffic(Processes):
    """The part of `Candidates` that knows the store.

    Attributes:
        register: the store.
        store_clock: what it counts leases on.
        line: those who wait, first in line first, where the store keeps a line.
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
        store: str | Model,
        make_register: MakeRegister,
    ) -> None:
        super().__init__(nodes, timing, faults, chance, watchers, make, on_step)
        model = model_named(store) if isinstance(store, str) else store
        self.register = make_register(model, timing.ttl_ns)
        self.store_clock = Clock()
        self.line: list[Process] = []
        self.mute = [0] * nodes
        self.numb = [0] * nodes
        self.slowed = [0] * nodes
        self.down = self.silent = 0
        self.lenient_until = 0
        self._expiry: int | None = None  # when the lease is looked at next

    def begin(self) -> None:
        """See `World.begin`."""
        self.store_clock = self.new_clock("clock store")
        shows, ppm = self.store_clock.shows(0), self.store_clock.ppm
        self.tell(records.Clock(self.now, STORE, shows, ppm, "start"))
        super().begin()

    # -- requests ------------------------------------------------------------------------

    def send(self, process: Process, request: Request) -> None:
        """Send a request to the store; it is answered once, twice or not at all."""
        node, op, now = process.number, request.op, self.now
        if records.Request in self.wanted:
            what, token = _VERBS[type(request)], getattr(request, "token", 0)
            self.tell(records.Request(now, node, op, what, token))
        clock, exposure = process.clock, self.exposures[node]
        shown = clock.shows(now)
        patience = shown + self.timing.request_timeout_ns
        process.unanswered[op] = patience
        self.put(clock.true(patience), self._give_up, process, op)
        fate = self._fate(node)
        slowed = self.slowed[node]
        there = self.choose("way", node, exposure.way, exposure.low) + slowed
        back = self.choose("way back", node, exposure.way, exposure.low) + slowed
        if fate == REFUSED:
            self.put(now + there + back, self._refused, process, op)
            return
        if fate == LOST_REQUEST:
            return
        if fate == LATE_REQUEST:
            there += self.choose("late request", node, exposure.lateness, 0)
        elif fate == LATE_REPLY:
            back += self.choose("late reply", node, exposure.lateness, 0)
        when = now + there
        if self.register.model.ordered:  # a request that is late holds up those behind it
            when = process.applied_at = max(process.applied_at, when)
        sent = _Sent(request, shown, self.register.read(process.who, shown), back)
        self.put(when, self._apply, process, (sent, _COPIES.get(fate, _ONCE)))

    def _fate(self, node: int) -> int:
        if self.down:
            return REFUSED
        if self.mute[node]:
            return LOST_REQUEST
        if self.numb[node] or self.silent:
            return LOST_REPLY
        exposure = self.exposures[node]
        return PROMPT if exposure.quiet else self.choose("request", node, exposure.fate, PROMPT)

    def _give_up(self, process: Process, op: int) -> None:
        """The candidate's own side waits no longer."""
        patience = process.unanswered.get(op)
        if patience is None or process.clock.shows(self.now) < patience:
            return  # answered, or moved because the clock had changed
        self._answer(process, (OutcomeLost, (op,)))

    def _refused(self, process: Process, op: int) -> None:
        if op in process.unanswered:
            self._answer(process, (Failed, (op,)))

    def _answer(self, process: Process, told: Told) -> None:
        """What became of a request; of one that was answered already perhaps once more."""
        if not process.alive:
            return
        kind, values = told
        if self.now < self.paused_until[process.number]:
            process.waiting.append((self._answer_late, told))
            return
        process.unanswered.pop(values[0], None)
        if records.Answer in self.wanted:
            outcome = _OUTCOMES[kind]
            self.tell(records.Answer(self.now, process.number, values[0], outcome))
        self.take(process, kind(process.clock.shows(self.now), *values))

    def _answer_late(self, process: Process, told: Told) -> None:
        """The same when a process wakes: an answer that came meanwhile is one."""
        guess = told[0] is OutcomeLost or told[0] is Failed
        if not guess or told[1][0] in process.unanswered:
            self._answer(process, told)

    def clock_changed(self, node: int) -> None:
        """See `Processes.clock_changed`."""
        if node == STORE:
            self._expiry = None
            self._expect_expiry()
            return
        super().clock_changed(node)
        process = self.processes[node]
        for op, patience in process.unanswered.items():
            self.put(process.clock.true(patience), self._give_up, process, op)

    def clock_of(self, node: int) -> Clock:
        """See `Processes.clock_of`."""
        return self.store_clock if node == STORE else super().clock_of(node)

    # -- at the store --------------------------------------------------------------------

    def _apply(self, process: Process, value: tuple[_Sent, tuple[int, ...]]) -> None:
        """A request takes effect, and its reply sets out."""
        sent, copies = value
        request = sent.request
        if self.register.model.witness and not process.alive:
            return  # its process itself would have done it
        self._end_what_expired()
        register, op, now = self.register, request.op, self.store_clock.shows(self.now)
        before = (register.holder, register.token)
        told: Told
        if isinstance(request, Acquire):
            outcome, told = self._acquire(process, sent, now)
        elif isinstance(request, Renew):
            kept = register.renew(process.who, request.token, now)
            outcome, told = ("renewed", (Renewed, (op,))) if kept else ("lost", (Lost, (op,)))
        else:
            heir = request.heir if self._waits(request.heir) else None
            ours = register.release(process.who, request.token, heir, now)
            outcome, told = "released" if ours else "lost", (Released, (op,))
        if records.Apply in self.wanted:
            self._tell_applied(process, request, outcome)
        if before != (register.holder, register.token):
            self._announce()
        self._expect_expiry()
        for copy in copies:
            self.put(self.now + copy * sent.back, self._answer, process, told)

    def _acquire(self, process: Process, sent: _Sent, now: int) -> tuple[str, Told]:
        register, op = self.register, sent.request.op
        found = register.acquire(process.who, now, sent.shown, sent.basis)
        if isinstance(found, int):
            self._leave_line(process)
            return "granted", (Granted, (op, found))
        if register.model.queues and process.alive and process not in self.line:
            self.line.append(process)
        leader, retry = found
        return "occupied", (Occupied, (op, leader, register.token, retry))

    def _tell_applied(self, process: Process, request: Request, outcome: str) -> None:
        register = self.register
        held = register.held(self.store_clock.shows(self.now))
        holder = number_of(register.holder.name) if held and register.holder else None
        until = self.store_clock.true(register.expires) if held else None
        what, node, token = _VERBS[type(request)], process.number, register.token
        self.tell(records.Apply(self.now, node, request.op, what, outcome, holder, token, until))

    def _waits(self, heir: str | None) -> bool:
        """Whether a candidate of this name waits: an office is not kept for the absent."""
        return heir is not None and any(
            process.who.name == heir and process.alive and process.listens
            for process in self.processes
        )

    # -- the end of a lease --------------------------------------------------------------

    def _expect_expiry(self) -> None:
        """Look at the lease when it ends; one that was prolonged is looked at again then."""
        register = self.register
        if register.holder is None or register.model.observed:
            return
        due = self.store_clock.true(register.expires)
        if self._expiry is None or due < self._expiry:
            self._expiry = due
            self.put(due, self._look_at_expiry, self.processes[0], due)

    def _look_at_expiry(self, _: Process, due: int) -> None:
        if due == self._expiry:
            self._expiry = None
            self._end_what_expired()
            self._expect_expiry()

    def _end_what_expired(self) -> None:
        register, now = self.register, self.store_clock.shows(self.now)
        if register.holder is None or register.held(now):
            return
        if self.now < self.lenient_until:
            register.expires = self.store_clock.shows(self.lenient_until)
            return
        self.end_lease("expired")

    def end_lease(self, why: str) -> None:
        """Let the lease end: in time, early, or because its holder's process is dead."""
        register = self.register
        if register.holder is not None and not register.model.observed:
            register.expire()
            self.tell(records.Expire(self.now, register.token, why))
            if register.model.announces or why == "died":
                self._announce()

    def fail_over(self) -> None:
        """Let the store forget its last write, though it was acknowledged."""
        register = self.register
        lost, before = register.token, (register.holder, register.token)
        register.fail_over()
        if before != (register.holder, register.token):
            self.tell(records.Expire(self.now, lost, "failover"))
        self._expect_expiry()

    def buried(self, process: Process) -> None:
        """See `Processes.buried`: some stores learn of a death from the kernel."""
        if self.register.model.witness:
            self.put(self.now + self.exposures[process.number].low, self._bury, process, None)

    def _bury(self, process: Process, _: None) -> None:
        self._leave_line(process)
        if self.register.holder == process.who:
            self.end_lease("died")

    # -- news ----------------------------------------------------------------------------

    def _announce(self) -> None:
        """Tell those who listen who leads; of a vacancy, if there is a line, only the first."""
        register, now = self.register, self.store_clock.shows(self.now)
        model, holder = register.model, register.holder
        if not model.pushes:
            return
        if holder is not None and register.held(now):
            hint = register.expires - now if model.hints else None
            values: tuple[Any, ...] = (holder.name, holder.instance, register.token, hint)
            audience = self.processes
        else:
            kept = register.kept_for_ns(now)
            values = (None, None, register.token, kept)
            audience = self._next_in_line(kept) if model.queues else self.processes
        for process in audience:
            if process.listens and process.alive:
                self._notify(process, (Changed, values))

    def _next_in_line(self, kept: int | None) -> list[Process]:
        self.line = [process for process in self.line if process.alive]
        if kept is None:
            return self.line[:1]
        return [process for process in self.line if process.who.name == self.register.heir][:1]

    def _notify(self, process: Process, told: Told) -> None:
        node = process.number
        exposure = self.exposures[node]
        if self.numb[node]:
            return
        late = self.choose("news", node, exposure.news, 0) if exposure.hushed else 0
        if late == LOST_NEWS:
            return
        late += exposure.low + self.slowed[node]
        self.put(self.now + late, self.deliver, process, told)
        if exposure.weather.repeated and self.choose("news again", node, exposure.again, 0):
            self.put(self.now + _LATER_COPY * late, self.deliver, process, told)

    def leave_line(self, process: Process) -> None:
        """A candidate would not take the office: it is the next one's turn."""
        process.listens = False
        first = bool(self.line) and self.line[0] is process
        self._leave_line(process)
        if first and self.register.holder is None:
            self._announce()

    def _leave_line(self, process: Process) -> None:
        if process in self.line:
            self.line.remove(process)

    # -- what a store or the way to it may suffer ----------------------------------------

    def hinder(self, what: list[int], node: int, by: int = 1) -> Deed:
        """Raise what hinders a node; troubles of one kind may overlap, so they are added up."""
        what[node] += by

        def relieve() -> None:
            what[node] -= by  # of the list of then: everything may have been mended meanwhile

        return relieve

    def close_down(self) -> Deed:
        """Let the store refuse every request."""
        self.down += 1

        def open_again() -> None:
            self.down = max(0, self.down - 1)

        return open_again

    def fall_silent(self) -> Deed:
        """Let the store carry out every request and answer none."""
        self.silent += 1

        def speak() -> None:
            self.silent = max(0, self.silent - 1)

        return speak


_VERBS: dict[type[Request], str] = {Acquire: "acquire", Renew: "renew", Release: "release"}
_OUTCOMES: dict[Any, str] = {
    Granted: "granted",
    Occupied: "occupied",
    Renewed: "renewed",
    Lost: "lost",
    Released: "released",
    Failed: "failed",
    OutcomeLost: "unknown",
}
