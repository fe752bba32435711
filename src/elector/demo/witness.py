"""Witness files: what each process did and when, appended line by line.

They are the evidence, so they owe nothing to Elector: one ``write`` per line to a file opened
with ``O_APPEND``, which survives a SIGKILL of the writer, and the clock of the host.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec

from elector.clock import now_ns

_SUFFIX = ".witness"

Deed = Literal["standing", "begin", "writing", "paused", "woke", "wrote", "refused", "end", "left"]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a replica did.

    Attributes:
        at: when, ns on the monotonic clock.
        replica: who.
        did: what. An entry is announced (`writing`) before it is attempted, and is then
            `wrote` or `refused`; a process that dies in between leaves it open.
        token: the fencing token it acted under, 0 outside a tenure.
        entry: which entry of this tenure, counted from 1.
        newest: for a refusal, the token that was in the way.
    """

    at: int
    replica: str
    did: Deed
    token: int = 0
    entry: int = 0
    newest: int = 0


class Witness:
    """The file of one process."""

    def __init__(self, directory: Path, replica: str) -> None:
        self._replica = replica
        path = directory / f"{replica}.{os.getpid()}{_SUFFIX}"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, did: Deed, token: int = 0, entry: int = 0, newest: int = 0) -> None:
        """Append one line, now."""
        line = Line(now_ns(), self._replica, did, token, entry, newest)
        os.write(self._fd, msgspec.json.encode(line) + b"\n")


def heard(directory: Path, replica: str | None = None, pid: int | None = None) -> list[Line]:
    """What all processes noted, or those of one replica, or one of them, by the clock."""
    lines: list[Line] = []
    for path in directory.glob(f"{replica or '*'}.{pid or '*'}{_SUFFIX}"):
        # What follows the last newline is still being written.
        complete = path.read_bytes().rpartition(b"\n")[0]
        lines += msgspec.json.decode(b"[%s]" % complete.replace(b"\n", b","), type=list[Line])
    return sorted(lines, key=lambda line: line.at)
