"""A thousand elections, all led by one process that has nothing else to do.

They are started all at once and left alone for ten renew periods, in which their renewals meet.
Then, for some seconds, the process counts its processor time, and the benchmark looks into the
store to see when each election was renewed: those of one batch carry the same time. Memory is
resident memory beyond that of the same process with one election; an asyncio task for each
election is part of it. A second process starts them a hundred at a time, and shows how much of
that memory is left over from the rush.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.contenders import database, read_store, store_url
from bench.figures import Figure, Section
from bench.plan import Plan, progress
from bench.stage import Actor, Stage
from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming

BATCHES_BOUND, CPU_BOUND_PERCENT, MEMORY_BOUND_KIB = 1, 5, 10

_TTL = "15s"
_PERIOD_S = LeaseTiming.of(_TTL).renew_period_ns / SECOND_NS
_WAVE = 100
_LOOK_S = 0.5


class Window(NamedTuple):
    """What one stretch of time has shown."""

    batches_per_period: float
    cpu_percent: float
    kib_each: float


class Crowd(NamedTuple):
    """A process that leads many elections."""

    stage: Stage
    actor: Actor
    elections: int
    alone_kib: int
    took_s: float

    def look(self) -> tuple[float, int, float]:
        """Its processor time (s), when that was (ns), and KiB for each election."""
        self.actor.cue("count")
        cpu = self.stage.hear("cpu_us", self.actor.name)
        kib = self.stage.hear("rss", self.actor.name).value - self.alone_kib
        return cpu.value / 1e6, cpu.at, kib / self.elections


def measure(plan: Plan) -> Section:
    """One process watched for several windows of time, and one looked at once."""
    elections = 200 if plan.quick else 1000
    windows, seconds = plan.rounds_of(3, 1), 6 if plan.quick else 20
    with Stage() as stage:
        rush = _gather(stage, elections, elections)
        time.sleep((2 if plan.quick else 10) * _PERIOD_S)
        seen = _windows(rush, windows, seconds)
        counted = list(progress(f"idle: {elections} elections", seen, windows))
    with Stage() as stage:
        _, _, calm_kib = _gather(stage, elections, _WAVE).look()
    return Section(
        name="idle",
        title=f"{elections:,} elections led by one idle process, ttl {_TTL}",
        figures=(
            Figure.of(
                "batches of renewals in a renew period",
                [window.batches_per_period for window in counted],
                "",
                bound=BATCHES_BOUND,
                judged="max",
            ),
            Figure.of(
                f"share of a core, over {seconds} s",
                [window.cpu_percent for window in counted],
                "%",
                bound=CPU_BOUND_PERCENT,
                judged="max",
            ),
            Figure.of(
                "memory for each, started all at once",
                [window.kib_each for window in counted],
                "KiB",
                bound=MEMORY_BOUND_KIB,
                judged="max",
            ),
            Figure.of(
                f"memory for each, started {_WAVE} at a time",
                [calm_kib],
                "KiB",
                bound=MEMORY_BOUND_KIB,
                judged="max",
            ),
            Figure.of("started all at once: until all lead", [rush.took_s], "s"),
        ),
        remarks=("Counted after ten renew periods, in which the renewals have come together.",),
    )


def _gather(stage: Stage, elections: int, wave: int) -> Crowd:
    """Start them, and see them all lead."""
    arguments = (store_url(stage), _TTL, str(elections), str(wave))
    actor = stage.python("crowd", "bench.workers.crowd", *arguments)
    alone_kib = stage.hear("rss", actor.name).value
    start = stage.hear("starting", actor.name)
    led = stage.hear("led", actor.name, within=120)
    return Crowd(stage, actor, elections, alone_kib, (led.at - start.at) / 1e9)


def _windows(crowd: Crowd, windows: int, seconds: int) -> Iterator[Window]:
    for _ in range(windows):
        cpu_before, before, _ = crowd.look()
        batches = _renewals(database(crowd.stage), seconds)
        cpu_after, after, kib_each = crowd.look()
        renewals_of_each = batches.total() / (crowd.elections + 1)
        yield Window(
            len(batches) / renewals_of_each,
            100 * (cpu_after - cpu_before) / ((after - before) / 1e9),
            kib_each,
        )


def _renewals(file: Path, seconds: int) -> Counter[int]:
    """How many elections were renewed at each of the times that occur."""
    known = _renewal_times(file)
    counted = Counter[int]()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(_LOOK_S)
        now = _renewal_times(file)
        counted.update({at: number for at, number in now.items() if at not in known})
        known = now
    return counted


def _renewal_times(file: Path) -> dict[int, int]:
    """At which times how many elections were renewed last."""
    question = "SELECT renewed_ns, count(*) FROM elector_elections GROUP BY renewed_ns"
    return {row[0]: row[1] for row in read_store(file, question)}
