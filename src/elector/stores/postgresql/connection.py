"""How the PostgreSQL store reaches its server: the URL, the connection, and errors in words.

A request is never cancelled on the server's side: that would need a second connection, and the
answer of a server that does not answer. A request that takes too long is given up together
with its connection.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import asyncpg

from elector.errors import (
    ConfigurationError,
    OutcomeUnknown,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from elector.stores.postgresql.schema import CORRUPT
from elector.stores.registry import StoreUrl

T = TypeVar("T")

CONNECT_PATIENCE_S = 3.0
PATIENCE_S = 5.0

_PREFIX = re.compile(r"(?:(?P<schema>[A-Za-z_][\w$]{0,62})\.)?(?P<prefix>[A-Za-z_][\w$]{0,47})")
_LEAST_VERSION = 130_000
_KEEP_ALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
_TRIALS = 3
_TRIAL_S = 1.0
_SHARED = (
    "is reached through a pooler that gives each transaction another session, where nobody can "
    "listen: connect to the server directly, or use session pooling"
)

Connection = Any
"""An `asyncpg.Connection`."""


class Address(NamedTuple):
    """A store URL, taken apart.

    Attributes:
        url: as it was given; in text it has no secret.
        dsn: what asyncpg is given, with the secret.
        schema: of the tables, None if the search path decides.
        prefix: of the tables' names.
    """

    url: StoreUrl
    dsn: str
    schema: str | None
    prefix: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Address({self.url})"

    def __str__(self) -> str:
        """For messages."""
        return str(self.url)


def parse(url: StoreUrl) -> Address:
    """Take a URL apart: ``table`` is ours, everything else is asyncpg's.

    Raises:
        ConfigurationError: the name of the table cannot be used.
    """
    # The last @ first: a password may hold any of the characters that come after it.
    user, at, address = url.rest.rpartition("@")
    if at:
        user = ":".join(quote(unquote(part), safe="") for part in user.split(":", 1))
    place, _, query = address.partition("?")
    table, kept = "elector", []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name == "table":
            table = unquote(value)
        elif name == "session":
            raise ConfigurationError(
                f"session= in {url}: an office is held by a lease here and not by a session, whose "
                "end does not prove that the work has stopped; leave it out"
            )
        else:
            kept.append(pair)
    named = _PREFIX.fullmatch(table)
    if named is None:
        raise ConfigurationError(
            f"table={table!r} in {url} cannot begin the names of tables: write table=name or "
            "table=schema.name, with at most 48 letters, digits and underscores in the name"
        )
    dsn = f"postgresql://{user}{at}{place}{'?' if kept else ''}{'&'.join(kept)}"
    return Address(url, dsn, named["schema"], named["prefix"])


class Server(NamedTuple):
    """What a server says of itself and of us, when a connection is made.

    `pooled` is what we find: something that speaks the protocol stands in between. A pooler
    greets its clients itself, and cannot know then which process will serve them.
    """

    version: int
    named: str
    standby: bool
    read_only: bool
    user: str
    database: str
    schema: str | None
    pid: int
    started: Any
    commit: str
    pooled: bool = False


_INTRODUCTION = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS named, pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       current_user::text AS "user", current_database()::text AS database,
       current_schema()::text AS schema, pg_backend_pid() AS pid,
       (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
       current_setting('synchronous_commit') AS commit
"""


async def connect(address: Address) -> Connection:
    """Open a connection, and nothing more.

    Raises:
        StoreUnavailable: it cannot be had; says whose fault that is.
        ConfigurationError: the URL is wrong.
    """
    try:
        connection = await asyncpg.connect(
            address.dsn,
            timeout=CONNECT_PATIENCE_S,
            max_cached_statement_lifetime=0,
            **_defaults(address),
        )
    except asyncpg.ClientConfigurationError as error:
        raise ConfigurationError(f"{address} cannot be used: {_first_line(error)}") from None
    except TimeoutError:
        raise StoreUnavailable(
            f"{address} does not answer within {CONNECT_PATIENCE_S:g} s; is the server running, "
            "and does a firewall let us through?"
        ) from None
    except asyncpg.PostgresError as error:
        raise refused(error, address) from None
    except asyncpg.TargetServerAttributeNotMatched:
        raise StoreUnavailable(
            f"{address}: none of these hosts is a primary; name them all, and see which is one"
        ) from None
    except ssl.SSLError as error:
        raise StoreUnavailable(
            f"{address} is not trusted: {_first_line(error)}; name who signed the server's "
            "certificate with sslrootcert="
        ) from None
    except (FileNotFoundError, PermissionError) as error:
        raise StoreUnavailable(
            f"{address} cannot be reached: {_first_line(error)}; correct the socket or the "
            "certificates that the URL names"
        ) from None
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreUnavailable(
            f"{address} cannot be reached: {_first_line(error)}; start the server, or correct "
            "host and port"
        ) from None
    except ValueError:
        # The text of such an error may hold a piece of a password.
        raise ConfigurationError(
            f"{address} is not a URL of PostgreSQL: write postgresql://user@host:5432/database"
        ) from None
    _keep_alive(connection)
    return connection


def _defaults(address: Address) -> dict[str, Any]:
    """What holds unless the URL says otherwise."""
    given: dict[str, Any] = {}
    if "," in address.dsn and "target_session_attrs" not in address.dsn:
        given["target_session_attrs"] = "read-write"
    if "application_name" not in address.dsn:
        given["server_settings"] = {"application_name": "elector"}
    return given


def _keep_alive(connection: Connection) -> None:
    """Find out that the other end is gone even while nobody asks it anything."""
    line = connection._transport.get_extra_info("socket")  # noqa: SLF001 - there is no other way
    if line is None or line.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def introduce(connection: Connection) -> Server:
    """Ask the server what it is."""
    said = await bounded(connection, connection.fetchrow(_INTRODUCTION), PATIENCE_S)
    return Server(*said)._replace(pooled=connection.get_server_pid() != said["pid"])


def objection(server: Server, address: Address) -> str | None:
    """Why elections cannot be held on this server; None if they can."""
    if server.version < _LEAST_VERSION:
        return f"{address} is PostgreSQL {server.named}; elector needs 13 or newer: upgrade it"
    if server.standby:
        return (
            f"{address} is a standby, which cannot be written to: name the primary, or name all "
            "hosts and add target_session_attrs=read-write"
        )
    return None


async def set_up(connection: Connection, server: Server) -> None:
    """Make the session independent of defaults that would change what our statements mean."""
    settings = {
        # Another default would turn a lost race into an error.
        "default_transaction_isolation": "read committed",
        "statement_timeout": "10s",
        "lock_timeout": "900ms",
        # To plan a statement anew each time takes longer than to carry it out.
        "plan_cache_mode": "force_generic_plan",
        "jit": "off",
    }
    if server.commit == "off":
        settings["synchronous_commit"] = "on"  # a crash would take tokens back
    if server.version >= 140_000:  # noqa: PLR2004 - the version that has it
        settings["idle_session_timeout"] = "0"
    script = "; ".join(f"SET {key} = '{value}'" for key, value in settings.items())
    await bounded(connection, connection.execute(script), PATIENCE_S)


async def shared_session(connection: Connection, address: Address, server: Server) -> str | None:
    """Whether a pooler lends our session to others between our transactions; if so, in words.

    A second client opens a transaction and keeps it. If sessions are lent, it gets the one that
    we have just used, or takes one away that we would have been given next. In the traffic of
    others chance may hide that once.
    """
    if server.pooled and await _is_lent(connection, address, server.pid):
        return f"{address} {_SHARED}"
    return None


async def _is_lent(connection: Connection, address: Address, pid: int) -> bool:
    second = await connect(address)
    query = "SELECT pg_backend_pid()"
    try:
        for _ in range(_TRIALS):
            await bounded(second, second.execute("BEGIN"), _TRIAL_S)
            if await bounded(second, second.fetchval(query), _TRIAL_S) == pid:
                return True
            if await bounded(connection, connection.fetchval(query), _TRIAL_S) != pid:
                return True
            await bounded(second, second.execute("ROLLBACK"), _TRIAL_S)
    except TimeoutError:
        # If the second is kept waiting for a session, ours is not lent to it.
        return bool(connection.is_closed())
    except asyncpg.PostgresError:
        return True  # not even a transaction has a session of its own
    finally:
        second.terminate()
    return False


async def bounded(connection: Connection, request: Coroutine[Any, Any, T], patience_s: float) -> T:
    """Await a request; give it up, and its connection, when it takes too long or is cancelled.

    Raises:
        TimeoutError: it took too long.
    """
    task = asyncio.ensure_future(request)
    try:
        await asyncio.wait({task}, timeout=patience_s)
    finally:
        if not task.done():
            connection.terminate()
            task.add_done_callback(_forget)
    if not task.done():
        raise TimeoutError
    return task.result()


def _forget(task: "asyncio.Task[Any]") -> None:
    """Nobody asks any more what became of it."""
    if not task.cancelled():
        task.exception()


# Of these it is not certain that the statement was rolled back: the session, not the statement,
# was ended, perhaps while a commit waited for a standby.
_ENDED = ("08", "57P01", "57P02", "57P05")


def in_words(error: BaseException, address: Address, *, writes: bool) -> StoreError:
    """What an error means for a request that was sent.

    Args:
        error: of asyncpg, or of the connection.
        address: of the server.
        writes: whether it matters that the request may have been carried out.
    """
    if isinstance(error, asyncpg.PostgresError) and not (error.sqlstate or "").startswith(_ENDED):
        return refused(error, address)
    why = "does not answer" if isinstance(error, TimeoutError) else "ended the connection"
    if writes:
        return OutcomeUnknown(f"{address} {why}; what was asked may have been carried out")
    return StoreUnavailable(f"{address} {why}; is the server running?")


def refused(error: Any, address: Address) -> StoreError:
    """A server's refusal in words: whose fault it is and what to do."""
    text = _first_line(error)
    kind = StoreCorrupt if error.sqlstate in {CORRUPT, "42703", "42804"} else StoreUnavailable
    remedy = _REMEDIES.get(error.sqlstate or "", "see the server's log")
    return kind(f"{address} refuses: {text}; {remedy}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


_WRONG_TABLE = "these tables are not as elector makes them: choose another with ?table="
_REMEDIES = {
    CORRUPT: "restore the database from a good copy, or raise the token of this election above "
    "every one that was used",
    "28P01": "correct the user and the password in the URL, PGPASSWORD or ~/.pgpass",
    "28000": "correct the user in the URL, or let it in with a line in the server's pg_hba.conf",
    "3D000": "create it with createdb, or correct the database in the URL",
    "3F000": "create the schema, or correct table= in the URL",
    "42501": "have its owner grant what `elector doctor` prints",
    "42704": "correct the part of the URL behind the ?",
    "42P01": "somebody has dropped the tables: restore them from a good copy",
    "42703": _WRONG_TABLE,
    "42804": _WRONG_TABLE,
    "25006": "it cannot be written to: name the primary",
    "26000": f"perhaps it {_SHARED}",
    "42P05": f"perhaps it {_SHARED}",
    "40001": "try again",
    "40P01": "try again",
    "53100": "free some space on the server's disk",
    "53300": "raise max_connections, or let fewer clients in",
    "55P03": "somebody holds the row of this election: look for long transactions there",
    "57014": "it took too long: look at the server's load and at long transactions",
    "57P03": "wait until it has started",
}
