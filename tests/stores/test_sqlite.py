"""What only the SQLite store promises: its rows, its ceiling, its place on the disk."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreCorrupt, StoreUnavailable
from elector.stores.port import Grant, Granted, Occupied
from elector.stores.registry import open_store, parse_url
from elector.stores.sqlite import SqliteStore
from elector.stores.sqlite import table as sqlite_table

TTL_NS = 3_000_000_000
DONE = EndReason.COMPLETED
A, B = Candidate("a", "a#1"), Candidate("b", "b#1")


def with_store(path: Path, play: Callable[[SqliteStore], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        store = await open_store(parse_url(f"sqlite:///{path}"))
        assert isinstance(store, SqliteStore)
        try:
            await play(store)
        finally:
            await store.close()

    asyncio.run(opened())


async def token_of_a_tenure(store: SqliteStore) -> int:
    answer = await store.acquire("nightly", A, TTL_NS)
    assert isinstance(answer, Granted)
    assert await store.release(Grant("nightly", A, answer.token, TTL_NS), DONE)
    return answer.token


def boot_as(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sqlite_table, "_boot_and_clock", lambda _: (name, f"{name}/clock"))


def test_after_another_boot_the_token_is_above_whatever_a_power_cut_may_have_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy made after the first grant is all that the disk need have kept of boot one."""
    path, kept = tmp_path / "e.db", tmp_path / "kept.db"
    given: list[int] = []

    async def first_boot(store: SqliteStore) -> None:
        given.append(await token_of_a_tenure(store))
        with sqlite3.connect(path) as source, sqlite3.connect(kept) as target:
            source.backup(target)
        source.close()
        target.close()
        given.extend([await token_of_a_tenure(store) for _ in range(20)])

    async def second_boot(store: SqliteStore) -> None:
        given.append(await token_of_a_tenure(store))

    boot_as(monkeypatch, "one")
    with_store(path, first_boot)
    boot_as(monkeypatch, "two")
    with_store(kept, second_boot)
    assert given[:21] == list(range(1, 22))
    assert given[21] > given[20]


def test_a_ceiling_is_on_the_disk_before_a_token_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction that is not durable may grant above what a durable one has written."""
    monkeypatch.setattr(sqlite_table, "_TOKENS_AHEAD", 4)
    grants: list[bool] = []
    take = sqlite_table.LeaseTable._take

    def checked(
        self: sqlite_table.LeaseTable, row: sqlite_table.Row, *args: Any, **how: Any
    ) -> Any:
        ruling = take(self, row, *args, **how)
        (durable,) = self._db.execute("PRAGMA synchronous").fetchone()
        assert durable == 2 or ruling.row.token <= row.ceiling
        grants.append(durable == 2)
        return ruling

    async def play(store: SqliteStore) -> None:
        for _ in range(40):
            await token_of_a_tenure(store)

    monkeypatch.setattr(sqlite_table.LeaseTable, "_take", checked)
    monkeypatch.setattr(sqlite_table.LeaseTable, "raise_ceiling", lambda *_: None)
    with_store(tmp_path / "e.db", play)
    assert 0 < grants.count(True) < grants.count(False)


def test_the_ceiling_is_raised_ahead_of_need(tmp_path: Path) -> None:
    async def play(store: SqliteStore) -> None:
        for _ in range(sqlite_table._TOKENS_AHEAD):
            await token_of_a_tenure(store)
        await asyncio.gather(*store._tasks)
        (row,) = store._table.rows(["nightly"])
        assert row.ceiling - row.token >= sqlite_table._TOKENS_AHEAD // 2

    with_store(tmp_path / "e.db", play)


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE elector_elections SET token = token - 1",
        "UPDATE elector_elections SET ceiling = token",
        "DELETE FROM elector_elections",
    ],
)
def test_whoever_writes_a_token_never_falls_and_a_row_is_never_deleted(
    tmp_path: Path, spoil: str
) -> None:
    path = tmp_path / "e.db"

    async def play(store: SqliteStore) -> None:
        await token_of_a_tenure(store)

    with_store(path, play)
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(spoil)
    db.close()


def test_a_holder_of_another_boot_is_watched_for_its_whole_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its deadline is a time of a clock that is gone: old or new, it says nothing here."""
    path = tmp_path / "e.db"
    now = [1_000]
    monkeypatch.setattr(sqlite_table, "now_ns", lambda: now[0])

    async def hold(store: SqliteStore) -> None:
        assert isinstance(await store.acquire("nightly", A, TTL_NS), Granted)

    async def contend(store: SqliteStore) -> None:
        now[0] = 50 * TTL_NS  # far behind the deadline, if it were on this clock
        for waited, refused in ((0, True), (TTL_NS - 1, True), (TTL_NS, False)):
            now[0] = 50 * TTL_NS + waited
            answer = await store.acquire("nightly", B, TTL_NS)
            assert isinstance(answer, Occupied) is refused

    boot_as(monkeypatch, "one")
    with_store(path, hold)
    boot_as(monkeypatch, "two")
    with_store(path, contend)


def test_the_database_taken_away_is_not_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "e.db"

    async def play(store: SqliteStore) -> None:
        await token_of_a_tenure(store)

    with_store(path, play)
    path.unlink()
    with pytest.raises(StoreCorrupt, match="would start again at 1"):
        with_store(path, play)


def test_a_history_that_is_ahead_of_its_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.db"

    async def play(store: SqliteStore) -> None:
        await token_of_a_tenure(store)

    with_store(path, play)
    db = sqlite3.connect(path)
    db.execute("UPDATE elector_tenures SET token = 9")
    db.commit()
    db.close()
    with pytest.raises(StoreCorrupt, match="a token never goes back"):
        with_store(path, play)


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "e.db"
    modes: dict[str, int] = {}

    async def play(store: SqliteStore) -> None:
        await token_of_a_tenure(store)
        for found in [path.parent, *path.parent.rglob("*")]:
            modes[found.name] = found.stat().st_mode & 0o077

    with_store(path, play)
    assert len(modes) >= 6
    assert set(modes.values()) == {0}


def test_another_program_that_holds_the_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.db"
    monkeypatch.setattr("elector.stores.sqlite.schema._BUSY_SECONDS", 0.05)

    async def play(store: SqliteStore) -> None:
        await token_of_a_tenure(store)
        rude = sqlite3.connect(path, isolation_level=None)
        rude.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program holds its lock"):
            await store.acquire("nightly", A, TTL_NS)
        rude.execute("ROLLBACK")
        rude.close()
        await token_of_a_tenure(store)

    with_store(path, play)
