"""A connection of the PostgreSQL store that is ready for use: greeted, with tables, listening."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from elector.errors import StoreCorrupt, StoreUnavailable
from elector.stores.postgresql.connection import (
    PATIENCE_S,
    Address,
    Connection,
    Server,
    bounded,
    connect,
    in_words,
    introduce,
    objection,
    set_up,
    shared_session,
)
from elector.stores.postgresql.schema import INSPECT, VERSION, Tables, quoted, version_of
from elector.stores.postgresql.statements import Statements

# The letters of "elector": nobody else's advisory lock has this number by accident.
_CREATION = 0x656C6563746F72

_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
"""

# What can go wrong with a connection. The third is what the client library raises when the server
# has said goodbye and the end of the connection is not yet there.
TROUBLES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class Link(NamedTuple):
    """A connection that is ready.

    Attributes:
        connection: of asyncpg.
        server: what it said of itself.
        tables: ours.
        channel: where changes are announced.
        statements: for these tables.
    """

    connection: Connection
    server: Server
    tables: Tables
    channel: str
    statements: Statements


class Dialler:
    """Makes connections ready.

    Args:
        address: of the server.
        hear: is given what is announced.
        ended: is given a link that was lost.
    """

    def __init__(
        self, address: Address, hear: Callable[[str], None], ended: Callable[[Link], None]
    ) -> None:
        self._address, self._hear, self._ended = address, hear, ended
        self._before: Link | None = None

    async def __call__(self) -> Link:
        """Connect, and be ready.

        Raises:
            StoreError: it cannot be done; says whose fault that is.
        """
        connection = await connect(self._address)
        try:
            return await self._ready(connection)
        except TROUBLES as error:
            connection.terminate()
            raise in_words(error, self._address, writes=False) from error
        except BaseException:
            connection.terminate()
            raise

    async def _ready(self, connection: Connection) -> Link:
        server = await introduce(connection)
        why_not = objection(server, self._address) or await shared_session(
            connection, self._address, server
        )
        if why_not is not None:
            raise StoreUnavailable(why_not)
        await set_up(connection, server)
        tables, channel = await find_tables(connection, self._address, server)
        link = Link(connection, server, tables, channel, Statements(tables))
        await self._end_before(connection)
        listening = connection.add_listener(channel, lambda *heard: self._hear(heard[3]))
        await bounded(connection, listening, PATIENCE_S)
        connection.add_termination_listener(lambda _: self._ended(link))
        self._before = link
        return link

    async def _end_before(self, connection: Connection) -> None:
        """End our last session on the server, where a request may still wait to be carried out.

        Behind a pooler it may be somebody else's by now.
        """
        before, self._before = self._before, None
        if before is not None and not before.server.pooled:
            ending = connection.fetch(_END, before.server.pid, before.server.started)
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                await bounded(connection, ending, PATIENCE_S)


async def find_tables(
    connection: Connection, address: Address, server: Server
) -> tuple[Tables, str]:
    """Our tables and their channel; they are made if they are missing and may be made.

    Raises:
        StoreCorrupt: something of that name is there that is not ours.
        StoreUnavailable: there are none.
    """
    parts = [part for part in (address.schema, f"{address.prefix}_elections") if part]
    name = ".".join(quoted(part) for part in parts)
    found = await bounded(connection, connection.fetchrow(INSPECT, name), PATIENCE_S)
    if found is None:
        if not address.url.create:
            raise StoreUnavailable(
                f"{address} has no tables {address.prefix}_*: nobody has stood there yet"
            )
        await _create(connection, address, server)
        found = await bounded(connection, connection.fetchrow(INSPECT, name), PATIENCE_S)
    version = version_of(found["mark"])
    if version is None or found["kind"] != "r":
        raise StoreCorrupt(
            f"{address}: {name} is not a table that elector made; choose other names with ?table="
        )
    if version > VERSION:
        raise StoreCorrupt(
            f"{address}: {name} was made by a newer elector (schema {version}, this one knows "
            f"{VERSION}); upgrade elector here"
        )
    return Tables(found["schema"], address.prefix), f"elector_{found['oid']}"


async def _create(connection: Connection, address: Address, server: Server) -> None:
    tables = tables_to_make(address, server)
    # Statements that are sent together are one transaction. Others may be at it just now.
    script = f"SELECT set_config('lock_timeout', '4s', true), pg_advisory_xact_lock({_CREATION});"
    try:
        await bounded(connection, connection.execute(script + tables.ddl()), PATIENCE_S)
    except asyncpg.DuplicateTableError:
        pass  # somebody else was first
    except asyncpg.InsufficientPrivilegeError:
        raise StoreUnavailable(
            f"{address}: user {server.user} may not make tables in schema {tables.schema} of "
            f"database {server.database}: have its owner run what `elector doctor` prints"
        ) from None


def tables_to_make(address: Address, server: Server) -> Tables:
    """Where the tables would be made.

    Raises:
        StoreUnavailable: nowhere.
    """
    schema = address.schema or server.schema
    if schema is None:
        raise StoreUnavailable(
            f"{address}: user {server.user} has no schema to make tables in; name one with "
            "?table=schema.elector"
        )
    return Tables(schema, address.prefix)
