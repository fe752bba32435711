"""Requests to etcd: one endpoint at a time, the next one when it fails; TLS, and a token.

Outcomes. A request that etcd refused in words (permission, a full database, a lease that is not
there) certainly did not happen, nor did one that was never sent. Whatever else goes wrong with a
write leaves it unknown: the deadline, a connection that broke, and etcd's own "request timed
out", after which the abandoned request may still be carried out seconds later.
"""

import asyncio
import os
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qs, unquote

import grpc
import grpc.aio
import msgspec

from elector.errors import ConfigurationError, OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.etcd.wire import message, path, request_type, response_type
from elector.stores.registry import StoreUrl

T = TypeVar("T")

PATIENCE_S = 5.0
_DIAL_S = 1.0
_PORT = 2379
_OLDEST = (3, 4)
_OPTIONS = (
    # A channel that is given up must leave nothing behind for the next one to the same endpoint.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    # Finds a server that went without a word; etcd allows a ping every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
)
_TOKEN_IS_OLD = ("invalid auth token", "revision of auth store is old")
_LENGTHY = re.compile(r"^failed to connect.*last error: \w+: |ipv[46]:\S+: ")
_REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
}


async def heard(answer: Awaitable[T]) -> T:
    """Wait for gRPC.

    A connection that is given up cancels everything that is under way on it, and gRPC lets its
    callers believe that they were cancelled themselves: to them it is a broken connection.
    """
    try:
        return await answer
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise broken("the connection was given up") from None


def too_old(version: str) -> bool:
    """Whether a server cannot do what we ask of its watches.

    >>> too_old("3.3.27"), too_old("3.4.0"), too_old("3.10.1-rc.0")
    (True, False, False)
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return numbers < _OLDEST


def broken(why: str) -> grpc.aio.AioRpcError:
    """The error of a connection that cannot be used."""
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, why)


class LeaseGone(StoreUnavailable):
    """The lease of a request has ended, so the request did not happen."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the URL and the environment say.

    Attributes:
        endpoints: ``host:port`` each, in the order in which they are tried.
        prefix: of all keys, without a slash at its end.
        user: a name and a password, None without authentication.
        tls: the files of the authority, of our certificate and of its key; None without TLS.
    """

    endpoints: tuple[str, ...]
    prefix: str
    user: tuple[str, str] | None = None
    tls: tuple[str | None, str | None, str | None] | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Settings(endpoints={self.endpoints!r}, prefix={self.prefix!r})"


def settings_of(url: StoreUrl) -> Settings:
    """Read ``etcd://[user:password@]host[:port][,host...][/prefix][?ca=&cert=&key=]``.

    What the URL does not say is taken from etcdctl's variables: ETCDCTL_USER (``name`` or
    ``name:password``), ETCDCTL_PASSWORD, ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY.

    Raises:
        ConfigurationError: it is not such a URL.

    >>> settings_of(StoreUrl("etcd", "a,b:2380,[::1]/team/x/")).endpoints
    ('a:2379', 'b:2380', '[::1]:2379')
    """
    address, _, query = url.rest.partition("?")
    user, _, place = address.rpartition("@")
    hosts, _, prefix = place.partition("/")
    given = {key: values[-1] for key, values in parse_qs(query).items()}
    if unknown := sorted(given.keys() - {"ca", "cert", "key"}):
        raise ConfigurationError(
            f"{url}: etcd stores know no option {', '.join(unknown)}; there are ca, cert and key"
        )
    endpoints = tuple(_endpoint(host) for host in hosts.split(",") if host)
    if not endpoints:
        raise ConfigurationError(f"{url} names no host: write etcd://host:2379/prefix")
    return Settings(
        endpoints=endpoints,
        prefix=unquote(prefix).rstrip("/"),
        user=_user(user),
        tls=_tls(url, given),
    )


def _endpoint(host: str) -> str:
    has_port = ":" in host.rpartition("]")[2]
    return host if has_port else f"{host}:{_PORT}"


def _user(text: str) -> tuple[str, str] | None:
    if text:
        name, _, password = (unquote(part) for part in text.partition(":"))
    else:
        name, _, password = os.environ.get("ETCDCTL_USER", "").partition(":")
    return (name, password or os.environ.get("ETCDCTL_PASSWORD", "")) if name else None


def _tls(url: StoreUrl, given: dict[str, str]) -> tuple[str | None, str | None, str | None] | None:
    ca, cert, key = (
        given.get(name) or os.environ.get(variable) or None
        for name, variable in (
            ("ca", "ETCDCTL_CACERT"),
            ("cert", "ETCDCTL_CERT"),
            ("key", "ETCDCTL_KEY"),
        )
    )
    if url.scheme != "etcds":
        if given:
            raise ConfigurationError(
                f"{url} names certificates, but is without TLS: write etcds://"
            )
        return None
    if (cert is None) != (key is None):
        raise ConfigurationError(f"{url}: a certificate needs its key; give both, cert= and key=")
    return ca, cert, key


class Line(msgspec.Struct):
    """A connection to one endpoint."""

    endpoint: str
    channel: grpc.aio.Channel
    token: str | None = None
    status: Any = None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of each request: a member that has lost its leader refuses at once, so ask another."""
        leader = ("hasleader", "true")
        return (leader,) if self.token is None else (leader, ("token", self.token))

    def stream(self, method: str, **options: Any) -> Any:
        """Open a stream of requests and answers."""
        call = self.channel.stream_stream(
            path(method),
            request_serializer=request_type(method).SerializeToString,
            response_deserializer=response_type(method).FromString,
        )
        return call(metadata=self.metadata(), **options)

    async def once(self, method: str, request: Any, patience_s: float) -> Any:
        """Ask once; raises what grpc raises."""
        call = self.channel.unary_unary(
            path(method),
            request_serializer=request_type(method).SerializeToString,
            response_deserializer=response_type(method).FromString,
        )
        return await heard(call(request, timeout=patience_s, metadata=self.metadata()))


class Endpoints:
    """Where etcd is; `dial` opens a connection to the first endpoint that answers.

    Args:
        settings: of the store.
        name: the URL without its secret, for messages.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name
        self._next = 0
        self._credentials: grpc.ChannelCredentials | None = None

    def failed(self, endpoint: str) -> None:
        """An endpoint does not do its work: the next connection goes to the next one."""
        if self._at(self._next) == endpoint:
            self._next += 1

    def only(self, endpoint: str) -> Settings:
        """The settings, with one endpoint."""
        return msgspec.structs.replace(self.settings, endpoints=(endpoint,))

    def _at(self, number: int) -> str:
        return self.settings.endpoints[number % len(self.settings.endpoints)]

    async def dial(self) -> Line:
        """Connect, to each endpoint in turn.

        Raises:
            StoreUnavailable: none answers, or the user is refused.
        """
        why = ""
        for _ in self.settings.endpoints:
            endpoint = self._at(self._next)
            line = Line(endpoint, self._channel(endpoint))
            try:
                return await self._greet(line)
            except grpc.aio.AioRpcError as error:
                why = f"{endpoint}: {_reason(error)}"
                await line.channel.close()
            except BaseException:
                await line.channel.close()
                raise
            self.failed(endpoint)
        hint = "" if self.settings.tls else " (a server with TLS needs etcds://)"
        raise StoreUnavailable(
            f"{self.name} does not answer: {why}; start etcd or correct the URL{hint}"
        )

    async def _greet(self, line: Line) -> Line:
        line.status = await line.once("Status", message("StatusRequest"), _DIAL_S)
        if not line.status.leader:
            raise broken("this member has no leader")
        if too_old(line.status.version):
            raise StoreUnavailable(
                f"{self.name} is etcd {line.status.version}; Elector needs 3.4: upgrade etcd"
            )
        await self.authenticate(line)
        return line

    async def authenticate(self, line: Line) -> None:
        """Get a token; a server without authentication needs none, as etcdctl sees it too."""
        if self.settings.user is None:
            return
        name, password = self.settings.user
        request = message("AuthenticateRequest", name=name, password=password)
        try:
            line.token = (await line.once("Authenticate", request, PATIENCE_S)).token
        except grpc.aio.AioRpcError as error:
            if "authentication is not enabled" in _reason(error):
                return
            if error.code() in _REFUSED:
                raise StoreUnavailable(
                    f"{self.name} refuses user {name!r}: {_reason(error)}; correct the name or the "
                    "password in the URL, ETCDCTL_USER or ETCDCTL_PASSWORD"
                ) from None
            raise

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        if self.settings.tls is None:
            return grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        if self._credentials is None:
            ca, cert, key = (_contents(file) for file in self.settings.tls)
            self._credentials = grpc.ssl_channel_credentials(ca, key, cert)
        return grpc.aio.secure_channel(endpoint, self._credentials, options=_OPTIONS)


def _contents(file: str | None) -> bytes | None:
    try:
        return None if file is None else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}; correct the URL") from None


def _reason(error: grpc.aio.AioRpcError) -> str:
    text = str(error.details() or error.code().name).removeprefix("etcdserver: ")
    # gRPC says it at length, with the address once more, and the cause last.
    return _LENGTHY.sub("", text).partition("\n")[0]


class Client:
    """Requests through a connection that is kept.

    Args:
        endpoints: where etcd is.
        get: the connection; see `elector.stores.connection.Kept.get`.
        lost: told of one that failed.
    """

    def __init__(self, endpoints: Endpoints, get: Any, lost: Any) -> None:
        self._endpoints, self.get, self._lost = endpoints, get, lost

    def drop(self, line: Line) -> None:
        """This connection failed: the next one goes elsewhere."""
        self._endpoints.failed(line.endpoint)
        self._lost(line)

    async def write(self, method: str, request: Any, patience_s: float = PATIENCE_S) -> Any:
        """Ask for something that changes the store.

        Raises:
            StoreUnavailable: it did not happen.
            OutcomeUnknown: it may have.
        """
        return await self.ask(await self.get(), method, request, patience_s, writes=True)

    async def read(self, method: str, request: Any, patience_s: float = PATIENCE_S) -> Any:
        """Ask for something that changes nothing.

        Raises:
            StoreUnavailable: there is no answer.
        """
        return await self.ask(await self.get(), method, request, patience_s, writes=False)

    async def ask(
        self, line: Line, method: str, request: Any, patience_s: float, *, writes: bool
    ) -> Any:
        """Ask through this connection; with a new token if the one it has is too old."""
        try:
            return await self._asked(line, method, request, patience_s)
        except grpc.aio.AioRpcError as error:
            self.judge(line, error, writes=writes)

    async def _asked(self, line: Line, method: str, request: Any, patience_s: float) -> Any:
        try:
            return await line.once(method, request, patience_s)
        except grpc.aio.AioRpcError as error:
            if not any(text in _reason(error) for text in _TOKEN_IS_OLD):
                raise
        await self._endpoints.authenticate(line)
        return await line.once(method, request, patience_s)

    def judge(self, line: Line, error: grpc.aio.AioRpcError, *, writes: bool) -> NoReturn:
        """Raise what a failure means."""
        raise self._meaning(line, error, writes=writes) from None

    def _meaning(self, line: Line, error: grpc.aio.AioRpcError, *, writes: bool) -> StoreError:
        code, reason, name = error.code(), _reason(error), self._endpoints.name
        if any(text in reason for text in _TOKEN_IS_OLD):
            self.drop(line)  # the next connection gets a new one
            return StoreUnavailable(f"{name}: the session of the user has ended")
        if code in _REFUSED:
            return _refusal(code, reason, name)
        self.drop(line)
        if "no leader" in reason or (error.details() or "").startswith("failed to connect"):
            return StoreUnavailable(f"{name} ({line.endpoint}) cannot be used: {reason}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            reason = "no answer in time"
        kind = OutcomeUnknown if writes else StoreUnavailable
        return kind(f"{name} ({line.endpoint}) broke off: {reason}")


def _refusal(code: grpc.StatusCode, reason: str, name: str) -> StoreError:
    if "lease not found" in reason:
        return LeaseGone(f"{name}: the lease has ended")
    if "space exceeded" in reason:
        return StoreUnavailable(
            f"{name} takes no writes, its database is full (alarm NOSPACE): compact and defragment "
            "it, raise --quota-backend-bytes, then etcdctl alarm disarm"
        )
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return StoreUnavailable(
            f"{name}: {reason}; the user's role needs readwrite on the prefix: etcdctl role "
            "grant-permission ROLE readwrite PREFIX --prefix"
        )
    if "user name is empty" in reason:
        return StoreUnavailable(
            f"{name} wants a user and a password: put them into the URL, or into ETCDCTL_USER and "
            "ETCDCTL_PASSWORD"
        )
    return StoreUnavailable(f"{name} refused: {reason}")
