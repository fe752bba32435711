"""All renewals of a process against one store go out in one batch.

Elections begin when they begin, so their renewals would be due all over the period. Two things
bring them together: whoever may renew when another one has to goes with it (windows, see
`elector.runtime.timers`), and every window is used to come nearer to a common beat.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from elector.core.duration import SECOND_NS
from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.port import Grant, Store

Outcome = bool | StoreError
Answer = Callable[[int, Outcome], None]


class Renewal(NamedTuple):
    """One renewal that waits for its batch; `answer(op, outcome)` is called once."""

    grant: Grant
    op: int
    timeout_ns: int
    answer: Answer


def meeting_point(earliest: int, latest: int, period_ns: int, phase: float) -> int:
    """When to renew within a window, so that all who renew with this period meet in the end.

    The process has a beat, nine tenths of the period long, with a phase of its own. A beat that
    falls into the window is taken. Otherwise the last ninth of a beat is, which is one ninth
    nearer to the next beat than the time before: after nine renewals at most all are on it.

    >>> meeting_point(80, 100, 100, 0.0), meeting_point(90 + 80, 90 + 100, 100, 0.0)
    (90, 180)
    >>> meeting_point(30 + 80, 30 + 100, 100, 0.0)
    130
    """
    beat = max(1, period_ns * 9 // 10)
    behind = (latest - int(phase * beat)) % beat
    if latest - behind >= earliest:
        return latest - behind
    return max(earliest, latest - behind % max(1, beat // 9))


class Renewals:
    """Collects what one turn of the event loop asks for, and sends it together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Store, list[Renewal]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.batches = 0  # for measurement

    def add(self, store: Store, renewal: Renewal) -> None:
        """Send this renewal with the others of this turn."""
        batch = self._waiting.get(store)
        if batch is None:
            batch = self._waiting[store] = []
            self._loop.call_soon(self._flush, store)
        batch.append(renewal)

    def _flush(self, store: Store) -> None:
        self.batches += 1
        task = self._loop.create_task(_send(store, self._waiting.pop(store)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _send(store: Store, batch: list[Renewal]) -> None:
    outcomes: list[Outcome]
    timeout = min(renewal.timeout_ns for renewal in batch) / SECOND_NS
    try:
        async with asyncio.timeout(timeout):
            outcomes = list(await store.renew([renewal.grant for renewal in batch]))
    except TimeoutError:
        outcomes = [OutcomeUnknown("the store did not answer the renewal in time")] * len(batch)
    except StoreError as error:
        outcomes = [error] * len(batch)
    except Exception as error:  # noqa: BLE001 - a broken adapter is a store that does not answer
        outcomes = [StoreUnavailable(f"the store's adapter failed: {error!r}")] * len(batch)
    for renewal, outcome in zip(batch, outcomes, strict=True):
        renewal.answer(renewal.op, outcome)
