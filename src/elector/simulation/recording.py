"""Runs written down: the whole trace, and in its header all that is needed to run it again."""

from pathlib import Path
from typing import get_args

import msgspec
from msgspec.structs import replace

from elector.errors import TraceError
from elector.simulation.chance import Tape
from elector.simulation.run import Build, Configuration, Outcome, header, run
from elector.simulation.shrink import Failure
from elector.trace.ndjson import Writer
from elector.trace.records import Header, Record


class Recorder:
    """A watcher that keeps everything."""

    reads: frozenset[type[Record]] = frozenset(get_args(Record))
    messages: frozenset[str] | None = None

    def __init__(self) -> None:
        self.records: list[Record] = []

    def watch(self, record: Record) -> bool:
        """Keep one record."""
        self.records.append(record)
        return True


def record(
    configuration: Configuration,
    seed: int,
    tape: Tape | None = None,
    build: Build = Build(),  # noqa: B008 - frozen
) -> tuple[Header, list[Record], Outcome]:
    """Run a seed, or a tape, and keep its trace."""
    faults = configuration.faults_of(seed)
    explicit = replace(configuration, faults=faults, overrides={})
    recorder = Recorder()
    chosen: Tape = {} if tape is None else tape
    outcome = run(
        explicit, seed, watchers=(recorder,), tape=chosen, replay=tape is not None, build=build
    )
    return header(explicit, seed, faults, chosen), recorder.records, outcome


def write_run(configuration: Configuration, seed: int, path: Path) -> None:
    """Run a seed and write its trace."""
    _write(*record(configuration, seed)[:2], path)


def write_failure(failure: Failure, path: Path) -> None:
    """Write the trace of a run that violates something."""
    _write(*record(failure.configuration, failure.outcome.seed, failure.tape)[:2], path)


def _write(head: Header, told: list[Record], path: Path) -> None:
    with Writer(path, head) as writer:
        for one in told:
            writer.write(one)


class _Run(msgspec.Struct, frozen=True):
    seed: int
    configuration: Configuration
    tape: Tape


def again(head: Header) -> tuple[list[Record], Outcome]:
    """Make the run of a header again.

    Raises:
        TraceError: this trace is not of a simulated run.
    """
    if head.world != "simulation":
        raise TraceError(
            f"this trace is of {head.world}: only what was simulated can be run again; "
            "elector verify --trace takes its steps again"
        )
    try:
        asked = msgspec.convert(head.run, _Run, strict=False)
    except msgspec.ValidationError as error:
        raise TraceError(f"the header does not say how to run this again: {error}") from error
    _, told, outcome = record(asked.configuration, asked.seed, asked.tape)
    return told, outcome
