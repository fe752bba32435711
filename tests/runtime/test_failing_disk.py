"""The disk under the embedded store is full, or may not be written, while somebody leads."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from elector import Election, EndReason, LeadershipLost, LeaseTiming, StoreUnavailable, Tenure
from elector.runtime.engine import Engine
from elector.stores.sqlite import SqliteStore
from tests.runtime.processes import HERE, PATHS
from tests.runtime.waiting import play, soon

TIMING = LeaseTiming.of("1.5s", request_timeout="100ms")


def mounter() -> list[str]:
    """How to run a command where it may mount a small disk; not everybody may."""
    for way in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if (
            shutil.which("unshare")
            and not subprocess.run(
                [*way, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
            ).returncode
        ):
            return way
    pytest.skip("a small disk cannot be mounted here: no unshare, or not allowed")


@pytest.mark.parametrize("how", ["full", "full-while-waiting"])
def test_a_full_disk_ends_the_tenure_in_time_and_costs_no_token(tmp_path: Path, how: str) -> None:
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    done = subprocess.run(
        [
            *mounter(),
            *("sh", "-c", mount, "sh"),
            *(sys.executable, str(HERE / "small_disk.py"), how, str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = {
        "full": ["leads 1", "full", "lost expired", "free", "leads 2", "the last token is 2"],
        "full-while-waiting": ["full", "not elected", "free", "leads 1", "the last token is 1"],
    }
    assert done.stdout.splitlines() == expected[how]


def test_a_database_that_may_not_be_written_ends_the_tenure_in_time_and_costs_no_token(
    tmp_path: Path,
) -> None:
    path = tmp_path / "elections.db"

    async def scene() -> None:
        async with Election("nightly", store=f"sqlite:///{path}", timing=TIMING) as election:
            with pytest.raises(LeadershipLost) as lost:
                await lead_until_stopped(election)
            assert lost.value.reason == EndReason.EXPIRED
            await forbid_writing(False)
            async with await election.next_tenure() as tenure:
                assert tenure.token == 2

    async def lead_until_stopped(election: Election) -> None:
        async with await election.next_tenure() as tenure:
            assert tenure.token == 1
            await forbid_writing(True)
            await asyncio.Event().wait()

    async def forbid_writing(forbidden: bool) -> None:
        (opened,) = Engine.current()._stores.values()
        await asyncio.wrap_future(Engine.current().submit(set_query_only(opened, forbidden)))

    async def set_query_only(opened: object, forbidden: bool) -> None:
        store = await opened.opening  # type: ignore[attr-defined] # the engine's own record
        assert isinstance(store, SqliteStore)
        table = store._table
        await store._worker.call(
            lambda: table._db.execute(f"PRAGMA query_only = {int(forbidden)}").fetchall()
        )

    play(scene())
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT token FROM elector_elections").fetchall() == [(2,)]


def test_a_database_that_is_locked_by_another_program_is_lived_through(tmp_path: Path) -> None:
    """For longer than a request may take, for less than the lease lasts."""
    path = tmp_path / "elections.db"
    timing = LeaseTiming.of("20s", renew_period="50ms", request_timeout="100ms")

    async def scene() -> Tenure:
        async with Election("nightly", store=f"sqlite:///{path}", timing=timing) as election:
            async with await election.next_tenure() as tenure:
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    before = tenure.holding.deadlines
                    await asyncio.sleep(0.5)
                    other.execute("ROLLBACK")
                await soon(lambda: tenure.holding.deadlines != before)
                tenure.check()
            return tenure

    assert play(scene()).holding.stop_reason is None


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scene() -> None:
        with pytest.raises(StoreUnavailable, match="cannot make the directory"):
            await Election("nightly", store=f"sqlite:///{tmp_path}/file/db").__aenter__()

    play(scene())
