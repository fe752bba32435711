"""A guard for etcd: the check and the operations are one Txn.

Model
    One key for each guarded resource holds the highest token let in, in nineteen digits, so
    that etcd's comparison of bytes is one of numbers. A Txn compares it, raises it, and
    carries out the caller's operations, or does nothing of all this.

Laws
    1. A stale token changes nothing, however late its request arrives: it is the server
       that compares, when it carries the request out.
    2. A bar that is no token is `StoreCorrupt`, never a new start.

The guard has no client of its own. It makes the Txn in protobuf's JSON form, and `send`
carries it: `gateway` through etcd's JSON gateway, with nothing but the standard library; for
a gRPC client, ``json_format.ParseDict(txn, TxnRequest())`` and ``MessageToDict`` of the reply.

If the reply to a Txn is lost, the operations may have been carried out; the same token may
send them again.
"""

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from http.client import HTTPException
from typing import Any

from elector.errors import ConfigurationError, OutcomeUnknown, StoreCorrupt, StoreUnavailable
from elector.fencing.bar import checked_resource, checked_token, refusal

__all__ = [
    "AsyncEtcdGuard",
    "EtcdGuard",
    "delete",
    "gateway",
    "put",
]

Json = Mapping[str, Any]
Send = Callable[[Json], Json]
AsyncSend = Callable[[Json], Awaitable[Json]]

# Of etcd's rpc.proto; numbers are read by every JSON form of protobuf.
_EQUAL, _GREATER, _LESS = 0, 1, 2
_VERSION, _VALUE = 0, 3

_BAR = re.compile(rb"[0-9]{19}")
_ATTEMPTS = 10
_REFUSED = range(400, 500)


def put(key: str | bytes, value: str | bytes) -> Json:
    """An operation that writes a key.

    >>> put("ledger", "closed")
    {'request_put': {'key': 'bGVkZ2Vy', 'value': 'Y2xvc2Vk'}}
    """
    return {"request_put": {"key": _base64(key), "value": _base64(value)}}


def delete(key: str | bytes) -> Json:
    """An operation that deletes a key."""
    return {"request_delete_range": {"key": _base64(key)}}


class _Transactions:
    """What both guards share: the Txns they send, and how they read the replies."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def key(self, resource: str) -> str:
        """The key of a resource's bar."""
        return self._prefix + checked_resource(resource)

    def _asking(
        self, operations: Iterable[Json], resource: str, token: int
    ) -> Generator[Json, Json, list[Any]]:
        """The Txns to send, one after the other; what is sent in is the reply to each."""
        key, ours = self.key(resource), checked_token(token)
        operations = list(operations)  # they may be sent twice, and be a generator
        lift = [
            _compare(key, _VALUE, _LESS, value=_digits(ours + 1)),
            _compare(key, _VALUE, _GREATER, value=_digits(0)),
        ]
        place = [_compare(key, _VERSION, _EQUAL, version=0)]
        for _ in range(_ATTEMPTS):
            for compare in (lift, place):
                reply = yield {
                    "compare": compare,
                    "success": [put(key, _digits(ours)), *operations],
                    "failure": [{"request_range": {"key": _base64(key)}}],
                }
                responses = list(reply.get("responses", []))
                if reply.get("succeeded"):
                    return responses[1:]
                newest = _newest(key, responses[0])
                if newest > ours:
                    raise refusal(resource, token, newest)
        raise StoreUnavailable(
            f"nothing was written: the key {key!r} comes and goes; somebody else deletes it"
        )


class EtcdGuard(_Transactions):
    """Refuses the operations of leaders that were replaced.

    Args:
        send: carries a Txn to etcd and brings the reply, both in JSON form.
        prefix: of the keys that remember the tokens.

    A server and a tenure at hand::

        guard = EtcdGuard(gateway("http://127.0.0.1:2379"))
        guard.run([put("ledger/total", "7"), delete("ledger/draft")], "ledger", tenure.token)
    """

    def __init__(self, send: Send, prefix: str = "elector-fence/") -> None:
        super().__init__(prefix)
        self._send = send

    def run(self, operations: Iterable[Json], resource: str, token: int) -> list[Any]:
        """Carry out operations under a token, all or none; their responses, in order.

        Args:
            operations: made by `put` and `delete`, or any other RequestOp in JSON form. None
                may be of the bar's own key.
            resource: what is guarded, by a name all its writers agree on.
            token: `tenure.token`.

        Raises:
            StaleToken: a later leader has written; nothing was carried out.
            StoreCorrupt: the bar is damaged; nothing was carried out.
            ConfigurationError: this is no token, or no name of a resource.
        """
        asking = self._asking(operations, resource, token)
        txn = next(asking)
        while True:
            try:
                txn = asking.send(self._send(txn))
            except StopIteration as done:
                responses: list[Any] = done.value
                return responses


class AsyncEtcdGuard(_Transactions):
    """`EtcdGuard` for asyncio: `send` is a coroutine function."""

    def __init__(self, send: AsyncSend, prefix: str = "elector-fence/") -> None:
        super().__init__(prefix)
        self._send = send

    async def run(self, operations: Iterable[Json], resource: str, token: int) -> list[Any]:
        """Carry out operations under a token, as `EtcdGuard.run` does."""
        asking = self._asking(operations, resource, token)
        txn = next(asking)
        while True:
            reply = await self._send(txn)
            try:
                txn = asking.send(reply)
            except StopIteration as done:
                responses: list[Any] = done.value
                return responses


def gateway(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 5.0,
) -> Send:
    """Send Txns through the JSON gateway that every etcd has on its client port.

    Args:
        url: of one server: ``http://127.0.0.1:2379``.
        headers: as ``{"Authorization": token}`` where etcd wants one.
        context: for TLS.
        timeout: seconds, after which the outcome is unknown.

    Raises:
        ConfigurationError: the URL is not one of http or https.

    What it gives raises `StoreUnavailable` where etcd refused a Txn or could not be reached,
    and `OutcomeUnknown` where it may have been carried out.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is no address of a gateway: http://host:2379")
    signed = {"Content-Type": "application/json", **(headers or {})}
    address = f"{url.rstrip('/')}/v3/kv/txn"

    def send(txn: Json) -> Json:
        request = urllib.request.Request(address, json.dumps(txn).encode(), signed)  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:  # noqa: S310 - checked
                reply: Json = json.load(answer)
                return reply
        except urllib.error.HTTPError as error:
            raise _answered(error) from error
        except (OSError, HTTPException, ValueError) as error:
            raise _unanswered(error) from error

    return send


def _answered(error: urllib.error.HTTPError) -> StoreUnavailable | OutcomeUnknown:
    with error:
        said = error.read(2000).decode(errors="replace")
    try:
        said = str(json.loads(said)["message"])
    except (ValueError, TypeError, KeyError):
        said = " ".join(said.split()) or error.reason
    if error.code in _REFUSED:
        return StoreUnavailable(f"etcd refused, and carried nothing out: {said}")
    return OutcomeUnknown(f"etcd may have carried it out, ask again: {error.code} {said}")


def _unanswered(error: Exception) -> StoreUnavailable | OutcomeUnknown:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ConnectionRefusedError):
        return StoreUnavailable("etcd does not listen there, so nothing was carried out")
    return OutcomeUnknown(f"etcd may have carried it out, ask again: {reason!r}")


def _newest(key: str, response: Json) -> int:
    """The bar as the Txn that refused has read it, 0 where there is none."""
    found = response.get("response_range") or response.get("responseRange") or {}
    kvs = found.get("kvs", [])
    if not kvs:
        return 0
    value = base64.b64decode(kvs[0].get("value", ""))
    if not _BAR.fullmatch(value) or not int(value):
        raise StoreCorrupt(
            f"the key {key!r} holds no token but {value[:50]!r}: somebody else writes to it; "
            "restore the highest token in nineteen digits, or give the guard another prefix"
        )
    return int(value)


def _compare(key: str, target: int, result: int, **told: Any) -> Json:
    if "value" in told:
        told["value"] = _base64(told["value"])
    return {"key": _base64(key), "target": target, "result": result, **told}


def _digits(token: int) -> str:
    return f"{token:019}"


def _base64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
