"""One connection to a server, kept open and made anew when it is lost.

Nobody waits in vain for a server that is down: while an attempt has just failed, requests are
refused at once, and the next attempt comes after a pause that doubles and is never the same in
two processes (Brooker, "Exponential Backoff and Jitter", 2015: full jitter).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from elector.errors import StoreError, StoreUnavailable

C = TypeVar("C")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5  # a leader with a short ttl has no more time than that


class Kept(Generic[C]):
    """A connection that is there when it can be.

    Args:
        dial: opens one; raises a `StoreError` in words (`StoreUnavailable` for what may
            pass). It must give up by itself within seconds.
        hang_up: closes one, dead or alive, without waiting for the server.
        reopened: called with each connection after the first, before anybody else gets it:
            subscribe again, and look at what was missed meanwhile.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[C]],
        hang_up: Callable[[C], Awaitable[None]],
        reopened: Callable[[C], Awaitable[None]],
    ) -> None:
        self._dial, self._hang_up, self._reopened = dial, hang_up, reopened
        self._connection: C | None = None
        self._dialling: asyncio.Task[C] | None = None
        self._redialling: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._why: StoreError | None = None
        self._first = True
        self._closed = False

    async def get(self) -> C:
        """The connection, opened if need be.

        Raises:
            StoreUnavailable: there is none, and the last attempt failed a moment ago.
            StoreError: what `dial` raised.
        """
        if self._closed:
            raise StoreUnavailable("the store has been closed")
        if self._connection is not None:
            return self._connection
        if self._dialling is None:
            if self._why is not None and asyncio.get_running_loop().time() < self._not_before:
                raise self._why
            self._dialling = asyncio.create_task(self._open())
        # Whoever is cancelled here does not take the connection from the others.
        return await asyncio.shield(self._dialling)

    async def _open(self) -> C:
        connection: C | None = None
        try:
            connection = await self._dial()
            if not self._first:
                await self._reopened(connection)
        except BaseException as error:
            if connection is not None:
                self._hang_up_soon(connection)
            if isinstance(error, StoreError):
                self._failed(error)
            raise
        finally:
            self._dialling = None
        self._first, self._failures, self._why = False, 0, None
        self._connection = connection
        return connection

    def _failed(self, error: StoreError) -> None:
        self._why = error
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        pause = longest * random.random()  # noqa: S311 - spreads load, guards nothing
        self._not_before = asyncio.get_running_loop().time() + pause

    def lost(self, connection: C, *, redial: bool) -> None:
        """This connection does not answer any more: drop it.

        Args:
            connection: the one that was used; another one that was opened since stays.
            redial: somebody watches, so open a new one without waiting to be asked.
        """
        if connection is not self._connection:
            return
        self._connection = None
        self._hang_up_soon(connection)
        if redial and self._redialling is None and not self._closed:
            self._redialling = asyncio.create_task(self._redial())

    def _hang_up_soon(self, connection: C) -> None:
        async def hang_up() -> None:
            with contextlib.suppress(Exception):  # it is given up, whatever it says to that
                await self._hang_up(connection)

        task = asyncio.create_task(hang_up())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _redial(self) -> None:
        try:
            while not self._closed:
                with contextlib.suppress(StoreError):
                    await self.get()
                    return
                pause = self._not_before - asyncio.get_running_loop().time()
                await asyncio.sleep(max(_FIRST_PAUSE_S / 2, pause))
        finally:
            self._redialling = None

    async def close(self) -> None:
        """Hang up, and open nothing any more."""
        self._closed = True
        under_way = [task for task in (self._redialling, self._dialling) if task is not None]
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._hang_up_soon(connection)
        if self._closing:
            await asyncio.wait(self._closing)
