"""Candidates in the simulated world, under watch: each by its laws, all together by properties.

The world is `elector.simulation.lease`; this only chooses its weather in words, and raises
`LawBroken` at the first step that breaks a law. Whatever is left to chance is drawn from one
`random.Random`: Hypothesis gives one that it can shrink, the mutant tests give one with a seed.
"""

from collections import deque
from random import Random
from typing import Any

from elector.core.effects import CandidateEffect, Refuse
from elector.core.events import CandidateEvent
from elector.core.identity import Candidate
from elector.properties.tenures import FenceMonotone, LeaseDisjoint
from elector.protocols.lease import Phase
from elector.simulation.chance import Chance
from elector.simulation.faults import Delay, Faults, Weather
from elector.simulation.lease import Candidates
from elector.simulation.processes import Process
from elector.simulation.store import Model
from elector.trace import records
from elector.trace.records import Record
from tests.protocols.laws import CandidateLaws, LawBroken
from tests.protocols.transcript import CLEAN, Build, say_effect, say_event, say_time

MS = 1_000_000
S = 1000 * MS
_REMEMBERED_STEPS = 50
_NEVER = 1 << 60

_PROMPT = Delay("constant", 1 * MS, 1 * MS)
_SLOW = Delay("uniform", 1 * MS, 1000 * MS)  # there and back now and then longer than anybody waits

Mood = dict[str, Any]
# What a candidate's way to the store is like.
LINKS: dict[str, Mood] = {
    "fine": {},
    "slow": {"delay": _SLOW, "late_reply": 0.2, "late_request": 0.2, "repeated": 0.2},
    "deaf": {"lost_reply": 0.5, "late_reply": 0.25},
    "mute": {"lost_request": 0.5, "refused": 0.25},
    "slowest": {"delay": Delay("constant", 741 * MS, 741 * MS)},
    "down": {"refused": 0.34, "lost_request": 0.66},
    "bad": {
        "delay": _SLOW,
        **dict.fromkeys(("refused", "lost_request", "lost_reply"), 0.125),
        **dict.fromkeys(("late_reply", "late_request", "repeated"), 0.125),
    },
}
# For whole lives, not as an accident: requests overtake each other all the time.
LATE: Mood = {"late_reply": 0.34, "late_request": 0.33}
WATCHES: dict[str, Mood] = {
    "fine": {},
    "blind": {"blind": 1.0},
    "bad": {"blind": 0.25, "late_news": 0.25, "repeated": 0.25},
}
WORKS: dict[str, Mood] = {
    "obedient": {"stop": (0, 50 * MS)},
    "slow": {"stop": (0, 3 * S)},
    "stubborn": {"stop": (0, 40 * S)},
    "deaf": {"stubborn": 1.0},
}
TIMERS: dict[str, Mood] = {"fine": {}, "bad": {"late_ns": 3 * S, "early_ns": 5 * MS}}


class Trial:
    """Candidates, their world, and their judges, from the first event on.

    Attributes:
        world: all of it.
        laws: those of each instance.
        met: every effect and every phase that there was.
        tokens: those that were led with.
    """

    reads = frozenset[type[Record]]({records.Lead, records.StepDown, records.Crash})
    messages = frozenset[str]()

    def __init__(
        self,
        random: Random,
        *,
        candidates: int = 3,
        kind: Model | None = None,
        build: Build = CLEAN,
        drift_ppm: int | None = None,
        judges_each: bool = True,
        **settings: str,
    ) -> None:
        # No margin: it is for what the arithmetic does not model, and here there is none.
        given = {"ttl": "15s", "margin": "0s"} | settings
        self.timing = build.timing.of(**given)  # type: ignore[arg-type] # only texts are given
        self.judges_each = judges_each
        self.broken = False
        self.laws: dict[str, CandidateLaws] = {}
        self.met: set[type[CandidateEffect] | Phase] = set()
        self.tokens = [0]
        self._properties = (LeaseDisjoint(), FenceMonotone())
        self._steps = deque[
            tuple[int, Process, CandidateEvent, tuple[CandidateEffect, ...], Phase]
        ](maxlen=_REMEMBERED_STEPS)
        drift = self.timing.drift_ppm if drift_ppm is None else drift_ppm
        self._calm: Mood = {"delay": _PROMPT, "drift_ppm": drift}
        self._moods: list[dict[str, Mood]] = [{} for _ in range(candidates)]
        chance = Chance()
        chance.random = random
        self.world = Candidates(
            candidates,
            self.timing,
            Faults(Weather(**self._calm)),
            chance,
            (self,),
            make=build.candidate,
            store=kind or any_model(),
            on_step=self._judge,
        )
        self.world.begin()

    # -- the judges ----------------------------------------------------------------------

    def watch(self, record: Record) -> bool:
        """Hold what the world tells against the properties of all candidates together."""
        if isinstance(record, records.Lead) and record.token > self.tokens[-1]:
            self.tokens.append(record.token)
        if isinstance(record, records.Crash):  # a new process begins in fine weather
            self._moods[record.node] = {}
            self.expose(record.node)
        for judged in self._properties:
            complaint = judged.watch(record) if type(record) in judged.reads else None
            if complaint is not None:
                self._break(f"{judged.name}: {complaint}")
        return True

    def _judge(
        self,
        node: int,
        who: Candidate,
        event: CandidateEvent,
        effects: tuple[CandidateEffect, ...],
    ) -> None:
        process = self.world.processes[node]
        hash(process.state)
        self.met |= {process.state.phase, *map(type, effects)}
        self._steps.append((self.world.now, process, event, effects, process.state.phase))
        laws = self.laws.get(who.instance)
        if laws is None:
            laws = self.laws[who.instance] = CandidateLaws(self.timing, who.instance)
        try:
            laws.watch(event, effects)
        except LawBroken as broken:
            if self.judges_each:
                self._break(str(broken))
        if any(isinstance(effect, Refuse) for effect in effects):
            self._break("blamed the store, which did nothing wrong")

    def _break(self, law: str) -> None:
        self.broken = True
        raise LawBroken(f"{law}\n{self.told()}") from None

    def told(self) -> str:
        """The last steps of all candidates."""
        lines = []
        for now, process, event, effects, phase in self._steps:
            offset = process.clock.shows(now) - now
            lines.append(f"{say_time(now)} > {process.who.name} {say_event(event, offset)}")
            lines.extend(f"    {say_effect(effect, offset)}" for effect in effects)
            lines.append(f"    = {phase.value}")
        return "\n".join(lines)

    # -- the course of time --------------------------------------------------------------

    def run(self, duration: int) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now + duration)

    def run_until_asked(self, node: int) -> bool:
        """Let time pass until a candidate waits for an answer; False: it does not come to that."""
        process = self.world.processes[node]
        return self.world.run_until(self.world.now + 15 * S, lambda: bool(process.unanswered))

    # -- what may befall a candidate -----------------------------------------------------

    def expose(self, node: int, **moods: Mood) -> None:
        """Change one candidate's link, watch, timers or work; the rest stays as it is."""
        self._moods[node] |= moods
        weather = dict(self._calm)
        for mood in self._moods[node].values():
            weather |= mood
        self.world.expose(node, Weather(**weather))

    def pause(self, node: int, duration: int) -> None:
        """Let a process stand still."""
        self.world.pause(node, self.world.now + duration)

    def kill_after(self, node: int, effects: int) -> None:
        """Let a process be killed when it has carried out so many effects."""
        self.world.processes[node].fuse = effects

    def kill(self, node: int) -> None:
        """Kill a process for good."""
        self.world.crash(node, _NEVER)

    def finish(self, node: int, *, failed: bool) -> None:
        """Let the work return, if there is any."""
        process = self.world.processes[node]
        if process.work is not None:
            self.world.finish(process, process.work, failed=failed)

    def withdraw(self, node: int) -> None:
        """Let a candidate leave the election."""
        self.world.withdraw(node, _NEVER)

    # -- at the end ----------------------------------------------------------------------

    def somebody_leads(self) -> bool:
        """Whether somebody leads, with the store's consent."""
        world, register = self.world, self.world.register
        held = register.held(world.store_clock.shows(world.now))
        return held and any(
            process.who == register.holder and process.work == register.token
            for process in world.processes
        )

    def must_elect(self) -> None:
        """Liveness: once everything works, somebody leads before long, and everybody can.

        Whoever leads leaves the election, until all have had their turn: nobody is stuck.

        Raises:
            LawBroken: nobody leads.
        """
        bound = self.timing.failover_bound_ns() + self.timing.cooldown_ns
        # What was under way when the faults ended: a lease, requests, pauses after failures.
        within = bound + 5 * self.timing.ttl_ns
        self.world.calm_down(within)
        left = set[int]()
        for _ in range(self.world.nodes):
            if not self.world.run_until(self.world.now + within, lambda: self._leads_anew(left)):
                self._break("nobody leads, though nothing is in the way")
            leader = self.world.leader()
            assert leader is not None
            left.add(leader)
            self.withdraw(leader)

    def _leads_anew(self, left: set[int]) -> bool:
        return self.world.leader() not in left and self.somebody_leads()


def any_model(
    *, prolongs: bool = True, hints: bool = True, announces: bool = True, pushes: bool = True
) -> Model:
    """A store that is free to do what real ones differ in, and orders requests."""
    return Model("any", prolongs=prolongs, hints=hints, announces=announces, pushes=pushes)


def drawn_model(random: Random) -> Model:
    """One of them."""
    prolongs, hints, announces = random.choices((True, False), k=3)
    pushes = random.random() < 7 / 8
    return any_model(prolongs=prolongs, hints=hints, announces=announces, pushes=pushes)


def overtaking_model(random: Random) -> Model:
    """One where requests overtake each other; then it has to prolong, as the port promises."""
    return drawn_model(random)._replace(ordered=False, prolongs=True)
