"""A tenure for asyncio: a body that is cancelled before anyone else can lead."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from elector.core.events import Resign
from elector.runtime.driver import Driver
from elector.runtime.holding import Holding


class Tenure:
    """One stay in office; use it with ``async with``.

    The body runs while we lead. When the tenure ends early (the lease could not be renewed,
    somebody asked us to resign) the body is cancelled at the soft deadline, and if the
    cancellation ended it, `LeadershipLost` comes out of the ``async with``: what follows the
    block must not believe that the work was done. A body that returns has done its work,
    and the office is given back before the block is left.
    """

    __slots__ = ("_cancelled", "_cancelling", "_driver", "_loop", "_task", "holding")

    def __init__(self, driver: Driver, holding: Holding) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._cancelling = 0
        self.holding = holding

    def __repr__(self) -> str:
        return repr(self.holding)

    @property
    def token(self) -> int:
        """The fencing token: give it to every resource that the work writes to."""
        return self.holding.token

    @property
    def stopping(self) -> bool:
        """Whether the work has been told to stop."""
        return self.holding.stop_reason is not None

    def remaining(self) -> float:
        """Seconds until the work would be told to stop; renewals move this on."""
        return self.holding.remaining()

    def check(self) -> None:
        """Raise unless nobody else can lead right now; cheap, and never asks the store.

        Raises:
            LeadershipLost: the hard deadline has passed, or the tenure has ended.
            NotLeader: this is a forked child.
        """
        self.holding.check()

    async def __aenter__(self) -> Self:
        self._driver.start_work(self.holding)
        self._task = self.holding.worker = asyncio.current_task()
        self.holding.stop_work = self._stop_body
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        # An order to stop comes through the loop, so not before the first `await` of the body:
        # a task that cancels itself would carry the cancellation beyond a body without one.
        return self

    def _stop_body(self) -> None:
        """Cancel the body; on its own loop."""
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = self._task
        # As in asyncio.timeout: a cancellation is ours only if nobody else asked for one too.
        only_ours = self._cancelled and task is not None and task.uncancel() <= self._cancelling
        ended_by_us = only_ours and isinstance(error, asyncio.CancelledError)
        if error is not None and not isinstance(error, Exception) and not self.stopping:
            self._driver.post(Resign)  # cancelled from outside: not a failure of the work
        self._driver.work_stopped(self.holding, failed=isinstance(error, Exception))
        self._task = self.holding.worker = self.holding.stop_work = None
        await self.over()
        if ended_by_us:
            raise self.holding.lost("early") from error

    async def over(self) -> None:
        """Wait until the office has been given back, or has run out."""
        done = self._loop.create_future()

        def settle() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, done)

        self.holding.when_over(settle)
        await done


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
