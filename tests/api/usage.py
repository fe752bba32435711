"""How Elector is meant to be used, for the type checker: never run, checked by `make check`."""

import sqlite3
from typing import assert_type

from elector import (
    BlockingElection,
    BlockingTenure,
    Election,
    EndReason,
    LeadershipLost,
    LeaseTiming,
    Led,
    StaleToken,
    Tenure,
    Unknown,
    Vacant,
    leader_only,
)
from elector.fencing import MemoryGuard, SqlGuard, guard_trigger


async def asynchronous() -> None:
    async with Election("nightly", store="memory://", ttl="15s", candidate="web-1") as election:
        assert_type(election, Election)
        async for tenure in election.tenures():
            assert_type(tenure, Tenure)
            async with tenure as entered:
                assert_type(entered, Tenure)
                assert_type(entered.token, int)
                assert_type(entered.remaining(), float)
                assert_type(entered.stopping, bool)
                entered.check()
        async for seen in election.observe():
            match seen:
                case Led(leader, token):
                    assert_type(leader, str)
                    assert_type(token, int)
                case Vacant():
                    pass
                case Unknown(since_ns):
                    assert_type(since_ns, int)
        await election.run(work)
        await election.run(work, on_error="raise")
        await election.resign()
        await election.transfer("web-2")


async def work(tenure: Tenure) -> int:
    return tenure.token


def blocking() -> None:
    with Election("nightly", timing=LeaseTiming.of("15s")).blocking() as election:
        assert_type(election, BlockingElection)
        for tenure in election.tenures():
            assert_type(tenure, BlockingTenure)
            with tenure as entered:
                assert_type(entered, BlockingTenure)
                assert_type(entered.wait(1.5), bool)
        for seen in election.observe():
            assert_type(seen, Led | Vacant | Unknown)
        election.run(blocking_work)
        election.resign()


def blocking_work(tenure: BlockingTenure) -> None:
    while not tenure.stopping:
        tenure.check()


def settings() -> None:
    Election("a", on_overrun="warn", progress=lambda: True, progress_limit="5s")
    Election("a", on_overrun=print)
    Election("a", on_overrun="ignore")  # type: ignore[arg-type]  # not one of the policies
    Election("a", ttl=15)  # type: ignore[arg-type]  # a duration has its unit


@leader_only("reports", wait="10s")
def report(year: int, *, draft: bool = False) -> str:
    return f"{year}{draft}"


@leader_only("reports")
async def report_later(year: int) -> str:
    return str(year)


async def decorated() -> None:
    assert_type(report(2031, draft=True), str)
    assert_type(await report_later(2031), str)
    report("2031")  # type: ignore[arg-type]  # the parameters are kept


def errors() -> None:
    try:
        blocking()
    except LeadershipLost as lost:
        assert_type(lost.reason, str)
        assert_type(lost.reason == EndReason.EXPIRED, bool)
    except StaleToken as stale:
        assert_type((stale.token, stale.newest), tuple[int, int])


def guards(connection: sqlite3.Connection, tenure: Tenure) -> None:
    with SqlGuard().writing(connection, "ledger", tenure.token) as cursor:
        assert_type(cursor, sqlite3.Cursor)
    with MemoryGuard().writing("ledger", tenure.token) as nothing:
        assert_type(nothing, None)
    assert_type(guard_trigger("ledger", "token", "ledger"), str)
