"""A worker process of the tests.

Usage: worker.py ACT NAME DIRECTORY [key=value ...]

It stands in an election, writes what it does into DIRECTORY/diary under NAME, and waits for its
cues: files DIRECTORY/NAME.what. Settings: store, candidate (NAME if not given), ttl, renew,
drain, margin, progress_limit, on_overrun, probe (a cue that means "all is well"), ledger (a
database to write into behind a guard).
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from elector import (
    BlockingElection,
    BlockingTenure,
    ConfigurationError,
    Election,
    LeadershipLost,
    LeaseTiming,
    NotLeader,
    StaleToken,
    Tenure,
)
from elector.fencing import SqlGuard
from tests.runtime.witness import BEGIN, END, STEP, Diary

_STEP_SECONDS = 0.005
_OWN = ("ledger", "renew", "drain", "margin", "probe")


class Player:
    """What an act has at hand."""

    def __init__(self, name: str, directory: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.settings = settings
        self.ledger = settings.get("ledger")
        self._directory = directory
        self._diary = Diary(directory / "diary")
        self.standing: BlockingElection | None = None
        self.resign: Callable[[], Awaitable[None]] | None = None

    def election(self) -> Election:
        given: dict[str, Any] = {k: v for k, v in self.settings.items() if k not in _OWN}
        timing = LeaseTiming.of(
            given.pop("ttl"),
            renew_period=self.settings.get("renew"),
            drain_limit=self.settings.get("drain"),
            margin=self.settings.get("margin"),
        )
        if given.get("on_overrun") == "call":
            given["on_overrun"] = lambda late: self.note(late.token, "overrun")
        if "probe" in self.settings:
            given["progress"] = lambda: self.has_cue(self.settings["probe"])
        candidate = given.pop("candidate", self.name)
        return Election("nightly", candidate=candidate, timing=timing, **given)

    def note(self, token: int, what: str) -> None:
        self._diary.note(self.name, token, what)

    def lost(self, token: int, lost: LeadershipLost) -> None:
        self.note(token, f"lost:{lost.reason}")

    def has_cue(self, what: str) -> bool:
        return (self._directory / f"{self.name}.{what}").exists()

    def await_cue(self, what: str) -> None:
        while not self.has_cue(what):
            time.sleep(_STEP_SECONDS)

    def write(self, token: int) -> None:
        """Write into the ledger behind its guard, and into the diary what came of it."""
        if self.ledger is None:
            return
        with contextlib.closing(sqlite3.connect(self.ledger, timeout=10)) as ledger:
            try:
                with SqlGuard().writing(ledger, "ledger", token) as cursor:
                    cursor.execute("INSERT INTO ledger VALUES (?, ?)", (token, self.name))
            except StaleToken:
                self.note(token, "refused")
            else:
                self.note(token, STEP)


# -- asyncio ---------------------------------------------------------------------------------


async def campaign(player: Player, body: Callable[[Player, Tenure], Any]) -> None:
    """Run a body in every tenure; SIGTERM ends it politely."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with player.election() as election:
        player.resign = election.resign
        async for tenure in election.tenures():
            try:
                async with tenure:
                    player.note(tenure.token, BEGIN)
                    try:
                        await body(player, tenure)
                    finally:
                        player.note(tenure.token, END)
            except LeadershipLost as lost:
                player.lost(tenure.token, lost)
            if player.has_cue("enough"):
                return


async def work(player: Player, tenure: Tenure) -> None:
    """Step until cancelled."""
    while True:
        player.write(tenure.token)
        player.note(tenure.token, STEP)
        await asyncio.sleep(_STEP_SECONDS)


async def turns(player: Player, tenure: Tenure) -> None:
    """A few steps, and done."""
    for _ in range(3):
        player.note(tenure.token, STEP)
        await asyncio.sleep(0)


async def stubborn(player: Player, tenure: Tenure) -> None:
    """Go on whatever is said, until the cue."""
    while not player.has_cue("enough"):
        player.note(tenure.token, STEP)
        with contextlib.suppress(asyncio.CancelledError):
            if player.resign is not None and player.has_cue("resign"):
                await player.resign()
            await asyncio.sleep(_STEP_SECONDS)


async def block(player: Player, tenure: Tenure) -> None:
    """Hold the event loop up until the cue, then look whether we still lead."""
    player.note(tenure.token, "blocks")
    player.await_cue("enough")
    await asyncio.sleep(_STEP_SECONDS)
    tenure.check()
    player.note(tenure.token, "leads")
    await work(player, tenure)


async def nap(player: Player, tenure: Tenure) -> None:
    """Block the loop in the first tenure until told to stop, and not a moment longer."""
    while tenure.token == 1 and not tenure.stopping:
        time.sleep(_STEP_SECONDS)  # noqa: ASYNC251 - which is the point
    await work(player, tenure)


async def freeze(player: Player, tenure: Tenure) -> None:
    """Stop this process at the cue, and write at once when it is thawed."""
    while not player.has_cue("freeze"):
        player.note(tenure.token, STEP)
        await asyncio.sleep(_STEP_SECONDS)
    stop_after_renewal(player, tenure)
    await asyncio.sleep(_STEP_SECONDS)
    tenure.check()
    await work(player, tenure)


async def give_up(_player: Player, _tenure: Tenure) -> None:
    raise ArithmeticError("the work failed")


async def leave(_player: Player, _tenure: Tenure) -> None:
    sys.exit(3)


# -- threads ---------------------------------------------------------------------------------


def blocking_campaign(player: Player, body: Callable[[Player, BlockingTenure], Any]) -> None:
    with player.election().blocking() as election:
        player.standing = election
        for tenure in election.tenures():
            with contextlib.suppress(LeadershipLost), tenure:
                player.note(tenure.token, BEGIN)
                try:
                    body(player, tenure)
                finally:
                    player.note(tenure.token, END)
            if player.has_cue("enough"):
                return


def thread_work(player: Player, tenure: BlockingTenure) -> None:
    while not tenure.wait(_STEP_SECONDS):
        player.write(tenure.token)
        player.note(tenure.token, STEP)


def thread_stubborn(player: Player, tenure: BlockingTenure) -> None:
    while not player.has_cue("enough"):
        player.note(tenure.token, STEP)
        if player.standing is not None and player.has_cue("resign"):
            player.standing.resign()
        time.sleep(_STEP_SECONDS)


def thread_freeze(player: Player, tenure: BlockingTenure) -> None:
    while not player.has_cue("freeze"):
        player.note(tenure.token, STEP)
        time.sleep(_STEP_SECONDS)
    stop_after_renewal(player, tenure)
    while True:  # does not look at tenure.stopping
        player.write(tenure.token)
        time.sleep(_STEP_SECONDS)


def thread_leave(_player: Player, _tenure: BlockingTenure) -> None:
    sys.exit(3)


def thread_give_up(_player: Player, _tenure: BlockingTenure) -> None:
    raise ArithmeticError("the work failed")


def thread_fork(player: Player, tenure: BlockingTenure) -> None:
    """Fork one child that tries everything and ends, and one that stays."""
    exiting = fork(player, tenure, try_everything)
    os.waitpid(exiting, 0)
    staying = fork(player, tenure, stay)
    player.note(tenure.token, f"child:{staying}")
    thread_work(player, tenure)


def fork(player: Player, tenure: BlockingTenure, act: Callable[..., None]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.12 warns of a fork beside threads: that is the test
        child = os.fork()
    if child == 0:
        try:
            act(player, tenure)
        finally:
            os._exit(0)
    return child


def try_everything(player: Player, tenure: BlockingTenure) -> None:
    """What a forked child must not be able to do with its parent's office."""
    election = player.standing
    assert election is not None
    for what, wrong, attempt in (
        ("check", NotLeader, tenure.check),
        ("enter", NotLeader, tenure.__enter__),
        ("resign", ConfigurationError, election.resign),
        ("transfer", ConfigurationError, lambda: election.transfer("other")),
        ("observe", ConfigurationError, lambda: next(election.observe())),
        ("leave-tenure", ConfigurationError, lambda: tenure.__exit__(None, None, None)),
        ("leave", ConfigurationError, lambda: election.__exit__(None, None, None)),
    ):
        try:
            attempt()
        except wrong:
            player.note(0, f"{what}:refused")
        except BaseException as other:  # noqa: BLE001 - written down, and the test will see it
            player.note(0, f"{what}:{type(other).__name__}")
        else:
            player.note(0, f"{what}:allowed")


def thread_fork_anew(player: Player, tenure: BlockingTenure) -> None:
    """Fork a child that stands by itself, on the store that its parent has open."""
    os.waitpid(fork(player, tenure, stand_anew), 0)
    thread_work(player, tenure)


def stand_anew(player: Player, _tenure: BlockingTenure) -> None:
    try:
        player.election().blocking().__enter__()
    except ConfigurationError:
        player.note(0, "anew:refused")
    else:
        player.note(0, "anew:allowed")


def stay(player: Player, _tenure: BlockingTenure) -> None:
    player.await_cue("child")


# -- both ------------------------------------------------------------------------------------


def stop_after_renewal(player: Player, tenure: Tenure | BlockingTenure) -> None:
    """Freeze just behind a renewal: inside a transaction the store would be frozen with us."""
    before = tenure.holding.deadlines
    while tenure.holding.deadlines == before:
        time.sleep(0.001)
    player.write(tenure.token)
    os.kill(os.getpid(), signal.SIGSTOP)
    player.write(tenure.token)


def in_daemon_thread(player: Player) -> None:
    """Lead in a thread that nobody waits for, and let the main thread come to its end."""
    threading.Thread(target=blocking_campaign, args=(player, thread_work), daemon=True).start()
    player.await_cue("enough")


def without_leaving(player: Player) -> None:
    """Be elected, not begin to work, and end without a word."""
    tenure = player.election().blocking().__enter__().next_tenure()
    player.note(tenure.token, "unused")


async def in_forgotten_task(player: Player) -> None:
    """Lead in a task that nobody waits for, and let the main task come to its end."""
    task = asyncio.create_task(campaign(player, work))
    while not player.has_cue("enough"):  # noqa: ASYNC110 - a file appears
        await asyncio.sleep(_STEP_SECONDS)
    assert not task.done()


def asynchronous(body: Callable[[Player, Tenure], Any]) -> Callable[[Player], None]:
    return lambda player: asyncio.run(campaign(player, body))


def threaded(body: Callable[[Player, BlockingTenure], Any]) -> Callable[[Player], None]:
    return lambda player: blocking_campaign(player, body)


ACTS: dict[str, Callable[[Player], None]] = {
    "work": asynchronous(work),
    "nap": asynchronous(nap),
    "turns": asynchronous(turns),
    "stubborn": asynchronous(stubborn),
    "block": asynchronous(block),
    "freeze": asynchronous(freeze),
    "raise": asynchronous(give_up),
    "exit": asynchronous(leave),
    "forgotten": lambda player: asyncio.run(in_forgotten_task(player)),
    "thread-work": threaded(thread_work),
    "thread-stubborn": threaded(thread_stubborn),
    "thread-freeze": threaded(thread_freeze),
    "thread-raise": threaded(thread_give_up),
    "thread-exit": threaded(thread_leave),
    "thread-fork": threaded(thread_fork),
    "thread-fork-anew": threaded(thread_fork_anew),
    "thread-unused": without_leaving,
    "thread-daemon": in_daemon_thread,
}


def main(act: str, name: str, directory: str, *settings: str) -> None:
    pairs = dict(setting.split("=", 1) for setting in settings)
    with contextlib.suppress(asyncio.CancelledError):
        ACTS[act](Player(name, Path(directory), pairs))


if __name__ == "__main__":
    main(*sys.argv[1:])
