"""Every guard of PostgreSQL against a real server: psycopg, asyncpg, SQLAlchemy, the trigger."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import sql

from elector.errors import ConfigurationError
from elector.fencing import SqlGuard, StaleToken
from elector.fencing.postgresql import PostgresGuard, guard_trigger

from .processes import rivals, started, thaw, wait_until_stopped
from .writers import RESOURCE, WRITERS

_ADDRESSES = {"sqlalchemy": "postgresql+psycopg://", "sqlalchemy async": "postgresql+asyncpg://"}
KINDS = ["psycopg", "asyncpg", "trigger", *_ADDRESSES]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's, about a directory that we do not use
        from tests.servers.postgresql import postgres_server
    with postgres_server(tmp_path_factory.mktemp("postgresql")) as server:
        yield server.url


@pytest.fixture
def url(server: str) -> str:
    """The server with an empty, guarded ledger."""
    with psycopg.connect(server) as connection:
        connection.execute("DROP TABLE IF EXISTS ledger, rows, elector_fence")
        for table in ("ledger", "rows"):
            connection.execute(
                f"CREATE TABLE {table} (number BIGSERIAL PRIMARY KEY, token BIGINT, entry TEXT)"
            )
    with closing(psycopg.connect(server)) as connection:
        SqlGuard().create(connection)
        connection.execute(guard_trigger("rows", "token", RESOURCE))
        connection.commit()
    return server


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(url)) as connection:
        yield connection


def where(kind: str, url: str) -> str:
    return url.replace("postgresql://", _ADDRESSES.get(kind, "postgresql://"))


def written(url: str, table: str = "ledger") -> list[int]:
    query = sql.SQL("SELECT token FROM {} ORDER BY number").format(sql.Identifier(table))
    with psycopg.connect(url) as connection:
        return [token for (token,) in connection.execute(query).fetchall()]


def newest(url: str, resource: str = RESOURCE) -> int:
    with closing(psycopg.connect(url)) as connection:
        return SqlGuard().newest(connection, resource)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_and_higher_tokens_write_and_lower_ones_do_not(url: str, kind: str) -> None:
    with WRITERS[kind](where(kind, url)) as write:
        for token in (3, 3, 5):
            write(token)
        with pytest.raises(StaleToken) as refused:
            write(4)
        assert (refused.value.token, refused.value.newest) == (4, 5)
        write(6)  # the connection is as good as before
    assert written(url) == [3, 3, 5, 6]
    assert newest(url) == 6


def test_all_kinds_share_one_bar(url: str) -> None:
    for token, kind in enumerate(KINDS, 1):
        with WRITERS[kind](where(kind, url)) as write:
            write(token)
    for kind in KINDS:
        with WRITERS[kind](where(kind, url)) as write, pytest.raises(StaleToken):
            write(len(KINDS) - 1)
    assert written(url) == [*range(1, len(KINDS) + 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_leader_wakes_up_after_its_successor_wrote(url: str, kind: str) -> None:
    with started("late_leader.py", kind, where(kind, url), "1") as late:
        wait_until_stopped(late)
        with WRITERS[kind](where(kind, url)) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    assert written(url) == [2]


@pytest.mark.parametrize("kind", KINDS)
def test_rival_processes_never_write_out_of_order(url: str, kind: str) -> None:
    admitted = rivals(kind, where(kind, url), writes=60)
    assert written(url) == sorted(admitted)
    assert newest(url) == max(admitted)


def test_a_newer_leader_waits_for_one_that_is_between_its_check_and_its_write(
    connection: psycopg.Connection[Any], url: str
) -> None:
    guard = SqlGuard()
    with guard.writing(connection, RESOURCE, 1) as cursor:
        for kind in ("psycopg", "asyncpg"):
            with (
                WRITERS[kind](f"{url}?options=-c%20lock_timeout%3D100") as write,
                pytest.raises(Exception, match="lock timeout"),
            ):
                write(2)
        cursor.execute("INSERT INTO ledger (token) VALUES (1)")
    with WRITERS["asyncpg"](url) as write:
        write(2)
    assert written(url) == [1, 2]


def test_a_crowd_places_the_first_bar(url: str) -> None:
    """Nothing is there to be locked yet: the unique key decides, and nobody's error shows."""

    async def crowd(round_: int) -> int:
        guard, resource = PostgresGuard(), f"round {round_}"
        connections = [await asyncpg.connect(url) for _ in range(6)]

        async def one(token: int, connection: Any) -> int:
            try:
                async with guard.writing(connection, resource, token):
                    await connection.execute("INSERT INTO ledger (token) VALUES ($1)", token)
            except StaleToken:
                return 0
            return token

        tokens = await asyncio.gather(*(one(n, each) for n, each in enumerate(connections, 1)))
        for each in connections:
            await each.close()
        return max(tokens)

    for round_ in range(8):
        assert asyncio.run(crowd(round_)) == newest(url, f"round {round_}") == 6


@pytest.mark.parametrize("level", ["repeatable_read", "serializable"])
def test_under_snapshots_the_loser_writes_nothing(url: str, level: str) -> None:
    async def race() -> None:
        guard = PostgresGuard()
        older, newer = await asyncpg.connect(url), await asyncpg.connect(url)
        async with guard.writing(newer, RESOURCE, 1):
            pass
        transaction = older.transaction(isolation=level)
        await transaction.start()
        assert await guard.newest(older, RESOURCE) == 1
        async with guard.writing(newer, RESOURCE, 3):
            pass
        with pytest.raises((StaleToken, asyncpg.SerializationError)):
            await guard.admit(older, RESOURCE, 2)
        await transaction.rollback()
        # In a snapshot taken since, it is refused by name.
        with pytest.raises(StaleToken, match="token 3"):
            async with older.transaction(isolation=level):
                await guard.admit(older, RESOURCE, 2)
        await older.close()
        await newer.close()

    asyncio.run(race())


def test_psycopg_on_autocommit_is_refused(url: str) -> None:
    with (
        closing(psycopg.connect(url, autocommit=True)) as connection,
        pytest.raises(ConfigurationError, match="autocommit"),
        SqlGuard().writing(connection, RESOURCE, 1),
    ):
        pytest.fail("the body was entered")


def with_asyncpg(url: str, act: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await act(connection)
        finally:
            await connection.close()

    asyncio.run(run())


def test_asyncpg_without_a_transaction_is_refused(url: str) -> None:
    async def act(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match="no transaction is open"):
            await PostgresGuard().admit(connection, RESOURCE, 1)

    with_asyncpg(url, act)
    assert newest(url) == 0


def test_an_open_transaction_of_asyncpgs_is_not_taken_over(url: str) -> None:
    async def act(connection: Any) -> None:
        async with connection.transaction():
            with pytest.raises(ConfigurationError, match="transaction is open"):
                async with PostgresGuard().writing(connection, RESOURCE, 1):
                    pytest.fail("the body was entered")

    with_asyncpg(url, act)


def test_a_body_of_asyncpgs_that_raises_takes_back_its_writes_and_the_bar(url: str) -> None:
    async def act(connection: Any) -> None:
        async def fail() -> None:
            async with PostgresGuard().writing(connection, RESOURCE, 7):
                await connection.execute("INSERT INTO ledger (token) VALUES (7)")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

    with_asyncpg(url, act)
    assert (written(url), newest(url)) == ([], 0)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_never_reaches_the_database(url: str, token: Any) -> None:
    async def act(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match="not a fencing token"):
            async with PostgresGuard().writing(connection, RESOURCE, token):
                pytest.fail("the body was entered")

    with_asyncpg(url, act)


def test_a_resource_name_is_checked_and_never_sql(url: str) -> None:
    async def act(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match="printable"):
            async with PostgresGuard().writing(connection, "a\nb", 1):
                pytest.fail("the body was entered")
        async with PostgresGuard().writing(connection, "x'; DROP TABLE ledger; --", 1):
            pass

    with_asyncpg(url, act)
    assert newest(url, "x'; DROP TABLE ledger; --") == 1
    with pytest.raises(ConfigurationError, match="cannot be used"):
        PostgresGuard("fence;--")


def test_a_missing_table_is_named_with_what_makes_it(url: str) -> None:
    async def act(connection: Any) -> None:
        guard = PostgresGuard("app.nowhere")
        with pytest.raises(ConfigurationError, match=r"no table app\.nowhere"):
            async with guard.writing(connection, RESOURCE, 1):
                pytest.fail("the body was entered")
        with pytest.raises(ConfigurationError, match=r"no table app\.nowhere"):
            await guard.newest(connection, RESOURCE)

    with_asyncpg(url, act)
    with (
        closing(psycopg.connect(url)) as connection,
        pytest.raises(ConfigurationError, match="no table nowhere"),
        SqlGuard("nowhere").writing(connection, RESOURCE, 1),
    ):
        pytest.fail("the body was entered")


def test_create_can_be_repeated_and_forgets_nothing(url: str) -> None:
    async def act(connection: Any) -> None:
        guard = PostgresGuard()
        async with guard.writing(connection, RESOURCE, 4):
            pass
        await guard.create(connection)
        assert await guard.newest(connection, RESOURCE) == 4

    with_asyncpg(url, act)


# The trigger.

INSERT = "INSERT INTO rows (token, entry) VALUES (%s, 'x')"


@pytest.mark.parametrize("token", [None, 0, -1])
def test_a_row_without_a_token_is_refused(
    connection: psycopg.Connection[Any], token: int | None
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="must be a whole number"):
        connection.execute(INSERT, (token,))


def test_an_update_and_an_upsert_with_an_old_token_are_refused(
    connection: psycopg.Connection[Any], url: str
) -> None:
    connection.execute("INSERT INTO rows (number, token) VALUES (1, 5)")
    connection.commit()
    upsert = (
        "INSERT INTO rows (number, token) VALUES (1, 4) "
        "ON CONFLICT (number) DO UPDATE SET token = excluded.token"
    )
    for statement in ("UPDATE rows SET token = 4", upsert):
        with pytest.raises(psycopg.errors.CheckViolation, match=r"stale.*the newest is 5"):
            connection.execute(statement)
        connection.rollback()
    connection.execute("UPDATE rows SET token = 6")
    connection.commit()
    assert written(url, "rows") == [6]


def test_many_rows_are_refused_whole_and_copied_ones_are_seen(
    connection: psycopg.Connection[Any], url: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="stale"):
        connection.execute("INSERT INTO rows (token) VALUES (6), (7), (5)")
    connection.rollback()
    assert newest(url) == 0
    connection.execute(INSERT, (5,))
    connection.commit()
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="stale"),
        connection.cursor().copy("COPY rows (token) FROM STDIN") as copy,
    ):
        copy.write_row((4,))
    connection.rollback()
    assert written(url, "rows") == [5]


def test_a_bulk_of_one_tenure_lifts_the_bar_once(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO rows (token) SELECT 5 FROM generate_series(1, 1000)")
    assert connection.execute("SELECT token, writes FROM elector_fence").fetchall() == [(5, 1)]


@pytest.mark.parametrize("resource", ["it's", "$body$ 'x' %", "back\\'slash", "{brace} : $1"])
@pytest.mark.parametrize("standard", ["on", "off"])
def test_a_resource_of_a_trigger_is_never_sql(
    connection: psycopg.Connection[Any], url: str, resource: str, standard: str
) -> None:
    connection.execute("SET escape_string_warning = off")
    connection.execute(f"SET standard_conforming_strings = {standard}")
    connection.execute(guard_trigger("rows", "token", resource))
    connection.execute(INSERT, (5,))
    connection.commit()
    assert newest(url, resource) == 5


def test_names_with_a_schema_and_words_of_sql(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE SCHEMA IF NOT EXISTS other")
    connection.execute('CREATE TABLE other."Order" ("group" BIGINT)')
    connection.execute(
        guard_trigger("other.Order", "group", "orders", fence="public.elector_fence")
    )
    connection.execute('INSERT INTO other."Order" VALUES (2)')
    connection.execute("SAVEPOINT before")
    with pytest.raises(StaleToken), SqlGuard().translating(connection, "orders", 1):
        connection.execute('INSERT INTO other."Order" VALUES (1)')
    connection.rollback()


@pytest.mark.parametrize(
    ("table", "column", "fence"),
    [
        ('l" BEGIN', "token", "f"),
        ("ledger", "a.b", "f"),
        ("ledger", "token", "f;"),
        ("", "t", "f"),
        (".ledger", "t", "f"),
        ("a.b.c", "t", "f"),
        ("x" * 58, "t", "f"),
    ],
)
def test_a_name_is_never_sql_and_never_cut_off(table: str, column: str, fence: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        guard_trigger(table, column, "ledger", fence=fence)


def test_asyncpg_sees_the_triggers_refusal_by_name(url: str) -> None:
    async def act(connection: Any) -> None:
        guard = PostgresGuard()
        await connection.execute("INSERT INTO rows (token) VALUES (5)")
        with pytest.raises(StaleToken) as refused:
            async with guard.translating(connection, RESOURCE, 4), connection.transaction():
                await connection.execute("INSERT INTO rows (token) VALUES (4)")
        assert (refused.value.token, refused.value.newest) == (4, 5)
        with pytest.raises(asyncpg.CheckViolationError, match="whole number"):
            async with guard.translating(connection, RESOURCE, 4):
                await connection.execute("INSERT INTO rows (token) VALUES (0)")

    with_asyncpg(url, act)
