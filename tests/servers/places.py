"""The stores by name, each on a real server of its own."""

import importlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock


class Place(NamedTuple):
    """A server that runs, and how it is spoken of.

    Attributes:
        store: its scheme.
        name: the server and its version; an emulator says so.
        url: of the store.
        port: of the server, on loopback; 0 for an embedded store.
        restart: kills the server and starts it again on what it kept; None without one.
    """

    store: str
    name: str
    url: str
    port: int
    restart: Callable[[], None] | None = None

    @property
    def serves(self) -> bool:
        """Whether it is a server; otherwise it is a file, and measured elsewhere."""
        return self.port > 0


SERVERS = ("postgresql", "redis", "etcd", "s3")
_EMBEDDED = {"sqlite": "sqlite:///{}/elections.db", "file": "file://{}/elections"}
_STARTERS = {
    "postgresql": "tests.servers.postgresql:postgres_server",
    "redis": "tests.servers.redis:redis_server",
    "etcd": "tests.servers.etcd:etcd_server",
    "s3": "tests.servers.s3:s3_server",
}


@contextmanager
def place_of(store: str) -> Iterator[Place]:
    """Start the server of a store, and end it."""
    if store in _EMBEDDED:
        with tempfile.TemporaryDirectory(prefix="elector-place-") as directory:
            name = f"SQLite {sqlite3.sqlite_version}" if store == "sqlite" else "the kernel's locks"
            yield Place(store, name, _EMBEDDED[store].format(directory), 0)
        return
    module, _, starter = _STARTERS[store].partition(":")
    start: Any = getattr(importlib.import_module(module), starter)
    with tempfile.TemporaryDirectory(prefix="elector-place-") as directory:
        Path(directory).chmod(0o755)  # a server that does not run as root has its data in it
        with (
            start(Path(directory)) as server,
            mock.patch.dict(os.environ, getattr(server, "env", {})),
        ):
            name = f"{server.name} (emulator)" if server.emulator else server.name
            yield Place(store, name, server.url, server.port, server.crash)
