"""Many callers, one request: who shares it, who is not held up, and whose error it is."""

import asyncio
from collections.abc import Sequence

import pytest

from elector.errors import StoreUnavailable
from elector.stores.gather import Gathered


class Sent:
    """Notes each batch; answers when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        await self.may_answer.wait()
        if 13 in batch:
            raise StoreUnavailable("down")
        return [10 * number for number in batch]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_is_asked_meanwhile_goes_out_with_the_next() -> None:
    async def main() -> None:
        sent = Sent()
        ask = Gathered(sent)
        first = asyncio.gather(ask(1), ask(2))
        await turns()
        second = asyncio.gather(ask(3), ask(4))
        await turns()
        assert sent.batches == [[1, 2]], "one request at a time"
        sent.may_answer.set()
        assert [*await first, *await second] == [10, 20, 30, 40]
        assert sent.batches == [[1, 2], [3, 4]]

    asyncio.run(main())


def test_an_error_is_for_those_who_shared_the_request() -> None:
    async def main() -> None:
        sent = Sent()
        ask = Gathered(sent)
        doomed = asyncio.gather(ask(13), ask(1), return_exceptions=True)
        await turns()
        lucky = asyncio.create_task(ask(2))
        sent.may_answer.set()
        assert [type(error) for error in await doomed] == [StoreUnavailable] * 2
        assert await lucky == 20

    asyncio.run(main())


def test_who_gives_up_speaks_for_nobody_else() -> None:
    async def main() -> None:
        sent = Sent()
        ask = Gathered(sent)
        impatient, patient = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
        await turns()
        impatient.cancel()
        sent.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert await patient == 20
        await ask.finished()

    asyncio.run(main())


def test_who_gave_up_before_it_was_sent_is_not_asked_for() -> None:
    async def main() -> None:
        sent = Sent()
        ask = Gathered(sent)
        under_way = asyncio.create_task(ask(1))
        await turns()
        gone, stays = asyncio.create_task(ask(2)), asyncio.create_task(ask(3))
        await turns()
        gone.cancel()
        await turns()
        sent.may_answer.set()
        assert (await under_way, await stays) == (10, 30)
        assert sent.batches == [[1], [3]]

    asyncio.run(main())
