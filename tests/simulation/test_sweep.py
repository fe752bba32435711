"""Many seeds, by every executor: the same outcomes."""

import warnings
from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.errors import ConfigurationError
from elector.simulation.report import Reporter, distribution
from elector.simulation.run import Configuration, Outcome
from elector.simulation.sweep import sweep

WORLD = Configuration(protocol="raft", nodes=3, duration_ns=1 * SECOND_NS, plan="chaos")
SEEDS = range(10, 75)


def by_seed(executor: str) -> list[Outcome]:
    return sorted(sweep(WORLD, SEEDS, executor, 2), key=lambda outcome: outcome.seed)


def test_processes_bring_every_seed_once() -> None:
    outcomes = by_seed("process")
    assert [outcome.seed for outcome in outcomes] == list(SEEDS)
    assert outcomes == by_seed("serial")


def test_a_dask_scheduler_brings_the_same(tmp_path: Path) -> None:
    """A real scheduler and a real worker, on loopback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of a foreign package
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            protocol="tcp",
            host="127.0.0.1",
            local_directory=str(tmp_path),
        ) as cluster:
            address = cluster.scheduler_address.removeprefix("tcp://")
            assert by_seed(f"dask://{address}") == by_seed("serial")


def test_no_scheduler_and_no_such_executor_are_said() -> None:
    with pytest.raises(ConfigurationError, match="no executor 'slurm'"):
        list(sweep(WORLD, SEEDS, "slurm"))


def test_whoever_stops_asking_has_those_that_came() -> None:
    assert len(list(islice(sweep(WORLD, range(10_000), "process", 2), 20))) == 20


def test_the_report_does_not_depend_on_the_order() -> None:
    outcomes = by_seed("serial")
    there, back = Reporter(), Reporter()
    for outcome in outcomes:
        there.take(outcome)
    for outcome in reversed(outcomes):
        back.take(outcome)
    assert there.report() == back.report()
    assert there.report().runs == len(SEEDS)


def test_runs_that_elect_nobody_in_time_are_counted() -> None:
    reporter = Reporter()
    reporter.take(Outcome(seed=1))
    assert reporter.report(crash_leader=True).unelected == 1
    assert reporter.report().availability == 0.0


def test_percentiles_are_values_that_occurred() -> None:
    found = distribution(range(1, 1001))
    assert found is not None
    assert (found.median_ns, found.p99_ns, found.p999_ns, found.max_ns) == (500, 990, 999, 1000)
    assert distribution([]) is None


def test_more_runs_than_batches_hold() -> None:
    world = replace(WORLD, duration_ns=1)
    assert len(list(sweep(world, range(1203), "process", 2))) == 1203
