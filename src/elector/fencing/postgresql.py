"""Guards for PostgreSQL: a transaction of asyncpg's, and a trigger for whoever writes.

Behind psycopg and other DB-API 2 drivers `SqlGuard` serves as it is, on the same table: both
kinds of client and the trigger share one bar.

Model
    One statement places the bar or lifts it, ``INSERT … ON CONFLICT … WHERE token <= …``,
    and its row lock keeps every other leader out until the transaction ends.

Laws
    1. The bar moves in the transaction of the write: rolled back, it never moved.
    2. Where no transaction is open (asyncpg commits every statement by itself then) the
       guard refuses to pretend.
    3. From REPEATABLE READ on, the loser of a race may get PostgreSQL's own serialization
       error instead of `StaleToken`: its write did not happen either way.

The driver is not imported here: a connection is whatever has asyncpg's methods.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from elector.errors import ConfigurationError
from elector.fencing.bar import checked_resource, checked_token, refusal
from elector.fencing.sql import SqlGuard, missing
from elector.fencing.statements import identifier, is_missing_table, qualified
from elector.fencing.trigger import NO_TOKEN, REFUSAL, is_refusal, newest_told

__all__ = [
    "PostgresGuard",
    "guard_trigger",
]

_LIFT = (
    "INSERT INTO {table} AS bar (resource, token, writes) VALUES ($1, $2, 1) "
    "ON CONFLICT (resource) DO UPDATE SET token = excluded.token, writes = bar.writes + 1 "
    "WHERE bar.token <= excluded.token RETURNING token"
)

_NEWEST = "SELECT token FROM {table} WHERE resource = $1"

# A tenure that writes many rows only locks the bar that it has lifted: a new version of
# that row for each of them would have to be vacuumed.
_TRIGGER = """\
CREATE OR REPLACE FUNCTION {schema}"{table}_fence"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  IF NEW."{column}" IS NULL OR NEW."{column}" < 1 THEN
    RAISE EXCEPTION '{no_token}' USING ERRCODE = 'check_violation';
  END IF;
  PERFORM FROM {fence} AS bar
    WHERE bar.resource = TG_ARGV[0] AND bar.token = NEW."{column}" FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    INSERT INTO {fence} AS bar (resource, token, writes) VALUES (TG_ARGV[0], NEW."{column}", 1)
      ON CONFLICT (resource) DO UPDATE SET token = excluded.token, writes = bar.writes + 1
      WHERE bar.token <= excluded.token;
    IF NOT FOUND THEN
      RAISE EXCEPTION '{refusal}; the newest is %',
        (SELECT bar.token FROM {fence} AS bar WHERE bar.resource = TG_ARGV[0])
        USING ERRCODE = 'check_violation';
    END IF;
  END IF;
  RETURN NEW;
END $body$;
DROP TRIGGER IF EXISTS "{table}_fence" ON {schema}"{table}";
CREATE TRIGGER "{table}_fence" BEFORE INSERT OR UPDATE ON {schema}"{table}"
  FOR EACH ROW EXECUTE FUNCTION {schema}"{table}_fence"({resource});
"""


class Connection(Protocol):
    """The part of an asyncpg connection that a guard uses."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction, or a savepoint within one."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether one is open."""
        ...

    def fetchval(self, query: str, *values: Any) -> Awaitable[Any]:
        """The first value of the first row, None where there is none."""
        ...

    def execute(self, query: str) -> Awaitable[Any]:
        """Carry out a statement."""
        ...


Conn = TypeVar("Conn", bound=Connection)


class PostgresGuard:
    """Refuses the transactions of leaders that were replaced, on connections of asyncpg's.

    It holds no connection. Its table is that of a `SqlGuard` of the same name.

    Args:
        table: where the tokens are remembered, with its schema if need be.

    Raises:
        ConfigurationError: the table's name cannot be used.

    A connection and a tenure at hand::

        guard = PostgresGuard()
        await guard.create(connection)                                    # once
        async with guard.writing(connection, "ledger", tenure.token):
            await connection.execute("INSERT INTO ledger VALUES ('closed')")
    """

    def __init__(self, table: str = "elector_fence") -> None:
        self.table = qualified(table, "table")

    @property
    def ddl(self) -> str:
        """The statement that makes the table, for those who keep migrations."""
        return SqlGuard(self.table).ddl

    async def create(self, connection: Connection) -> None:
        """Make the table unless it is there."""
        await connection.execute(self.ddl)

    @asynccontextmanager
    async def writing(self, connection: Conn, resource: str, token: int) -> AsyncIterator[Conn]:
        """Write under a token: check and body in one transaction, committed at the end.

        Whatever the body raises rolls everything back, the bar too.

        Args:
            connection: with no transaction open.
            resource: what is guarded, by a name all its writers agree on.
            token: `tenure.token`.

        Raises:
            StaleToken: a later leader has written; the body is not entered.
            ConfigurationError: a transaction is open already, or the table is not there.
        """
        if connection.is_in_transaction():
            raise ConfigurationError(
                "a transaction is open on this connection, and only its end would make the "
                "writes last: end it first, or call admit() inside it"
            )
        async with connection.transaction():
            await self.admit(connection, resource, token)
            yield connection

    async def admit(self, connection: Connection, resource: str, token: int) -> None:
        """Let a token in, within the caller's own transaction, which stays open.

        The write that this protects must follow in the same transaction. If this raises,
        that transaction is to be rolled back.

        Raises:
            StaleToken: a later leader has written.
            ConfigurationError: no transaction is open, or the table is not there.
        """
        checked_token(token)
        checked_resource(resource)
        if not connection.is_in_transaction():
            raise ConfigurationError(
                "no transaction is open, so nothing holds check and write together: use "
                "writing(), or admit() within connection.transaction()"
            )
        if await self._ask(connection, _LIFT, resource, token) is None:
            # An old snapshot may not show what refused us; it is higher than our token.
            newest = await self.newest(connection, resource)
            raise refusal(resource, token, max(newest, token + 1))

    async def newest(self, connection: Connection, resource: str) -> int:
        """The highest token let in as this transaction sees it, 0 before the first.

        To look at, never to decide by: it may be old by the time it is read.
        """
        checked_resource(resource)
        return int(await self._ask(connection, _NEWEST, resource) or 0)

    async def _ask(self, connection: Connection, text: str, *values: object) -> Any:
        try:
            return await connection.fetchval(text.format(table=self.table), *values)
        except Exception as error:
            if is_missing_table(error):
                raise missing(self.table) from error
            raise

    @asynccontextmanager
    async def translating(
        self, connection: Connection, resource: str, token: int
    ) -> AsyncIterator[None]:
        """Turn the refusal of a `guard_trigger` into `StaleToken`; other errors pass.

        Raises:
            StaleToken: the trigger refused a statement of the body.
        """
        try:
            yield
        except Exception as error:
            if not is_refusal(error):
                raise
            newest = newest_told(error) or await self.newest(connection, resource)
            raise refusal(resource, token, newest) from error


def guard_trigger(
    table: str, token_column: str, resource: str, fence: str = "elector_fence"
) -> str:
    """The PostgreSQL DDL that guards a table, as one text for ``connection.execute``.

    For tables that are also written by programs which know nothing of Elector: a row whose
    token is below the highest seen is refused by the database itself, whoever sends it. The
    table of the guard must be there, and whoever writes must be allowed to read and write
    it. Run again, it replaces what it made before. `SqlGuard.translating` turns the refusal
    into `StaleToken`.

    What it cannot see: ``DELETE`` and ``TRUNCATE`` have no new row and pass, and an
    ``UPDATE`` that leaves the token column alone is judged by the token already in the row.

    Args:
        table: the guarded table as the database spells it, with its schema if need be.
        token_column: its column, a BIGINT, that holds the token of whoever writes the row.
        resource: the name under which the highest token is remembered.
        fence: the table of the guard; with its schema, unless all writers have one search
            path.

    Raises:
        ConfigurationError: one of the names cannot be used.

    >>> print(guard_trigger("app.ledger", "token", "ledger").splitlines()[-1])
      FOR EACH ROW EXECUTE FUNCTION "app"."ledger_fence"('ledger');
    """
    schema, _, name = qualified(table, "table").rpartition(".")
    # PostgreSQL would cut a longer name off, and two tables could come to share a function.
    identifier(f"{name}_fence", "trigger")
    return _TRIGGER.format(
        schema=f'"{schema}".' if schema else "",
        table=name,
        column=identifier(token_column, "token column"),
        fence=qualified(fence, "fence table"),
        resource=_literal(checked_resource(resource)),
        refusal=REFUSAL,
        no_token=NO_TOKEN,
    )


def _literal(text: str) -> str:
    """A text as SQL says it, whatever ``standard_conforming_strings`` is set to."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"
