"""How the demo looks: colours and a live line on a terminal, plain lines elsewhere."""

import os
from collections.abc import Sequence
from typing import TextIO

from elector.core.duration import format_duration
from elector.demo.lanes import State, lane
from elector.demo.report import Report
from elector.demo.witness import Line

_RESET, _BOLD, _DIM, _RED, _GREEN = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m"
_REPLICAS = ("\x1b[36m", "\x1b[33m", "\x1b[35m")
_CLEAR_LINE = "\r\x1b[2K"

_FULL: dict[State, str] = {
    "absent": " ",
    "waiting": "·",
    "working": "█",
    "frozen": "░",
    "refused": "✗",
    "killed": "†",
}
_ASCII: dict[State, str] = {
    "absent": " ",
    "waiting": ".",
    "working": "#",
    "frozen": "~",
    "refused": "x",
    "killed": "+",
}

_ACTS = {"kill": "killed", "freeze": "frozen", "shutdown": "shut down"}


class Show:
    """Writes to a stream what it can bear; to None, nothing."""

    def __init__(self, stream: TextIO | None, names: Sequence[str]) -> None:
        self._stream = stream
        self._names = names
        self._status = ""
        self._live = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._live and not os.environ.get("NO_COLOR")
        self._marks = _FULL if _can_say(stream, "".join(_FULL.values())) else _ASCII

    def line(self, text: str = "", style: str = "") -> None:
        """Say something that stays."""
        if self._stream is not None:
            clear = _CLEAR_LINE if self._live else ""
            self._status = ""
            print(f"{clear}{self._styled(text, style)}", file=self._stream, flush=True)

    def heading(self, text: str) -> None:
        """Begin something new."""
        self.line()
        self.line(text, _BOLD)

    def status(self, text: str) -> None:
        """Say what is so at this moment, on the line that lives."""
        if self._live and self._stream is not None and text != self._status:
            self._status = text
            print(
                f"{_CLEAR_LINE}  {self._styled(text, _DIM)}", end="", file=self._stream, flush=True
            )

    def name(self, replica: str) -> str:
        """A replica's name in its colour."""
        return self._styled(replica, _REPLICAS[self._names.index(replica) % len(_REPLICAS)])

    def report(self, report: Report, lines: Sequence[Line]) -> None:
        """Say how it went."""
        self._picture(lines)
        if report.takeovers:
            self.heading("takeovers, from the signal to the next leader's first entry")
        for takeover in report.takeovers:
            took = format_duration(takeover.takeover_ns)
            what = f"{takeover.old} {_ACTS[takeover.act]}"
            self.line(f"  {what:<14}  {takeover.new} at work after {took}")
        self.heading("verdict, from the ledger and the witnesses")
        refused = _count(len(report.refusals), "write")
        tenures = _count(len(report.tenures), "tenure")
        self.line(f"  {report.entries} entries in {tenures}; {refused} of a woken leader refused")
        if report.ok:
            self.line("  no two leaders worked at once, no stale write was accepted", _GREEN)
        for problem in report.problems:
            self.line(f"  WRONG: {problem}", _RED)

    def _picture(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        self.heading("who worked when")
        for name in self._names:
            drawn = "".join(self._marks[state] for state in lane(name, lines))
            self.line(f"  {self.name(name)}  {drawn}")
        legend = (f"{mark} {state}" for state, mark in self._marks.items() if state != "absent")
        self.line(f"        {'  '.join(legend)}", _DIM)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._colours and style and text else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _can_say(stream: TextIO | None, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
