"""An independent witness: what workers did, in their own words, and whether they overlapped.

Each worker appends one line for everything it does, with the host's monotonic clock; the
kernel keeps short appended lines whole. Nothing here reads what elector itself records.
"""

import itertools
import os
from pathlib import Path
from typing import NamedTuple

from elector.clock import now_ns

BEGIN, STEP, END = "begin", "step", "end"


class Entry(NamedTuple):
    """One thing that a worker did under a token."""

    at: int
    who: str
    token: int
    what: str


class Diary:
    """Where workers write; one for each process, all on the same file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, who: str, token: int, what: str) -> None:
        os.write(self._fd, f"{now_ns()} {who} {token} {what}\n".encode())


class Stay(NamedTuple):
    """The first and the last sign of one worker under one token."""

    who: str
    token: int
    first: int
    last: int


def entries(path: Path, *whats: str) -> list[Entry]:
    """What stands in a diary, oldest first; only these kinds if any are named."""
    written, _, _being_written = (path.read_text() if path.exists() else "").rpartition("\n")
    fields = (line.split() for line in written.splitlines())
    every = (Entry(int(at), who, int(token), what) for at, who, token, what in fields)
    return sorted(entry for entry in every if not whats or entry.what in whats)


def stays(diary: list[Entry]) -> list[Stay]:
    """From the first to the last line of each worker under each token, by beginning.

    That a tenure was lost is noted behind it, when others may be at work: it is no sign of work.
    """
    signs: dict[tuple[str, int], list[int]] = {}
    for entry in diary:
        if entry.what.startswith("lost:"):
            continue
        signs.setdefault((entry.who, entry.token), []).append(entry.at)
    found = [Stay(who, token, min(at), max(at)) for (who, token), at in signs.items()]
    return sorted(found, key=lambda stay: stay.first)


def overlaps(diary: list[Entry]) -> list[tuple[Stay, Stay]]:
    """Pairs of stays that touch; must be empty."""
    pairs = itertools.combinations(stays(diary), 2)
    return [(one, other) for one, other in pairs if other.first <= one.last]


def check(diary: list[Entry]) -> None:
    """At most one at a time, and every stay under a higher token than the one before."""
    pairs = overlaps(diary)
    assert not pairs, f"two at once: {pairs}"
    tokens = [stay.token for stay in stays(diary)]
    assert tokens == sorted(set(tokens)), f"tokens that do not rise: {tokens}"
