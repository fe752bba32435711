"""What the witnesses and the ledger say, read as it comes, and judged.

The judge is that of the demo (`elector.demo.judge`): it does not ask Elector. It takes the `end`
that a process notes for the end of its work. A process that was stopped notes it when it is thawed,
long after the last thing it did, so such an `end` is not counted: its work ended with its last
effect, and what it does after it woke, it does under the eyes of the judge.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from elector.clock import now_ns
from elector.core.timing import LeaseTiming
from elector.demo.judge import problems, stays
from elector.demo.ledger import Entry, Ledger
from elector.demo.report import Stay
from elector.demo.witness import Line
from tests.faults.candidate import RENEWALS

_WITNESS = ".witness"


class Evidence:
    """The evidence of one store, from the files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ledger = Ledger.create(directory)
        self._read: dict[Path, int] = {}
        self._said: defaultdict[int, list[Line]] = defaultdict(list)
        self._renewals: dict[int, int] = {}  # token: the last time that it was prolonged

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    # -- while it goes on --------------------------------------------------------------------------

    def said(self, pid: int) -> list[Line]:
        """What one process has noted so far."""
        for path in self._directory.glob(f"*.{pid}{_WITNESS}"):
            self._said[pid] += msgspec.json.decode(
                b"[%s]" % self._fresh(path).replace(b"\n", b","), type=list[Line]
            )
        return self._said[pid]

    def last_entry(self) -> Entry | None:
        """The last accepted write."""
        return self._ledger.last()

    def is_sound(self, token: int, since: int, timing: LeaseTiming) -> bool:
        """Whether a tenure has begun, or been prolonged, since then, and for the whole of a lease.

        An office that was found after a lost reply is counted from the request, and may be about
        to end: the next fault would be blamed for that.
        """
        whole_ns = timing.deadlines(0).soft_ns - 2 * timing.request_timeout_ns
        for path in self._directory.glob(f"*{RENEWALS}"):
            for line in self._fresh(path).splitlines():
                at, of, left_ns = map(int, line.split())
                if left_ns >= whole_ns:
                    self._renewals[of] = at
        return self._renewals.get(token, 0) > since

    def _fresh(self, path: Path) -> bytes:
        """The complete lines that have been added to a file, without the last newline."""
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            complete, newline, _ = file.read().rpartition(b"\n")
        self._read[path] = self._read.get(path, 0) + len(complete) + len(newline)
        return complete

    # -- and judged --------------------------------------------------------------------------------

    def tenures(self, above: int = 0) -> list[Stay]:
        """The tenures with a token above this one, by token."""
        lines, entries = self._until_now(above)
        return stays(fair(lines, entries), entries)

    def problems(self, above: int = 0) -> list[str]:
        """What is wrong with these tenures, in words."""
        lines, entries = self._until_now(above)
        return judged(lines, entries)

    def refusals(self) -> int:
        """How many late writes the guard has refused."""
        return sum(line.did == "refused" for line in self._lines())

    def _until_now(self, above: int) -> tuple[list[Line], list[Entry]]:
        # In this order: a write is announced before it is committed, and confirmed after that.
        now = now_ns()
        entries = [entry for entry in self._ledger.entries(above) if entry.at <= now]
        lines = [
            line
            for line in self._lines()
            if line.at <= now and (line.token > above or line.token == 0)
        ]
        return lines, entries

    def _lines(self) -> list[Line]:
        for path in self._directory.glob(f"*{_WITNESS}"):
            self.said(int(path.name.split(".")[1]))
        every = (line for lines in self._said.values() for line in lines)
        return sorted(every, key=lambda line: line.at)


def judged(lines: Sequence[Line], entries: Sequence[Entry]) -> list[str]:
    """Everything that is wrong, in words."""
    return [*problems(fair(lines, entries), entries), *late_work(lines)]


def fair(lines: Sequence[Line], entries: Sequence[Entry]) -> list[Line]:
    """Without the `end` of those who were stopped between their last effect and noting it.

    >>> anna = [Line(1, "anna", "begin", 1), Line(2, "anna", "paused"), Line(8, "anna", "woke")]
    >>> fair([*anna, Line(9, "anna", "end", 1)], []) == anna
    True
    """
    effects: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    pauses: defaultdict[str, list[int]] = defaultdict(list)
    for entry in entries:
        effects[entry.replica, entry.token].append(entry.at)
    for line in lines:
        if line.did in {"begin", "wrote"}:
            effects[line.replica, line.token].append(line.at)
        elif line.did == "paused":
            pauses[line.replica].append(line.at)

    def was_stopped(end: Line) -> bool:
        last = max(effects[end.replica, end.token], default=end.at)
        return any(last <= paused <= end.at for paused in pauses[end.replica])

    return [line for line in lines if line.did != "end" or not was_stopped(line)]


def late_work(lines: Sequence[Line]) -> list[str]:
    """Who set about a piece of work after a later leader had begun, and had not been stopped.

    The guard refuses such a write, so the ledger does not show it; but whoever is not stopped has
    to know that it does not lead any more.

    >>> bert = Line(5, "bert", "begin", 2)
    >>> late_work([Line(1, "anna", "begin", 1), bert, Line(6, "anna", "writing", 1, 1)])
    ['anna (token 1) went on working 1 ns after bert (token 2) had begun']
    >>> late_work([Line(1, "anna", "begin", 1), bert, Line(5, "anna", "paused"),
    ...            Line(6, "anna", "writing", 1, 1)])
    []
    """
    pauses: defaultdict[str, list[int]] = defaultdict(list)
    by_stay: defaultdict[tuple[int, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.did == "paused":
            pauses[line.replica].append(line.at)
        if line.token:
            by_stay[line.token, line.replica].append(line)
    begins = sorted((line for line in lines if line.did == "begin"), key=lambda line: line.token)
    found = []
    for (token, replica), own in by_stay.items():
        later = [line for line in begins if line.token > token]
        successor = min(later, key=lambda line: line.at, default=None)
        for before, line in pairwise(own):
            if successor is None or line.did != "writing" or line.at <= successor.at:
                continue
            if any(before.at <= paused <= line.at for paused in pauses[replica]):
                continue
            found.append(
                f"{replica} (token {token}) went on working {line.at - successor.at} ns after "
                f"{successor.replica} (token {successor.token}) had begun"
            )
            break
    return found
