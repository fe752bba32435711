"""The engine thread: one for each process, and how the application is asked for progress."""

import asyncio
import atexit
import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from elector import ConfigurationError, Election, NotLeader
from elector.runtime import progress as progress_module
from elector.runtime.engine import Engine
from elector.runtime.progress import ask_probe
from tests.runtime.waiting import play, until


def in_a_forked_child(act: Callable[[], bool]) -> bool:
    """Whether an act came out as true in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 warns of a fork beside threads: that is the test
        child = os.fork()
    if child == 0:
        signal.alarm(20)  # one that hangs has failed
        code = 1
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_there_is_one_engine_for_all_threads() -> None:
    found: list[Engine] = []
    threads = [threading.Thread(target=lambda: found.append(Engine.current())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {Engine.current()}


def test_a_forked_child_gets_an_engine_of_its_own(memory: str) -> None:
    engine = Engine.current()

    def child() -> bool:
        election = Election("nightly", store=memory, ttl="60s").blocking()
        with election, election.next_tenure() as tenure:
            tenure.check()
        return Engine.current() is not engine

    assert in_a_forked_child(child)
    assert Engine.current() is engine


def test_the_parent_s_engine_refuses_a_forked_child() -> None:
    engine = Engine.current()

    def child() -> bool:
        with pytest.raises(ConfigurationError, match="after a fork"):
            engine.submit(asyncio.sleep(0))
        with pytest.raises(ConfigurationError, match="after a fork"):
            engine.call(print)
        engine.leave_all()  # what runs at the interpreter's end does nothing here
        return True

    assert in_a_forked_child(child)


def test_a_forked_child_waits_for_no_lock_that_its_parent_s_threads_held(memory: str) -> None:
    election = Election("nightly", store=memory, ttl="60s").blocking()
    with election, election.next_tenure() as tenure:

        def child() -> bool:
            with pytest.raises(NotLeader):
                tenure.check()
            with pytest.raises(NotLeader):
                tenure.__enter__()
            for attempt in (
                lambda: tenure.__exit__(None, None, None),
                election.resign,
                election.next_tenure,
                lambda: next(election.observe()),
                lambda: election.__exit__(None, None, None),
            ):
                with pytest.raises(ConfigurationError):
                    attempt()
            return True

        locks = (Engine.current().watchdog._changed, tenure.holding._lock, election._changed)
        with held_by_another_thread(*locks):
            assert in_a_forked_child(child)
        tenure.check()


@contextlib.contextmanager
def held_by_another_thread(*locks: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            enough.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(30)
        yield
    finally:
        enough.set()
        thread.join()


def test_work_is_ended_at_its_hard_deadline_even_if_the_engine_hangs(memory: str) -> None:
    called, released = threading.Event(), threading.Event()
    election = Election(
        "nightly", store=memory, ttl="300ms", on_overrun=lambda _late: called.set()
    ).blocking()
    with election, election.next_tenure():
        Engine.current().call(released.wait)
        try:
            assert called.wait(30)
        finally:
            released.set()


def test_an_engine_that_cannot_start_says_so_and_the_next_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more_files() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Engine, "_current", None)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", no_more_files)
        with pytest.raises(OSError, match="Too many open files"):
            Engine.current()
    started = Engine.current()
    assert started.submit(asyncio.sleep(0, "works")).result(30) == "works"
    atexit.unregister(started.leave_all)
    started.leave_all()
    assert not started._thread.is_alive()
    started.loop.close()


def test_an_error_that_nobody_caught_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    def wrong() -> None:
        raise ArithmeticError

    Engine.current().call(wrong)
    until(lambda: "please report this" in caplog.text)
    assert "ArithmeticError" in caplog.text


# -- progress ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_AGAIN_SECONDS", 0.005)


def never() -> bool:
    return False


def test_a_probe_that_says_yes_is_an_answer() -> None:
    answered = threading.Event()
    ask_probe(lambda: True, answered.set, never)
    assert answered.wait(30)


def test_a_probe_is_asked_until_it_says_yes(caplog: pytest.LogCaptureFixture) -> None:
    def answers() -> Iterator[bool]:
        yield False
        yield False
        yield True

    coming, answered = answers(), threading.Event()
    ask_probe(lambda: next(coming), answered.set, never)
    assert answered.wait(30)
    assert not caplog.records


def test_a_probe_that_raises_has_not_said_yes(caplog: pytest.LogCaptureFixture) -> None:
    calls, answered = [], threading.Event()

    def probe() -> bool:
        calls.append(True)
        if len(calls) < 3:
            raise ArithmeticError
        return True

    ask_probe(probe, answered.set, never)
    assert answered.wait(30)
    assert len(caplog.records) == 2


def test_a_probe_is_not_asked_when_nobody_wants_to_know_any_more() -> None:
    gone, calls = threading.Event(), []

    def probe() -> bool:
        calls.append(True)
        if len(calls) == 3:
            gone.set()
        return False

    ask_probe(probe, gone.set, gone.is_set)
    assert gone.wait(30)
    until(lambda: all(thread.name != "elector-probe" for thread in threading.enumerate()))
    assert len(calls) == 3


def test_a_leader_whose_probe_hangs_gives_the_office_up(memory: str) -> None:
    """One thread hangs with it, and not one more for each renewal."""
    hangs, released = threading.Event(), threading.Event()

    def probe() -> bool:
        hangs.set()
        return released.wait(30)

    async def scene() -> None:
        async with Election(
            "nightly", store=memory, ttl="600ms", progress=probe, progress_limit="10ms"
        ) as election:
            with pytest.raises(Exception, match="no progress"):
                async with await election.next_tenure():
                    await asyncio.Event().wait()
            assert hangs.is_set()
            asking = [t for t in threading.enumerate() if t.name == "elector-probe"]
            assert len(asking) == 1
            released.set()  # it is well again, so it stands again
            async with await election.next_tenure() as tenure:
                assert tenure.token == 2

    play(scene())
