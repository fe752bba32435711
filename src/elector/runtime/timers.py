"""Timers as windows: what may wait for company does.

Every timer is asked for as a window. When one is due, all whose window is open fire with
it, so that the renewals of a thousand elections go out as one batch. Sleeps are cut to a
second, because the event loop's clock stops in suspend and the lease clock does not.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import NamedTuple

from elector.clock import now_ns
from elector.core.duration import SECOND_NS

_LONGEST_SLEEP_NS = SECOND_NS

Owner = Callable[[str], None]


class _Timer(NamedTuple):
    earliest: int
    due: int


class Timers:
    """All timers of one event loop; `owner(name)` is called when one fires."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[tuple[Owner, str], _Timer] = {}
        self._heap: list[tuple[int, int, tuple[Owner, str]]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0

    def set(self, owner: Owner, name: str, earliest: int, due: int) -> None:
        """Fire at `due`, or with another timer from `earliest` on; replaces one of that name."""
        key = (owner, name)
        self._timers[key] = _Timer(earliest, due)
        heapq.heappush(self._heap, (due, next(self._order), key))
        if self._alarm is None or due < self._alarm_at:
            self._arm()

    def forget(self, owner: Owner, names: tuple[str, ...]) -> None:
        """Drop the timers of an owner that has gone."""
        for name in names:
            self._timers.pop((owner, name), None)

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            return
        now = now_ns()
        sleep_ns = min(max(0, self._heap[0][0] - now), _LONGEST_SLEEP_NS)
        self._alarm_at = now + sleep_ns
        self._alarm = self._loop.call_later(sleep_ns / SECOND_NS, self._ring)

    def _is_current(self, entry: tuple[int, int, tuple[Owner, str]]) -> bool:
        timer = self._timers.get(entry[2])
        return timer is not None and timer.due == entry[0]

    def _ring(self) -> None:
        self._alarm = None
        now = now_ns()
        if self._heap and self._heap[0][0] <= now:
            for key in [key for key, timer in self._timers.items() if timer.earliest <= now]:
                if self._timers.pop(key, None) is not None:
                    owner, name = key
                    owner(name)
        if self._alarm is None:
            self._arm()
