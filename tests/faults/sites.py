"""The stores under test: a real server each, and a proxy between it and every candidate."""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import msgspec

from elector.errors import ConfigurationError
from elector.stores.registry import factory_for
from tests.faults.company import NAMES
from tests.servers.proxy import Proxy


class Server(Protocol):
    """A server process, as `tests.servers` makes them."""

    def start(self) -> None:
        """Start it, also again on what it kept."""

    def kill(self) -> None:
        """End it at once."""

    def pause(self) -> None:
        """Freeze it."""

    def resume(self) -> None:
        """Thaw it."""

    def stop(self) -> None:
        """End it in good order."""


@runtime_checkable
class Restartable(Protocol):
    """One that keeps nothing when it is stopped, and so has another way."""

    def restart(self) -> None:
        """End it in good order, and start it again on what it kept."""


class Cluster(Protocol):
    """Several of them."""

    def leader(self) -> Server:
        """The one that leads among them."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A store that runs, and what can be done to it.

    Attributes:
        server: what runs, in words, with its version.
        urls: for each candidate, the URL of the store, through its proxies.
        process: the server, if it is a single one.
        cluster: the servers, if they are several.
        wires: for each candidate, its proxies; none where there is no network.
        environment: what the candidates need in theirs: credentials.
    """

    server: str
    urls: dict[str, str]
    process: Server | None = None
    cluster: Cluster | None = None
    wires: dict[str, Sequence[Proxy]] = {}
    environment: dict[str, str] = {}


@contextlib.contextmanager
def _sqlite(place: Path) -> Iterator[Site]:
    import sqlite3

    url = f"sqlite:///{place / 'elections.db'}"
    yield Site(server=f"SQLite {sqlite3.sqlite_version}", urls=dict.fromkeys(NAMES, url))


def _single(
    module: str, factory: str
) -> Callable[[Path], "contextlib._GeneratorContextManager[Site]"]:
    @contextlib.contextmanager
    def site(place: Path) -> Iterator[Site]:
        opened = getattr(importlib.import_module(f"tests.servers.{module}"), factory)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(opened(place))
            wires = {name: stack.enter_context(Proxy(server.port)) for name in NAMES}
            yield Site(
                server=server.name,
                urls={name: server.url_via(wire.port) for name, wire in wires.items()},
                process=cast("Server", server),
                wires={name: [wire] for name, wire in wires.items()},
                environment=getattr(server, "env", {}),
            )

    return site


@contextlib.contextmanager
def _etcd_cluster(place: Path) -> Iterator[Site]:
    from tests.servers.etcd import etcd_cluster

    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(etcd_cluster(place))
        wires = {
            name: [stack.enter_context(Proxy(member.port)) for member in cluster.members]
            for name in NAMES
        }
        yield Site(
            server=cluster.name,
            urls={
                name: "etcd://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
                for name, proxies in wires.items()
            },
            cluster=cluster,
            wires=dict(wires),
        )


SITES = {
    "sqlite": _sqlite,
    "postgresql": _single("postgresql", "postgres_server"),
    "redis": _single("redis", "redis_server"),
    "etcd": _single("etcd", "etcd_server"),
    "etcd-cluster": _etcd_cluster,
    "s3": _single("s3", "s3_server"),
}
"""Every store, by the name that ``--stores`` takes."""


def why_absent(store: str) -> str | None:
    """What is missing for a store, None if nothing is."""
    modules = {"sqlite": None, "etcd-cluster": "etcd"}
    module = modules.get(store, store)
    if module is None:
        return None
    scheme = {"etcd-cluster": "etcd"}.get(store, store)
    try:
        importlib.import_module(f"tests.servers.{module}")
        factory_for(scheme)
    except (ImportError, ConfigurationError) as error:
        return str(error)
    return None
