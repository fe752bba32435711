import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from elector.errors import ConfigurationError
from elector.fencing import SqlGuard, StaleToken

from .conftest import Connect

INSERT = "INSERT INTO ledger (token, entry) VALUES (?, ?)"


def write(guard: SqlGuard, connection: sqlite3.Connection, token: int) -> None:
    with guard.writing(connection, "ledger", token) as cursor:
        cursor.execute(INSERT, (token, "x"))


def written(connection: sqlite3.Connection) -> list[int]:
    return [token for (token,) in connection.execute("SELECT token FROM ledger ORDER BY number")]


def test_equal_and_higher_tokens_write_and_lower_ones_do_not(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    for token in (3, 3, 5):
        write(guard, connection, token)
    with pytest.raises(StaleToken) as refused:
        write(guard, connection, 4)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert written(connection) == [3, 3, 5]


def test_what_one_connection_wrote_binds_the_other(guard: SqlGuard, connect: Connect) -> None:
    older, newer = connect(), connect()
    write(guard, older, 1)
    write(guard, newer, 2)
    with pytest.raises(StaleToken):
        write(guard, older, 1)
    assert written(newer) == [1, 2]


def test_resources_do_not_disturb_each_other(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    with guard.writing(connection, "ledger", 9):
        pass
    with guard.writing(connection, "archive", 1):
        pass
    assert guard.newest(connection, "ledger") == 9
    assert guard.newest(connection, "archive") == 1
    assert guard.newest(connection, 'it\'s not "there"') == 0


def test_an_admission_that_is_rolled_back_does_not_raise_the_bar(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    write(guard, connection, 1)
    guard.admit(connection, "ledger", 7)
    assert guard.newest(connection, "ledger") == 7
    connection.rollback()
    assert guard.newest(connection, "ledger") == 1
    write(guard, connection, 2)


def test_a_body_that_raises_takes_back_its_writes_and_the_bar(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    def fail() -> None:
        with guard.writing(connection, "ledger", 7) as cursor:
            cursor.execute(INSERT, (7, "x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not connection.in_transaction
    assert written(connection) == []
    assert guard.newest(connection, "ledger") == 0


def test_admit_leaves_the_transaction_to_the_caller(guard: SqlGuard, connect: Connect) -> None:
    ours, theirs = connect(), connect()
    guard.admit(ours, "ledger", 2)
    assert ours.in_transaction
    assert guard.newest(theirs, "ledger") == 0
    ours.commit()
    assert guard.newest(theirs, "ledger") == 2


def test_nobody_comes_between_the_check_and_the_write(guard: SqlGuard, connect: Connect) -> None:
    older, newer = connect(), connect()
    with guard.writing(older, "ledger", 1) as cursor:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write(guard, newer, 2)
        cursor.execute(INSERT, (1, "x"))
    write(guard, newer, 2)
    assert written(newer) == [1, 2]


def test_a_refused_writer_lets_go_of_the_database(guard: SqlGuard, connect: Connect) -> None:
    older, newer = connect(), connect()
    write(guard, newer, 2)
    with pytest.raises(StaleToken):
        write(guard, older, 1)
    assert not older.in_transaction
    write(guard, newer, 2)


def test_an_autocommit_connection_is_refused(database: Path, guard: SqlGuard) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="autocommit"):
            write(guard, connection, 1)
    assert written(connection) == []
    connection.execute("BEGIN")
    guard.admit(connection, "ledger", 1)  # but a transaction begun by hand will do
    connection.execute("COMMIT")
    connection.close()


def test_an_open_transaction_is_not_committed_by_surprise(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    connection.execute(INSERT, (1, "somebody else's"))
    with pytest.raises(ConfigurationError, match="transaction is open"):
        write(guard, connection, 1)
    with pytest.raises(ConfigurationError, match="transaction is open"):
        guard.create(connection)
    connection.rollback()
    assert written(connection) == []


def test_guarded_blocks_cannot_be_nested(guard: SqlGuard, connection: sqlite3.Connection) -> None:
    with (
        guard.writing(connection, "ledger", 1),
        pytest.raises(ConfigurationError, match="transaction is open"),
        guard.writing(connection, "archive", 1),
    ):
        pass


def test_two_resources_in_one_transaction(guard: SqlGuard, connection: sqlite3.Connection) -> None:
    with guard.writing(connection, "archive", 2):
        pass

    def both() -> None:
        with guard.writing(connection, "ledger", 1):
            guard.admit(connection, "archive", 1)

    with pytest.raises(StaleToken):
        both()
    assert guard.newest(connection, "ledger") == 0


class Interrupted(sqlite3.Connection):
    """Another leader places the bar in the instant before we do."""

    rival = 0

    def cursor(self, *_: Any, **__: Any) -> Any:
        outer = self

        class Cursor(sqlite3.Cursor):
            def execute(self, text: str, *values: Any) -> "Cursor":
                if text.startswith("SAVEPOINT"):
                    super().execute(
                        "INSERT INTO elector_fence VALUES ('ledger', ?, 1)", (outer.rival,)
                    )
                super().execute(text, *values)
                return self

        return super().cursor(Cursor)


@pytest.mark.parametrize(("rival", "admitted"), [(1, True), (2, True), (3, False)])
def test_a_lost_race_for_the_first_row_is_decided_by_the_tokens(
    database: Path, guard: SqlGuard, rival: int, admitted: bool
) -> None:
    connection = sqlite3.connect(database, factory=Interrupted)
    connection.rival = rival
    if admitted:
        guard.admit(connection, "ledger", 2)
        assert guard.newest(connection, "ledger") == 2
    else:
        with pytest.raises(StaleToken, match="token 3"):
            guard.admit(connection, "ledger", 2)
    connection.close()


class OutOfSpace(sqlite3.Connection):
    def cursor(self, *_: Any, **__: Any) -> Any:
        class Cursor(sqlite3.Cursor):
            def execute(self, text: str, *values: Any) -> "Cursor":
                if text.startswith("INSERT"):
                    raise sqlite3.OperationalError("database or disk is full")
                super().execute(text, *values)
                return self

        return super().cursor(Cursor)


def test_other_failures_of_the_first_insert_are_not_taken_for_a_race(
    database: Path, guard: SqlGuard
) -> None:
    connection = sqlite3.connect(database, factory=OutOfSpace)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        write(guard, connection, 1)
    assert not connection.in_transaction
    connection.close()


class CountsChanges(sqlite3.Connection):
    """MySQL's reading of rowcount: rows that an UPDATE left as they were do not count."""

    def cursor(self, *_: Any, **__: Any) -> Any:
        class Cursor(sqlite3.Cursor):
            changed = 0

            def execute(self, text: str, *values: Any) -> "Cursor":
                before = self._fence()
                super().execute(text, *values)
                if text.startswith("UPDATE"):
                    self.changed = len(self._fence() - before)
                return self

            def _fence(self) -> set[Any]:
                return set(self.connection.execute("SELECT * FROM elector_fence"))

            @property
            def rowcount(self) -> int:
                return self.changed

        return super().cursor(Cursor)


def test_a_driver_that_counts_only_changes_lets_a_tenure_write_again(
    database: Path, guard: SqlGuard
) -> None:
    connection = sqlite3.connect(database, factory=CountsChanges)
    for token in (3, 3, 4):
        write(guard, connection, token)
    with pytest.raises(StaleToken):
        write(guard, connection, 3)
    connection.close()


def test_a_refusal_does_not_touch_the_database(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    write(guard, connection, 2)
    said = list[str]()
    connection.set_trace_callback(lambda text: said.append(text.partition(" ")[0]))
    with pytest.raises(StaleToken):
        write(guard, connection, 1)
    assert "INSERT" not in said
    assert said[-1] == "ROLLBACK"


def test_a_missing_table_is_named_with_what_makes_it(tmp_path: Path, guard: SqlGuard) -> None:
    connection = sqlite3.connect(tmp_path / "empty.db")
    with pytest.raises(ConfigurationError, match=r"no table elector_fence.*create") as refused:
        guard.admit(connection, "ledger", 1)
    assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
    connection.close()


def test_create_can_be_repeated_and_forgets_nothing(
    guard: SqlGuard, connection: sqlite3.Connection
) -> None:
    write(guard, connection, 4)
    guard.create(connection)
    assert guard.newest(connection, "ledger") == 4


def test_another_table_may_remember(connection: sqlite3.Connection) -> None:
    guard = SqlGuard("main.bars")
    guard.create(connection)
    write(guard, connection, 2)
    assert connection.execute("SELECT token, writes FROM bars").fetchall() == [(2, 1)]


@pytest.mark.parametrize(
    "table", ["", "1st", "a b", "fence;--", 'x"y', "a.b.c", ".a", "a.", "é", "a\n", "x" * 64]
)
def test_a_table_name_is_never_sql(table: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        SqlGuard(table)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_never_reaches_the_database(
    guard: SqlGuard, connection: sqlite3.Connection, token: int
) -> None:
    with pytest.raises(ConfigurationError, match="not a fencing token"):
        guard.admit(connection, "ledger", token)
    assert not connection.in_transaction


def test_a_resource_name_is_never_sql(guard: SqlGuard, connection: sqlite3.Connection) -> None:
    hostile = "x' OR '1'='1"
    with guard.writing(connection, hostile, 5):
        pass
    assert connection.execute("SELECT resource, token FROM elector_fence").fetchall() == [
        (hostile, 5)
    ]


@pytest.mark.parametrize("factory", [sqlite3.Row, lambda c, r: {c.description[0][0]: r[0]}])
def test_row_factories_do_not_confuse_the_message(
    guard: SqlGuard, connection: sqlite3.Connection, factory: Any
) -> None:
    connection.row_factory = factory
    write(guard, connection, 8)
    with pytest.raises(StaleToken, match=re.escape("token 8")):
        write(guard, connection, 1)


def test_the_guard_brings_no_driver_and_no_event_loop_along() -> None:
    program = "import sys, elector.fencing; print({'sqlite3', 'asyncio'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout == b"set()\n"


def test_many_connections_may_hold_one_guard(guard: SqlGuard, connect: Connect) -> None:
    crowd = [connect() for _ in range(8)]
    for token, connection in enumerate(crowd, 1):
        write(guard, connection, token)
    for connection in crowd[:-1]:
        with suppress(StaleToken):
            write(guard, connection, 1)
            pytest.fail("a stale write was accepted")
    assert written(crowd[0]) == list(range(1, 9))
