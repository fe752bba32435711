"""Object stores, on a real S3 server: the laws, what a request costs, and what a refusal says."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import obstore
import pytest

from elector.core.office import EndReason
from elector.errors import (
    ConfigurationError,
    ElectorError,
    StoreCorrupt,
    StoreUnavailable,
    UnsupportedTrait,
)
from elector.stores.objects import bucket as objects_bucket
from elector.stores.objects import diagnose
from elector.stores.port import Ask, Granted, Occupied, Record, Store
from elector.stores.registry import StoreUrl, open_store, parse_url
from elector.testing.stores import check_store, store_machine
from tests.servers.fake_s3 import ALL, fake_s3
from tests.servers.process import free_port
from tests.servers.s3 import BUCKET, S3Server, s3_server
from tests.stores.worlds import (
    DEADLINE_S,
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    is_ask,
    lead,
    play_out,
    vacant,
)

DONE = EndReason.COMPLETED
LEAST_NS = 3 * SECOND_NS

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def keys(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prefix() -> str:
    """A place of this test's own."""
    return f"place{next(_numbers)}"


@pytest.fixture
def url(server: S3Server, prefix: str) -> str:
    return url_of(server, prefix)


def url_of(server: S3Server, prefix: str, bucket: str = BUCKET) -> str:
    return f"s3://{bucket}/{prefix}?endpoint=http://127.0.0.1:{server.port}&poll=100ms"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is asked of buckets, counted."""
    counted: Counter[str] = Counter()

    def counting(name: str) -> None:
        send = getattr(objects_bucket.Bucket, name)

        async def counted_one(self: object, *args: object) -> object:
            counted[name] += 1
            return await send(self, *args)

        monkeypatch.setattr(objects_bucket.Bucket, name, counted_one)

    for name in ("get", "put", "note", "forget", "names"):
        counting(name)
    return counted


def play(url: str | StoreUrl, count: int, acts: Callable[..., Awaitable[None]]) -> None:
    """Run ``acts(*stores)`` with so many stores, as in so many processes."""
    play_out(acts, *[url] * count)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - it is another process that is waited for
            await asyncio.sleep(0.02)


# -- the laws --------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_it_holds_the_laws(server: S3Server, url: str) -> None:
    report = check_store(url, restart=server.crash, rounds=10)
    assert report.of("unsupported") == ["back_in_office", "woken", "call_handed_on"]
    assert not report.of("untried")


def test_it_does_what_a_naive_store_does(url: str) -> None:
    machine = store_machine(url).TestCase
    machine.settings = machine.settings.__class__(max_examples=10, deadline=None)
    machine().runTest()


# -- who may lead ----------------------------------------------------------------------------


def test_asking_of_a_silent_holder_does_not_prolong_its_lease(url: str) -> None:
    async def acts(one: Store, two: Store, three: Store) -> None:
        silent = await lead(one, "nightly", candidate("silent"), LEAST_NS)
        rival = candidate("rival")
        while isinstance(answer := await two.acquire("nightly", rival, LEAST_NS), Occupied):
            await three.ask(Ask("nightly", silent.token))
            await asyncio.sleep(0.05)
        assert answer == Granted(silent.token + 1)

    play(url, 3, acts)


def test_a_contender_counts_the_ttl_that_the_holder_published(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        await lead(one, "nightly", candidate("a"), 20 * LEAST_NS)
        answer = await two.acquire("nightly", candidate("b"), LEAST_NS)
        assert isinstance(answer, Occupied)
        record = await two.describe("nightly")
        assert record.expires_in_ns is not None
        assert record.expires_in_ns > 19 * LEAST_NS

    play(url, 2, acts)


def test_what_was_seen_by_somebody_who_looked_on_counts(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        ear = Ear()
        await two.watch("nightly", ear)
        grant = await lead(one, "nightly", candidate("a"), LEAST_NS)
        await ear.until_led("a", grant.token)
        await ear.until_vacant(grant.token)  # nobody renewed, and nobody released
        assert await two.acquire("nightly", candidate("b"), LEAST_NS) == Granted(2)

    play(url, 2, acts)


def test_that_something_is_lost_is_never_said_from_memory(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        assert (await one.describe("nightly")).leader is None
        grant = await lead(two, "nightly", candidate("a"))
        assert await one.renew([grant]) == [True]
        await two.describe("nightly")
        assert await one.release(grant, DONE)
        again = await lead(two, "nightly", grant.candidate)
        assert await one.release(again, DONE)

    play(url, 2, acts)


# -- what it costs ---------------------------------------------------------------------------


def test_a_renewal_is_one_write_and_no_read(url: str, requests: Counter[str]) -> None:
    async def acts(store: Store) -> None:
        who = candidate("a")
        await store.watch("nightly", Ear(), who)
        grant = await lead(store, "nightly", who)
        requests.clear()
        for _ in range(5):
            assert await store.renew([grant]) == [True]
        assert await store.release(grant, DONE)
        assert requests == {"put": 6}

    play(url, 1, acts)


def test_where_only_the_holder_watches_nobody_polls(url: str, requests: Counter[str]) -> None:
    async def acts(store: Store) -> None:
        who = candidate("a")
        watch = await store.watch("nightly", Ear(), who)
        await lead(store, "nightly", who)
        requests.clear()
        await asyncio.sleep(0.5)
        assert not requests
        await store.watch("nightly", Ear())
        requests.clear()
        await until(_asks(requests, "get", 3))
        await watch.close()

    play(url, 1, acts)


def _asks(requests: Counter[str], name: str, times: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return requests[name] >= times

    return asked


def test_whether_the_server_compares_is_tried_once_in_a_process(
    url: str, requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_bucket, "_TRIED", set())

    async def acts(*_: Store) -> None:
        assert requests["put"] <= 3

    play(url, 4, acts)


# -- asks, heirs, the line -------------------------------------------------------------------


def test_an_ask_is_heard_at_the_next_renewal_and_only_once(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        who, ear = candidate("a"), Ear()
        await one.watch("nightly", ear, who)
        grant = await lead(one, "nightly", who)
        await two.ask(Ask("nightly", grant.token, "b"))
        assert await one.renew([grant]) == [True]
        assert await one.renew([grant]) == [True]
        await ear.until(is_ask, "somebody asks")
        assert ear.asks() == [Ask("nightly", grant.token, "b")]

    play(url, 2, acts)


def test_those_who_wait_are_named_in_their_order_until_they_lead_or_leave(url: str) -> None:
    async def acts(one: Store, two: Store, three: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        watches = []
        for store, name in ((two, "b"), (three, "c/d"), (two, "e" * 200)):
            who = candidate(name)
            watches.append((who, await store.watch("nightly", Ear(), who)))
            assert isinstance(await store.acquire("nightly", who, TTL_NS), Occupied)
            await until(_waits(one, name))
        assert (await one.describe("nightly")).waiting == ("b", "c/d", "e" * 200)
        [listed] = await one.elections()
        assert listed.waiting == ("b", "c/d", "e" * 200)

        assert await one.release(grant, DONE)
        successor = await lead(two, "nightly", watches[0][0])
        await until(_waits(one, "b", waits=False))
        await watches[1][1].close()
        await until(_waits(one, "c/d", waits=False))
        assert (await one.describe("nightly")).waiting == ("e" * 200,)
        assert successor.token == grant.token + 1

    play(url, 3, acts)


def _waits(store: Store, name: str, *, waits: bool = True) -> Callable[[], Awaitable[bool]]:
    async def told() -> bool:
        return (name in (await store.describe("nightly")).waiting) is waits

    return told


def test_a_closed_store_does_not_wait_any_more(url: str) -> None:
    async def acts(one: Store) -> None:
        await lead(one, "nightly", candidate("a"))
        two = await open_store(parse_url(url))
        who = candidate("b")
        await two.watch("nightly", Ear(), who)
        await two.acquire("nightly", who, TTL_NS)
        await until(_waits(one, "b"))
        await two.close()
        assert (await one.describe("nightly")).waiting == ()

    play(url, 1, acts)


# -- what is in the bucket -------------------------------------------------------------------


def path_of(prefix: str, election: str = "nightly") -> str:
    return f"{prefix}/{election}.json"


def corrupts(
    url: str, server: S3Server, spoil: Callable[[obstore.store.S3Store], object], says: str
) -> None:
    """After this nobody is granted the office, and who had it has lost it."""

    async def acts(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)
        spoil(server.client())
        for store in (one, two):
            with pytest.raises(StoreCorrupt, match=says) as caught:
                await store.acquire("nightly", candidate("b"), TTL_NS)
            assert "\n" not in str(caught.value)
        beside = await lead(one, "daily", candidate("a"))
        assert await one.renew([grant, beside]) == [False, True]

    play(url, 2, acts)


def test_a_record_that_was_deleted_is_not_begun_again(
    url: str, server: S3Server, prefix: str
) -> None:
    corrupts(url, server, lambda client: obstore.delete(client, path_of(prefix)), "is\\s+gone")


def test_a_record_of_something_else_is_refused(url: str, server: S3Server, prefix: str) -> None:
    def spoil(client: obstore.store.S3Store) -> None:
        obstore.put(client, path_of(prefix), b"<html>")

    corrupts(url, server, spoil, "is not a record of Elector's")


def test_a_record_that_was_restored_is_refused(url: str, server: S3Server, prefix: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        client = server.client()
        grant = await lead(one, "nightly", candidate("a"))
        old = bytes(obstore.get(client, path_of(prefix)).bytes())
        assert await one.release(grant, DONE)
        newer = await lead(one, "nightly", candidate("a"))
        await two.describe("nightly")
        obstore.put(client, path_of(prefix), old)
        for store in (one, two):
            with pytest.raises(StoreCorrupt, match=r"went back from revision 3 \(token 2\) to 1"):
                await store.acquire("nightly", candidate("b"), TTL_NS)
        assert await one.renew([newer]) == [False]

    play(url, 2, acts)


def test_a_record_under_another_name_is_refused(url: str, server: S3Server, prefix: str) -> None:
    async def acts(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))
        obstore.copy(server.client(), path_of(prefix), path_of(prefix, "daily"))
        with pytest.raises(StoreCorrupt, match="is the record of election 'nightly', not of"):
            await store.acquire("daily", candidate("a"), TTL_NS)

    play(url, 1, acts)


def test_reading_creates_nothing(url: str, server: S3Server, prefix: str) -> None:
    where = parse_url(url)

    async def acts(store: Store) -> None:
        ear = Ear()
        await store.watch("nightly", ear)
        await ear.until(vacant(0), "nobody leads")
        assert await store.describe("nightly") == Record("nightly", None, 0)
        assert await store.elections() == []
        assert await store.history("nightly", 5) == []
        await store.ask(Ask("nightly", 1))

    play(StoreUrl(where.scheme, where.rest, create=False), 1, acts)
    assert list(obstore.list(server.client(), prefix)) == []


# -- refusals ----------------------------------------------------------------------------------


def refusal(url: str, kind: type[ElectorError]) -> str:
    """Why a store cannot be opened; in one line, and without the secret."""

    async def main() -> None:
        await (await open_store(parse_url(url))).close()

    with pytest.raises(kind) as caught:
        asyncio.run(main())
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    return str(caught.value)


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the server compares is to be tried again."""
    monkeypatch.setattr(objects_bucket, "_TRIED", set())


@pytest.mark.usefixtures("untried")
def test_a_wrong_key_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    assert "refuses us (403 SignatureDoesNotMatch): check" in refusal(url, StoreUnavailable)
    [finding] = asyncio.run(diagnose(parse_url(url)))
    assert (finding.what, finding.level) == ("reachability", "bad")
    assert finding.remedy is not None


@pytest.mark.usefixtures("untried")
def test_whoever_may_only_read_can_look_but_not_stand(
    server: S3Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.env_of_reader.items():
        monkeypatch.setenv(name, value)
    assert "s3:PutObject" in refusal(url, StoreUnavailable)
    where = parse_url(url)

    async def acts(store: Store) -> None:
        assert await store.elections() == []

    play(StoreUrl(where.scheme, where.rest, create=False), 1, acts)


@pytest.mark.usefixtures("untried")
def test_a_missing_bucket_is_said(server: S3Server, prefix: str) -> None:
    url = url_of(server, prefix, bucket="no-such-bucket")
    assert "create the bucket" in refusal(url, StoreUnavailable)
    [finding] = asyncio.run(diagnose(parse_url(url)))
    assert finding.level == "bad"


@pytest.mark.usefixtures("untried")
def test_that_nobody_is_there_is_said_at_once() -> None:
    url = f"s3://{BUCKET}/p?endpoint=http://127.0.0.1:{free_port()}"
    assert "cannot be reached: check the endpoint" in refusal(url, StoreUnavailable)
    [finding] = asyncio.run(diagnose(parse_url(url)))
    assert finding.level == "bad"


def test_a_bad_url_is_a_finding_too() -> None:
    [finding] = asyncio.run(diagnose(parse_url("s3://bucket/p?key=hunter2")))
    assert finding.level == "bad"
    assert "hunter2" not in finding.says
    refusal("s3://bucket/p?key=hunter2", ConfigurationError)


def test_a_healthy_server_is_found_good(url: str) -> None:
    findings = {finding.what: finding for finding in asyncio.run(diagnose(parse_url(url)))}
    assert findings["reachability"].level == findings["conditions"].level == "good"
    assert findings["transport"].level == "doubtful"


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("ignored", [ALL, {"If-Match"}, {"If-None-Match"}], ids=sorted)
def test_a_server_that_ignores_conditions_is_refused(ignored: frozenset[str]) -> None:
    with fake_s3(ALL - ignored) as fake:
        for _ in range(2):  # also when what it was tried on is there already
            assert "everybody would win" in refusal(fake.url, UnsupportedTrait)
        finding = asyncio.run(diagnose(parse_url(fake.url)))[-1]
        assert finding.level == "bad"
        assert not [path for path in fake.writes if path.endswith(".json")]


@pytest.mark.usefixtures("untried")
def test_a_server_that_knows_no_conditions_is_refused() -> None:
    with fake_s3(ALL, status=501) as fake:
        assert "everybody would win" in refusal(fake.url, UnsupportedTrait)


@pytest.mark.usefixtures("untried")
def test_the_fake_that_obeys_is_good_enough() -> None:
    with fake_s3() as fake:

        async def acts(one: Store, two: Store) -> None:
            grant = await lead(one, "nightly", candidate("a"))
            assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)
            assert await one.renew([grant]) == [True]

        play(fake.url, 2, acts)


def test_keys_may_come_from_a_profile(
    server: S3Server,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("aws") / "credentials"
    file.write_text(
        "[team]\n"
        f"aws_access_key_id = {server.env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {server.env['AWS_SECRET_ACCESS_KEY']}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "team")

    async def acts(store: Store) -> None:
        assert await store.elections() == []

    play(url, 1, acts)


def test_a_late_renewal_of_many_is_judged_one_by_one(url: str) -> None:
    async def acts(store: Store) -> None:
        grants = [await lead(store, f"e{number}", candidate("a")) for number in range(40)]
        await store.release(grants[7], DONE)
        expected = [number != 7 for number in range(40)]
        assert await store.renew(grants) == expected
        assert await store.renew([]) == []

    play(url, 1, acts)
