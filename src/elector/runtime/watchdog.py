"""The last resort: a thread that ends what still works at the hard deadline.

It is a thread of its own, so that neither a blocked application nor a blocked engine can
keep it from its task. It needs the interpreter lock, as every Python thread does: code that
never lets go of it is met by fencing only (docs/critiques.md).
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Literal

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.runtime.holding import Holding

OnOverrun = Literal["abort", "warn"] | Callable[[Holding], None]

EXIT_LEADERSHIP_LOST = 76
_LONGEST_SLEEP_NS = SECOND_NS
_log = logging.getLogger("elector")


def overrun(holding: Holding, policy: OnOverrun) -> None:
    """Deal, once, with work that has not stopped at the hard deadline."""
    if not holding.begin_abort():
        return
    text = (
        f"elector: the work of {holding!r} has not stopped at its hard deadline; "
        "another leader may start now"
    )
    if callable(policy):
        try:
            policy(holding)
        except Exception:  # noqa: BLE001 - the watch over other work has to go on
            _log.exception("%s; and on_overrun raised", text)
    elif policy == "warn":
        _say(text)
    else:
        _say(f"{text}; ending this process (exit code {EXIT_LEADERSHIP_LOST})")
        os._exit(EXIT_LEADERSHIP_LOST)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


class Watchdog:
    """Watches the hard deadlines of all work in this process."""

    def __init__(self) -> None:
        self._watched: dict[Holding, OnOverrun] = {}
        self._changed = threading.Condition()
        self._wake_at = 0
        # Started before there is work: a thread takes milliseconds to come to life, and those
        # would be taken from the beginning of a tenure.
        threading.Thread(target=self._run, name="elector-watchdog", daemon=True).start()

    def watch(self, holding: Holding, policy: OnOverrun) -> None:
        """Begin to watch work that has just begun."""
        with self._changed:
            self._watched[holding] = policy
            if holding.deadlines.hard_ns < self._wake_at:
                self._changed.notify()

    def forget(self, holding: Holding) -> None:
        """Stop watching work that has stopped."""
        with self._changed:
            self._watched.pop(holding, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = now_ns()
                late = [h for h in self._watched if now >= h.deadlines.hard_ns]
                due = [(h, self._watched.pop(h)) for h in late]
                if not due:
                    self._sleep(now)
            for holding, policy in due:
                overrun(holding, policy)

    def _sleep(self, now: int) -> None:
        """Until the next deadline, but look at the clock every second: it counts in suspend."""
        first = min((h.deadlines.hard_ns for h in self._watched), default=None)
        if first is None:
            self._wake_at = 1 << 62
            self._changed.wait()
            return
        self._wake_at = min(first, now + _LONGEST_SLEEP_NS)
        self._changed.wait((self._wake_at - now) / SECOND_NS)
