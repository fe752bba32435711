"""What ``elector doctor`` finds out about a PostgreSQL store."""

import time
from collections.abc import AsyncIterator
from typing import Any

from elector.errors import ConfigurationError, StoreError, StoreUnavailable
from elector.stores.port import Finding
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
    parse,
    shared_session,
)
from elector.stores.postgresql.link import TROUBLES, find_tables, tables_to_make
from elector.stores.postgresql.schema import Tables
from elector.stores.registry import StoreUrl

_TRIGGERS = ("protect", "record_change", "record_first")

_DURABILITY = """
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
       current_setting('synchronous_standby_names') AS names,
       (SELECT count(*) FROM pg_stat_replication) AS standbys,
       extract(epoch FROM clock_timestamp())::float8 AS clock
"""
_MAY_MAKE = "SELECT has_schema_privilege($1, 'CREATE')"
_MAY_USE = """
SELECT bool_and(has_table_privilege(t::regclass, p)) FROM unnest($1::text[]) t,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
"""
_AWAKE = """
SELECT count(*) FROM pg_trigger
WHERE tgrelid = $1::text::regclass AND tgenabled IN ('O', 'A') AND tgname = ANY($2::text[])
"""


async def diagnose(url: StoreUrl) -> list[Finding]:
    """Look at everything that a promise of this store rests on; never raises for the store."""
    findings = []
    try:
        address = parse(url)
        connection = await connect(address)
    except (StoreError, ConfigurationError) as error:
        return [Finding("reachability", "bad", str(error))]
    try:
        async for finding in _findings(connection, address):
            findings.append(finding)  # noqa: PERF401 - those before an error are worth telling
    except StoreError as error:
        findings.append(Finding("examination", "bad", str(error)))
    except TROUBLES as error:
        words = str(in_words(error, address, writes=False))
        findings.append(Finding("examination", "bad", words))
    finally:
        connection.terminate()
    return findings


async def _findings(connection: Connection, address: Address) -> AsyncIterator[Finding]:
    server = await introduce(connection)
    sent_at = time.perf_counter()
    await bounded(connection, connection.execute("SELECT 1"), PATIENCE_S)
    took_ms = (time.perf_counter() - sent_at) * 1e3
    yield Finding(
        "reachability",
        "good",
        f"database {server.database} answers user {server.user} in {took_ms:.2g} ms",
    )
    why_not = objection(server, address)
    if why_not is not None:
        yield Finding("server", "bad", why_not)
        return
    yield Finding("server", "good", f"PostgreSQL {server.named}, a primary")
    lent = await shared_session(connection, address, server)
    if lent is not None:
        yield Finding("pooler", "bad", lent)
        return
    between = "one that leaves us our session" if server.pooled else "none in between"
    yield Finding("pooler", "good", between)
    yield await _permissions(connection, address, server)
    said = await bounded(connection, connection.fetchrow(_DURABILITY), PATIENCE_S)
    yield _clock(said["clock"])
    yield _durability(said, server)
    yield _replication(said, server)


async def _permissions(connection: Connection, address: Address, server: Server) -> Finding:
    missing = address._replace(url=StoreUrl(address.url.scheme, address.url.rest, create=False))
    try:
        tables, _ = await find_tables(connection, missing, server)
    except StoreError as error:
        if not isinstance(error, StoreUnavailable):
            return Finding("tables", "bad", str(error))
        return await _may_make(connection, address, server)
    return await _may_use(connection, tables, server)


async def _may_make(connection: Connection, address: Address, server: Server) -> Finding:
    tables = tables_to_make(address, server)
    making = connection.fetchval(_MAY_MAKE, tables.schema)
    if await bounded(connection, making, PATIENCE_S):
        return Finding("tables", "good", f"{tables} are not there yet; we may make them")
    return Finding(
        "tables",
        "bad",
        f"{tables} are not there, and user {server.user} may not make them in {tables.schema}",
        f"their owner runs: {tables.ddl()}{tables.grants(server.user)}",
    )


async def _may_use(connection: Connection, tables: Tables, server: Server) -> Finding:
    names = [tables.elections, tables.tenures, tables.waiters]
    if not await bounded(connection, connection.fetchval(_MAY_USE, names), PATIENCE_S):
        words = f"user {server.user} may not read and write {tables}"
        return Finding("tables", "bad", words, f"their owner runs: {tables.grants(server.user)}")
    counting = connection.fetchval(_AWAKE, tables.elections, list(_TRIGGERS))
    if await bounded(connection, counting, PATIENCE_S) != len(_TRIGGERS):
        return Finding(
            "tables",
            "bad",
            f"a trigger of {tables.elections} is missing or disabled: nothing keeps a token from "
            "falling, and nobody is told of a vacancy",
            f"ALTER TABLE {tables.elections} ENABLE TRIGGER USER",
        )
    return Finding("tables", "good", f"{tables} are there, guarded by their triggers, and ours")


def _clock(server_s: float) -> Finding:
    ahead_s = server_s - time.time()
    return Finding(
        "clock",
        "good",
        f"leases run on the server's clock, {abs(ahead_s):.1f} s "
        f"{'ahead of' if ahead_s > 0 else 'behind'} ours, which does not matter; that it is never "
        "set by hand while somebody leads, does",
    )


def _durability(said: Any, server: Server) -> Finding:
    if said["fsync"] == "off":
        return Finding(
            "durability",
            "bad",
            "fsync=off: a crash of the server's machine takes tokens back",
            "set fsync=on",
        )
    if said["pages"] == "off":
        return Finding(
            "durability",
            "doubtful",
            "full_page_writes=off: a crash can tear a page, unless the file system prevents it",
            "set full_page_writes=on",
        )
    words = f"synchronous_commit={server.commit}"
    if server.commit == "off":
        words += ", but on in our own sessions: a token is on the disk before it is used"
    return Finding("durability", "good", words)


def _replication(said: Any, server: Server) -> Finding:
    if said["names"] and server.commit not in {"off", "local"}:
        return Finding("replication", "good", f"synchronous_standby_names={said['names']}")
    if not said["names"] and said["standbys"] == 0:
        return Finding("replication", "good", "no standby that one could fail over to")
    return Finding(
        "replication",
        "doubtful",
        f"{said['standbys']} standbys, none waited for: a failover loses the last tenures and "
        "their tokens",
        "set synchronous_standby_names, and synchronous_commit=on for our user",
    )
