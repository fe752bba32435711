import sqlite3

import pytest

from elector.errors import ConfigurationError
from elector.fencing import SqlGuard, StaleToken, guard_trigger

from .conftest import Connect

INSERT = "INSERT INTO ledger (token, entry) VALUES (?, ?)"


@pytest.fixture
def guarded(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.executescript(guard_trigger("ledger", "token", "it's the ledger"))
    return connection


def tokens(connection: sqlite3.Connection) -> list[int]:
    return [token for (token,) in connection.execute("SELECT token FROM ledger ORDER BY number")]


def test_a_row_with_an_old_token_is_refused(guard: SqlGuard, guarded: sqlite3.Connection) -> None:
    for token in (3, 3, 5):
        guarded.execute(INSERT, (token, "x"))
    with pytest.raises(StaleToken) as refused, guard.translating(guarded, "it's the ledger", 4):
        guarded.execute(INSERT, (4, "x"))
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert isinstance(refused.value.__cause__, sqlite3.IntegrityError)
    assert tokens(guarded) == [3, 3, 5]
    assert guarded.execute("SELECT writes FROM elector_fence").fetchall() == [(3,)]


@pytest.mark.parametrize("verb", ["INSERT OR IGNORE", "INSERT OR REPLACE", "REPLACE"])
def test_no_conflict_clause_gets_around_the_refusal(guarded: sqlite3.Connection, verb: str) -> None:
    guarded.execute(INSERT, (5, "x"))
    with pytest.raises(sqlite3.IntegrityError, match="stale"):
        guarded.execute(f"{verb} INTO ledger (number, token, entry) VALUES (1, 4, 'y')")
    assert guarded.execute("SELECT number, token, entry FROM ledger").fetchall() == [(1, 5, "x")]


def test_an_upsert_counts_as_a_write(guarded: sqlite3.Connection) -> None:
    upsert = (
        "INSERT INTO ledger (number, token) VALUES (1, :token) "
        "ON CONFLICT (number) DO UPDATE SET token = :token"
    )
    for token in (5, 6):
        guarded.execute(upsert, {"token": token})
    with pytest.raises(sqlite3.IntegrityError, match="stale"):
        guarded.execute(upsert, {"token": 5})
    assert tokens(guarded) == [6]


def test_an_update_with_an_old_token_is_refused(guarded: sqlite3.Connection) -> None:
    guarded.execute(INSERT, (5, "x"))
    guarded.execute("UPDATE ledger SET token = 6, entry = 'y'")
    with pytest.raises(sqlite3.IntegrityError, match="stale"):
        guarded.execute("UPDATE ledger SET token = 5, entry = 'z'")
    assert guarded.execute("SELECT token, entry FROM ledger").fetchall() == [(6, "y")]


def test_many_rows_are_refused_whole(guarded: sqlite3.Connection) -> None:
    guarded.execute(INSERT, (5, "x"))
    with pytest.raises(sqlite3.IntegrityError, match="stale"):
        guarded.execute("INSERT INTO ledger (token) VALUES (6), (7), (5)")
    assert tokens(guarded) == [5]
    guarded.execute(INSERT, (5, "the bar went back with the statement"))


@pytest.mark.parametrize("token", [None, "7", "x", 7.5, 0, -1, b"7"])
def test_a_row_without_a_token_is_refused(guarded: sqlite3.Connection, token: object) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="must be a whole number"):
        guarded.execute(INSERT, (token, "x"))
    assert tokens(guarded) == []


def test_the_bar_is_shared_with_guarded_transactions(
    guard: SqlGuard, guarded: sqlite3.Connection, connect: Connect
) -> None:
    with guard.writing(connect(), "it's the ledger", 5):
        pass
    with pytest.raises(sqlite3.IntegrityError, match="stale"):
        guarded.execute(INSERT, (4, "x"))
    guarded.rollback()
    guarded.execute(INSERT, (6, "x"))
    guarded.commit()
    with pytest.raises(StaleToken), guard.writing(guarded, "it's the ledger", 5):
        pass


def test_a_write_that_is_rolled_back_does_not_raise_the_bar(guarded: sqlite3.Connection) -> None:
    guarded.execute(INSERT, (5, "x"))
    guarded.rollback()
    guarded.execute(INSERT, (1, "x"))
    assert tokens(guarded) == [1]


def test_the_newest_recipe_replaces_the_one_before(guarded: sqlite3.Connection) -> None:
    guarded.execute(INSERT, (5, "x"))
    guarded.commit()
    guarded.executescript(guard_trigger("ledger", "token", "another bar"))
    guarded.execute(INSERT, (1, "x"))
    assert tokens(guarded) == [5, 1]


def test_other_errors_pass_untranslated(guard: SqlGuard, guarded: sqlite3.Connection) -> None:
    with (
        pytest.raises(sqlite3.IntegrityError, match="whole number"),
        guard.translating(guarded, "it's the ledger", 4),
    ):
        guarded.execute(INSERT, (None, "x"))


@pytest.mark.parametrize(
    ("table", "column", "fence"),
    [('l" BEGIN', "token", "f"), ("ledger", "a.b", "f"), ("ledger", "token", "f;"), ("", "t", "f")],
)
def test_a_name_is_never_sql(table: str, column: str, fence: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        guard_trigger(table, column, "ledger", fence=fence)


def test_words_of_sql_may_be_names(guard: SqlGuard, connection: sqlite3.Connection) -> None:
    connection.execute('CREATE TABLE "order" ("group" INTEGER)')
    connection.executescript(guard_trigger("order", "group", "orders"))
    connection.execute('INSERT INTO "order" VALUES (2)')
    with pytest.raises(StaleToken), guard.translating(connection, "orders", 1):
        connection.execute('INSERT INTO "order" VALUES (1)')
