"""The company: the replicas as processes, started, signalled and never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from elector.demo.witness import heard
from elector.errors import ElectorError

NAMES = ("anna", "bert", "cleo")

_PATIENCE_S = 10.0


class StageFailure(ElectorError):  # noqa: N818 - it is the stage that failed
    """The demo could not go on; the message says what did not happen."""


class Company:
    """Three replicas, by name. Leave it, and every process it started is gone."""

    def __init__(self, directory: Path, ttl: str) -> None:
        self._directory, self._ttl = directory, ttl
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        self._leaving: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members.values():
            member.kill()  # ends a stopped process too
        for member in self._members.values():
            _close(member)

    @property
    def names(self) -> list[str]:
        """Who is on stage."""
        return list(self._members)

    def start(self, name: str) -> None:
        """Start a replica, or start it anew."""
        command = [sys.executable, "-m", "elector.demo.replica"]
        with self._log(name).open("ab") as log:
            self._members[name] = subprocess.Popen(  # noqa: S603 - our own module
                [*command, str(self._directory), name, self._ttl],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the stage alone.
                process_group=0,
            )

    def is_standing(self, name: str) -> bool:
        """Whether the present process of this name has entered the election."""
        lines = heard(self._directory, name, self._members[name].pid)
        return any(line.did == "standing" for line in lines)

    def kill(self, name: str) -> None:
        """End a replica without a warning."""
        member = self._members.pop(name)
        member.kill()
        _close(member)

    def freeze(self, name: str) -> None:
        """Ask a replica to stop itself between its check and its write."""
        leash = self._members[name].stdin
        if leash is not None:
            leash.write(b"freeze\n")
            leash.flush()

    def is_stopped(self, name: str) -> bool:
        """Whether a replica is stopped now; the kernel says it once for each stop."""
        pid, status = os.waitpid(self._members[name].pid, os.WNOHANG | os.WUNTRACED)
        return bool(pid) and os.WIFSTOPPED(status)

    def thaw(self, name: str) -> None:
        """Let a stopped replica go on."""
        self._members[name].send_signal(signal.SIGCONT)

    def shut_down(self, name: str) -> None:
        """Tell a replica to leave."""
        self._leaving.add(name)
        self._members[name].terminate()

    def farewell(self, name: str) -> str | None:
        """Wait for a replica that was told to leave; what was wrong with how it went."""
        member = self._members.pop(name)
        self._leaving.discard(name)
        try:
            code = member.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            member.kill()
            code = None
        _close(member)
        if code == 0:
            return None
        how = "did not leave" if code is None else f"left with exit code {code}"
        return f"{name} was told to leave and {how}{self._last_words(name)}"

    def check(self) -> None:
        """See that everybody is still there who was not told to leave.

        Raises:
            StageFailure: a replica ended by itself.
        """
        for name, member in self._members.items():
            if name not in self._leaving and member.poll() is not None:
                raise StageFailure(
                    f"{name} ended by itself with exit code {member.returncode}"
                    f"{self._last_words(name)}"
                )

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _last_words(self, name: str) -> str:
        words = self._log(name).read_text(errors="replace").split("\n")
        last = next((line for line in reversed(words) if line.strip()), None)
        return "" if last is None else f": {last.strip()}"


def _close(member: subprocess.Popen[bytes]) -> None:
    if member.stdin is not None:
        member.stdin.close()
    member.wait()
