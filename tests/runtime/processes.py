"""Worker processes for a test: started with a diary to write in, and none left behind."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import elector
from tests.runtime.waiting import until
from tests.runtime.witness import STEP, Entry, entries

HERE = Path(__file__).parent
PATHS = [str(Path(elector.__file__).parents[1]), str(HERE.parents[1])]


class Troupe:
    """The workers of one test, their common diary and store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.diary = directory / "diary"
        self.database = directory / "elections.db"
        self.store = f"sqlite:///{self.database}"
        self._children: list[subprocess.Popen[str]] = []
        self.strays: list[int] = []

    def start(self, act: str, name: str, **settings: str) -> subprocess.Popen[str]:
        """Start ``worker.py ACT`` under a name; see there for the acts and settings."""
        command = [sys.executable, str(HERE / "worker.py"), act, name, str(self.directory)]
        command += [f"{key}={value}" for key, value in {"store": self.store, **settings}.items()]
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        )
        self._children.append(child)
        return child

    def dismiss(self) -> None:
        """End every worker, also those that are stopped, and what they left running."""
        for pid in self.strays:
            os.kill(pid, signal.SIGKILL)  # first: they hold the pipes that are read below
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.communicate(timeout=10)

    def cue(self, name: str, what: str) -> None:
        """Tell a worker to go on; it waits for this file."""
        (self.directory / f"{name}.{what}").touch()

    def saw(self, who: str, what: str, count: int = 1) -> Entry:
        """Wait until a worker has written this so often; the entry that made it so many."""

        def found() -> list[Entry]:
            return [entry for entry in entries(self.diary, what) if entry.who == who]

        until(lambda: len(found()) >= count)
        return found()[count - 1]

    def next_after(self, token: int) -> Entry:
        """Wait until somebody works under a later token; the first step of that."""

        def found() -> list[Entry]:
            return [entry for entry in entries(self.diary, STEP) if entry.token > token]

        return until(found)[0]

    def waits(self, *names: str) -> None:
        """Wait until these candidates stand in the queue of the store."""

        def queue() -> set[str]:
            return {str(name) for (name,) in self.ask("SELECT name FROM elector_waiters")}

        until(lambda: set(names) <= queue())

    def lease_end(self) -> int:
        """When the lease that is in the store now runs out, on the clock of the diary."""
        ((end,),) = self.ask("SELECT expires_ns FROM elector_elections")
        assert isinstance(end, int)
        return end

    def ask(self, question: str) -> list[tuple[object, ...]]:
        """Read the database directly."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            try:
                return list(db.execute(question))
            except sqlite3.OperationalError:
                return []  # not made yet


def ended(child: subprocess.Popen[str], code: int) -> str:
    """Wait for the end of a worker, with this exit code; what it said on stderr."""
    _, said = child.communicate(timeout=30)
    assert child.returncode == code, said
    return said


def stopped(child: subprocess.Popen[str]) -> None:
    """Wait until a worker is frozen."""
    flags = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG
    seen = until(lambda: os.waitid(os.P_PID, child.pid, flags))
    assert seen is not None
    assert seen.si_code == os.CLD_STOPPED
