"""One thread for blocking calls, in the order in which they were asked.

Not a `concurrent.futures` pool: that refuses work while the interpreter ends, which is just
when leases are given back.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from elector.errors import StoreUnavailable

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Worker:
    """Runs calls on a thread of its own; results come back on the event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, job: Callable[[], T]) -> T:
        """Run `job` on the thread; one whose caller was cancelled before it began never runs.

        Raises:
            StoreUnavailable: the store has been closed.
        """
        if self._closed:
            raise StoreUnavailable("the store has been closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            if future.cancelled():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - handed to whoever asked
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_settle, future, result)

    async def close(self) -> None:
        """Let the jobs already asked for finish, then end the thread."""
        self._closed = True
        done = self._loop.create_future()
        self._jobs.put((lambda: None, done))
        self._jobs.put(None)
        await done


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
