"""The guards of etcd against a real server, through the JSON gateway and over gRPC."""

import base64
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from elector.errors import ConfigurationError, OutcomeUnknown, StoreCorrupt, StoreUnavailable
from elector.fencing import StaleToken
from elector.fencing.etcd import EtcdGuard, delete, gateway, put
from tests.servers.etcd import etcd_server

from .processes import rivals, started, thaw, wait_until_stopped
from .writers import WRITERS

KINDS = ["etcd", "etcd grpc"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        etcd_server(tmp_path_factory.mktemp("etcd")) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{server.port}"


class Etcd:
    """The server as an administrator sees it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, **request: Any) -> Any:
        body = json.dumps(request).encode()
        with urllib.request.urlopen(f"{self.address}/v3/kv/{method}", body) as answer:  # noqa: S310 - ours
            return json.load(answer)

    def put(self, key: str, value: bytes) -> None:
        self.call("put", key=encoded(key), value=base64.b64encode(value).decode())

    def under(self, prefix: str) -> list[bytes]:
        """The values of all keys with this prefix, as they were written last."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.call(
            "range", key=encoded(prefix), range_end=encoded(end), sort_target=3, sort_order=1
        )
        return [base64.b64decode(kv.get("value", "")) for kv in found.get("kvs", [])]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def etcd(server: str) -> Etcd:
    etcd = Etcd(server)
    etcd.call("deleterange", key=encoded("\0"), range_end=encoded("\0"))
    return etcd


@pytest.fixture
def guard(etcd: Etcd) -> EtcdGuard:
    return EtcdGuard(gateway(etcd.address))


def written(etcd: Etcd) -> list[int]:
    return [int(value) for value in etcd.under("ledger/")]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_and_higher_tokens_write_and_lower_ones_do_not(etcd: Etcd, kind: str) -> None:
    with WRITERS[kind](etcd.address) as write:
        for token in (3, 3, 5):
            write(token)
        with pytest.raises(StaleToken) as refused:
            write(4)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert written(etcd) == [3, 3, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_leader_wakes_up_after_its_successor_wrote(etcd: Etcd, kind: str) -> None:
    with started("late_leader.py", kind, etcd.address, "1") as late:
        wait_until_stopped(late)
        with WRITERS[kind](etcd.address) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    assert written(etcd) == [2]


@pytest.mark.parametrize("kind", KINDS)
def test_rival_processes_never_write_out_of_order(etcd: Etcd, kind: str) -> None:
    admitted = rivals(kind, etcd.address, writes=100)
    assert written(etcd) == sorted(admitted)
    assert int(etcd.under("elector-fence/")[0]) == max(admitted)


def test_resources_do_not_disturb_each_other(guard: EtcdGuard) -> None:
    guard.run([], "ledger", 9)
    guard.run([], "archive", 1)
    EtcdGuard(guard._send, prefix="other/").run([], "ledger", 1)
    with pytest.raises(StaleToken):
        guard.run([], "ledger", 8)


@pytest.mark.parametrize(
    ("newest", "stale"), [(10, 9), (100, 99), (2**53 + 1, 2**53), (2**63 - 1, 2**63 - 2)]
)
def test_tokens_are_compared_as_numbers(guard: EtcdGuard, newest: int, stale: int) -> None:
    guard.run([], "ledger", stale)
    guard.run([], "ledger", newest)
    with pytest.raises(StaleToken) as refused:
        guard.run([], "ledger", stale)
    assert refused.value.newest == newest
    guard.run([], "ledger", newest)


def test_operations_answer_in_order(etcd: Etcd, guard: EtcdGuard) -> None:
    etcd.put("ledger/draft", b"x")
    read = {"request_range": {"key": encoded("ledger/draft")}}
    answers = guard.run([read, delete("ledger/draft"), put("ledger/a", b"\xff")], "ledger", 1)
    assert [next(iter(answer)) for answer in answers] == [
        "response_range",
        "response_delete_range",
        "response_put",
    ]
    assert answers[1]["response_delete_range"]["deleted"] == "1"
    assert etcd.under("ledger/") == [b"\xff"]


def test_operations_may_come_from_a_generator(etcd: Etcd, guard: EtcdGuard) -> None:
    guard.run((put(f"ledger/{number}", "1") for number in range(2)), "ledger", 1)
    assert written(etcd) == [1, 1]


def test_a_stale_leader_changes_nothing_at_all(etcd: Etcd, guard: EtcdGuard) -> None:
    guard.run([put("ledger/a", "1")], "ledger", 2)
    with pytest.raises(StaleToken):
        guard.run([put("ledger/a", "9"), delete("elector-fence/archive")], "ledger", 1)
    assert etcd.under("ledger/") == [b"1"]
    assert int(etcd.under("elector-fence/")[0]) == 2


def test_a_request_that_arrives_late_changes_nothing(etcd: Etcd, guard: EtcdGuard) -> None:
    """One that was given up and lay somewhere, until a newer leader had written."""
    kept, send = list[Any](), gateway(etcd.address)

    def keep(txn: Any) -> Any:
        kept.append(txn)
        raise OutcomeUnknown

    guard.run([put("ledger/a", "1")], "ledger", 1)
    with pytest.raises(OutcomeUnknown):
        EtcdGuard(keep).run([put("ledger/a", "late")], "ledger", 1)
    guard.run([put("ledger/a", "2")], "ledger", 2)
    assert "succeeded" not in send(kept[0])
    assert etcd.under("ledger/") == [b"2"]


@pytest.mark.parametrize("rival", [1, 2, 3])
def test_a_lost_race_for_the_first_bar_is_decided_by_the_tokens(
    etcd: Etcd, guard: EtcdGuard, rival: int
) -> None:
    send = gateway(etcd.address)

    def late(txn: Any) -> Any:
        if "version" in txn["compare"][0]:  # it is about to place the bar
            guard.run([], "ledger", rival)
        return send(txn)

    interrupted = EtcdGuard(late)
    if rival > 2:
        with pytest.raises(StaleToken, match="token 3"):
            interrupted.run([put("ledger/a", "2")], "ledger", 2)
    else:
        interrupted.run([put("ledger/a", "2")], "ledger", 2)
    assert etcd.under("ledger/") == ([] if rival > 2 else [b"2"])
    assert int(etcd.under("elector-fence/")[0]) == max(rival, 2)


@pytest.mark.parametrize("damage", [b"", b"x", b"0", b"7", b"-1", b"0" * 19, b"1" * 20, b"\xff"])
def test_a_damaged_bar_is_no_new_start(etcd: Etcd, guard: EtcdGuard, damage: bytes) -> None:
    etcd.put(guard.key("ledger"), damage)
    with pytest.raises(StoreCorrupt, match="holds no token"):
        guard.run([put("ledger/a", "9")], "ledger", 9)
    assert etcd.under("ledger/") == []
    assert etcd.under("elector-fence/") == [damage]


def test_a_bar_that_comes_and_goes_is_given_up() -> None:
    def gone(_: Any) -> Any:
        return {"responses": [{"response_range": {}}]}

    with pytest.raises(StoreUnavailable, match="comes and goes"):
        EtcdGuard(gone).run([], "ledger", 1)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_is_never_sent(etcd: Etcd, guard: EtcdGuard, token: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a fencing token"):
        guard.run([], "ledger", token)
    assert etcd.under("elector-fence/") == []


def test_what_is_no_resource_is_never_sent(guard: EtcdGuard) -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        guard.run([], "a\nb", 1)


# The gateway.


def test_what_etcd_refuses_did_not_happen(etcd: Etcd, guard: EtcdGuard) -> None:
    twice = [put("ledger/a", "1"), put("ledger/a", "2")]
    with pytest.raises(StoreUnavailable, match="duplicate key given in txn request"):
        guard.run(twice, "ledger", 1)
    assert etcd.under("ledger/") == []


def test_nobody_there_is_not_an_unknown_outcome() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(StoreUnavailable, match="does not listen"):
        EtcdGuard(gateway(address)).run([], "ledger", 1)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (503, b'{"message": "etcdserver: request timed out"}', OutcomeUnknown, "timed out"),
        (504, b"", OutcomeUnknown, HTTPStatus.GATEWAY_TIMEOUT.phrase),
        (401, b'{"message": "invalid auth token"}', StoreUnavailable, "invalid auth token"),
        (404, b"<html>\n\nnone</html>", StoreUnavailable, "<html> none</html>"),
        (200, b"<html>", OutcomeUnknown, "may have carried it out"),
        (200, b"\xff", OutcomeUnknown, "may have carried it out"),
    ],
)
def test_each_answer_of_the_gateway_is_said_in_one_line(
    status: int, body: bytes, error: type[Exception], said: str
) -> None:
    with answering(status, body) as address, pytest.raises(error, match=said) as raised:
        EtcdGuard(gateway(address)).run([], "ledger", 1)
    assert "\n" not in str(raised.value)


def test_a_server_that_never_answers_leaves_the_outcome_unknown() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OutcomeUnknown, match="timed out"):
            EtcdGuard(gateway(address, timeout=0.05)).run([], "ledger", 1)


@pytest.mark.parametrize("url", ["etcd://host", "file:///etc/passwd", "127.0.0.1:2379", ""])
def test_what_is_no_address_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no address of a gateway"):
        gateway(url)
