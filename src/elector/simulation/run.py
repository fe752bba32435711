"""One run: a configuration and a seed in, verdicts and figures out.

A run has two phases. In the first one everything fails that the configuration lets fail; then
faults end, and a leader has to be found within a bound. A run is a function of configuration,
seed and tape: made twice it is the same to the byte.

>>> outcome = run(Configuration(protocol="raft", nodes=3, duration_ns=2 * SECOND_NS), seed=7)
>>> outcome.violation, outcome.tally.tenures > 0
(None, True)
"""

from collections.abc import Sequence
from random import Random
from typing import Any, Literal

import msgspec

from elector.core.duration import SECOND_NS
from elector.core.peers import NO_LOG, Position
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.properties.catalogue import properties_for
from elector.properties.judge import Judge
from elector.properties.verdict import Verdict
from elector.protocols.lease import LeaseCandidate
from elector.protocols.raft import Raft
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.bounds import lease_bound, raft_bound
from elector.simulation.chance import Chance, Tape
from elector.simulation.faults import Faults, Weather, draw_faults, plan_named
from elector.simulation.lease import Candidates, MakeCandidate
from elector.simulation.measures import Measures, Tally
from elector.simulation.members import Make, Members
from elector.simulation.store import MakeRegister, Register
from elector.simulation.world import Watcher, World
from elector.trace import records
from elector.trace.plain import plain
from elector.version import __version__

ProtocolName = Literal["lease", "raft"]
PROTOCOLS: tuple[ProtocolName, ...] = ("lease", "raft")
_STREAM = 1_000_003  # the faults' own stream of a seed: what happens does not change what is drawn
_WINDOW = 3


class Configuration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that makes a run, except for its seed.

    Attributes:
        protocol: which.
        nodes: how many members or candidates.
        raft: the settings of members.
        lease: the timing of candidates.
        store: the model of the candidates' store.
        logs: how far each member's log reaches; none: all are empty.
        duration_ns: of the phase with faults.
        plan: where faults come from, if they are not given.
        overrides: parts of the weather, as JSON has them, that go on top of the plan's.
        faults: exactly these.
        crash_leader: when somebody leads and all know it, kill it, at a random instant, and
            end when the next one is known.
    """

    protocol: ProtocolName
    nodes: int = 3
    raft: RaftSettings = RaftSettings.of("150ms", "300ms")
    lease: LeaseTiming = LeaseTiming.of("15s")
    store: str = "sqlite"
    logs: tuple[Position, ...] = ()
    duration_ns: int = 60 * SECOND_NS
    plan: str = "none"
    overrides: dict[str, Any] = {}
    faults: Faults | None = None
    crash_leader: bool = False

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ConfigurationError(f"{self.nodes} nodes cannot elect anybody: 1 at least")
        if self.duration_ns < 0:
            raise ConfigurationError("a run cannot last less than 0s")

    @property
    def unit_ns(self) -> int:
        """The protocol's own time scale: an election timeout, a ttl."""
        return self.raft.election_ns if self.protocol == "raft" else self.lease.ttl_ns

    @property
    def drift_ppm(self) -> int:
        """The bound that clocks keep."""
        return self.raft.drift_ppm if self.protocol == "raft" else self.lease.drift_ppm

    def faults_of(self, seed: int) -> Faults:
        """What goes wrong in the run of a seed."""
        if self.faults is not None:
            return self.faults
        random = Random(seed * _STREAM)  # noqa: S311 - a world, not a secret
        faults = draw_faults(
            plan_named(self.plan),
            random,
            self.protocol,
            self.nodes,
            self.duration_ns,
            self.unit_ns,
            self.drift_ppm,
        )
        weather = {**msgspec.to_builtins(faults.weather), **self.overrides}
        return Faults(msgspec.convert(weather, Weather), faults.troubles)

    def bound_ns(self, weather: Weather) -> int:
        """How long a leader may be missing when nothing fails any more."""
        if self.protocol == "raft":
            return raft_bound(self.raft, weather, self.nodes)
        return lease_bound(self.lease)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run.

    Attributes:
        seed: which.
        verdicts: of all properties, in their order.
        tally: its figures.
        failover_ns: with `crash_leader`, from the crash until another one led.
        known_ns: the same until every node that is up knew it.
    """

    seed: int
    verdicts: tuple[Verdict, ...] = ()
    tally: Tally = Tally()
    failover_ns: int | None = None
    known_ns: int | None = None

    @property
    def violation(self) -> Verdict | None:
        """The first property that was violated."""
        return next((v for v in self.verdicts if v.outcome == "violated"), None)


class Build(msgspec.Struct, frozen=True):
    """Which code runs: ours, or ours with a bug put into it on purpose."""

    raft: Make = Raft
    lease: MakeCandidate = LeaseCandidate
    register: MakeRegister = Register
    candidates: type[Candidates] = Candidates


def run(
    configuration: Configuration,
    seed: int = 0,
    *,
    watchers: Sequence[Watcher] = (),
    tape: Tape | None = None,
    replay: bool = False,
    properties: Sequence[str] | None = None,
    excuses: bool = True,
    build: Build = Build(),  # noqa: B008 - frozen
) -> Outcome:
    """Run once.

    Args:
        configuration: of what.
        seed: of all chance.
        watchers: who else is told what happens, a recorder for instance.
        tape: where choices are written; with `replay`, read from.
        replay: choices come from the tape, and nothing from the seed.
        properties: the names of those to judge; None: all that make sense.
        excuses: a property whose assumptions are broken on purpose is void, not violated.
        build: the code that runs.

    Raises:
        ConfigurationError: an unknown plan, store or property.
    """
    faults = configuration.faults_of(seed)
    judge = Judge(
        properties_for(
            configuration.protocol,
            properties,
            nodes=configuration.nodes,
            bound_ns=configuration.bound_ns(Weather()),
        ),
        void=faults.void(configuration.drift_ppm) if excuses else (),
    )
    measures = Measures()
    chance = Chance(seed, tape, replay=replay)
    world = new_world(configuration, faults, chance, (judge, measures, *watchers), build)
    world.begin()
    failover, known = (None, None)
    if configuration.crash_leader:
        failover, known = crash_the_leader(world, configuration)
    else:
        world.run_until(configuration.duration_ns)
        if not world.over:
            within = configuration.bound_ns(Weather())
            world.calm_down(within)
            world.run_until(world.now + within + _WINDOW * configuration.unit_ns)
    world.end()
    messages = world.sent_by_type() if isinstance(world, Members) else {}
    return Outcome(
        seed=seed,
        verdicts=tuple(judge.verdicts()),
        tally=measures.tally(messages, world.events),
        failover_ns=failover,
        known_ns=known,
    )


def new_world(
    configuration: Configuration,
    faults: Faults,
    chance: Chance,
    watchers: tuple[Watcher, ...],
    build: Build,
) -> Members | Candidates:
    """The world of a configuration, before anything happens in it."""
    if configuration.protocol == "raft":
        logs = configuration.logs or (NO_LOG,) * configuration.nodes
        return Members(
            configuration.nodes,
            configuration.raft,
            faults,
            chance,
            watchers,
            make=build.raft,
            logs=logs,
        )
    return build.candidates(
        configuration.nodes,
        configuration.lease,
        faults,
        chance,
        watchers,
        make=build.lease,
        store=configuration.store,
        make_register=build.register,
    )


def crash_the_leader(
    world: Members | Candidates, configuration: Configuration
) -> tuple[int | None, int | None]:
    """Kill a leader that all know; how long until another leads, and until all know that.

    The instant is drawn evenly from one heartbeat interval or renew period, as in figure 16 of
    the Raft paper.
    """
    raft = configuration.protocol == "raft"
    patience = 4 * configuration.bound_ns(world.weather) + configuration.duration_ns
    if not world.run_until(world.now + patience, world.agreed):
        return None, None
    period = configuration.raft.heartbeat_ns if raft else configuration.lease.renew_period_ns
    random = world.chance.random
    lasts = world.chance.choose("crash the leader", lambda: random.randrange(period), 0)
    world.run_until(world.now + 2 * period + lasts)
    world.run_until(world.now + patience, lambda: world.leader() is not None)
    killed, begun = world.leader(), world.now
    if killed is None:
        return None, None
    world.crash(killed, begun + 2 * patience)

    heard: set[int] = set()

    def all_heard() -> bool:
        heard.update(n for n in range(world.nodes) if world.follows(n) not in {None, killed})
        return len(heard) == sum(world.up)

    led_at = None
    if world.run_until(begun + patience, lambda: world.leader() not in {None, killed}):
        led_at = world.now
    known = led_at is not None and world.run_until(begun + patience, all_heard)
    return None if led_at is None else led_at - begun, world.now - begun if known else None


def header(configuration: Configuration, seed: int, faults: Faults, tape: Tape) -> records.Header:
    """The header of a trace from which the run can be made again."""
    raft = configuration.protocol == "raft"
    explicit = msgspec.structs.replace(configuration, faults=faults)
    return records.Header(
        format=records.FORMAT,
        elector=__version__,
        world="simulation",
        protocol=configuration.protocol,
        nodes=tuple(f"n{node}" for node in range(configuration.nodes)),
        settings={"raft": plain(configuration.raft)}
        if raft
        else {"timing": plain(configuration.lease)},
        run={"seed": seed, "configuration": plain(explicit), "tape": plain(tape)},
        void=faults.void(configuration.drift_ppm),
    )


__all__ = [
    "PROTOCOLS",
    "Build",
    "Configuration",
    "Outcome",
    "World",
    "header",
    "new_world",
    "run",
]
