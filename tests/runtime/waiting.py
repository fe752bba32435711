"""Waiting for conditions with a deadline, so that no test sleeps and hopes."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from elector.stores.memory import MemoryStore

T = TypeVar("T")

PATIENCE = 30.0
_PAUSE = 0.005


def until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds} s"
        time.sleep(_PAUSE)
    return value


async def soon(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """The same on an event loop."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):  # noqa: ASYNC110 - other threads make it true
            await asyncio.sleep(_PAUSE)
        return value


def play(scene: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
    """Run a scene on a new event loop, with an end."""

    async def within() -> T:
        async with asyncio.timeout(seconds):
            return await scene

    return asyncio.run(within())


async def in_line(store: str, *names: str) -> None:
    """Wait until candidates of these names stand in the queue of a store in memory."""
    while not set(names) <= set(await _queue(store)):  # noqa: ASYNC110 - as above
        await asyncio.sleep(_PAUSE)


async def nobody_in_line(store: str) -> None:
    """Wait until the queue is empty."""
    while await _queue(store):  # noqa: ASYNC110 - as above
        await asyncio.sleep(_PAUSE)


async def _queue(store: str) -> tuple[str, ...]:
    shared = MemoryStore(store.removeprefix("memory://"))
    return (await shared.describe("nightly")).waiting
