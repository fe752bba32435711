"""Many seeds of one configuration, on all cores, or on a cluster that is there already.

The work is given to an executor in small batches of seeds: ``serial``, ``process`` (the cores
of this machine) or ``dask://host:port`` (a Dask scheduler; needs ``elector[dask]``). Outcomes
come back as they are ready; whoever stops asking has those that came until then.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from elector.errors import ConfigurationError
from elector.simulation.run import Configuration, Outcome, run

Batch = Sequence[int]
_BATCHES_AHEAD = 4
_LARGEST_BATCH = 50


def run_batch(configuration: Configuration, seeds: Batch) -> list[Outcome]:
    """What one worker does."""
    return [run(configuration, seed) for seed in seeds]


def sweep(
    configuration: Configuration,
    seeds: range,
    executor: str = "process",
    jobs: int | None = None,
) -> Iterator[Outcome]:
    """Run every seed; outcomes in the order in which they are ready.

    Args:
        configuration: of every run.
        seeds: which.
        executor: ``serial``, ``process`` or ``dask://host:port``.
        jobs: how many processes; None: one for each core.

    Raises:
        ConfigurationError: there is no such executor, or what it needs is not installed.
    """
    if executor == "serial" or (executor == "process" and (len(seeds) == 1 or jobs == 1)):
        return (run(configuration, seed) for seed in seeds)
    batches = list(_batches(seeds, jobs or os.cpu_count() or 1))
    if executor == "process":
        return _by_processes(configuration, batches, jobs)
    if executor.startswith("dask://"):
        return _by_dask(configuration, batches, executor.removeprefix("dask://"))
    raise ConfigurationError(
        f"there is no executor {executor!r}; there are serial, process and dask://host:port"
    )


def _batches(seeds: range, jobs: int) -> Iterator[range]:
    """Small enough to be shared evenly, large enough to be worth sending."""
    size = max(1, min(_LARGEST_BATCH, len(seeds) // (8 * jobs)))
    for first in range(0, len(seeds), size):
        yield seeds[first : first + size]


def _by_processes(
    configuration: Configuration, batches: list[range], jobs: int | None
) -> Iterator[Outcome]:
    # Forked: a worker starts in milliseconds, and this process has no threads to be copied.
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        yield from _as_ready(lambda batch: pool.submit(run_batch, configuration, batch), batches)


def _as_ready(
    submit: Callable[[range], "Future[list[Outcome]]"], batches: list[range]
) -> Iterator[Outcome]:
    """Keep a few batches ahead of what is done, so that an interrupted sweep ends soon."""
    waiting, left = set[Future[list[Outcome]]](), iter(batches)
    ahead = _BATCHES_AHEAD * (os.cpu_count() or 1)
    try:
        while True:
            waiting |= {submit(batch) for batch in islice(left, ahead - len(waiting))}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    finally:
        for future in waiting:
            future.cancel()


def _by_dask(configuration: Configuration, batches: list[range], address: str) -> Iterator[Outcome]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ConfigurationError(
            "the executor dask:// needs the package distributed: pip install 'elector[dask]'"
        ) from error
    try:
        client = Client(f"tcp://{address}", timeout="10s")
    except OSError as error:
        raise ConfigurationError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`"
        ) from error
    with client:
        futures = client.map(lambda batch: run_batch(configuration, batch), batches, pure=False)
        try:
            for _, outcomes in as_completed(futures, with_results=True):
                yield from outcomes
        finally:
            client.cancel(futures)
