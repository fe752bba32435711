"""The proxy itself: each thing that it does to the network, seen by a client and a server."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.servers.process import free_port
from tests.servers.proxy import Proxy

_PATIENCE_S = 10.0


class Shouter:
    """A server that answers every piece of text with the same in capitals."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.heard: list[bytes] = []
        self.endings: list[str] = []
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while said := client.recv(1000):
                    self.heard.append(said)
                    client.sendall(said.upper())
                self.endings.append("goodbye")
            except ConnectionResetError:
                self.endings.append("reset")

    def close(self) -> None:
        self._door.close()


@pytest.fixture
def server() -> Iterator[Shouter]:
    shouter = Shouter()
    yield shouter
    shouter.close()


@pytest.fixture
def proxy(server: Shouter) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S) as client:
        assert ask(client, b"hello") == b"HELLO"
        yield client


def ask(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(1000)


def is_silent(client: socket.socket) -> bool:
    """Whether nothing comes for as long as an answer could ever take here."""
    client.settimeout(0.3)
    try:
        client.recv(1000)
    except TimeoutError:
        return True
    finally:
        client.settimeout(_PATIENCE_S)
    return False


def until_heard(server: Shouter, text: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while text not in server.heard:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_passes_a_goodbye_on(server: Shouter, proxy: Proxy, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1000) == b""
    assert server.endings == ["goodbye"]
    deadline = time.monotonic() + _PATIENCE_S
    while proxy.connections:
        assert time.monotonic() < deadline


def test_much_goes_through_whole_and_in_order(proxy: Proxy, client: socket.socket) -> None:
    text = b"".join(b"%06d" % number for number in range(100_000))
    threading.Thread(target=client.sendall, args=(text,), daemon=True).start()
    got = b""
    while len(got) < len(text):
        got += client.recv(65536)
    assert got == text
    assert proxy.connections == 1


def test_a_reset_reaches_both_ends_and_new_connections_are_welcome(
    server: Shouter, proxy: Proxy, client: socket.socket
) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)
    with socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S) as other:
        assert ask(other, b"again") == b"AGAIN"
    assert "reset" in server.endings


def test_new_ones_are_refused_and_old_ones_live(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S)
    assert ask(client, b"still") == b"STILL"
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S) as other:
        assert ask(other, b"again") == b"AGAIN"


def test_a_cut_holds_requests_until_it_is_healed(
    server: Shouter, proxy: Proxy, client: socket.socket
) -> None:
    proxy.cut("up")
    client.sendall(b"late")
    assert is_silent(client)
    assert b"late" not in server.heard
    proxy.heal()
    assert client.recv(1000) == b"LATE"


def test_a_request_arrives_though_its_sender_gave_up(
    server: Shouter, proxy: Proxy, client: socket.socket
) -> None:
    proxy.cut("up")
    client.sendall(b"zombie")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    proxy.heal()
    until_heard(server, b"zombie")
    deadline = time.monotonic() + _PATIENCE_S
    while proxy.connections:
        assert time.monotonic() < deadline


def test_a_cut_holds_replies_until_it_is_healed(
    server: Shouter, proxy: Proxy, client: socket.socket
) -> None:
    proxy.cut("down")
    client.sendall(b"done")
    until_heard(server, b"done")
    assert is_silent(client)
    proxy.heal()
    assert client.recv(1000) == b"DONE"


def test_a_lost_reply_never_comes(server: Shouter, proxy: Proxy, client: socket.socket) -> None:
    proxy.lose("down")
    client.sendall(b"done")
    until_heard(server, b"done")
    assert is_silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)


def test_a_connection_that_lost_nothing_lives_on(proxy: Proxy, client: socket.socket) -> None:
    proxy.lose("down")
    proxy.heal()
    assert ask(client, b"still") == b"STILL"


@pytest.mark.parametrize("way", ["up", "down"])
def test_slow_is_slow_and_healed_is_not(proxy: Proxy, client: socket.socket, way: str) -> None:
    proxy.slow("up" if way == "up" else "down", 0.4)
    began = time.monotonic()
    assert ask(client, b"slowly") == b"SLOWLY"
    assert time.monotonic() - began >= 0.4
    proxy.slow("up" if way == "up" else "down", 1000)
    client.sendall(b"stuck")
    assert is_silent(client)
    proxy.heal()
    assert client.recv(1000) == b"STUCK"


def test_mute_accepts_and_says_nothing(proxy: Proxy, client: socket.socket) -> None:
    proxy.mute()
    with pytest.raises(ConnectionResetError):
        client.recv(1000)
    with socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S) as other:
        other.sendall(b"anybody?")
        assert is_silent(other)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            other.recv(1000)


def test_a_server_that_is_not_there_is_a_reset() -> None:
    with (
        Proxy(free_port()) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), _PATIENCE_S) as client,
    ):
        client.recv(1000)
