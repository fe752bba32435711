"""A world of lease candidates: their store, the way to it, their work, and everything that fails.

The candidates are the production protocol, unchanged. What is judged is told in records; the
world itself judges nothing.

>>> world = Candidates(3, LeaseTiming.of("15s"), store="etcd")
>>> world.begin()
>>> world.run_until(10**9, world.agreed), world.leader() is None
(True, False)
"""

from collections.abc import Callable
from typing import Any

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
from elector.core.events import Desist, Health, Resign, Start, Withdraw, WorkStopped
from elector.core.office import Led
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate
from elector.simulation.chance import Chance
from elector.simulation.faults import STORE, Faults, Trouble
from elector.simulation.processes import MakeCandidate, OnStep, Process, Told, number_of
from elector.simulation.store import MakeRegister, Model, Register
from elector.simulation.traffic import Traffic
from elector.simulation.world import Deed, Watcher
from elector.trace import records

_NO_FAULTS = Faults()
_WRITES_PER_TTL = 5


class Candidates(Traffic):
    """n candidates of one election.

    Args:
        nodes: how many.
        timing: of each of them.
        faults: what befalls them.
        chance: where choices come from.
        watchers: who is told what happens.
        make: makes a candidate; other than `LeaseCandidate` to try other code.
        store: the store's model, or its name.
        make_register: makes the store.
        on_step: told of every step, for those who look inside.

    Attributes:
        newest_write: the highest token that the guarded resource has accepted.
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
        store: str | Model = "sqlite",
        make_register: MakeRegister = Register,
        on_step: OnStep | None = None,
    ) -> None:
        chosen = chance or Chance()
        super().__init__(
            nodes, timing, faults, chosen, watchers, make, on_step, store, make_register
        )
        self.newest_write = 0
        self._withdrawn: dict[int, int] = {}  # node: when another one joins in its place
        self._performers: dict[type[CandidateEffect], Callable[[Process, Any], None]] = {
            SetTimer: self.set_timer,
            Acquire: self._ask,
            Renew: self.send,
            Release: self.send,
            Lead: self._lead,
            Extend: self._extend,
            StepDown: self._step_down,
            StopWork: self._stop_work,
            AbortWork: self._abort_work,
            LeaveQueue: lambda process, _: self.leave_line(process),
            Observe: self._observe,
            Withdrawn: self._left,
        }

    def perform(self, process: Process, effect: CandidateEffect) -> None:
        """See `Processes.perform`."""
        performer = self._performers.get(type(effect))
        if performer is not None:
            performer(process, effect)
        elif type(effect) is not Refuse:  # which is said loudly, and does nothing
            raise TypeError(f"no world can do this: {effect!r}")

    # -- office --------------------------------------------------------------------------

    def _ask(self, process: Process, request: Acquire) -> None:
        process.listens = True
        self.send(process, request)

    def _lead(self, process: Process, effect: Lead) -> None:
        process.office = effect.token
        self._hold(process, effect.token, effect.deadlines.hard_ns)
        self._begin_work(process, effect.token)

    def _extend(self, process: Process, effect: Extend) -> None:
        self._hold(process, effect.token, effect.deadlines.hard_ns)

    def _hold(self, process: Process, token: int, hard: int) -> None:
        process.hard = hard
        if records.Lead in self.wanted:
            until = process.clock.true(hard)
            self.tell(records.Lead(self.now, process.number, token, until))

    def _step_down(self, process: Process, effect: StepDown) -> None:
        process.office = None
        self.tell(records.StepDown(self.now, process.number, effect.token, effect.reason.value))

    def _observe(self, process: Process, effect: Observe) -> None:
        seen = process.seen = effect.observation
        if records.Follow in self.wanted:
            leader, token = None, 0
            if isinstance(seen, Led):
                leader, token = number_of(seen.leader), seen.token
            self.tell(records.Follow(self.now, process.number, leader, token))

    def _left(self, process: Process, _: Withdrawn) -> None:
        """It has left the election, and its process ends."""
        node = process.number
        until = self._withdrawn.get(node)
        if until is not None:
            self.crash(node, max(until, self.now))

    def clock_changed(self, node: int) -> None:
        """See `Processes.clock_changed`: a tenure's end has another true time now."""
        super().clock_changed(node)
        if node == STORE:
            return
        process = self.processes[node]
        if process.office is not None and process.clock.shows(self.now) < process.hard:
            self._hold(process, process.office, process.hard)
        if process.work is not None:
            self.put(process.clock.true(process.hard), self._guard, process, process.work)

    # -- work ----------------------------------------------------------------------------

    def _begin_work(self, process: Process, token: int) -> None:
        node, exposure = process.number, self.exposures[process.number]
        process.work = token
        self.tell(records.Work(self.now, node, token, "began"))
        if records.Write in self.wanted:
            self._write_on(process, token)
        self.put(process.clock.true(process.hard), self._guard, process, token)
        longest = exposure.weather.work[1]
        if longest:
            lasts = self.choose("work", node, exposure.work, longest)
            self.put(self.now + lasts, self._return, process, token)

    def _write_on(self, process: Process, token: int) -> None:
        """The work writes to a guarded resource, now and then."""
        if process.work != token:
            return
        wakes = self.paused_until[process.number]  # and then it writes at once, see `awake`
        if self.now >= wakes:
            self._write(process, token)
        later = max(self.now, wakes) + self.timing.ttl_ns // _WRITES_PER_TTL
        self.put(later, self._write_on, process, token)

    def _write(self, process: Process, token: int) -> None:
        accepted = token >= self.newest_write
        self.newest_write = max(self.newest_write, token)
        self.tell(records.Write(self.now, process.number, token, accepted, self.newest_write))

    def awake(self, process: Process) -> None:
        """See `Processes.awake`: work goes on where it was, before anybody looks at a clock."""
        if process.work is not None and records.Write in self.wanted:
            self._write(process, process.work)

    def _stop_work(self, process: Process, _: StopWork) -> None:
        token, node = process.work, process.number
        if token is None:
            return
        self.tell(records.Work(self.now, node, token, "stopping"))
        exposure = self.exposures[node]
        if exposure.weather.stubborn and self.choose("stubborn", node, exposure.stubborn, 0):
            return
        takes = self.choose("stop", node, exposure.stop, exposure.weather.stop[0])
        self.put(self.now + takes, self._stopped, process, token)

    def _return(self, process: Process, token: int) -> None:
        exposure = self.exposures[process.number]
        failing = exposure.weather.failing > 0 and process.work == token
        failed = bool(failing and self.choose("fails", process.number, exposure.fails, 0))
        self.finish(process, token, failed=failed)

    def _stopped(self, process: Process, token: int) -> None:
        self.finish(process, token)

    def finish(self, process: Process, token: int, *, failed: bool = False) -> None:
        """The work of a tenure returns, by itself or because it was told to."""
        if process.work != token:
            return
        if self.now < self.paused_until[process.number]:
            process.waiting.append((self._stopped, token))
            return
        self._end_work(process, token, failed=failed)
        self.deliver(process, (WorkStopped, (token, failed)))

    def _end_work(self, process: Process, token: int, *, failed: bool = False) -> None:
        process.work = None
        self.tell(records.Work(self.now, process.number, token, "stopped", failed))

    def _abort_work(self, process: Process, effect: AbortWork) -> None:
        """The work ends at once; that it has ended is noticed a little later."""
        if process.work == effect.token:
            node, exposure = process.number, self.exposures[process.number]
            self._end_work(process, effect.token)
            takes = self.choose("abort", node, exposure.stop, exposure.weather.stop[0])
            told: Told = (WorkStopped, (effect.token, False))
            self.put(self.now + takes, self.deliver, process, told)

    def _guard(self, process: Process, token: int) -> None:
        """The last resort: whose work goes on past the hard deadline is ended, process and all.

        In production that is a thread or a process of its own, which late timers do not touch.
        """
        if process.work != token:
            return
        if self.now < self.paused_until[process.number]:
            process.waiting.append((self._guard, token))
        elif process.clock.shows(self.now) < process.hard:
            self.put(process.clock.true(process.hard), self._guard, process, token)
        else:  # after whatever else is due at this instant
            self.put(self.now, self._guard_after_all, process, token)

    def _guard_after_all(self, process: Process, token: int) -> None:
        over = process.clock.shows(self.now) >= process.hard
        if process.work != token or self.now < self.paused_until[process.number] or not over:
            self._guard(process, token)
        else:
            exposure = self.exposures[process.number]
            down = self.choose("down", process.number, exposure.down, exposure.weather.down[0])
            self.crash(process.number, self.now + down)

    # -- what is asked of candidates -----------------------------------------------------

    def resign(self, node: int, heir: int | None = None) -> None:
        """Ask a candidate to hand over, to a certain one if given."""
        self.deliver(self.processes[node], (Resign, (None if heir is None else f"n{heir}",)))

    def health(self, node: int, *, healthy: bool) -> None:
        """Say whether an application shows progress."""
        self.deliver(self.processes[node], (Health, (healthy,)))

    def stand(self, node: int, *, wanted: bool) -> None:
        """Let a candidate stand for office, or not for a while."""
        self.deliver(self.processes[node], (Start if wanted else Desist, ()))

    def withdraw(self, node: int, until: int) -> None:
        """Let a candidate leave the election; another one joins later, in its place."""
        self._withdrawn[node] = until
        self.deliver(self.processes[node], (Withdraw, ()))

    # -- troubles ------------------------------------------------------------------------

    def strike(self, what: str, nodes: tuple[int, ...], trouble: Trouble) -> Deed | None:
        """See `World.strike`."""
        return _TROUBLES[what](self, nodes, trouble)

    def storm(self, until: int) -> None:
        """Kill every process."""
        for node in range(self.nodes):
            self.crash(node, until)

    def stall(self, node: int) -> Deed:
        """Let an application show no progress."""
        process = self.processes[node]
        self.health(node, healthy=False)
        return lambda: self.deliver(process, (Health, (True,)))

    def desist(self, node: int) -> Deed:
        """Let a candidate not stand for a while."""
        process = self.processes[node]
        self.stand(node, wanted=False)
        return lambda: self.deliver(process, (Start, ()))

    def expire_early(self) -> None:
        """Let the store end a lease before its time."""
        self.end_lease("early")

    def lenient(self, until: int) -> None:
        """Let no lease expire before this."""
        self.lenient_until = max(self.lenient_until, until)

    def settle(self) -> None:
        """See `World.settle`."""
        self.mute, self.numb = [0] * self.nodes, [0] * self.nodes
        self.slowed = [0] * self.nodes
        self.down = self.silent = self.lenient_until = 0
        self.exposures = [self._exposure(self.weather)] * self.nodes
        for node in range(self.nodes):
            process = self.processes[node]
            process.fuse = None
            if self.now < self.paused_until[node]:
                self.paused_until[node] = self.now
                self._wake(process, None)
            if process.state.closing:
                self.crash(node, self.now)
            self.boot(node)
            process = self.processes[node]
            process.applied_at = 0  # a request that is stuck for ever does not hold up new ones
            if not process.state.healthy:  # who needs nothing is not woken: it has to go on alone
                self.health(node, healthy=True)
            if not process.state.contending:
                self.stand(node, wanted=True)
            if process.work is not None and process.state.leave is not None:
                self._stop_work(process, StopWork(process.work, process.state.leave))


_TROUBLES: dict[str, Callable[[Candidates, tuple[int, ...], Trouble], Deed | None]] = {
    "crash": lambda world, nodes, trouble: world.crash(nodes[0], trouble.until),
    "storm": lambda world, _, trouble: world.storm(trouble.until),
    "pause": lambda world, nodes, trouble: world.pause(nodes[0], trouble.until),
    "slow": lambda world, nodes, trouble: world.hinder(world.slowed, nodes[0], trouble.value),
    "stall": lambda world, nodes, _: world.stall(nodes[0]),
    "desist": lambda world, nodes, _: world.desist(nodes[0]),
    "withdraw": lambda world, nodes, trouble: world.withdraw(nodes[0], trouble.until),
    "resign": lambda world, nodes, _: world.resign(nodes[0]),
    "transfer": lambda world, nodes, _: world.resign(nodes[0], nodes[1]),
    "mute": lambda world, nodes, _: world.hinder(world.mute, nodes[0]),
    "numb": lambda world, nodes, _: world.hinder(world.numb, nodes[0]),
    "down": lambda world, *_: world.close_down(),
    "silent": lambda world, *_: world.fall_silent(),
    "expire-late": lambda world, _, trouble: world.lenient(trouble.until),
    "expire-early": lambda world, *_: world.expire_early(),
    "failover": lambda world, *_: world.fail_over(),
    "drift": lambda world, nodes, trouble: world.change_clock("drift", nodes[0], trouble),
    "freeze": lambda world, nodes, trouble: world.change_clock("freeze", nodes[0], trouble),
    "step": lambda world, nodes, trouble: world.change_clock("step", nodes[0], trouble),
}

__all__ = ["Candidates", "MakeCandidate"]
