"""etcd, on a real server: the laws, tokens, abandoned requests, sessions, and what they cost."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreCorrupt, StoreError, StoreUnavailable
from elector.stores.etcd import EtcdStore
from elector.stores.etcd.client import settings_of
from elector.stores.port import Grant, Occupied, Record, Store
from elector.stores.registry import StoreUrl, open_store, parse_url
from elector.testing.stores import LAWS, check_store, store_machine
from tests.servers.etcd import EtcdServer, etcd_server
from tests.stores.worlds import (
    DEADLINE_S,
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    lead,
    led,
    play_out,
    vacant,
    wait_in_line,
)

DONE = EndReason.COMPLETED
SHORT_NS = 3 * SECOND_NS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path_factory.mktemp("etcd")) as started:
        yield started


class Corner:
    """A part of a server that no other test has."""

    def __init__(self, server: EtcdServer) -> None:
        self.server = server
        self.prefix = f"p{secrets.token_hex(4)}"
        self.url = f"{server.url}/{self.prefix}"

    def run(self, count: int, play: Callable[..., Awaitable[None]]) -> None:
        play_out(play, *[self.url] * count)


@pytest.fixture
def corner(server: EtcdServer) -> Corner:
    return Corner(server)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + DEADLINE_S
    while not await holds():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)


def test_every_law_of_the_kit_holds(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as server:
        report = check_store(f"{server.url}/kit", restart=server.crash)
    assert report.of("holds") == [law.__name__ for law in LAWS]


def test_it_is_as_good_as_the_naive_one(corner: Corner) -> None:
    machine = store_machine(corner.url).TestCase
    machine.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
    machine().runTest()


# -- what stands in etcd -----------------------------------------------------------------------


def test_the_keys_are_those_of_gos_elections(corner: Corner) -> None:
    async def play(store: EtcdStore) -> None:
        grant = await lead(store, "billing/eu", candidate("a"))
        key, name = corner.server.ctl("get", "--prefix", f"{corner.prefix}/billing%2Feu/").split()
        assert name == "a"
        lease = key.rpartition("/")[2]
        listed = corner.server.ctl("lease", "timetolive", lease, "--keys")
        assert key in listed
        assert f"TTL({TTL_NS // SECOND_NS}s)" in listed
        [raw] = json.loads(corner.server.ctl("get", key, "-w", "json"))["kvs"]
        assert raw["create_revision"] == grant.token

    corner.run(1, play)


def test_without_a_prefix_the_election_is_the_prefix(corner: Corner) -> None:
    async def play(store: Store) -> None:
        await lead(store, corner.prefix, candidate("a"))
        assert corner.server.ctl("get", "--prefix", f"{corner.prefix}/").endswith("\na\n")
        assert [one.leader for one in await store.elections() if one.election == corner.prefix] == [
            "a"
        ]

    corner.url = corner.server.url
    corner.run(1, play)


def test_other_keys_in_the_same_etcd_are_no_elections(corner: Corner) -> None:
    async def play(store: Store) -> None:
        for key in ("config/colour", "config/deep/er", "zeta", "a b/c"):
            corner.server.ctl("put", f"{corner.prefix}/{key}", "blue")
        assert await store.elections() == []
        grant = await lead(store, "nightly", candidate("a"))
        assert [one.election for one in await store.elections()] == ["nightly"]
        await store.release(grant, DONE)
        assert await store.elections() == [Record("nightly", None, grant.token)]

    corner.run(1, play)


def test_a_record_that_is_not_ours_is_refused_in_words(corner: Corner) -> None:
    async def play(store: Store) -> None:
        corner.server.ctl("put", f"{corner.prefix}/nightly.~/office", "nonsense")
        with pytest.raises(StoreCorrupt, match="was not written by Elector"):
            await store.acquire("nightly", candidate("a"), TTL_NS)
        assert corner.server.ctl("get", "--prefix", f"{corner.prefix}/nightly/") == ""

    corner.run(1, play)


def test_keys_copied_to_a_cluster_that_is_behind_are_refused(corner: Corner) -> None:
    async def play(store: Store) -> None:
        record = {"holder": "a", "instance": "i", "ttl_ns": 1, "began": "", "token": 10**9}
        corner.server.ctl("put", f"{corner.prefix}/nightly.~/office", json.dumps(record))
        with pytest.raises(StoreCorrupt, match="token 1000000000 was granted"):
            await store.acquire("nightly", candidate("a"), TTL_NS)

    corner.run(1, play)


def test_a_token_outlives_a_kill_and_a_lease_that_is_held_does_too(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as server:
        corner, who, tokens = Corner(server), candidate("a"), []

        async def take(store: Store) -> None:
            tokens.append((await lead(store, "nightly", who)).token)

        async def take_on(store: Store) -> None:
            grant = Grant("nightly", who, tokens[-1], TTL_NS)
            assert isinstance(await store.acquire("nightly", candidate("b"), TTL_NS), Occupied)
            assert await store.renew([grant]) == [True]
            assert await store.release(grant, DONE)
            tokens.append((await lead(store, "nightly", candidate("b"))).token)

        corner.run(1, take)
        server.kill()
        server.start()
        corner.run(1, take_on)
        assert tokens == sorted(set(tokens))


# -- abandoned requests --------------------------------------------------------------------------


class Late:
    """The request for an office gets lost on its way, and arrives when the test says so."""

    def __init__(self, store: EtcdStore, patch: pytest.MonkeyPatch) -> None:
        self._store, self._patch = store, patch
        self._lost: list[Any] = []
        self._write = store._client.write

    async def _lose(self, method: str, request: Any, patience_s: float = 5.0) -> Any:
        takes = any(step.request_put.key.endswith(b".~/office") for step in request.success)
        if method != "Txn" or not takes:
            return await self._write(method, request, patience_s)
        self._lost.append(request)
        raise OutcomeUnknown("lost")

    async def abandon(self, election: str, who: Any, ttl_ns: int = TTL_NS) -> None:
        with self._patch.context() as patch:
            patch.setattr(self._store._client, "write", self._guarded)
            with pytest.raises(OutcomeUnknown):
                await self._store.acquire(election, who, ttl_ns)
        assert len(self._lost) == 1

    async def _guarded(self, method: str, request: Any, patience_s: float = 5.0) -> Any:
        if method == "Txn":
            return await self._lose(method, request, patience_s)
        return await self._write(method, request, patience_s)

    async def arrive(self) -> bool:
        """It is carried out now; whether it has taken the office."""
        try:
            answer = await self._write("Txn", self._lost[0])
        except StoreUnavailable:  # its lease is gone
            return False
        return bool(answer.succeeded)


def test_an_abandoned_request_takes_nothing_once_its_candidate_has_led_again(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        who, late = candidate("a"), Late(store, monkeypatch)
        await store.release(await lead(store, "nightly", who), DONE)
        await late.abandon("nightly", who)
        grant = await lead(store, "nightly", who)
        assert not await late.arrive()
        await store.release(grant, DONE)
        assert not await late.arrive()
        assert (await other.describe("nightly")).leader is None

    corner.run(2, play)


def test_an_abandoned_request_takes_nothing_though_its_lease_lives_on(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session holds another office, so it cannot be revoked."""

    async def play(store: EtcdStore, other: EtcdStore) -> None:
        who, late = candidate("a"), Late(store, monkeypatch)
        kept = await lead(store, "other", candidate("k"))
        await late.abandon("nightly", who)
        rival = await lead(other, "nightly", candidate("b"))
        assert isinstance(await store.acquire("nightly", who, TTL_NS), Occupied)
        await other.release(rival, DONE)
        assert not await late.arrive()
        grant = await lead(store, "nightly", who)
        await store.release(grant, DONE)
        assert not await late.arrive()
        assert await store.renew([kept]) == [True]

    corner.run(2, play)


def test_an_abandoned_request_that_wins_is_found_by_who_asks_again(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        who, ear, late = candidate("a"), Ear(), Late(store, monkeypatch)
        await store.watch("nightly", ear, who)
        await late.abandon("nightly", who)
        assert await late.arrive()
        won = (await other.describe("nightly")).token
        told = await ear.until(led("a", won))
        assert getattr(told, "instance", None) == who.instance
        grant = await lead(store, "nightly", who)
        assert grant.token == won
        assert await store.renew([grant]) == [True]
        # What is new goes by a new lease; this one is revoked once the office is given back.
        fresh = await lead(store, "other", candidate("k"))
        assert len(corner.server.ctl("get", "--prefix", f"{corner.prefix}/", "--keys-only")) > 0
        assert await store.release(grant, DONE)
        assert not await late.arrive()
        assert await store.renew([fresh]) == [True]

    corner.run(2, play)


def test_an_abandoned_request_that_wins_for_nobody_is_undone(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its candidate asks no more, and its session is kept alive for another election."""

    async def play(store: EtcdStore, other: EtcdStore) -> None:
        late, keeper = Late(store, monkeypatch), candidate("k")
        kept = await lead(store, "other", keeper, SHORT_NS)
        await late.abandon("nightly", candidate("a"), SHORT_NS)
        assert await late.arrive()
        assert (await other.describe("nightly")).leader == "a"

        async def undone() -> bool:
            assert await store.renew([kept]) == [True]
            return (await other.describe("nightly")).leader is None

        await until(undone)

    corner.run(2, play)


# -- sessions ------------------------------------------------------------------------------------


def test_one_lease_carries_all_elections_of_a_process(corner: Corner) -> None:
    async def play(store: EtcdStore) -> None:
        before = len(store._sessions._all)
        await asyncio.gather(*(lead(store, f"e{number}", candidate("a")) for number in range(20)))
        assert (before, len(store._sessions._all)) == (0, 1)

    corner.run(1, play)


def test_an_office_that_is_not_renewed_ends_though_its_session_lives_on(corner: Corner) -> None:
    """Dead work may not keep office because other elections of the process are renewed."""

    async def play(store: EtcdStore, other: EtcdStore) -> None:
        dead = await lead(store, "dead", candidate("d"), SHORT_NS)
        began = time.monotonic()
        alive = await lead(store, "alive", candidate("a"), SHORT_NS)

        async def vacated() -> bool:
            assert await store.renew([alive]) == [True]
            return (await other.describe("dead")).leader is None

        await until(vacated)
        assert time.monotonic() - began >= SHORT_NS / SECOND_NS - 0.1, "never early"
        assert await store.renew([dead, alive]) == [False, True]
        assert (await other.history("dead", 1))[0].reason == "expired"

    corner.run(2, play)


def test_the_line_outlives_the_ttl_of_those_who_wait_in_it(corner: Corner) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        holder, ear = candidate("h"), Ear()
        grant = await lead(store, "nightly", holder)
        waiting = candidate("w")
        await other.watch("nightly", ear, waiting)
        assert isinstance(await other.acquire("nightly", waiting, SHORT_NS), Occupied)
        await asyncio.sleep(2.2 * SHORT_NS / SECOND_NS)
        assert (await store.describe("nightly")).waiting == ("w",)
        await store.release(grant, DONE)
        await ear.until(vacant(grant.token))

    corner.run(2, play)


def test_a_place_in_line_is_taken_again_after_its_lease_was_revoked(corner: Corner) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        grant = await lead(store, "nightly", candidate("h"))
        ear, waiting = Ear(), candidate("w")
        await wait_in_line(other, "nightly", waiting, ear)
        [lease] = other._sessions._all
        corner.server.ctl("lease", "revoke", f"{lease:x}")

        async def gone() -> bool:
            return (await store.describe("nightly")).waiting == ()

        await until(gone)
        await until_in_line(other, store, waiting)
        await store.release(grant, DONE)
        await ear.until(vacant(grant.token))

    corner.run(2, play)


async def until_in_line(mine: Store, other: Store, who: Any) -> None:
    async def there() -> bool:
        assert isinstance(await mine.acquire("nightly", who, TTL_NS), Occupied)
        return (await other.describe("nightly")).waiting == (who.name,)

    await until(there)


def test_a_key_that_somebody_deleted_is_lost_at_once(corner: Corner) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        who, ear = candidate("a"), Ear()
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who)
        corner.server.ctl("del", "--prefix", f"{corner.prefix}/nightly/")
        await ear.until(vacant(grant.token))  # the holder is told, though no vacancy is for it
        assert await store.renew([grant]) == [False]
        assert (await lead(other, "nightly", candidate("b"))).token > grant.token
        assert not await store.release(grant, DONE)

    corner.run(2, play)


def test_who_is_first_in_line_and_does_not_come_holds_nobody_up(corner: Corner) -> None:
    async def play(one: EtcdStore, two: EtcdStore, three: EtcdStore) -> None:
        grant = await lead(one, "nightly", candidate("h"))
        ears = [Ear(), Ear()]
        await wait_in_line(two, "nightly", candidate("sleepy"), ears[0])
        await wait_in_line(three, "nightly", candidate("awake"), ears[1])
        await one.release(grant, DONE)
        await ears[1].until(vacant(grant.token))
        assert ears[0].vacancies()

    corner.run(3, play)


def test_closing_leaves_no_lease_behind_but_those_of_offices(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as server:
        corner = Corner(server)

        async def play(one: EtcdStore, two: EtcdStore) -> None:
            await lead(one, "nightly", candidate("h"))
            await wait_in_line(two, "nightly", candidate("w"), Ear())
            await wait_in_line(one, "nightly", candidate("x"), Ear())

        corner.run(2, play)

        def leases() -> list[str]:
            return server.ctl("lease", "list").split()[3:]

        async def only_the_holders() -> bool:
            return len(leases()) == 1  # the shortest leases of the openings have run out

        asyncio.run(until(only_the_holders))
        assert "line" not in server.ctl("get", "--prefix", corner.prefix, "--keys-only")


# -- watching ------------------------------------------------------------------------------------


def test_a_watch_goes_on_after_a_restart_and_a_compaction(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as server:
        corner = Corner(server)

        async def play(one: EtcdStore, two: EtcdStore) -> None:
            ear = Ear()
            await one.watch("nightly", ear)
            server.kill()
            server.start()
            grants = []
            for number in range(3):

                async def led_again(number: int = number) -> bool:
                    try:
                        grants.append(await lead(two, "nightly", candidate(f"c{number}")))
                    except StoreError:
                        return False
                    return True

                await until(led_again)
                server.ctl("compact", str(grants[-1].token))
                await ear.until(led(f"c{number}", grants[-1].token))
                await two.release(grants[-1], DONE)
            await ear.until(vacant(grants[-1].token))

        corner.run(2, play)


def test_a_watch_that_was_compacted_away_begins_anew(corner: Corner) -> None:
    async def play(one: EtcdStore, two: EtcdStore) -> None:
        ear = Ear()
        await one.watch("nightly", ear)
        room = one._rooms.get("nightly")
        assert room is not None
        for _ in range(3):
            await two.release(await lead(two, "nightly", candidate("a")), DONE)
        last = await lead(two, "nightly", candidate("z"))
        corner.server.ctl("compact", str(last.token))
        # As after a long silence of the network: what it has seen is older than what is kept.
        room.view = type(room.view)(room.view.keys, [], 1)
        await one._rooms._follow(await one._kept.get(), room)
        await ear.until(led("z", last.token))
        await two.release(last, DONE)
        await ear.until(vacant(last.token))

    corner.run(2, play)


# -- settings and refusals -------------------------------------------------------------------------


def test_a_store_that_is_down_is_one_line(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path)

    async def main() -> None:
        with pytest.raises(StoreUnavailable, match="start etcd or correct the URL") as raised:
            await open_store(parse_url(f"etcd://user:hunter2@127.0.0.1:{server.port}/x"))
        assert "\n" not in str(raised.value)
        assert "hunter2" not in str(raised.value)

    asyncio.run(main())


def test_the_environment_is_etcdctls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDCTL_USER", "root:s3cret")
    found = settings_of(StoreUrl("etcd", "host/team/"))
    assert found.user == ("root", "s3cret")
    assert found.prefix == "team"
    assert "s3cret" not in repr(found)
    monkeypatch.setenv("ETCDCTL_USER", "app")
    monkeypatch.setenv("ETCDCTL_PASSWORD", "other")
    assert settings_of(StoreUrl("etcd", "host")).user == ("app", "other")
    assert settings_of(StoreUrl("etcd", "me:mine@host")).user == ("me", "mine")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """A server with authentication: root, and app that may write under ``team/``."""
    with etcd_server(tmp_path_factory.mktemp("guarded")) as server:
        server.ctl("user", "add", "root:rootpw")
        server.ctl("user", "grant-role", "root", "root")
        server.ctl("role", "add", "team")
        server.ctl("role", "grant-permission", "team", "readwrite", "team/", "--prefix=true")
        server.ctl("user", "add", "app:apppw")
        server.ctl("user", "grant-role", "app", "team")
        server.ctl("auth", "enable")
        yield server


def opened(
    server: EtcdServer, user: str, path: str, play: Callable[[Any], Awaitable[None]]
) -> None:
    async def main() -> None:
        store = await open_store(parse_url(f"etcd://{user}127.0.0.1:{server.port}/{path}"))
        try:
            await play(store)
        finally:
            await store.close()

    asyncio.run(main())


def test_a_user_stands_where_its_role_lets_it(guarded: EtcdServer) -> None:
    async def play(store: EtcdStore) -> None:
        who, ear = candidate("a"), Ear()
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who)
        assert await store.renew([grant]) == [True]
        assert [one.leader for one in await store.elections()] == ["a"]
        assert await store.release(grant, DONE)
        assert len(await store.history("nightly", 5)) == 1

    opened(guarded, "app:apppw@", "team", play)


def test_an_old_auth_token_is_renewed(guarded: EtcdServer) -> None:
    async def play(store: EtcdStore) -> None:
        line = await store._kept.get()
        line.token = "worn-out.1"  # noqa: S105 - not a secret
        grant = await lead(store, "again", candidate("a"))
        assert line.token != "worn-out.1"  # noqa: S105 - not a secret
        assert await store.release(grant, DONE)

    opened(guarded, "app:apppw@", "team", play)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("app:wrong@", "refuses user 'app'.*correct the name or the password"),
        ("nobody:x@", "refuses user 'nobody'"),
        ("", "wants a user and a password"),
    ],
)
def test_a_wrong_user_is_one_line(guarded: EtcdServer, user: str, words: str) -> None:
    async def play(store: EtcdStore) -> None:
        await store.acquire("nightly", candidate("a"), TTL_NS)

    with pytest.raises(StoreUnavailable, match=words) as raised:
        opened(guarded, user, "team", play)
    assert "wrong" not in str(raised.value)


def test_a_missing_right_is_one_line_and_no_office(guarded: EtcdServer) -> None:
    async def play(store: EtcdStore) -> None:
        with pytest.raises(StoreUnavailable, match="role needs readwrite on the prefix"):
            await store.acquire("nightly", candidate("a"), TTL_NS)
        with pytest.raises(StoreUnavailable, match="role needs readwrite"):
            await store.watch("nightly", Ear())

    opened(guarded, "app:apppw@", "elsewhere", play)


def test_reading_creates_nothing(server: EtcdServer) -> None:
    async def main() -> None:
        before = server.ctl("lease", "list"), server.ctl("get", "", "--from-key")
        store = await open_store(StoreUrl("etcd", f"127.0.0.1:{server.port}/void", create=False))
        assert await store.elections() == []
        assert await store.describe("x") == Record("x", None, 0)
        assert await store.history("x", 3) == []
        await store.close()
        after = server.ctl("lease", "list"), server.ctl("get", "", "--from-key")
        assert len(after[0]) <= len(before[0])
        assert after[1] == before[1]

    asyncio.run(main())


# -- what it costs ---------------------------------------------------------------------------------


def test_a_thousand_elections_idle_cost_what_one_costs(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as server:
        corner = Corner(server)

        async def play(one: EtcdStore, two: EtcdStore) -> None:
            count = 1000
            grants: list[Grant] = []
            holders = [candidate("h") for _ in range(count)]
            waiters = [candidate("w") for _ in range(count)]
            for number, (holder, waiter) in enumerate(zip(holders, waiters, strict=True)):
                await one.watch(f"e{number}", Ear(), holder)
                grants.append(await lead(one, f"e{number}", holder, 60 * SECOND_NS))
                await two.watch(f"e{number}", Ear(), waiter)
                await two.acquire(f"e{number}", waiter, 60 * SECOND_NS)
            before = server.requests()
            assert all(await one.renew(grants))  # a period of the one that leads
            for number, waiter in enumerate(waiters):  # half a lease of those who wait
                await two.acquire(f"e{number}", waiter, 60 * SECOND_NS)
            assert server.requests() - before <= 3

        corner.run(2, play)
