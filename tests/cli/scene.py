"""The real command in real processes, what they say, and what is left of them at the end."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import elector
from tests.runtime.waiting import until
from tests.runtime.witness import STEP, Entry, entries

JOB = Path(__file__).with_name("job.py")
SOURCES = str(Path(elector.__file__).parents[1])
ELECTOR = (sys.executable, "-m", "elector")
ELECTION = "nightly"
LONG = "60s"  # who takes over within a test's patience did not wait for this lease
SHORT = "1.5s"
PATIENCE = 30

_MARK = "ELECTOR_TEST_SCENE"
_OURS = ("ELECTOR_", "NO_COLOR", "FORCE_COLOR", "XDG_STATE_HOME")


class Process:
    """One command, its process and what it says."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], directory: Path) -> None:
        self.name = name
        self.popen = popen
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"

    @property
    def pid(self) -> int:
        return self.popen.pid

    def out(self) -> str:
        return self._out.read_bytes().decode()

    def err(self) -> str:
        return self._err.read_bytes().decode()

    def said(self, text: str) -> str:
        """Wait until it has said this on stderr."""
        until(lambda: text in self.err())
        return self.err()

    def ended(self, code: int) -> str:
        """Wait for its end, with this exit code; what it said on stderr."""
        self.popen.wait(PATIENCE)
        assert self.popen.returncode == code, self.err()
        assert "Traceback" not in self.err(), self.err()
        return self.err()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def guardian_pid(self) -> int:
        """The process id of its guardian."""
        return until(lambda: [pid for pid in children(self.pid) if not is_zombie(pid)])[0]

    def job_pid(self) -> int:
        """The process id of its command."""
        return until(lambda: children(self.guardian_pid()))[0]


class Scene:
    """The processes of one test, their common store and diary."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.diary = directory / "diary"
        self.database = directory / "elections.db"
        self.store = f"sqlite:///{self.database}"
        self.strays: list[int] = []  # processes that the test itself lets go on
        self._mark = str(directory)
        self._processes: list[Process] = []

    # -- starting ------------------------------------------------------------------------

    def environment(self, **changes: str) -> dict[str, str]:
        """Ours without settings of elector, with the mark by which leftovers are known."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
        ours = {"PYTHONPATH": SOURCES, "ELECTOR_STORE": self.store, _MARK: self._mark}
        return {**kept, **ours, **changes}

    def start(
        self,
        name: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | None = None,
    ) -> Process:
        """Start any command; its output goes into files named after `name`."""
        with (
            Path(self.directory, f"{name}.out").open("wb") as out,
            Path(self.directory, f"{name}.err").open("wb") as err,
        ):
            popen = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=out,
                stderr=err if stderr is None else stderr,
                env=self.environment() if env is None else env,
                cwd=self.directory,
            )
        return self.adopt(name, popen)

    def adopt(self, name: str, popen: subprocess.Popen[bytes]) -> Process:
        """See to the end of this process as well."""
        self._processes.append(Process(name, popen, self.directory))
        return self._processes[-1]

    def run(self, name: str, act: str, *options: str, ttl: str = LONG, **env: str) -> Process:
        """``elector run`` with a job that writes into the diary."""
        return self.start(
            name,
            *ELECTOR,
            *("run", ELECTION, "--candidate", name, "--ttl", ttl, *options, "--", *self.job(act)),
            env=self.environment(**env),
        )

    def command(self, name: str, *command: str, options: Iterable[str] = (), **env: str) -> Process:
        """``elector run`` with any command."""
        verb = ("run", ELECTION, "--candidate", name, "--ttl", LONG, *options, "--")
        return self.start(name, *ELECTOR, *verb, *command, env=self.environment(**env))

    def job(self, act: str) -> tuple[str, ...]:
        """The command of a job."""
        return (sys.executable, "-I", "-S", str(JOB), act, str(self.diary))

    def ask(
        self, *arguments: str, prefix: Iterable[str] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            [*prefix, *ELECTOR, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment(**env),
            cwd=self.directory,
            timeout=PATIENCE,
            check=False,
        )

    def ask_json(self, *arguments: str) -> Any:
        """The same, with ``--json``; it must succeed and say nothing else."""
        done = self.ask(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    # -- looking -------------------------------------------------------------------------

    def cue(self, process: Process, what: str) -> None:
        """Give a job its cue."""
        Path(f"{self.diary}.{process.name}.{what}").touch()

    def works(self, process: Process, count: int = 1) -> Entry:
        """Wait until its job has made so many steps; the last one of these."""
        return self.saw(process, STEP, count)

    def saw(self, process: Process, what: str, count: int = 1) -> Entry:
        """Wait until its job has written this; the entry."""

        def found() -> list[Entry]:
            return [entry for entry in entries(self.diary, what) if entry.who == process.name]

        until(lambda: len(found()) >= count)
        return found()[count - 1]

    def leader(self, *processes: Process, after: int = 0) -> Process:
        """Wait until one of these works under a token above `after`."""

        def found() -> list[Process]:
            at_work = {entry.who for entry in entries(self.diary, STEP) if entry.token > after}
            return [process for process in processes if process.name in at_work]

        return until(found)[0]

    def waits(self, *processes: Process) -> None:
        """Wait until all of these stand in the queue of the store."""
        names = {process.name for process in processes}
        question = "SELECT name FROM elector_waiters"
        until(lambda: names <= {name for (name,) in self.read(question)})

    def lease_end(self) -> int:
        """When the lease that is in the store now runs out, on the clock of the diary."""
        ((end,),) = self.read("SELECT expires_ns FROM elector_elections")
        return int(end)

    def reasons(self) -> list[str | None]:
        """Why the tenures ended, by the store; oldest first."""
        found = self.read("SELECT reason FROM elector_tenures ORDER BY token")
        return [reason for (reason,) in found]

    def read(self, question: str) -> list[tuple[Any, ...]]:
        """Read the database directly."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            try:
                return list(db.execute(question))
            except sqlite3.OperationalError:
                return []  # not made yet

    def late(self, process: Process, after: int) -> list[Entry]:
        """What the job of a process wrote after a moment."""
        return [e for e in entries(self.diary) if e.who == process.name and e.at > after]

    # -- ending --------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Kill what the test started, nothing else: the rest has to end by itself, and soon."""
        for process in self._processes:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()
        for pid in self.strays:
            _kill(pid)
        try:
            until(lambda: not self.survivors())
        finally:
            for pid in self.survivors():
                _kill(pid)

    def survivors(self) -> list[int]:
        """Every process that inherited this test's mark and still lives."""
        mark = f"{_MARK}={self._mark}".encode()
        return [pid for pid in _processes() if mark in _environment(pid).split(b"\0")]


# -- processes, by the kernel ------------------------------------------------------------------


def lives(pid: int) -> bool:
    """Whether a process is there and not merely a zombie."""
    return Path(f"/proc/{pid}").exists() and not is_zombie(pid)


def is_zombie(pid: int) -> bool:
    return _status(pid)[0] in {"Z", "X", "?"}


def is_stopped(pid: int) -> bool:
    return _status(pid)[0] == "T"


def children(pid: int) -> list[int]:
    """Its children that are not zombies, oldest first."""
    found = [child for child in _processes() if _status(child)[1] == pid]
    return sorted(child for child in found if not is_zombie(child))


def freeze(*pids: int) -> None:
    """Stop these processes, and wait until they stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(is_stopped(pid) for pid in pids))


def thaw(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _status(pid: int) -> tuple[str, int]:
    """State and parent; "?" for a process that is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "?", 0
    return fields[0], int(fields[1])


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
