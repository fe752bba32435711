"""The world of candidates: what befalls them is what it says, and a tape makes it again."""

from typing import TypeVar

import pytest
from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from elector.simulation.chance import Chance
from elector.simulation.faults import LEADER, STORE, Faults, Trouble, Weather
from elector.simulation.lease import Candidates
from elector.simulation.recording import Recorder
from elector.simulation.run import Configuration, run
from elector.simulation.store import MODELS
from elector.trace import records
from elector.trace.ndjson import digest

S = SECOND_NS
TIMING = LeaseTiming.of("15s")
T = TypeVar("T", bound=records.Record)


def story(*troubles: Trouble, lasts: int = 60 * S, **weather: object) -> list[records.Record]:
    """What three candidates live through, on a store that announces everything to all."""
    recorder = Recorder()
    faults = Faults(Weather(**weather), troubles)  # type: ignore[arg-type] # any of its fields
    store = MODELS["memory"]._replace(queues=False)
    world = Candidates(3, TIMING, faults, Chance(1), (recorder,), store=store)
    world.begin()
    world.run_until(lasts)
    return recorder.records


def told(trace: list[records.Record], kind: type[T]) -> list[T]:
    return [record for record in trace if isinstance(record, kind)]


@pytest.mark.parametrize("store", MODELS)
def test_a_tape_makes_the_same_run_on_every_store(store: str) -> None:
    world = Configuration(
        protocol="lease", nodes=3, store=store, plan="chaos", duration_ns=60 * S, lease=TIMING
    )
    for seed in range(20):
        tape: dict[str, dict[int, int]] = {}
        explicit = replace(world, faults=world.faults_of(seed))
        first, again, replayed = Recorder(), Recorder(), Recorder()
        run(explicit, seed, watchers=(first,))
        run(explicit, seed, watchers=(again,), tape=tape)
        run(explicit, 10**6, watchers=(replayed,), tape=tape, replay=True)
        assert digest(first.records) == digest(again.records), f"seed {seed}"
        assert digest(first.records) == digest(replayed.records), f"seed {seed}"


def test_work_that_does_not_stop_is_ended_at_the_hard_deadline_at_the_latest() -> None:
    """Timers are late, and the work is stubborn; the guard is a process of its own."""
    trace = story(
        Trouble(20 * S, "mute", (LEADER,), 50 * S), stubborn=1.0, late_ns=5 * S, early_ns=0
    )
    ends = {record.token: record.until for record in told(trace, records.Lead)}
    first = min(ends)
    stopped = [
        record.t
        for record in trace
        if (isinstance(record, records.Work) and record.what == "stopped" and record.token == first)
        or isinstance(record, records.Crash)
    ]
    assert ends[first] is not None
    assert stopped[0] == ends[first]
    assert len(ends) > 1


def test_who_was_paused_writes_before_it_looks_at_the_clock_and_is_refused() -> None:
    trace = story(Trouble(20 * S, "pause", (LEADER,), 50 * S))
    refused = [record for record in told(trace, records.Write) if not record.accepted]
    assert [record.t for record in refused] == [50 * S]
    downs = [down.t for down in told(trace, records.StepDown) if down.node == refused[0].node]
    assert downs[0] == 50 * S


def test_a_clock_that_changes_moves_its_deadlines() -> None:
    """The record of a tenure is told anew, and timers fire when the clock shows their time."""
    trace = story(Trouble(21 * S, "freeze", (LEADER,), 90 * S), lasts=89 * S)
    leads = told(trace, records.Lead)
    frozen = [record for record in leads if record.t == 21 * S]
    assert len(frozen) == 1
    assert frozen[0].until is not None
    assert frozen[0].until > 1000 * S
    others = [record for record in leads if record.node != frozen[0].node]
    assert others, "its lease ends on the store's clock all the same"


def test_the_clock_of_the_store_may_drift_as_well() -> None:
    trace = story(Trouble(1 * S, "drift", (STORE,), 2 * S, 10_000))
    changes = [record for record in told(trace, records.Clock) if record.t == 1 * S]
    assert [(change.node, change.ppm) for change in changes] == [(STORE, 10_000)]


@pytest.mark.parametrize(
    ("what", "outcome"), [("down", "failed"), ("silent", "unknown"), ("mute", "unknown")]
)
def test_what_a_candidate_learns_of_its_requests(what: str, outcome: str) -> None:
    trace = story(Trouble(20 * S, what, (LEADER,), 40 * S))
    answers = [answer for answer in told(trace, records.Answer) if 22 * S < answer.t < 40 * S]
    assert outcome in {answer.outcome for answer in answers}


def test_somebody_leaves_and_another_one_joins() -> None:
    trace = story(Trouble(20 * S, "withdraw", (LEADER,), 30 * S))
    assert [boot.t for boot in told(trace, records.Boot)] == [0, 0, 0, 30 * S]
    assert [down.reason for down in told(trace, records.StepDown)] == ["shutdown"]
