"""One connection, kept open: shared, dialled anew with a pause, and never kept after the end."""

import asyncio
from collections.abc import Callable

import pytest

from elector.errors import StoreUnavailable
from elector.stores.connection import Kept

DEADLINE_S = 30.0


class Line:
    """A server that can be down, and what was done with it."""

    def __init__(self) -> None:
        self.down = False
        self.dialled: list[int] = []
        self.hung_up: list[int] = []
        self.told_again: list[int] = []
        self.kept = Kept(self.dial, self.hang_up, self.reopened)

    async def dial(self) -> int:
        self.dialled.append(len(self.dialled))
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable(f"down at attempt {self.dialled[-1]}")
        return self.dialled[-1]

    async def hang_up(self, connection: int) -> None:
        self.hung_up.append(connection)

    async def reopened(self, connection: int) -> None:
        self.told_again.append(connection)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)


def test_all_share_one_and_an_impatient_one_does_not_take_it_from_the_others() -> None:
    async def main() -> None:
        line = Line()
        impatient, patient = (asyncio.create_task(line.kept.get()) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == 0
        assert await line.kept.get() == 0
        assert line.dialled == [0]
        await line.kept.close()
        assert line.hung_up == [0]

    asyncio.run(main())


def test_after_a_failure_requests_are_refused_at_once_until_the_pause_is_over() -> None:
    async def main() -> None:
        line = Line()
        line.down = True
        refusals = set()
        for _ in range(2000):
            with pytest.raises(StoreUnavailable) as refused:
                await line.kept.get()
            refusals.add(str(refused.value))
        assert len(line.dialled) < 2000
        assert len(refusals) == len(line.dialled)
        line.down = False

        async def answers() -> bool:
            try:
                return await line.kept.get() >= 0
            except StoreUnavailable:
                return False

        async with asyncio.timeout(DEADLINE_S):
            while not await answers():  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.005)
        await line.kept.close()

    asyncio.run(main())


def test_a_lost_one_is_dialled_anew_by_itself_if_somebody_watches() -> None:
    async def main() -> None:
        line = Line()
        first = await line.kept.get()
        assert line.told_again == [], "nobody can have missed anything before the first"
        line.down = True
        line.kept.lost(first, redial=True)
        await until(lambda: len(line.dialled) > 2)
        line.down = False
        await until(lambda: bool(line.told_again))
        assert await line.kept.get() == line.told_again[-1]
        assert line.hung_up == [first]
        await line.kept.close()

    asyncio.run(main())


def test_a_loss_that_is_reported_late_does_not_cost_the_new_one() -> None:
    async def main() -> None:
        line = Line()
        first = await line.kept.get()
        line.kept.lost(first, redial=False)
        second = await line.kept.get()
        line.kept.lost(first, redial=False)
        assert await line.kept.get() == second
        await line.kept.close()
        assert sorted(line.hung_up) == [first, second]

    asyncio.run(main())


def test_after_the_end_nothing_is_opened() -> None:
    async def main() -> None:
        line = Line()
        opening = asyncio.create_task(line.kept.get())
        await asyncio.sleep(0)
        await line.kept.close()
        with pytest.raises((StoreUnavailable, asyncio.CancelledError)):
            await opening
        with pytest.raises(StoreUnavailable, match="closed"):
            await line.kept.get()
        assert line.hung_up == [], "the one under way was not there yet"

    asyncio.run(main())
