"""Timers as windows."""

import asyncio
from collections.abc import Callable

import pytest

from elector.clock import now_ns
from elector.runtime import timers as timers_module
from elector.runtime.timers import Timers
from tests.runtime.waiting import play, soon

MS = 1_000_000


class Owner:
    """Notes when its timers fire, and may set others then."""

    def __init__(self, then: Callable[[str], None] = lambda _: None) -> None:
        self.fired: list[str] = []
        self._then = then

    def __call__(self, name: str) -> None:
        self.fired.append(name)
        self._then(name)


def new() -> Timers:
    return Timers(asyncio.get_running_loop())


def test_a_timer_fires_when_it_is_due_and_not_before() -> None:
    async def scene() -> None:
        timers, owner, due = new(), Owner(), now_ns() + 30 * MS
        timers.set(owner, "one", due, due)
        await soon(lambda: owner.fired)
        assert now_ns() >= due
        assert owner.fired == ["one"]

    play(scene())


def test_a_timer_whose_window_is_open_goes_with_the_first_that_is_due() -> None:
    async def scene() -> None:
        timers, now = new(), now_ns()
        first, company, closed = Owner(), Owner(), Owner()
        timers.set(first, "due", now + 20 * MS, now + 20 * MS)
        timers.set(company, "open", now, now + 3_600_000 * MS)
        timers.set(closed, "not yet", now + 3_000_000 * MS, now + 3_600_000 * MS)
        await soon(lambda: first.fired)
        assert (company.fired, closed.fired) == (["open"], [])
        timers.forget(closed, ("not yet",))

    play(scene())


def test_a_thousand_windows_that_overlap_fire_together() -> None:
    async def scene() -> None:
        turns: list[int] = []
        turn = 0
        loop = asyncio.get_running_loop()

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(next_turn)

        next_turn()
        timers, now = new(), now_ns()
        owners = [Owner(lambda _: turns.append(turn)) for _ in range(1000)]
        for number, owner in enumerate(owners):
            timers.set(owner, "renew", now + 30 * MS, now + (40 + number) * MS)
        await soon(lambda: len(turns) == 1000)
        assert len(set(turns)) == 1

    play(scene())


def test_a_timer_that_is_set_again_replaces_the_first_earlier_or_later() -> None:
    async def scene() -> None:
        timers, owner, now = new(), Owner(), now_ns()
        timers.set(owner, "moved back", now + 5 * MS, now + 5 * MS)
        timers.set(owner, "moved back", now + 40 * MS, now + 40 * MS)
        timers.set(owner, "moved on", now + 3_600_000 * MS, now + 3_600_000 * MS)
        timers.set(owner, "moved on", now + 10 * MS, now + 10 * MS)
        await soon(lambda: owner.fired == ["moved on"])
        assert now_ns() >= now + 10 * MS
        await soon(lambda: owner.fired == ["moved on", "moved back"])
        assert now_ns() >= now + 40 * MS

    play(scene())


def test_names_and_owners_are_told_apart() -> None:
    async def scene() -> None:
        timers, one, other, now = new(), Owner(), Owner(), now_ns()
        for owner in (one, other):
            for name in ("a", "b"):
                timers.set(owner, name, now, now)
        await soon(lambda: sorted(one.fired) == sorted(other.fired) == ["a", "b"])

    play(scene())


def test_a_timer_may_be_set_again_when_it_fires() -> None:
    async def scene() -> None:
        timers = new()

        def again(name: str) -> None:
            if len(owner.fired) < 5:
                timers.set(owner, name, now_ns() + MS, now_ns() + MS)

        owner = Owner(again)
        timers.set(owner, "beat", 0, 0)
        await soon(lambda: len(owner.fired) == 5)

    play(scene())


def test_forgotten_timers_do_not_fire_and_others_do() -> None:
    async def scene() -> None:
        timers, gone, kept, now = new(), Owner(), Owner(), now_ns()
        timers.set(gone, "a", now + MS, now + MS)
        timers.set(kept, "a", now + 5 * MS, now + 5 * MS)
        timers.forget(gone, ("a", "never set"))
        await soon(lambda: kept.fired)
        assert gone.fired == []

    play(scene())


def test_a_timer_forgotten_by_one_that_fires_with_it_does_not_fire() -> None:
    async def scene() -> None:
        timers, gone, last, now = new(), Owner(), Owner(), now_ns()
        first = Owner(lambda _: timers.forget(gone, ("a",)))
        timers.set(first, "a", now, now)
        timers.set(gone, "a", now, now + MS)
        timers.set(last, "a", now + 2 * MS, now + 2 * MS)
        await soon(lambda: last.fired)
        assert gone.fired == []

    play(scene())


def test_the_lease_clock_decides_also_when_the_loop_s_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In suspend the loop's clock stops. So sleeps are short, and each wake-up looks again."""

    async def scene() -> None:
        ahead = 0
        monkeypatch.setattr(timers_module, "now_ns", lambda: now_ns() + ahead)
        monkeypatch.setattr(timers_module, "_LONGEST_SLEEP_NS", 20 * MS)
        timers, owner = new(), Owner()
        timers.set(owner, "in an hour", now_ns() + 3_600_000 * MS, now_ns() + 3_600_000 * MS)
        ahead = 3_600_000 * MS
        await soon(lambda: owner.fired)

    play(scene())
