"""The middleware, by itself and behind a server that real processes write to."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from elector.errors import ConfigurationError
from elector.fencing import MemoryGuard, SqlGuard, StaleToken
from elector.fencing.http import (
    RESOURCE_HEADER,
    SCOPE_KEY,
    TOKEN_HEADER,
    App,
    Fenced,
    FencingMiddleware,
    SqlAdmission,
    fencing_headers,
    raise_if_stale,
)

from .asgi_server import serving
from .processes import rivals, started, thaw, wait_until_stopped
from .writers import RESOURCE, http

Headers = dict[str, str] | list[tuple[bytes, bytes]]


class Ledger:
    """An application that remembers on whose behalf it was called."""

    def __init__(self, raising: Exception | None = None, *, late: bool = False) -> None:
        self.seen = list[Any]()
        self._raising, self._late = raising, late

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI
        self.seen.append(scope.get(SCOPE_KEY))
        if self._late:
            await send({"type": "http.response.start", "status": 200})
        if self._raising:
            raise self._raising
        await send({"type": "http.response.start", "status": 204})


def ask(app: App, headers: Headers, method: str = "POST", kind: str = "http") -> Any:
    """One request; the status and, where there is one, the told error."""
    sent = list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)

    raw = (
        [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        if isinstance(headers, dict)
        else headers
    )
    scope = {"type": kind, "method": method, "headers": raw}
    asyncio.run(app(scope, None, send))  # type: ignore[arg-type] # nothing is received
    if len(sent) > 1:
        assert dict(sent[0]["headers"])[b"content-type"] == b"application/json"
        return sent[0]["status"], json.loads(sent[1]["body"])
    return sent[0].get("status", sent[0])


def signed(token: int, resource: str = "ledger") -> dict[str, str]:
    return fencing_headers(token, resource)


def test_equal_and_higher_tokens_reach_the_application_and_lower_ones_do_not() -> None:
    ledger = Ledger()
    guarded = FencingMiddleware(ledger, MemoryGuard())
    assert [ask(guarded, signed(token)) for token in (3, 3, 5)] == [204, 204, 204]
    status, told = ask(guarded, signed(4))
    assert status == 409
    assert told == {
        "error": "stale token",
        "message": told["message"],
        "resource": "ledger",
        "token": 4,
        "newest": 5,
    }
    assert ledger.seen == [Fenced("ledger", token) for token in (3, 3, 5)]


def test_the_client_gets_the_same_error_as_beside_the_guard() -> None:
    guard = MemoryGuard()
    guarded = FencingMiddleware(Ledger(), guard)
    guard.admit("ledger", 5)
    status, told = ask(guarded, signed(4))
    with pytest.raises(StaleToken) as beside:
        guard.admit("ledger", 4)
    with pytest.raises(StaleToken) as refused:
        raise_if_stale(status, json.dumps(told))
    assert str(refused.value) == str(beside.value)
    assert (refused.value.token, refused.value.newest) == (4, 5)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"error": "stale token"}'),
        (409, b"<html>"),
        (409, b"\xff"),
        (409, b"[]"),
        (409, b'"stale token"'),
        (409, b"null"),
        (409, b'{"error": "stale token"}'),
        (409, b'{"error": "edit conflict", "token": "a", "newest": null}'),
    ],
)
def test_other_answers_are_left_to_the_client(status: int, body: bytes) -> None:
    raise_if_stale(status, body)


@pytest.mark.parametrize("resource", ["ledger", "für 2031/ä: 100%", "a b", "→"])
def test_any_name_travels_in_a_header(resource: str) -> None:
    ledger = Ledger()
    headers = signed(7, resource)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert ask(FencingMiddleware(ledger, MemoryGuard()), headers) == 204
    assert ledger.seen == [Fenced(resource, 7)]


def test_a_tenure_signs_as_its_token_does() -> None:
    assert fencing_headers(SimpleNamespace(token=7), "ledger") == signed(7)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63, SimpleNamespace(token=None)])
def test_what_is_no_token_is_not_sent(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a fencing token"):
        fencing_headers(token, "ledger")


def test_what_is_no_resource_is_not_sent() -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        fencing_headers(7, "a\nb")


@pytest.mark.parametrize(
    "token", ["0", "-1", "+7", "7.0", "007", "", "x", "1_0", "٣", "9" * 19, str(2**63), "7, 8"]
)
def test_a_malformed_token_is_answered_400(token: str) -> None:
    ledger = Ledger()
    headers = [
        (b"elector-fencing-token", token.encode()),
        (b"elector-fencing-resource", b"ledger"),
    ]
    status, told = ask(FencingMiddleware(ledger, MemoryGuard()), headers)
    assert (status, told["error"], ledger.seen) == (400, "malformed token", [])
    assert "\n" not in told["message"]


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, TOKEN_HEADER),
        ({RESOURCE_HEADER: "ledger"}, TOKEN_HEADER),
        ({TOKEN_HEADER: "7"}, RESOURCE_HEADER),
        ({TOKEN_HEADER: "7", RESOURCE_HEADER: ""}, "printable"),
        ({TOKEN_HEADER: "7", RESOURCE_HEADER: "%0A"}, "printable"),
        ({TOKEN_HEADER: "7", RESOURCE_HEADER: "%FF"}, "UTF-8"),
        ({TOKEN_HEADER: "7", RESOURCE_HEADER: "x" * 201}, "printable"),
        ([(b"elector-fencing-token", b"7"), (b"Elector-Fencing-Token", b"9")], "twice"),
    ],
)
def test_a_request_without_a_name_or_a_token_is_answered_400(headers: Headers, named: str) -> None:
    ledger = Ledger()
    status, told = ask(FencingMiddleware(ledger, MemoryGuard()), headers)
    assert (status, ledger.seen) == (400, [])
    assert named in told["message"]


def test_the_service_may_know_what_it_guards() -> None:
    ledger = Ledger()
    guarded = FencingMiddleware(ledger, MemoryGuard(), resource="ledger")
    assert ask(guarded, {TOKEN_HEADER: "7"}) == 204
    assert ask(guarded, signed(7)) == 204
    status, told = ask(guarded, signed(7, "archive"))
    assert status == 400
    assert "guards 'ledger', not 'archive'" in told["message"]
    assert ledger.seen == [Fenced("ledger", 7)] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_readers_need_no_token(method: str) -> None:
    assert ask(FencingMiddleware(Ledger(), MemoryGuard()), {}, method) == 204


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "PROPFIND"])
def test_whatever_else_is_done_needs_one(method: str) -> None:
    assert ask(FencingMiddleware(Ledger(), MemoryGuard()), {}, method)[0] == 400


def test_a_token_may_be_optional_but_never_wrong() -> None:
    ledger, guard = Ledger(), MemoryGuard()
    guarded = FencingMiddleware(ledger, guard, required=False)
    guard.admit("ledger", 5)
    assert ask(guarded, {}) == 204
    assert ask(guarded, signed(4))[0] == 409
    assert ask(guarded, {TOKEN_HEADER: "x"})[0] == 400
    assert ask(guarded, {RESOURCE_HEADER: "ledger"})[0] == 400
    assert ledger.seen == [None]


def test_websockets_are_refused_where_a_token_is_required() -> None:
    ledger = Ledger()
    refused = {"type": "websocket.close", "code": 1008}
    assert ask(FencingMiddleware(ledger, MemoryGuard()), {}, kind="websocket") == refused
    assert ledger.seen == []
    guarded = FencingMiddleware(ledger, MemoryGuard(), required=False)
    assert ask(guarded, {}, kind="websocket") == 204


def test_lifespan_passes() -> None:
    ledger = Ledger()
    assert ask(FencingMiddleware(ledger, MemoryGuard()), {}, kind="lifespan") == 204
    assert ledger.seen == [None]


def test_the_refusal_of_the_applications_own_transaction_is_the_same_answer() -> None:
    refusal = StaleToken("refused: replaced", token=4, newest=5)
    status, told = ask(FencingMiddleware(Ledger(refusal), None), signed(4))
    assert (status, told["newest"], told["message"]) == (409, 5, "refused: replaced")


def test_after_the_answer_has_begun_the_server_ends_it() -> None:
    refusal = StaleToken("refused: replaced", token=4, newest=5)
    with pytest.raises(StaleToken):
        ask(FencingMiddleware(Ledger(refusal, late=True), None), signed(4))


def test_a_wrong_setting_of_the_application_is_not_the_clients_fault() -> None:
    with pytest.raises(ConfigurationError, match="the server's"):
        ask(FencingMiddleware(Ledger(ConfigurationError("the server's")), None), signed(4))


def test_a_guard_may_be_a_coroutine_function() -> None:
    class Remote:
        async def admit(self, resource: str, token: int) -> None:
            raise StaleToken(f"refused {resource}", token=token, newest=9)

    assert ask(FencingMiddleware(Ledger(), Remote()), signed(4))[0] == 409


def test_a_guard_that_fails_lets_nobody_in() -> None:
    class Broken:
        def admit(self, resource: str, token: int) -> None:  # noqa: ARG002 - it fails
            raise OSError

    ledger = Ledger()
    with pytest.raises(OSError):  # noqa: PT011 - the one raised above
        ask(FencingMiddleware(ledger, Broken()), signed(4))
    assert ledger.seen == []


@pytest.mark.parametrize("guard", [SqlGuard(), object()])
def test_a_guard_of_another_shape_is_refused(guard: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"SqlAdmission\(guard, connect\)"):
        FencingMiddleware(Ledger(), guard)


def test_a_database_may_remember(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    with closing(sqlite3.connect(path)) as connection:
        SqlGuard().create(connection)
    for _ in range(2):  # the second server is new, and the bar is not
        guarded = FencingMiddleware(
            Ledger(), SqlAdmission(SqlGuard(), lambda: sqlite3.connect(path))
        )
        assert ask(guarded, signed(5)) == 204
        assert ask(guarded, signed(4))[0] == 409


# Behind a server, with real processes as its clients.


class Register:
    """A service whose value is its last write; it lets other requests in before it writes."""

    def __init__(self) -> None:
        self.written = list[int]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI
        body = (await receive())["body"]
        self.written.append(int(body))
        await send({"type": "http.response.start", "status": 204})


class Transactions:
    """A service that lifts the bar in the transaction of its write."""

    def __init__(self, database: Path) -> None:
        self._database = database

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        entry = (await receive())["body"].decode()
        await asyncio.to_thread(self._write, scope[SCOPE_KEY], entry)
        await send({"type": "http.response.start", "status": 204})

    def _write(self, fenced: Fenced, entry: str) -> None:
        connection = sqlite3.connect(self._database, timeout=60)
        with closing(connection), SqlGuard().writing(connection, *fenced) as cursor:
            cursor.execute("INSERT INTO ledger (token, entry) VALUES (?, ?)", (fenced.token, entry))


@pytest.fixture
def service(database: Path) -> Iterator[str]:
    with serving(FencingMiddleware(Transactions(database), None)) as address:
        yield address


def test_a_paused_client_wakes_up_after_its_successor_wrote() -> None:
    register = Register()
    with (
        serving(FencingMiddleware(register, MemoryGuard())) as address,
        started("late_leader.py", "http", address, "1") as late,
    ):
        wait_until_stopped(late)
        with http(address) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    assert register.written == [2]


def test_without_the_middleware_the_late_client_does_its_harm() -> None:
    register = Register()
    with (
        serving(register) as address,
        started("late_leader.py", "http", address, "1") as late,
    ):
        wait_until_stopped(late)
        with http(address) as write:
            write(2)
        assert thaw(late) == "written"
    assert register.written == [2, 1]


def test_a_paused_client_of_a_service_with_transactions(service: str, database: Path) -> None:
    with started("late_leader.py", "http", service, "1") as late:
        wait_until_stopped(late)
        with http(service) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT token FROM ledger").fetchall() == [(2,)]


def test_the_middleware_alone_cannot_order_writes_that_wait_and_a_transaction_can(
    service: str, database: Path
) -> None:
    """What docs/fencing.md says of it: admitted first, written later."""
    guard, order = MemoryGuard(), list[int]()

    async def never(*_: Any) -> Any:
        raise AssertionError

    async def both() -> None:
        older_is_in, newer_wrote = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
            if scope[SCOPE_KEY].token == 1:
                older_is_in.set()
                await newer_wrote.wait()
            order.append(scope[SCOPE_KEY].token)

        guarded = FencingMiddleware(app, guard, resource="ledger")

        async def post(token: bytes) -> None:
            headers = [(b"elector-fencing-token", token)]
            scope = {"type": "http", "method": "POST", "headers": headers}
            await guarded(scope, never, never)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(post(b"1"))
            await older_is_in.wait()
            await post(b"2")
            newer_wrote.set()

    asyncio.run(both())
    assert order == [2, 1]

    admitted = rivals("http", service, writes=40)
    with closing(sqlite3.connect(database)) as connection:
        ledger = [
            token for (token,) in connection.execute("SELECT token FROM ledger ORDER BY number")
        ]
        assert ledger == sorted(ledger) == sorted(admitted)
        assert SqlGuard().newest(connection, RESOURCE) == ledger[-1]
