"""The last resort, in this process where it does not end it; see test_overrun.py for the rest."""

import os
import threading
from collections.abc import Callable

import pytest

from elector.clock import now_ns
from elector.core.office import Deadlines
from elector.runtime.holding import Holding
from elector.runtime.watchdog import Watchdog, overrun
from tests.runtime.waiting import until

MS = 1_000_000


def holding(hard_in_ms: int, token: int = 1) -> Holding:
    hard_ns = now_ns() + hard_in_ms * MS
    held = Holding("nightly", "us", token, Deadlines(hard_ns + 10**12, hard_ns))
    held.enter()
    return held


class Calls(list[tuple[Holding, int]]):
    """A policy that notes for whom it was called, and when."""

    def __call__(self, late: Holding) -> None:
        self.append((late, now_ns()))


def test_work_that_does_not_stop_is_dealt_with_at_its_hard_deadline() -> None:
    watchdog, calls, held = Watchdog(), Calls(), holding(20)
    watchdog.watch(held, calls)
    ((late, at),) = until(lambda: list(calls))
    assert late is held
    assert at >= held.deadlines.hard_ns


def test_a_deadline_that_moves_on_is_kept() -> None:
    watchdog, calls, held = Watchdog(), Calls(), holding(30)
    watchdog.watch(held, calls)
    moved = now_ns() + 120 * MS
    held.deadlines = Deadlines(moved, moved)
    ((_, at),) = until(lambda: list(calls))
    assert at >= moved


def test_an_earlier_deadline_that_comes_later_wakes_it() -> None:
    watchdog, calls = Watchdog(), Calls()
    far, near = holding(60_000), holding(20)
    watchdog.watch(far, calls)
    until(lambda: watchdog._wake_at)  # it sleeps
    watchdog.watch(near, calls)
    until(lambda: calls)
    watchdog.forget(far)
    assert [late for late, _ in calls] == [near]


def test_work_that_has_stopped_is_left_alone() -> None:
    watchdog, calls = Watchdog(), Calls()
    stopped, forgotten, last = holding(10), holding(10), holding(30)
    stopped.work_stopped()
    for held in (stopped, forgotten, last):
        watchdog.watch(held, calls)
    watchdog.forget(forgotten)
    until(lambda: calls)
    assert [late for late, _ in calls] == [last]
    assert not watchdog._watched


def test_it_goes_on_after_it_had_nothing_to_do() -> None:
    watchdog, calls = Watchdog(), Calls()
    for count in (1, 2, 3):
        watchdog.watch(holding(5), calls)
        until(lambda wanted=count: len(calls) == wanted)  # type: ignore[misc] # bound per turn


def test_a_policy_that_raises_does_not_end_the_watch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchdog, calls = Watchdog(), Calls()

    def broken(_late: Holding) -> None:
        raise ArithmeticError

    watchdog.watch(holding(5), broken)
    until(lambda: caplog.records)
    watchdog.watch(holding(5), calls)
    until(lambda: calls)


def test_warn_says_so_and_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    overrun(holding(0), "warn")
    assert capfd.readouterr().err == (
        "elector: the work of <tenure of us in 'nightly', token 1> has not stopped at its hard "
        "deadline; another leader may start now\n"
    )


def test_abort_ends_the_process_with_its_exit_code(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    overrun(holding(0), "abort")
    assert codes == [76]
    assert "ending this process (exit code 76)" in capfd.readouterr().err


def test_two_threads_that_see_an_overrun_deal_with_it_once() -> None:
    """The engine and the watchdog both look; a switch may fall between any two instructions."""
    for _ in range(300):
        calls, held, start = Calls(), holding(0), threading.Barrier(3)

        def look(
            held: Holding = held, calls: Calls = calls, start: threading.Barrier = start
        ) -> None:
            start.wait()
            overrun(held, calls)

        threads = [threading.Thread(target=look) for _ in range(3)]
        run_all(threads)
        assert len(calls) == 1


def run_all(threads: list[threading.Thread]) -> None:
    each: Callable[[threading.Thread], None]
    for each in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            each(thread)
