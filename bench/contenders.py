"""Those that are compared: each can put a candidate on stage, and knows when it is in line.

A candidate reports ``begin`` with the first instruction of its work. Its work ends, with
``end`` where it can stamp that itself, at a line on its standard input.
"""

import asyncio
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path

from bench.stage import PATIENCE_S, Absent, Actor, Stage
from elector.stores.registry import open_store, parse_url

ELECTION = "bench"
ELECTOR = Path(sys.executable).with_name("elector")

# The work of a command: report the process id, wait for a line. Nothing but shell built-ins.
WORK = 'echo "$BENCH_WHO begin $$" >"$BENCH_STAMPS"; read line'
# The time that others get to be in line, after they have said that they stand.
_GRACE_S = 0.2


class Contender(ABC):
    """An implementation, with its settings.

    Attributes:
        label: what it is.
        patience_s: the longest that one may take to begin after the one before it.
    """

    label: str
    patience_s = PATIENCE_S

    @abstractmethod
    def stand(self, stage: Stage, name: str) -> Actor:
        """Start a candidate."""

    def await_place(self, stage: Stage, name: str) -> None:
        """Wait until it is in line."""
        stage.hear("standing", name)
        time.sleep(_GRACE_S)


class ElectorRun(Contender):
    """``elector run``; the work is a shell."""

    def __init__(self, ttl: str, url: str | None = None) -> None:
        self.label = f"elector run, ttl {ttl}"
        self._ttl, self._url = ttl, url

    def stand(self, stage: Stage, name: str) -> Actor:
        """Start a supervisor."""
        return stage.start(name, *elector_run(stage, name, self._ttl, WORK, url=self._url))

    def await_place(self, stage: Stage, name: str) -> None:
        """See it in the queue of the store."""
        await_queue(stage, name, url=self._url)


class ElectorPython(Contender):
    """``async with tenure`` in a process of its own."""

    def __init__(self, ttl: str, url: str | None = None, election: str = ELECTION) -> None:
        self.label = f"async with tenure, ttl {ttl}"
        self._ttl, self._url, self._election = ttl, url, election

    def stand(self, stage: Stage, name: str) -> Actor:
        """Start a worker."""
        url = self._url or store_url(stage)
        return stage.python(name, "bench.workers.tenure", self._election, url, self._ttl)

    def await_place(self, stage: Stage, name: str) -> None:
        """See it in the queue of the store."""
        await_queue(stage, name, self._election, url=self._url)


class FileLockPython(Contender):
    """``with FileLock(path)`` of the package filelock, as it comes: it polls every 50 ms."""

    label = "filelock"

    def stand(self, stage: Stage, name: str) -> Actor:
        """Start a worker."""
        return stage.python(name, "bench.workers.with_filelock", stage.directory / "filelock")


class FlockCommand(Contender):
    """``flock FILE COMMAND`` of util-linux."""

    label = "flock(1)"

    def __init__(self, *options: str) -> None:
        self._options = options

    def stand(self, stage: Stage, name: str) -> Actor:
        """Start flock, which blocks in the kernel."""
        script = 'echo "$BENCH_WHO standing $$" >"$BENCH_STAMPS"; exec flock "$@"'
        arguments = (*self._options, str(stage.directory / "flock"), "sh", "-c", WORK)
        return stage.start(name, "sh", "-c", script, "sh", *arguments)


def elector_run(
    stage: Stage,
    name: str,
    ttl: str,
    work: str,
    election: str = ELECTION,
    url: str | None = None,
) -> list[str]:
    """The command line of a candidate that runs a shell script."""
    settings = ["--store", url or store_url(stage, election), "--ttl", ttl, "--candidate", name]
    return [str(ELECTOR), "run", "-q", election, *settings, "--", "sh", "-c", work]


def database(stage: Stage, election: str = ELECTION) -> Path:
    """The store's file; each election has one to itself."""
    return stage.directory / f"{election}.db"


def store_url(stage: Stage, election: str = ELECTION) -> str:
    """The same as a URL."""
    return f"sqlite:///{database(stage, election)}"


def await_queue(stage: Stage, name: str, election: str = ELECTION, url: str | None = None) -> None:
    """Wait until a candidate stands in the queue; nothing else tells from outside.

    Raises:
        Absent: it does not come.
    """
    until = time.monotonic() + PATIENCE_S
    if url is not None:
        asyncio.run(_await_place(url, election, name))
        return
    while time.monotonic() < until:
        if read_store(
            database(stage, election), "SELECT 1 FROM elector_waiters WHERE name = ?", name
        ):
            return
        time.sleep(0.01)
    words = stage.last_words(name)
    raise Absent(f"{name} does not come to stand in the queue within {PATIENCE_S:g} s{words}")


async def _await_place(url: str, election: str, name: str) -> None:
    store = await open_store(parse_url(url))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while name not in (await store.describe(election)).waiting:  # noqa: ASYNC110 - polls
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise Absent(f"{name} does not come to stand in the queue of {election}") from None
    finally:
        await store.close()


def read_store(file: Path, question: str, *values: object) -> list[tuple[int, ...]]:
    """Look into the store, without writing and without Elector."""
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return list(connection.execute(question, values))
        except sqlite3.OperationalError:
            return []  # its tables are not made yet
