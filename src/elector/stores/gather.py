"""Many callers, one request: what is asked while a request is under way goes out with the next.

A store that answers for a thousand elections in one statement should be asked once for all of
them. Callers ask one by one; what one turn of the event loop brings, and what comes while a
request is under way, is sent together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

Send = Callable[[Sequence[A]], Awaitable[Sequence[R]]]


class Gathered(Generic[A, R]):
    """Calls that share a request.

    Args:
        send: performs a batch; one answer for each question, in order. What it raises is
            raised to every caller of the batch. It must come to an end by itself: it is
            never cancelled, since a caller that gives up does not speak for the others.

    >>> async def double(numbers):
    ...     print("asked for", list(numbers))
    ...     return [2 * number for number in numbers]
    >>> async def main():
    ...     ask = Gathered(double)
    ...     return await asyncio.gather(ask(1), ask(2))
    >>> asyncio.run(main())
    asked for [1, 2]
    [2, 4]
    """

    def __init__(self, send: "Send[A, R]") -> None:
        self._send = send
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, question: A) -> R:
        """Ask; a caller that is cancelled may have been asked for all the same."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._perform([asked for asked in batch if not asked[1].done()])
        finally:
            self._task = None

    async def _perform(self, batch: list[tuple[A, "asyncio.Future[R]"]]) -> None:
        if not batch:
            return
        try:
            answers = await self._send([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def finished(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await self._task
