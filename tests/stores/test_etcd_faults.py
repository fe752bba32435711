"""etcd when the network or the server fails: no outcome is guessed, no news missed; and TLS."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elector.core.office import EndReason
from elector.errors import ConfigurationError, OutcomeUnknown, StoreError, StoreUnavailable
from elector.stores.etcd import diagnose
from elector.stores.port import Ask, Grant, Occupied, Store
from elector.stores.registry import parse_url
from tests.servers.etcd import EtcdServer, etcd_server
from tests.servers.proxy import Proxy
from tests.stores.worlds import (
    DEADLINE_S,
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    insist,
    is_ask,
    lead,
    led,
    play_out,
    vacant,
    wait_in_line,
)

DONE = EndReason.COMPLETED
SHORT_NS = 3 * SECOND_NS


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path) as started:
        yield started


@pytest.fixture
def proxy(server: EtcdServer) -> Iterator[Proxy]:
    with Proxy(server.port) as started:
        yield started


async def insist_on_renewal(store: Store, grant: Grant) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            [renewed] = await store.renew([grant])
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
            continue
        return renewed


def test_a_reply_that_was_lost_leaves_the_outcome_unknown_and_is_found_again(
    server: EtcdServer, proxy: Proxy
) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        # With a watch the vacant office is known, so the first request is the one that takes it.
        await far.watch("nightly", Ear(), who)
        await far.release(await lead(far, "warm-up", who), DONE)
        proxy.lose("down")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        token = (await near.describe("nightly")).token
        assert token > 0, "it did happen"
        proxy.heal()
        assert (await insist(far, "nightly", who)).token == token
        grant = Grant("nightly", who, token, TTL_NS)
        assert await insist_on_renewal(far, grant)

        proxy.lose("down")
        with pytest.raises(OutcomeUnknown):
            await far.release(grant, DONE)
        assert (await near.describe("nightly")).leader is None
        proxy.heal()
        await lead(near, "nightly", candidate("b"))
        while True:
            try:
                assert not await far.release(grant, DONE), "a late release hits nobody"
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_request_that_did_not_arrive_did_not_happen(server: EtcdServer, proxy: Proxy) -> None:
    async def play(far: Store, near: Store) -> None:
        who = candidate("a")
        await far.watch("nightly", Ear(), who)
        await lead(far, "warm-up", who)
        proxy.lose("up")
        with pytest.raises(OutcomeUnknown):
            await far.acquire("nightly", who, TTL_NS)
        assert (await near.describe("nightly")).token == 0
        proxy.refuse()
        proxy.reset()
        errors = set()
        for _ in range(5):
            try:
                await far.acquire("nightly", who, TTL_NS)
            except StoreError as error:
                errors.add(type(error))
                await asyncio.sleep(0.01)
        assert errors == {StoreUnavailable}, "nothing can have been sent"
        proxy.heal()
        await insist(far, "nightly", who)

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_frozen_server_ends_every_request_and_serves_again_afterwards(
    server: EtcdServer,
) -> None:
    async def play(store: Store) -> None:
        who, ear = candidate("a"), Ear()
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who)
        server.pause()
        try:
            began = time.monotonic()
            for request in (
                lambda: store.renew([grant]),
                lambda: store.acquire("nightly", candidate("b"), TTL_NS),
                lambda: store.describe("nightly"),
                lambda: store.release(grant, DONE),
            ):
                with pytest.raises(StoreError):
                    await request()
            assert time.monotonic() - began < 20, "each comes to an end by itself"
        finally:
            server.resume()
        assert await insist_on_renewal(store, grant) in {True, False}
        after = await insist(store, "nightly", who)
        assert after.token >= grant.token

    play_out(play, server.url)


def test_a_holder_that_cannot_reach_etcd_is_replaced_and_told(
    server: EtcdServer, proxy: Proxy
) -> None:
    async def play(far: Store, near: Store) -> None:
        grant = await lead(far, "nightly", candidate("a"), SHORT_NS)
        ear, successor = Ear(), candidate("b")
        await near.watch("nightly", ear, successor)
        assert isinstance(await near.acquire("nightly", successor, SHORT_NS), Occupied)
        proxy.mute()
        began = time.monotonic()
        await ear.until(vacant(grant.token))
        assert time.monotonic() - began >= SHORT_NS / SECOND_NS - 1
        assert (await lead(near, "nightly", successor)).token > grant.token
        proxy.heal()
        assert not await insist_on_renewal(far, grant)

    play_out(play, server.url_via(proxy.port), server.url)


@pytest.mark.parametrize("fault", ["reset", "mute", "restart"])
def test_no_news_is_missed_across_a_fault(server: EtcdServer, proxy: Proxy, fault: str) -> None:
    async def play(far: Store, near: Store) -> None:
        holder, ear, watched = candidate("h"), Ear(), Ear()
        await far.watch("nightly", ear, holder)
        await far.watch("other", watched)
        grant = await lead(far, "nightly", holder)
        await wait_in_line(near, "nightly", candidate("w"), Ear())
        if fault == "restart":
            server.kill()
            server.start()
        elif fault == "mute":
            proxy.mute()
        token = (await insist(near, "other", candidate("b"))).token
        await near.ask(Ask("nightly", grant.token, "w"))
        if fault == "reset":
            proxy.reset()
        proxy.heal()
        await ear.until(is_ask)
        await watched.until(led("b", token))
        assert await insist_on_renewal(far, grant)

    play_out(play, server.url_via(proxy.port), server.url)


def test_a_cancelled_renewal_leaves_the_connection_usable(server: EtcdServer) -> None:
    async def play(store: Store) -> None:
        grants = [await lead(store, f"e{number}", candidate("a")) for number in range(3)]
        for turns in range(30):
            task = asyncio.create_task(store.renew(grants))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert await store.renew(grants) == [True] * 3

    play_out(play, server.url)


def test_a_full_database_is_said_in_words(tmp_path: Path) -> None:
    with etcd_server(tmp_path, ["--quota-backend-bytes", str(256 << 10)]) as server:
        with pytest.raises(AssertionError, match="space exceeded"):
            fill(server)
        with pytest.raises(StoreUnavailable, match=r"full \(alarm NOSPACE\): compact"):
            play_out(_never, server.url)
        findings = asyncio.run(diagnose(parse_url(server.url)))
        assert "NOSPACE" in next(one.says for one in findings if one.level == "bad")


def fill(server: EtcdServer) -> None:
    for number in range(20):
        server.ctl("put", f"ballast-{number}", "x" * 60_000)


async def _never(store: Store) -> None:
    raise AssertionError(f"{store} opened")


# -- doctor ----------------------------------------------------------------------------------------


def test_doctor_looks_at_what_the_promises_rest_on(server: EtcdServer) -> None:
    findings = {one.what: one for one in asyncio.run(diagnose(parse_url(server.url + "/x")))}
    assert {one.level for one in findings.values()} == {"good", "doubtful"}
    assert findings["durability"].level == "doubtful"
    assert "3.5" in findings["version"].says
    assert "from 2 s on" in findings["clock"].says
    assert server.ctl("get", "", "--from-key") == "", "nothing was written"


def test_doctor_says_what_is_wrong(server: EtcdServer) -> None:
    down = f"127.0.0.1:{EtcdServer(Path(server._place, 'other')).port}"
    [finding] = asyncio.run(diagnose(parse_url(f"etcd://me:hunter2@{down}")))
    assert (finding.what, finding.level) == ("reachability", "bad")
    assert "hunter2" not in f"{finding}"
    some = asyncio.run(diagnose(parse_url(f"etcd://me:pw@{down},127.0.0.1:{server.port}/x")))
    doubtful = {one.what: one.says for one in some if one.level == "doubtful"}
    assert down in doubtful["reachability"]
    assert "no authentication" in doubtful["user"]


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and one certificate that serves for both ends."""
    place = tmp_path_factory.mktemp("certificates")
    (place / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout end.key -out end.csr -subj /CN=etcd",
        "x509 -req -in end.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out end.pem -extfile ext",
    ):
        argv = ["openssl", *line.split()]
        subprocess.run(argv, cwd=place, check=True, capture_output=True)
    return place


@pytest.fixture
def secure(tmp_path: Path, certificates: Path) -> Iterator[EtcdServer]:
    files = {"cert-file": "end.pem", "key-file": "end.key", "trusted-ca-file": "ca.pem"}
    options = [f"--{name}={certificates / file}" for name, file in files.items()]
    server = EtcdServer(tmp_path, options=[*options, "--client-cert-auth=true"], scheme="https")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_tls_with_certificates_on_both_ends(secure: EtcdServer, certificates: Path) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        assert await store.renew([grant]) == [True]

    query = "&".join(
        f"{name}={certificates / file}"
        for name, file in (("ca", "ca.pem"), ("cert", "end.pem"), ("key", "end.key"))
    )
    play_out(play, f"etcds://127.0.0.1:{secure.port}/x?{query}")


def test_tls_refused_is_one_line(
    secure: EtcdServer, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{secure.port}"
    with pytest.raises(StoreUnavailable, match="a server with TLS needs etcds://"):
        play_out(_never, f"etcd://{address}")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        play_out(_never, f"etcds://{address}?ca={certificates / 'ca.pem'}")
    with pytest.raises(StoreUnavailable, match="does not answer") as raised:
        play_out(_never, f"etcds://{address}")
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="cannot read"):
        play_out(_never, f"etcds://{address}?ca=/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match="needs its key"):
        play_out(_never, f"etcds://{address}?cert=/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match="write etcds://"):
        play_out(_never, f"etcd://{address}?ca=x")
    with pytest.raises(ConfigurationError, match="no option colour"):
        play_out(_never, f"etcd://{address}?colour=x")
    monkeypatch.setenv("ETCDCTL_CACERT", str(certificates / "ca.pem"))
    monkeypatch.setenv("ETCDCTL_CERT", str(certificates / "end.pem"))
    monkeypatch.setenv("ETCDCTL_KEY", str(certificates / "end.key"))

    async def play(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))

    play_out(play, f"etcds://{address}")
