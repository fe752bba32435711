"""A run is a function of its configuration, its seed and its tape; nothing else."""

import pytest
from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.errors import ConfigurationError
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import MS, PLANS, parse_delay
from elector.simulation.recording import Recorder, record
from elector.simulation.run import Configuration, run
from elector.trace import records
from elector.trace.ndjson import digest

RAFT = Configuration(protocol="raft", nodes=5, duration_ns=5 * SECOND_NS, plan="chaos")
LEASE = Configuration(protocol="lease", nodes=3, duration_ns=120 * SECOND_NS, plan="chaos")
LEASED = replace(RAFT, raft=RaftSettings.of("150ms", "300ms", lease=True))
BOTH = pytest.mark.parametrize("world", [RAFT, LEASE, LEASED], ids=["raft", "lease", "raft lease"])


@BOTH
def test_made_twice_it_is_the_same_to_the_byte(world: Configuration) -> None:
    for seed in range(8):
        first, again = record(world, seed), record(world, seed)
        assert digest(first[1]) == digest(again[1]), f"seed {seed}"
        assert first[2] == again[2]


@BOTH
def test_seeds_differ(world: Configuration) -> None:
    assert len({digest(record(world, seed)[1]) for seed in range(5)}) == 5


@BOTH
def test_its_tape_makes_the_same_run(world: Configuration) -> None:
    for seed in range(8):
        tape: dict[str, dict[int, int]] = {}
        explicit = replace(world, faults=world.faults_of(seed))
        recorder, again = Recorder(), Recorder()
        run(explicit, seed, watchers=(recorder,), tape=tape)
        run(explicit, 10**6, watchers=(again,), tape=tape, replay=True)
        assert digest(recorder.records) == digest(again.records), f"seed {seed}"


@BOTH
def test_who_watches_changes_nothing(world: Configuration) -> None:
    """With a recorder each step is taken anew; without one they are memoised."""
    for seed in range(8):
        assert run(world, seed) == record(world, seed)[2], f"seed {seed}"


@pytest.mark.parametrize("plan", [*PLANS])
@pytest.mark.parametrize("world", [RAFT, LEASE], ids=["raft", "lease"])
def test_no_plan_shows_a_violation(world: Configuration, plan: str) -> None:
    for seed in range(6):
        outcome = run(replace(world, plan=plan), seed)
        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"


def test_a_violation_ends_the_run_where_it_is_seen() -> None:
    """Clocks far beyond the bound, a store that often does not answer, and nobody excuses it."""
    world = Configuration(protocol="lease", nodes=2, duration_ns=600 * SECOND_NS, plan="store")
    wild = replace(world, overrides={"drift_ppm": 300_000, "lost_reply": 0.5})
    found = [run(wild, seed, excuses=False) for seed in range(60)]
    violated = [outcome for outcome in found if outcome.violation is not None]
    assert violated
    for outcome in violated:
        assert outcome.violation is not None
        assert outcome.violation.t is not None
        assert outcome.tally.ran_ns <= outcome.violation.t


def test_a_broken_assumption_is_void_and_not_violated() -> None:
    world = replace(LEASE, plan="none", overrides={"drift_ppm": 200_000})
    verdicts = {verdict.name: verdict.outcome for verdict in run(world, 1).verdicts}
    assert verdicts["LeaseDisjoint"] == "assumption void"
    assert verdicts["FenceSafe"] == "holds"


def test_a_crashed_leader_is_replaced_and_timed() -> None:
    outcomes = [run(replace(RAFT, plan="none", crash_leader=True), seed) for seed in range(20)]
    for outcome in outcomes:
        assert outcome.failover_ns is not None
        assert outcome.known_ns is not None
        assert 75 * MS < outcome.failover_ns <= outcome.known_ns


def test_single_numbers_go_on_top_of_the_plan() -> None:
    world = replace(RAFT, plan="lan", overrides={"loss": 0.25})
    weather = world.faults_of(3).weather
    assert (weather.loss, weather.delay) == (0.25, PLANS["lan"].weather.delay)


@pytest.mark.parametrize("text", ["5", "1ms..", "5ms..1ms", "cauchy:1ms..2ms", "normal:5ms", ""])
def test_a_malformed_delay_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="delay"):
        parse_delay(text)


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 nodes"):
        Configuration(protocol="raft", nodes=0)
    with pytest.raises(ConfigurationError, match="there are no faults 'mild'; there are: none"):
        run(replace(RAFT, plan="mild"))
    with pytest.raises(ConfigurationError, match="no model of a store 'floppy'"):
        run(replace(LEASE, store="floppy"))


def test_messages_are_told_with_their_fate() -> None:
    _, told, _ = record(replace(RAFT, plan="lossy"), 2)
    sent = {r.number for r in told if isinstance(r, records.Send)}
    arrived = {r.number for r in told if isinstance(r, records.Deliver)}
    dropped = {r.number for r in told if isinstance(r, records.Drop)}
    assert arrived <= sent
    assert dropped <= sent
    assert arrived
    assert dropped
