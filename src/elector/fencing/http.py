"""A guard for services behind HTTP: headers for the client, an ASGI middleware for the server.

Model
    A leader says with each request on whose behalf it writes, in two headers::

        Elector-Fencing-Token: 42
        Elector-Fencing-Resource: ledger

    The middleware lets the token in at a guard before the application sees the request. A
    request of a leader that was replaced is answered 409 and never reaches the application.

Laws
    1. A request that writes without a token is answered 400: nobody gets around the guard
       by leaving the header out. What HTTP calls safe (GET, HEAD, OPTIONS, TRACE) passes.
    2. A token that the application itself refuses, by raising `StaleToken` from its own
       transaction, is answered 409 in the same words.
    3. What cannot be checked is refused: a guard that fails is an error of the server.

What the middleware alone cannot do: the token is let in **before** the application writes, in
a step of its own. A request that was let in and then waits (for a lock, a slow disk, a paused
server) may write after a newer leader did. Check and write are one only where the application
lifts the bar in the transaction of its write: it finds the token in ``scope[SCOPE_KEY]``,
and `SqlGuard.writing` or `guard_session` do the rest. The guard of the middleware may then be
None; there it would only save work.

Nor is it a wall against liars: who may send which token is a matter of authentication.
"""

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import closing
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote

from elector.errors import ConfigurationError, StaleToken
from elector.fencing.bar import checked_resource, checked_token
from elector.fencing.sql import SqlGuard
from elector.fencing.statements import Connection

__all__ = [
    "RESOURCE_HEADER",
    "SCOPE_KEY",
    "TOKEN_HEADER",
    "Fenced",
    "FencingMiddleware",
    "SqlAdmission",
    "fencing_headers",
    "raise_if_stale",
]

TOKEN_HEADER = "Elector-Fencing-Token"  # noqa: S105 - the name of a header
RESOURCE_HEADER = "Elector-Fencing-Resource"
SCOPE_KEY = "elector.fencing"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_VIOLATES_POLICY = 1008  # RFC 6455, section 7.4.1

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class HasToken(Protocol):
    """A tenure, or whatever else carries its token."""

    @property
    def token(self) -> int:
        """The fencing token."""
        ...


class Admits(Protocol):
    """A guard as the middleware needs it; ``admit`` may be a coroutine function."""

    def admit(self, resource: str, token: int) -> Any:
        """Let a token in, or raise `StaleToken`."""
        ...


class Fenced(NamedTuple):
    """On whose behalf a request writes, as the application finds it in its scope."""

    resource: str
    token: int


def fencing_headers(tenure: HasToken | int, resource: str) -> dict[str, str]:
    """The headers with which a leader signs a request.

    Args:
        tenure: the tenure, or its token.
        resource: what is guarded, by a name all its writers agree on.

    Raises:
        ConfigurationError: this is no token, or no name of a resource.

    >>> fencing_headers(42, "ledger of 2031")
    {'Elector-Fencing-Token': '42', 'Elector-Fencing-Resource': 'ledger%20of%202031'}
    """
    token = checked_token(tenure if isinstance(tenure, int) else _token_of(tenure))
    return {TOKEN_HEADER: str(token), RESOURCE_HEADER: quote(checked_resource(resource), safe="")}


def _token_of(tenure: Any) -> Any:
    return getattr(tenure, "token", tenure)  # what is neither is named in the refusal


def raise_if_stale(status: int, body: bytes | str) -> None:
    """Turn the answer of a `FencingMiddleware` back into the error; other answers pass.

    Raises:
        StaleToken: this is the refusal of a stale token.

    >>> raise_if_stale(200, b"written")
    """
    if status != 409:  # noqa: PLR2004 - Conflict, which is no other number
        return
    try:
        told = json.loads(body)
        refused = told["error"] == "stale token"
        token, newest = (int(told["token"]), int(told["newest"])) if refused else (0, 0)
    except (ValueError, TypeError, KeyError):
        return  # somebody else's conflict
    if refused:
        raise StaleToken(str(told["message"]), token=token, newest=newest)


class SqlAdmission:
    """A `SqlGuard` that takes a connection of its own for each admission.

    Args:
        guard: whose table has been made.
        connect: opens a connection; called in a worker thread, which also closes it.

    >>> import sqlite3
    >>> where = "file:ledger?mode=memory&cache=shared"
    >>> connection, guard = sqlite3.connect(where, uri=True), SqlGuard()
    >>> guard.create(connection)
    >>> SqlAdmission(guard, lambda: sqlite3.connect(where, uri=True)).admit("ledger", 7)
    >>> guard.newest(connection, "ledger")
    7
    >>> connection.close()
    """

    def __init__(self, guard: SqlGuard, connect: Callable[[], Connection[Any]]) -> None:
        self._guard, self._connect = guard, connect

    def admit(self, resource: str, token: int) -> None:
        """Let a token in, and commit.

        Raises:
            StaleToken: a later leader has been let in.
        """
        connection: Any = self._connect()
        with closing(connection), self._guard.writing(connection, resource, token):
            pass


class FencingMiddleware:
    """ASGI middleware that answers 409 to leaders that were replaced, for asyncio servers.

    Args:
        app: the application behind it.
        guard: what remembers the highest token: a `MemoryGuard` (one server process, and
            only while it lives), a `SqlAdmission`, or anything with such an ``admit``; None
            if the application checks each token in the transaction of its write.
        resource: what this application guards; requests for another one are malformed.
            Without it, each request names its own.
        required: whether a request that writes must carry a token. Websockets are then
            refused too, for no guard sees the messages in them.

    Raises:
        ConfigurationError: the guard cannot admit by a resource and a token alone, or the
            resource is no name.

    >>> import asyncio
    >>> from elector.fencing import MemoryGuard
    >>> async def app(scope, receive, send):
    ...     print("written under", scope[SCOPE_KEY].token)
    >>> async def answer(message):
    ...     print(message.get("status") or json.loads(message["body"])["error"])
    >>> guarded = FencingMiddleware(app, MemoryGuard(), resource="ledger")
    >>> def post(token):
    ...     headers = [(b"elector-fencing-token", token)]
    ...     scope = {"type": "http", "method": "POST", "headers": headers}
    ...     asyncio.run(guarded(scope, None, answer))
    >>> post(b"2")
    written under 2
    >>> post(b"1")
    409
    stale token
    """

    def __init__(
        self,
        app: App,
        guard: Admits | None,
        *,
        resource: str | None = None,
        required: bool = True,
    ) -> None:
        if guard is not None and not _admits_by_name(guard):
            raise ConfigurationError(
                f"{type(guard).__qualname__} does not admit by resource and token alone: pass a "
                "MemoryGuard, or SqlAdmission(guard, connect) for a SqlGuard"
            )
        self._app, self._guard = app, guard
        self._resource = None if resource is None else checked_resource(resource)
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "websocket" and self._required:
            await send({"type": "websocket.close", "code": _VIOLATES_POLICY})
        elif scope["type"] == "http" and scope["method"].upper() not in _SAFE_METHODS:
            await self._write(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            fenced = self._read(scope["headers"])
        except ConfigurationError as error:
            await _answer(send, 400, {"error": "malformed token", "message": str(error)})
            return
        try:
            if fenced is not None:
                await self._admit(fenced)
                scope = {**scope, SCOPE_KEY: fenced}
            await self._app(scope, receive, watched)
        except StaleToken as refused:
            if begun:  # too late for another answer; the server ends this one
                raise
            await _answer(send, 409, _conflict(refused, fenced))

    async def _admit(self, fenced: Fenced) -> None:
        if self._guard is None:
            return
        if inspect.iscoroutinefunction(self._guard.admit):
            await self._guard.admit(*fenced)
        else:
            # It may wait for the row or the lock that another writer holds.
            await asyncio.to_thread(self._guard.admit, *fenced)

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> Fenced | None:
        said = _said(headers)
        token = said.get(TOKEN_HEADER.lower())
        if token is None:
            if self._required or RESOURCE_HEADER.lower() in said:
                raise ConfigurationError(f"the header {TOKEN_HEADER} is missing")
            return None
        if not _WHOLE_NUMBER.fullmatch(token):
            raise ConfigurationError(f"{TOKEN_HEADER} is not a whole number from 1 on")
        return Fenced(self._named(said.get(RESOURCE_HEADER.lower())), checked_token(int(token)))

    def _named(self, quoted: str | None) -> str:
        if quoted is None:
            if self._resource is None:
                raise ConfigurationError(f"the header {RESOURCE_HEADER} is missing")
            return self._resource
        try:
            name = checked_resource(unquote(quoted, errors="strict"))
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"{RESOURCE_HEADER} is not UTF-8 behind its percent signs"
            ) from None
        if self._resource not in {None, name}:
            raise ConfigurationError(f"this service guards {self._resource!r}, not {name!r}")
        return name


def _said(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """The fencing headers of a request; a header said twice could be read in two ways."""
    said = dict[str, str]()
    wanted = {TOKEN_HEADER.lower(), RESOURCE_HEADER.lower()}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name not in wanted:
            continue
        if name in said:
            raise ConfigurationError(f"the header {name} is there twice")
        said[name] = value.decode("latin-1").strip()
    return said


def _admits_by_name(guard: object) -> bool:
    admit = getattr(guard, "admit", None)
    if admit is None:
        return False
    try:
        inspect.signature(admit).bind("resource", 1)
    except TypeError:
        return False
    return True


def _conflict(refused: StaleToken, fenced: Fenced | None) -> dict[str, object]:
    return {
        "error": "stale token",
        "message": str(refused),
        "resource": fenced.resource if fenced else None,
        "token": refused.token,
        "newest": refused.newest,
    }


async def _answer(send: Send, status: int, told: Mapping[str, object]) -> None:
    body = json.dumps(told).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
