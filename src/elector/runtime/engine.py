"""The engine: one background thread per process that owns every store and every candidate.

A busy or blocked application does not starve renewals, since they do not run in it; and the
renewals of all elections of the process go to a store in one batch, so a thousand cost what
one costs. The opposite failure, dead work that keeps office because renewals run elsewhere,
is closed by asking the application for a sign of progress before each renewal.
"""

import asyncio
import atexit
import concurrent.futures
import logging
import os
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from elector.errors import ConfigurationError
from elector.runtime.renewals import Renewals
from elector.runtime.timers import Timers
from elector.runtime.watchdog import Watchdog
from elector.stores.port import Store
from elector.stores.registry import StoreUrl, open_store

T = TypeVar("T")

_EXIT_PATIENCE_SECONDS = 3.0
_log = logging.getLogger("elector")


class _Opened:
    """A store that several candidates use."""

    def __init__(self, opening: "asyncio.Task[Store]") -> None:
        self.opening = opening
        self.users = 0


class Engine:
    """The engine of this process; get it with `Engine.current`."""

    _current: ClassVar["Engine | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.watchdog = Watchdog()
        # Where in their windows this process's renewals fall: the same for all of its
        # elections, so that they meet, and another for each process, so that those do not.
        self.phase = random.random()  # noqa: S311 - spreads load, guards nothing
        self._stores: dict[StoreUrl, _Opened] = {}
        self._leavers: dict[object, Callable[[], None]] = {}
        self._idle = threading.Condition()
        # Made here and not in the thread: if it cannot be made, whoever asked has to hear of it.
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_report)
        self.timers = Timers(self.loop)
        self.renewals = Renewals(self.loop)
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="elector-engine", daemon=True
        )
        self._thread.start()

    @classmethod
    def current(cls) -> "Engine":
        """The engine of this process, started when it is first needed."""
        with cls._lock:
            if cls._current is None:
                cls._current = cls()
                atexit.register(cls._current.leave_all)
            return cls._current

    @classmethod
    def after_fork(cls) -> None:
        """In a forked child: the parent's engine is not ours, and its thread is not here."""
        cls._lock = threading.Lock()
        cls._current = None

    # -- from other threads --------------------------------------------------------------

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the engine thread, soon."""
        self.check_process()
        self.loop.call_soon_threadsafe(function, *args)

    def submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Run a coroutine on the engine thread."""
        if self.pid != os.getpid():
            work.close()
        self.check_process()
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def check_process(self) -> None:
        """Refuse to be used in a forked child.

        Raises:
            ConfigurationError: this is not the process that the engine runs in.
        """
        if self.pid != os.getpid():
            raise ConfigurationError(
                f"this election belongs to process {self.pid}; after a fork, make a new "
                "Election in the child"
            )

    # -- on the engine thread ------------------------------------------------------------

    async def store(self, url: StoreUrl) -> Store:
        """The store behind a URL, opened once for all who use it; pair with `release_store`."""
        opened = self._stores.get(url)
        if opened is None:
            opened = self._stores[url] = _Opened(self.loop.create_task(open_store(url)))
        opened.users += 1
        try:
            return await asyncio.shield(opened.opening)
        except BaseException:
            await self.release_store(url)
            raise

    async def release_store(self, url: StoreUrl) -> None:
        """One user less; the last one closes the store."""
        opened = self._stores[url]
        opened.users -= 1
        if opened.users:
            return
        del self._stores[url]
        try:
            store = await opened.opening
        except Exception:  # noqa: BLE001 - whoever asked for it was told
            return
        await store.close()

    def joined(self, member: object, leave: Callable[[], None]) -> None:
        """Remember how to make a candidate leave when the interpreter ends."""
        self._leavers[member] = leave

    def left(self, member: object) -> None:
        """A candidate has left and holds nothing."""
        with self._idle:
            self._leavers.pop(member, None)
            self._idle.notify_all()

    def leave_all(self) -> None:
        """At the interpreter's end: give back what is not at work, and do not wait long.

        What is still at work is not released: its lease ends with its process.
        """
        if self.pid != os.getpid():
            return
        for leave in list(self._leavers.values()):
            self.loop.call_soon_threadsafe(leave)
        with self._idle:
            self._idle.wait_for(lambda: not self._leavers, _EXIT_PATIENCE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_EXIT_PATIENCE_SECONDS)


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An error that nobody caught on the engine thread is our bug; do not hide it."""
    _log.error(
        "elector: %s (please report this)",
        context.get("message"),
        exc_info=context.get("exception"),
    )


os.register_at_fork(after_in_child=Engine.after_fork)
