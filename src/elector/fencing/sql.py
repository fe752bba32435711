"""A guard for any SQL database behind a DB-API 2 (PEP 249) connection.

Model
    One row for each guarded resource holds the highest token let in. A transaction that
    wants to write first raises that row with one conditional ``UPDATE``. Whether it matched
    decides, and the row lock it takes keeps every other leader out until this transaction
    ends. Check and write so become one, and a pause between them does no harm: either the
    newer leader waits for us, or we find its token and are refused.

Laws
    1. The bar moves in the caller's transaction: rolled back, it never moved.
    2. No decision rests on a value that was read; only on the ``UPDATE`` that matched. A
       plain ``SELECT`` may answer from an old snapshot, so it only words the message.
    3. Where a transaction cannot be held open (autocommit) the guard refuses to pretend.

It needs of the database what every common one has: a unique key, row locks or one writer at a
time, and ``SAVEPOINT``. Under snapshot isolation the loser of a race may get the driver's own
serialization error instead of `StaleToken`: its write did not happen either way.

The table remembers; if it is lost or restored from a backup, so is the bar.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from elector.errors import ConfigurationError
from elector.fencing.bar import checked_resource, checked_token, refusal
from elector.fencing.statements import (
    STYLES,
    Connection,
    bind,
    in_transaction,
    is_conflict,
    is_missing_table,
    only_value,
    qualified,
    style_of,
)
from elector.fencing.trigger import is_refusal, newest_told

Cursor = TypeVar("Cursor")

# `writes` makes every match a change: MySQL counts changed rows, and a tenure that writes
# again under its own token would otherwise look like one that matched nothing.
_LIFT = (
    "UPDATE {table} SET token = :token, writes = writes + 1 "
    "WHERE resource = :resource AND token <= :token"
)
_PLACE = "INSERT INTO {table} (resource, token, writes) VALUES (:resource, :token, 1)"
NEWEST = "SELECT token FROM {table} WHERE resource = :resource"
_CREATE = (
    "CREATE TABLE IF NOT EXISTS {table} (resource VARCHAR(200) NOT NULL PRIMARY KEY, "
    "token BIGINT NOT NULL, writes BIGINT NOT NULL)"
)


def missing(table: str) -> ConfigurationError:
    """The error of every guard whose table is not there; it is never made by the way."""
    return ConfigurationError(
        f"there is no table {table}, in which the highest token is remembered: make it once, "
        "with SqlGuard.create(connection) or the statement in SqlGuard.ddl"
    )


class SqlGuard:
    """Refuses the transactions of leaders that were replaced.

    It holds no connection and can be shared between threads; connections cannot always.

    Args:
        table: where the tokens are remembered, with its schema if need be.
        paramstyle: the driver's, if it cannot be told from the connection.

    Raises:
        ConfigurationError: the table's name or the style cannot be used.

    >>> import sqlite3
    >>> connection = sqlite3.connect(":memory:")
    >>> _ = connection.execute("CREATE TABLE ledger (entry TEXT)")
    >>> guard = SqlGuard()
    >>> guard.create(connection)                                    # once
    >>> with guard.writing(connection, "ledger", token=2) as cursor:
    ...     _ = cursor.execute("INSERT INTO ledger VALUES ('opened by the second leader')")
    >>> with guard.writing(connection, "ledger", token=1) as cursor:
    ...     _ = cursor.execute("INSERT INTO ledger VALUES ('never written')")
    Traceback (most recent call last):
    ...
    elector.errors.StaleToken: refused: 'ledger' has been written under token 2, so token 1 \
belongs to a leader that was replaced; stop this work and campaign again
    >>> connection.close()
    """

    def __init__(self, table: str = "elector_fence", *, paramstyle: str | None = None) -> None:
        self.table = qualified(table, "table")
        if paramstyle is not None and paramstyle not in STYLES:
            raise ConfigurationError(
                f"paramstyle {paramstyle!r} is not one of PEP 249: {', '.join(sorted(STYLES))}"
            )
        self._paramstyle = paramstyle

    @property
    def ddl(self) -> str:
        """The statement that makes the table, for those who keep migrations."""
        return _CREATE.format(table=self.table)

    def create(self, connection: Connection[Any]) -> None:
        """Make the table unless it is there, and commit.

        Raises:
            ConfigurationError: a transaction is open, which this would commit.
        """
        with _transaction(connection) as cursor:
            cursor.execute(self.ddl)

    @contextmanager
    def writing(
        self, connection: Connection[Cursor], resource: str, token: int
    ) -> Iterator[Cursor]:
        """Write under a token: check and body in one transaction, committed at the end.

        The body gets a cursor. Whatever it raises rolls everything back, the bar too.

        Args:
            connection: with no transaction open.
            resource: what is guarded, by a name all its writers agree on.
            token: `tenure.token`.

        Raises:
            StaleToken: a later leader has written; the body is not entered.
            ConfigurationError: a transaction is open already, the connection commits every
                statement by itself, or the table is not there.
        """
        with _transaction(connection) as cursor:
            self._admit(connection, cursor, resource, token)
            yield cursor

    def admit(self, connection: Connection[Any], resource: str, token: int) -> None:
        """Let a token in, within the caller's own transaction, which stays open.

        The write that this protects must follow in the same transaction. If this raises,
        that transaction is to be rolled back.

        Raises:
            StaleToken: a later leader has written.
            ConfigurationError: the connection commits every statement by itself, the
                driver does not count rows, or the table is not there.
        """
        cursor = connection.cursor()
        try:
            self._admit(connection, cursor, resource, token)
        finally:
            cursor.close()

    def newest(self, connection: Connection[Any], resource: str) -> int:
        """The highest token let in as this transaction sees it, 0 before the first.

        To look at, never to decide by: it may be old by the time it is read.
        """
        cursor = connection.cursor()
        try:
            return self._bar(connection, cursor, resource).newest()
        finally:
            cursor.close()

    @contextmanager
    def translating(self, connection: Connection[Any], resource: str, token: int) -> Iterator[None]:
        """Turn the refusal of a `guard_trigger` into `StaleToken`; other errors pass.

        Raises:
            StaleToken: the trigger refused a statement of the body.
        """
        try:
            yield
        except Exception as error:
            if not is_refusal(error):
                raise
            # PostgreSQL answers no more questions in a transaction that failed; it has told.
            newest = newest_told(error) or self.newest(connection, resource)
            raise refusal(resource, token, newest) from error

    def _admit(self, connection: object, cursor: Any, resource: str, token: int) -> None:
        bar = self._bar(connection, cursor, resource)
        checked_token(token)
        admitted = bar.lift(token)
        if in_transaction(connection) is False:
            raise ConfigurationError(
                "the connection commits every statement by itself (autocommit), so nothing "
                "holds check and write together: turn autocommit off or begin a transaction"
            )
        # If somebody else placed the bar in between, it decides like any other.
        if not (admitted or bar.place(token) or bar.lift(token)):
            # An old snapshot may not show what refused us; it is higher than our token.
            raise refusal(resource, token, max(bar.newest(), token + 1))

    def _bar(self, connection: object, cursor: Any, resource: str) -> "_Bar":
        style = self._paramstyle or style_of(connection)
        return _Bar(cursor, style, self.table, checked_resource(resource))


class _Bar(NamedTuple):
    """The row of one resource, through one cursor."""

    cursor: Any
    style: str
    table: str
    resource: str

    def lift(self, token: int) -> bool:
        self._execute(_LIFT, token)
        if self.cursor.rowcount < 0:
            raise ConfigurationError(
                f"{type(self.cursor).__qualname__} does not count the rows of an UPDATE, "
                "which is what the guard decides by; this driver cannot be guarded"
            )
        return bool(self.cursor.rowcount)

    def place(self, token: int) -> bool:
        if self.newest():
            return False
        # PostgreSQL spoils the whole transaction at a conflict unless a savepoint was set.
        self.cursor.execute("SAVEPOINT elector_fence_place")
        try:
            self._execute(_PLACE, token)
        except Exception as error:
            if not is_conflict(error):
                raise
            self.cursor.execute("ROLLBACK TO SAVEPOINT elector_fence_place")
            return False
        return True

    def newest(self) -> int:
        self._execute(NEWEST)
        return int(only_value(self.cursor.fetchone()) or 0)

    def _execute(self, text: str, token: int | None = None) -> None:
        values = {"resource": self.resource, "token": token}
        try:
            self.cursor.execute(*bind(self.style, text.format(table=self.table), values))
        except Exception as error:
            if is_missing_table(error):
                raise missing(self.table) from error
            raise


@contextmanager
def _transaction(connection: Connection[Cursor]) -> Iterator[Cursor]:
    if in_transaction(connection):
        raise ConfigurationError(
            "a transaction is open on this connection and would be committed: end it first, "
            "or call admit() inside it"
        )
    cursor: Any = connection.cursor()
    try:
        yield cursor
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        cursor.close()
