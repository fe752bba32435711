"""The candidates as processes: started, signalled, never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.faults.candidate import EXIT_LEADERSHIP_LOST

NAMES = ("anna", "bert", "cleo")
_ROOT = Path(__file__).parents[2]


class Company:
    """The candidates of one store, by name. Leave it, and none of their processes is left.

    Args:
        directory: where they have their ledger and their witness files.
        ttl: the lease duration.
        urls: for each name, its store.
        environment: what else they are to find in theirs.
    """

    def __init__(
        self,
        directory: Path,
        ttl: str,
        urls: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory, self._ttl, self._urls = directory, ttl, urls
        self._environment = {**os.environ, **(environment or {})}
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        self._leaving: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members.values():
            member.kill()  # ends a stopped process too
        for member in self._members.values():
            _close(member)

    def start(self, name: str) -> None:
        """Start a candidate, or start it anew."""
        path = os.pathsep.join(filter(None, [self._environment.get("PYTHONPATH"), str(_ROOT)]))
        with (self._directory / f"{name}.log").open("ab") as log:
            self._members[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.faults.candidate"),
                    *(str(self._directory), name, self._ttl),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
                env={
                    **self._environment,
                    "PYTHONPATH": path,
                    "ELECTOR_STORE": self._urls[name],
                },
            )

    def pid(self, name: str) -> int:
        """The present process of this name."""
        return self._members[name].pid

    @property
    def missing(self) -> list[str]:
        """Who is not there."""
        return [name for name in NAMES if name not in self._members]

    @property
    def leaving(self) -> bool:
        """Whether somebody who was told to leave is still there."""
        return bool(self._leaving)

    def tell(self, name: str, order: str) -> None:
        """Give a candidate an order (`tests.faults.candidate`)."""
        leash = self._members[name].stdin
        assert leash is not None
        with contextlib.suppress(BrokenPipeError):  # it has just ended by itself: that will be seen
            leash.write(f"{order}\n".encode())
            leash.flush()

    def is_stopped(self, name: str) -> bool:
        """Whether it is stopped."""
        flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid(name), flags) is not None

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self._members[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        """End it without a warning."""
        self._leaving.discard(name)
        member = self._members.pop(name)
        member.kill()
        _close(member)

    def shut_down(self, name: str) -> None:
        """Tell it to leave."""
        self._leaving.add(name)
        self._members[name].terminate()

    def departures(self) -> dict[str, int]:
        """Who has ended, with the exit code; they are missing from now on."""
        ended = {
            name: member.returncode
            for name, member in self._members.items()
            if member.poll() is not None
        }
        for name in ended:
            _close(self._members.pop(name))
            self._leaving.discard(name)
        return ended

    def last_words(self, name: str) -> str:
        """The last line that it has logged."""
        lines = (self._directory / f"{name}.log").read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def is_expected(code: int) -> bool:
    """Whether a candidate may end so: told to leave, or its work was ended at the hard deadline."""
    return code in {0, EXIT_LEADERSHIP_LOST}


def _close(member: subprocess.Popen[bytes]) -> None:
    if member.stdin is not None:
        member.stdin.close()
    member.wait()
