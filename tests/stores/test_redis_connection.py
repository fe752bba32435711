"""Finding a Redis or Valkey server and being let in: URLs, passwords, permissions, TLS, cluster."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elector.core.office import EndReason
from elector.errors import ConfigurationError, StoreError, StoreUnavailable
from elector.stores.port import Finding
from elector.stores.redis import diagnose
from elector.stores.redis.link import Server
from elector.stores.redis.url import place_of
from elector.stores.registry import StoreUrl, open_store, parse_url
from tests.servers.process import free_port
from tests.servers.redis import RedisServer, redis_server, until
from tests.stores.worlds import Ear, candidate, lead

SECRET = "hunter2"  # noqa: S105 - of a server that lives for one test


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    place = tmp_path_factory.mktemp("redis")
    with redis_server(place, password=SECRET) as started:
        started.call(
            "ACL", "SETUSER", "app", "on", ">apps", "~{elector}:*", "&{elector}:*", "+@all"
        )
        started.call("ACL", "SETUSER", "reader", "on", ">r", "~*", "&*", "+@all", "-@write")
        started.call("ACL", "SETUSER", "mute", "on", ">m", "~{elector}:*", "resetchannels", "+@all")
        yield started


async def _stand(url: str) -> None:
    store = await open_store(parse_url(url))
    try:
        await store.watch("nightly", Ear())
        grant = await lead(store, "nightly", candidate("a"))
        assert await store.renew([grant]) == [True]
        assert await store.release(grant, EndReason.COMPLETED)
    finally:
        await store.close()


def stand(url: str) -> None:
    """Open a store, lead, and give the office back."""
    asyncio.run(_stand(url))


def refusal(url: str, *, create: bool = True) -> str:
    """What opening a store is refused with; one line without a secret."""

    async def main() -> StoreError:
        parsed = parse_url(url)
        with pytest.raises(StoreUnavailable) as caught:
            await open_store(StoreUrl(parsed.scheme, parsed.rest, create))
        return caught.value

    error = asyncio.run(main())
    everything = f"{error!r} {error.__cause__!r} {error.__context__!r}"
    assert SECRET not in everything
    assert "wrong-one" not in everything
    assert "\n" not in str(error)
    return str(error)


def findings(url: str) -> dict[str, Finding]:
    return {finding.what: finding for finding in asyncio.run(diagnose(parse_url(url)))}


# -- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://db", "db:6379"),
        ("valkey://db:7000/3?prefix=teams.a", "db:7000"),
        ("redis://[::1]:7000/0", "[::1]:7000"),
        ("redis://u:p%40ss@db/0", "db:6379"),
        (f"rediss://db/0?ca={__file__}", "db:6379"),
        ("redis://s1,s2:1,s3/0?sentinel=main", "s1:26379,s2:1,s3:26379 (Sentinel, main)"),
    ],
)
def test_a_url_names_a_place(url: str, said: str) -> None:
    place = place_of(parse_url(url))
    assert str(place) == said
    assert "p@ss" not in repr(place)


def test_what_a_url_says_is_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDISCLI_AUTH", "from-the-environment")
    place = place_of(parse_url("redis://u%3A:p%40ss@db/3?prefix=x"))
    assert (place.user, place.password, place.database) == ("u:", "p@ss", 3)
    assert place.key("office", "nightly") == "{x}:office:nightly"
    assert place_of(parse_url("redis://db")).password == "from-the-environment"  # noqa: S105
    assert place_of(parse_url("valkeys://db")).tls == (None, None, None)
    assert place_of(parse_url("valkey://db")).tls is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://", "is not a host"),
        ("redis:///0", "is not a host"),
        ("redis://db:0", "is not a host"),
        ("redis://db:99999", "is not a host"),
        ("redis://db/zero", "is not the number of a database"),
        ("redis://a,b/0", r"say whom they watch: \?sentinel=NAME"),
        ("redis://db?sentinel=", "is empty"),
        ("redis://db?prefx=a", "'prefx' is no option"),
        ("redis://db?prefix={a}", "prefix '{a}' cannot be used"),
        ("redis://db?ca=x.pem", "ca= belongs to rediss://"),
        ("rediss://db?ca=/no/ca.pem", "ca=/no/ca.pem cannot be read"),
        ("redis://u:hunter2@db/zero?sentinel_password=hunter2", "is not the number of a database"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        asyncio.run(open_store(parse_url(url)))
    assert SECRET not in str(refused.value)
    assert findings(url)["reachability"].level == "bad"


# -- who is let in -----------------------------------------------------------------------------


def test_nobody_answers() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    assert "start the server or correct the address" in refusal(url)
    assert findings(url)["reachability"].level == "bad"


def test_a_password_is_wanted(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "wants a password" in refusal(server.url)
    assert "with this password" in refusal(server.url_via(server.port, ":wrong-one"))
    assert "user 'nobody'" in refusal(server.url_via(server.port, "nobody:wrong-one"))
    found = findings(server.url_via(server.port, ":wrong-one"))["reachability"]
    assert (found.level, found.remedy) == ("bad", "correct the URL or REDISCLI_AUTH")
    stand(server.url_via(server.port, f":{SECRET}"))
    monkeypatch.setenv("REDISCLI_AUTH", SECRET)
    stand(server.url)


def test_an_account_for_our_keys_and_channels_is_enough(server: RedisServer) -> None:
    stand(server.url_via(server.port, "app:apps"))
    said = refusal(server.url_via(server.port, "app:apps", "?prefix=other"))
    assert "does not let user 'app' run a script on the keys {other}:*" in said


@pytest.mark.parametrize(
    ("login", "lacks"), [("reader:r", "HSET {elector}:tokens"), ("mute:m", "SUBSCRIBE {elector}")]
)
def test_who_may_not_do_everything_is_refused_before_it_stops_half_way(
    server: RedisServer, login: str, lacks: str
) -> None:
    url = server.url_via(server.port, login)
    assert lacks in refusal(url)
    found = findings(url)["permissions"]
    assert found.level == "bad"
    assert lacks in found.says
    assert found.remedy is not None
    # And the remedy is one.
    rule, _, patterns = found.remedy.partition(", with ")
    server.call(*rule.split(), "resetkeys", "resetchannels")
    server.call("ACL", "SETUSER", login.partition(":")[0], *patterns.split()[1::3])
    stand(url)
    assert findings(url)["permissions"].level == "good"


def test_who_only_looks_on_need_not_write(server: RedisServer) -> None:
    server.call("ACL", "SETUSER", "guest", "on", ">g", "~*", "&*", "+@all", "-@write")
    url = parse_url(server.url_via(server.port, "guest:g"))

    async def main() -> None:
        store = await open_store(StoreUrl(url.scheme, url.rest, create=False))
        await store.describe("nightly")
        await store.elections()
        await store.close()

    asyncio.run(main())


# -- servers that are not fit ------------------------------------------------------------------


def test_a_server_that_throws_leases_away_is_refused(tmp_path: Path) -> None:
    settings = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path, settings) as server:
        assert "two would lead" in refusal(server.url)
        found = findings(server.url)
        assert (found["memory"].level, found["durability"].level) == ("bad", "doubtful")
        assert "keeps nothing" in found["durability"].says
        server.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        stand(server.url)
        assert findings(server.url)["memory"].level == "good"


def test_a_replica_is_refused_and_its_primary_is_called_asynchronous(tmp_path: Path) -> None:
    with redis_server(tmp_path / "primary") as primary:
        source = ("--replicaof", "127.0.0.1", str(primary.port))
        with redis_server(tmp_path / "replica", source) as replica:
            until(lambda: primary.call("INFO", "replication")["connected_slaves"] == 1)
            assert "is a replica" in refusal(replica.url)
            assert findings(replica.url)["role"].level == "bad"
            found = findings(primary.url)["replication"]
            assert found.level == "doubtful"
            assert "asynchronous, to 1" in found.says


def test_a_sound_server_has_good_findings(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        found = findings(server.url)
        assert {finding.level for finding in found.values()} == {"good"}, found
        assert server.name in found["version"].says
        server.call("CONFIG", "SET", "appendfsync", "everysec")
        assert findings(server.url)["durability"].level == "doubtful"
        assert server.call("DBSIZE") == 0, "looking changes nothing"


@pytest.mark.parametrize(
    ("version", "old"), [("6.2.14", True), ("7.0.0", False), ("7.2.4", False), ("8.0", False)]
)
def test_old_servers_are_known_by_their_version(version: str, *, old: bool) -> None:
    assert Server({"redis_version": version}).too_old is old
    assert not Server({}).too_old, "what is not told is not held against it"


def test_a_node_of_a_cluster_serves_what_is_kept_there_and_names_the_other(tmp_path: Path) -> None:
    cluster = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    ports = [str(free_port()) for _ in range(2)]
    with (
        redis_server(tmp_path / "a", (*cluster, "--cluster-port", ports[0])) as one,
        redis_server(tmp_path / "b", (*cluster, "--cluster-port", ports[1])) as two,
    ):
        assert "cluster" in refusal(one.url).lower()  # no slot is served by anybody
        one.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        one.call("CLUSTER", "MEET", "127.0.0.1", str(two.port), ports[1])
        for node in (one, two):
            until(lambda node=node: "cluster_state:ok" in node.call("CLUSTER", "INFO"))  # type: ignore[misc]
        until(lambda: f" 127.0.0.1:{one.port}@" in _nodes_with_slots(two))
        stand(one.url)
        assert findings(one.url)["role"].level == "doubtful"
        assert f"127.0.0.1:{one.port}: name that node in the URL" in refusal(two.url)


def _nodes_with_slots(server: RedisServer) -> str:
    nodes = str(server.call("CLUSTER", "NODES")).splitlines()
    return "\n".join(node for node in nodes if node.endswith("0-16383"))


# -- TLS -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def behind_tls(place: Path, target: int) -> Iterator[tuple[int, Path]]:
    """A port that speaks TLS for a server that does not; its certificate is its own authority."""
    key, certificate = place / "key.pem", place / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-days", "2", "-subj", "/CN=elsewhere", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop, ports = asyncio.new_event_loop(), []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", target)
        try:
            await asyncio.gather(carry(reader, behind[1]), carry(behind[0], writer))
        finally:
            writer.transport.abort()
            behind[1].transport.abort()

    async def listen() -> int:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        ports.append(listening)
        return int(listening.sockets[0].getsockname()[1])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(listen(), loop).result(10), certificate
    finally:
        loop.call_soon_threadsafe(ports[0].close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(0))  # what was aborted is closed in the next turn
        loop.close()


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "server") as server,
        behind_tls(tmp_path, server.port) as (port, certificate),
    ):
        stand(f"rediss://127.0.0.1:{port}/0?ca={certificate}")
        assert "certificate" in refusal(f"rediss://127.0.0.1:{port}/0").lower()
        assert "hostname" in refusal(f"rediss://localhost:{port}/0?ca={certificate}").lower()
