"""The stage: processes that are measured, one pipe on which they report, and nothing left behind.

Everybody on stage writes lines ``WHO WHAT VALUE [NS]`` into one named pipe. A process that can
read the clock precisely stamps its own line; the line of a shell, which cannot, is stamped here
when it arrives. Both are on `elector.clock`, which all processes of the machine share.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Self

from elector.clock import now_ns

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Stamp(NamedTuple):
    """Who did what, when (ns); the value is a token or a process id."""

    at: int
    who: str
    what: str
    value: int = 0


class Absent(Exception):  # noqa: N818 - somebody is missing
    """Something that was waited for did not happen; the message says what."""


class Actor:
    """A process on stage, the leader of a process group of its own.

    Attributes:
        name: under which it reports.
        work: the process id of the command that it runs, 0 if it works itself.
    """

    def __init__(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.process = process
        self.work = 0

    @property
    def pid(self) -> int:
        """Of the process that was started, not of what it started."""
        return self.process.pid

    def cue(self, word: str) -> None:
        """A line on its standard input."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Signal this process alone."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, if that is still needed, and bury it."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.wait()


class Stage:
    """A directory, the pipe of reports, and the processes. Leave it, and all of them are gone."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="elector-bench-"))
        self._stamps = self.directory / "stamps"
        os.mkfifo(self._stamps)
        # Both directions: so that the writers need not wait, and no end of file is seen.
        self._reader = os.open(self._stamps, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._received = b""
        self._heard: list[Stamp] = []
        self._exits: dict[int, tuple[str, int]] = {}  # pidfd -> who, pid
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        # Every process on stage inherits the writing end; the end of file tells that all are gone.
        self._leash, self._collar = os.pipe2(os.O_CLOEXEC)
        self._actors: list[Actor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            actor.end()
        os.close(self._collar)
        remain = not select.select([self._leash], [], [], 5.0)[0]
        for descriptor in (self._leash, self._reader, *self._exits):
            os.close(descriptor)
        shutil.rmtree(self.directory, ignore_errors=True)
        if remain:
            raise Absent("a process that was started by the benchmark does not end")

    def start(self, name: str, *command: str | Path, **environment: str) -> Actor:
        """Start a process; in its environment ``BENCH_WHO`` and ``BENCH_STAMPS``."""
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={
                    **_clean_environment(),
                    "BENCH_WHO": name,
                    "BENCH_STAMPS": str(self._stamps),
                    **environment,
                },
                process_group=0,  # Ctrl-C is for the benchmark alone
                pass_fds=(self._collar,),
                preexec_fn=_die_with_us,  # noqa: PLW1509 - there are no threads here
            )
        actor = Actor(name, process)
        self._actors.append(actor)
        return actor

    def python(self, name: str, module: str, *arguments: str | Path) -> Actor:
        """Start one of the benchmark's own modules."""
        return self.start(name, sys.executable, "-m", module, *arguments, PYTHONPATH=str(ROOT))

    def part(self, actor: Actor, within: float = PATIENCE_S) -> None:
        """Let somebody leave who was told or forced to.

        Raises:
            Absent: it does not leave.
        """
        try:
            actor.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Absent(f"{actor.name} does not leave{self.last_words(actor.name)}") from None
        finally:
            actor.end()
        self._actors.remove(actor)

    # -- reports ---------------------------------------------------------------------------

    def note(self, who: str, what: str) -> None:
        """Report something that the benchmark itself is about to do."""
        self._heard.append(Stamp(now_ns(), who, what))

    def notice_exit(self, who: str, pid: int) -> None:
        """Report, as ``WHO exit PID``, when this process ends."""
        descriptor = os.pidfd_open(pid)
        self._exits[descriptor] = who, pid
        self._poll.register(descriptor, select.POLLIN)

    def hear(self, what: str, *whose: str, within: float = PATIENCE_S) -> Stamp:
        """Wait for a report of one of these (of anybody if none is named), and take it.

        Raises:
            Absent: there is none in time.
        """
        stamp = self.heard(what, *whose, within=within)
        if stamp is None:
            who = " or ".join(whose) or "nobody"
            words = "".join(self.last_words(name) for name in whose)
            raise Absent(f"no {what!r} of {who} within {within:g} s{words}")
        return stamp

    def heard(self, what: str, *whose: str, within: float) -> Stamp | None:
        """The same, but None if there is none in time."""
        until = time.monotonic() + within
        while True:
            for place, stamp in enumerate(self._heard):
                if stamp.what == what and (not whose or stamp.who in whose):
                    return self._heard.pop(place)
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._listen(left)

    def _listen(self, seconds: float) -> None:
        ready = self._poll.poll(seconds * 1000)
        at = now_ns()
        for descriptor, _ in ready:
            if descriptor == self._reader:
                self._receive(at)
            else:
                self._poll.unregister(descriptor)
                os.close(descriptor)
                who, pid = self._exits.pop(descriptor)
                self._heard.append(Stamp(at, who, "exit", pid))

    def _receive(self, at: int) -> None:
        self._received += os.read(self._reader, 1 << 16)
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            who, what, value, *own = line.decode().split()
            self._heard.append(Stamp(int(own[0]) if own else at, who, what, int(value)))

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The end of what somebody said on standard error, to be added to a message."""
        log = self._log(name)
        words = log.read_text(errors="replace").strip() if log.exists() else ""
        return f"; its last words: {words.splitlines()[-1]}" if words else ""


def _clean_environment() -> dict[str, str]:
    """Ours, without settings of Elector's that would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ELECTOR_")}


def _die_with_us() -> None:
    """In the new process: be killed, also frozen, when the benchmark is."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
