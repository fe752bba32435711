"""Two connections to one server: one asks, the other one listens. They live and die together.

Nothing is tried twice here: whether a script that was sent has been carried out is known only
from its reply, and a second attempt would blur that. An error that the server *replies* is a
refusal, before anything was written; a reply that does not come leaves the outcome unknown, and
the link is dropped.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import Connection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from elector.errors import OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.redis.scripts import MAY, Script
from elector.stores.redis.url import Host, Place, in_words

_DIAL_S = 5.0
_CONNECT_S = 2.0
PATIENCE_S = 5.0

Hear = Callable[[str, str], None]


class Server(NamedTuple):
    """What a server says of itself; empty where it does not tell us."""

    facts: dict[str, str]

    @property
    def name(self) -> str:
        """Kind and version, for people."""
        if "valkey_version" in self.facts:
            return f"Valkey {self.facts['valkey_version']}"
        return f"Redis {self.facts.get('redis_version', 'of an unknown version')}"

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that it is, or is compatible with."""
        parts = self.facts.get("redis_version", "").split(".")
        return tuple(int(part) for part in parts if part.isdecimal())

    @property
    def too_old(self) -> bool:
        """Whether it does not know what our scripts need."""
        return bool(self.version) and self.version < (7, 0)

    @property
    def evicts_anything(self) -> bool:
        """Whether a full memory may cost us a lease or a token."""
        limited = self.facts.get("maxmemory", "0") != "0"
        return limited and self.facts.get("maxmemory_policy", "").startswith("allkeys")


class Link:
    """A server that answers; made by `dial`.

    Args:
        place: where it was looked for.
        host: where it was found.
        asking: an open connection.
    """

    def __init__(self, place: Place, host: Host, asking: Connection) -> None:
        self.place, self.host = place, host
        self.server = Server({})
        self._asking = asking
        self._turn = asyncio.Lock()
        self._listening: Connection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self.subscribed: set[str] = set()
        self.broken = False
        self.on_broken: Callable[[], None] = lambda: None

    def fail(self) -> None:
        """It does not answer any more, or not as it should: nobody may use it again."""
        if self.broken:
            return
        self.broken = True
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(self._gone())
        self.on_broken()

    def _gone(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the connection to {in_words(self.host)} was lost; it is made anew by itself"
        )

    # -- asking --------------------------------------------------------------------------

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """Run a script that the server may not know yet."""
        words: tuple[str | int, ...] = (len(keys), *keys, *arguments)
        try:
            return await self.ask("EVALSHA", script.sha1, *words)
        except NoScriptError:
            return await self.ask("EVAL", script.text, *words)

    async def ask(self, *words: str | int) -> Any:
        """Send a command and wait for its reply, within the `patience` that is set around it.

        Raises:
            StoreUnavailable: it was not sent.
            ResponseError: the server refused it.
            OutcomeUnknown: it was sent, and the reply did not come.
        """
        async with self._turn:
            if self.broken:
                raise self._gone()
            try:
                await self._asking.send_command(*words)
                return await self._asking.read_response()
            except (BusyLoadingError, AuthenticationError) as error:
                self.fail()  # the client counts these as lost connections, but they are replies
                raise refusal(error, self.place, self.host) from None
            except ResponseError:
                raise
            except (RedisError, OSError) as error:
                self.fail()
                raise OutcomeUnknown(
                    f"{in_words(self.host)} did not reply ({_brief(error)}): whether it did what "
                    "was asked is unknown"
                ) from None
            except BaseException:
                self.fail()  # a reply may still come, and would be taken for the next one's
                raise

    @contextlib.asynccontextmanager
    async def patience(self, seconds: float) -> AsyncIterator[None]:
        """What is done here comes to an end, and its refusals are put into words."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self.fail()
            raise OutcomeUnknown(
                f"{in_words(self.host)} did not reply within {seconds:.3g} s: whether it did what "
                "was asked is unknown"
            ) from None
        except ResponseError as error:
            if isinstance(error, ReadOnlyError | MasterDownError):
                self.fail()  # it is a replica now: look for the primary
            raise refusal(error, self.place, self.host) from None

    # -- listening -----------------------------------------------------------------------

    async def subscribe(self, channels: Sequence[str], hear: Hear) -> None:
        """Listen to channels from now on; `hear(channel, message)` is called for each message."""
        missing = [channel for channel in channels if channel not in self.subscribed]
        if not missing:
            return
        if self._listening is None:
            self._listening = self.place.connection(self.host)
            await _connect(self._listening, self.place, self.host)
            self._listener = asyncio.create_task(self._listen(self._listening, hear))
        loop = asyncio.get_running_loop()
        awaited = {channel: loop.create_future() for channel in missing}
        self._awaited |= awaited
        await self._tell_listening("SUBSCRIBE", *missing)
        for future in awaited.values():
            await future

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel, without waiting for the server."""
        if channel in self.subscribed:
            self.subscribed.discard(channel)
            await self._tell_listening("UNSUBSCRIBE", channel)

    async def _tell_listening(self, *words: str) -> None:
        if self.broken or self._listening is None:
            raise self._gone()
        try:
            await self._listening.send_command(*words)
        except (RedisError, OSError):
            self.fail()
            raise self._gone() from None

    async def _listen(self, connection: Connection, hear: Hear) -> None:
        try:
            while True:
                kind, channel, message = await connection.read_response()
                if kind == "message":
                    hear(channel, message)
                elif kind == "subscribe":
                    self.subscribed.add(channel)
                    future = self._awaited.pop(channel, None)
                    if future is not None and not future.done():
                        future.set_result(None)
        except ResponseError as error:
            for future in self._awaited.values():
                if not future.done():
                    future.set_exception(refusal(error, self.place, self.host))
        except (RedisError, OSError):
            pass
        finally:
            self.fail()

    async def hang_up(self) -> None:
        """Close both connections without a word."""
        self.fail()
        # First of all: the client would say goodbye over TLS when its reader is cancelled, and an
        # event loop that is ending does not wait for the answer.
        for connection in (self._asking, self._listening):
            if connection is not None:
                await _drop(connection)
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})


# -- dialling ------------------------------------------------------------------------------


async def dial(place: Place) -> Link:
    """Connect to a server that is fit to keep elections.

    Raises:
        StoreUnavailable: it does not answer, refuses us, or is not fit to be used.
    """
    link = await reach(place)
    try:
        async with link.patience(PATIENCE_S):
            await _require_fit(link)
    except BaseException as error:
        await link.hang_up()
        if isinstance(error, OutcomeUnknown):
            raise StoreUnavailable(str(error)) from None
        raise
    return link


async def reach(place: Place) -> Link:
    """Connect; through Sentinels, to the primary that they name now.

    Raises:
        StoreUnavailable: nobody answers, or we are refused.
    """
    try:
        async with asyncio.timeout(_DIAL_S):
            host = await _primary(place) if place.sentinel else place.hosts[0]
            asking = place.connection(host)
            await _connect(asking, place, host)
    except TimeoutError:
        raise StoreUnavailable(f"{place} does not answer within {_DIAL_S:g} s") from None
    link = Link(place, host, asking)
    try:
        async with link.patience(PATIENCE_S):
            link.server = Server(await _facts(link))
    except BaseException as error:
        await link.hang_up()
        if isinstance(error, OutcomeUnknown):
            raise StoreUnavailable(str(error)) from None
        raise
    return link


async def _drop(connection: Connection) -> None:
    """Let go of a connection at once: a frozen server never takes what is still to be sent."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)


async def _connect(connection: Connection, place: Place, host: Host) -> None:
    """Open a connection, or close it again."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException as error:
        await _drop(connection)
        if isinstance(error, TimeoutError):
            raise StoreUnavailable(
                f"{in_words(host)} does not answer within {_CONNECT_S:g} s: is the server running, "
                "and is this its address?"
            ) from None
        if isinstance(error, RedisError | OSError):
            raise refusal(error, place, host) from None
        raise


async def _primary(place: Place) -> Host:
    """Where the primary is now, by the first Sentinel that knows."""
    said: list[str] = []
    for sentinel in random.sample(place.hosts, len(place.hosts)):
        connection = place.connection(sentinel, to_sentinel=True)
        try:
            await _connect(connection, place, sentinel)
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.sentinel)
            answer = await connection.read_response()
        except StoreError as error:
            said.append(str(error))
            continue
        except (RedisError, OSError) as error:
            said.append(f"{in_words(sentinel)}: {_brief(error)}")
            continue
        finally:
            await _drop(connection)
        if answer:
            return str(answer[0]), int(answer[1])
        said.append(f"{in_words(sentinel)} watches no {place.sentinel!r}")
    raise StoreUnavailable(f"no Sentinel names the primary: {'; '.join(said)}")


async def _facts(link: Link) -> dict[str, str]:
    try:
        text = str(await link.ask("INFO"))
    except NoPermissionError:
        return {}  # then it must be taken as it is
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines if name}


async def _require_fit(link: Link) -> None:
    """Refuse a server that cannot keep what a store promises, or would stop half-way."""
    where, server, place = in_words(link.host), link.server, link.place
    if server.too_old:
        raise StoreUnavailable(
            f"{where} is {server.name}: Elector needs Redis 7.0 or any Valkey, where a script may "
            "renew a lease although memory is full; upgrade it"
        )
    if server.facts.get("role", "master") != "master":
        raise StoreUnavailable(
            f"{where} is a replica: name the primary, or Sentinels (?sentinel=NAME), in the URL"
        )
    if place.create and server.evicts_anything:
        raise StoreUnavailable(
            f"{where} may throw away leases when memory is full (maxmemory-policy "
            f"{server.facts['maxmemory_policy']}), and two would lead: set it to noeviction or a "
            "volatile-* policy, or use another server for elections"
        )
    missing = await may_not(link)
    if missing:
        raise StoreUnavailable(
            f"{where} does not let user {place.user or 'default'!r} {', '.join(missing)}: "
            "`elector doctor` prints the rule that does"
        )


async def may_not(link: Link) -> list[str]:
    """The commands, with their keys and channels, that this user may not give."""
    place = link.place
    keys = [place.key("tokens"), *(place.key(kind, "x") for kind in ("office", "line", "past"))]
    channels = [place.channel("news", "x"), place.channel("alive", "x")]
    wanted = "stand" if place.create else "look"
    try:
        return [str(one) for one in await link.run(MAY, keys, [*channels, wanted])]
    except NoPermissionError:
        return [f"run a script on the keys {place.key('*')}"]


# -- refusals --------------------------------------------------------------------------------

_BY_CLASS: dict[type[Exception], str] = {
    BusyLoadingError: "is still loading its data; wait",
    ReadOnlyError: "is a replica now; the primary is looked for",
    MasterDownError: "is a replica that has lost its primary; the primary is looked for",
    OutOfMemoryError: "has no memory left for a new tenure: raise maxmemory or remove keys",
    ClusterDownError: "belongs to a cluster that is down",
}
_BY_WORD = {
    "MASTERDOWN": _BY_CLASS[MasterDownError],
    "CLUSTERDOWN": _BY_CLASS[ClusterDownError],
    "BUSY": "is busy with somebody's script: wait, or end it with SCRIPT KILL",
    "MISCONF": "cannot save its data to disk, so it accepts no changes: free some disk space there",
    "NOREPLICAS": "has fewer replicas than min-replicas-to-write: bring them back",
}


def refusal(error: Exception, place: Place, host: Host) -> StoreUnavailable:
    """What the server, or the network, said to us, in one line and without a secret."""
    return StoreUnavailable(f"{in_words(host)} {_in_words(error, place)}")


def _in_words(error: Exception, place: Place) -> str:
    first_word = str(error).partition(" ")[0]
    known = _BY_CLASS.get(type(error)) or _BY_WORD.get(first_word)
    if known is not None:
        return known
    user = f"user {place.user or 'default'!r}"
    match error:
        case MovedError() | AskError():
            said = _elsewhere(error, place)
        case ResponseError() if first_word in {"MOVED", "ASK"}:  # by older clients
            said = _elsewhere(error, place)
        case NoPermissionError():
            said = f"does not let {user} do that: {_brief(error)}"
        case AuthenticationError() if place.password is None:
            said = "wants a password: put it into the URL or into REDISCLI_AUTH"
        case AuthenticationError():
            said = f"does not know {user} with this password: correct the URL or REDISCLI_AUTH"
        case ResponseError():
            said = f"refused: {_brief(error)}"
        case _:
            said = f"cannot be reached ({_brief(error)}): start the server or correct the address"
    return said


def _elsewhere(error: Exception, place: Place) -> str:
    node = str(error).rpartition(" ")[2]
    return (
        f"is a node of a cluster, and elections with prefix {place.prefix!r} are kept on {node}: "
        "name that node in the URL"
    )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
