"""PostgreSQL: what its tables keep true, what a request costs, and what a refusal says."""

import asyncio
import itertools
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from elector.core.office import EndReason
from elector.errors import (
    ConfigurationError,
    ElectorError,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from elector.stores.port import Ask, Grant, Granted, Occupied, Store
from elector.stores.postgresql import PostgresStore, diagnose
from elector.stores.registry import StoreUrl, open_store, parse_url
from elector.testing.stores import check_store, store_machine
from tests.servers.postgresql import PASSWORD, PostgresServer, postgres_server
from tests.servers.process import free_port
from tests.stores.worlds import (
    SECOND_NS,
    TTL_NS,
    Ear,
    candidate,
    is_ask,
    lead,
    led,
    play_out,
    rehearsed,
    vacant,
)

DONE = EndReason.COMPLETED
DEADLINE_S = 60.0

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgresql")) as running:
        yield running


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A place of this test's own."""
    return f"{server.url}?table=place{next(_numbers)}"


def play(url: str, count: int, acts: Callable[..., Awaitable[None]]) -> None:
    """Run ``acts(*stores)`` with so many stores, as in so many processes."""
    play_out(acts, *[url] * count)


async def sql(url: str, statement: str, *values: object) -> list[Any]:
    """Ask the database directly, in a session of its own; {} is the prefix of the tables."""
    dsn, _, prefix = url.partition("?table=")
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement.format(prefix or "elector"), *values))
    finally:
        await connection.close()


def refusal(url: str | StoreUrl) -> ElectorError:
    """Why a store cannot be opened; in one line, and without the password."""

    async def main() -> None:
        await (await open_store(parse_url(url) if isinstance(url, str) else url)).close()

    with pytest.raises((StoreError, ConfigurationError)) as caught:
        asyncio.run(main())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in repr(caught.value)
    return caught.value


# -- the kit -----------------------------------------------------------------------------------


def test_it_holds_every_law(server: PostgresServer, url: str) -> None:
    report = check_store(url, restart=server.restart)
    assert report.of("unsupported") + report.of("untried") == []


def test_it_does_what_a_naive_store_does(url: str) -> None:
    machine = store_machine(url).TestCase
    machine.settings = machine.settings.__class__(max_examples=15, deadline=None)
    machine().runTest()


# -- tokens, whatever happens to the rows --------------------------------------------------------


def test_a_row_is_not_deleted_and_its_token_does_not_fall(url: str) -> None:
    async def acts(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))
        for forbidden in (
            "DELETE FROM {}_elections",
            "TRUNCATE {}_elections",
            "UPDATE {}_elections SET token = 0",
            "UPDATE {}_elections SET name = 'other'",
            "UPDATE {}_elections SET instance = 'thief'",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await sql(url, forbidden)
        assert (await store.describe("nightly")).token == 1

    play(url, 1, acts)


def test_a_token_below_the_history_is_refused(url: str) -> None:
    async def acts(store: Store) -> None:
        who = candidate("a")
        for _ in range(3):
            await store.release(await lead(store, "nightly", who), DONE)
        await sql(url, "ALTER TABLE {}_elections DISABLE TRIGGER USER")
        await sql(url, "UPDATE {}_elections SET token = 1")
        await sql(url, "ALTER TABLE {}_elections ENABLE TRIGGER USER")
        with pytest.raises(StoreCorrupt, match="its history has 3: a token never goes back") as one:
            await store.acquire("nightly", who, TTL_NS)
        assert "\n" not in str(one.value)
        assert (await store.describe("nightly")).leader is None
        await lead(store, "daily", who)  # another election is none the worse

    play(url, 1, acts)


def test_a_row_that_was_taken_away_does_not_start_again(url: str) -> None:
    async def acts(store: Store) -> None:
        await store.release(await lead(store, "nightly", candidate("a")), DONE)
        await sql(url, "ALTER TABLE {}_elections DISABLE TRIGGER USER")
        await sql(url, "DELETE FROM {}_elections")
        await sql(url, "ALTER TABLE {}_elections ENABLE TRIGGER USER")
        with pytest.raises(StoreCorrupt, match="its history has 1"):
            await store.acquire("nightly", candidate("a"), TTL_NS)

    play(url, 1, acts)


def test_a_token_may_be_raised_by_hand(url: str) -> None:
    async def acts(store: Store) -> None:
        await store.release(await lead(store, "nightly", candidate("a")), DONE)
        await sql(url, "UPDATE {}_elections SET token = 500 WHERE name = 'nightly'")
        assert (await lead(store, "nightly", candidate("a"))).token == 501

    play(url, 1, acts)


def test_the_last_thousand_tenures_are_kept(url: str) -> None:
    async def acts(store: Store) -> None:
        await store.release(await lead(store, "nightly", candidate("a")), DONE)
        await sql(
            url,
            "INSERT INTO {0}_tenures SELECT 'nightly', n, 'old', 'old', now(), now(), 'resigned' "
            "FROM generate_series(2, 1500) n",
        )
        await sql(url, "UPDATE {}_elections SET token = 1549")  # and nobody led from 1501 on
        await lead(store, "nightly", candidate("b"))
        past = await store.history("nightly", 5000)
        assert [past[0].token, past[-1].token, len(past)] == [1550, 551, 951]

    play(url, 1, acts)


# -- what it costs -------------------------------------------------------------------------------


async def count_requests(store: Store) -> list[str]:
    """What the store asks its server from now on."""
    assert isinstance(store, PostgresStore)
    await store.acquire("first", candidate("first"), TTL_NS)
    await rehearsed(store)
    asked: list[str] = []
    link = store._kept._connection
    assert link is not None
    link.connection.add_query_logger(lambda said: asked.append(said.query))
    return asked


def test_a_rehearsal_leaves_nothing_and_tells_nobody(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        assert isinstance(one, PostgresStore)
        await lead(one, "first", candidate("a"))
        await rehearsed(one)
        link = await one._link()
        heard: asyncio.Queue[str] = asyncio.Queue()
        listening = await asyncpg.connect(url.partition("?")[0])
        await listening.add_listener(link.channel, lambda *said: heard.put_nowait(said[3]))
        await two.acquire("first", candidate("b"), TTL_NS)
        await rehearsed(two)
        assert await one._request("rehearsal") == []  # it does not fail in silence, nor twice
        await listening.execute(f"NOTIFY {link.channel}, 'all'")
        assert await asyncio.wait_for(heard.get(), DEADLINE_S) == "all"
        await listening.close()
        assert [record.election for record in await one.elections()] == ["first"]
        assert await sql(url, "SELECT token FROM {}_tenures") == [(1,)]

    play(url, 2, acts)


def test_a_thousand_elections_are_one_statement(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        names = [f"e{number}" for number in range(1000)]
        who, rival = candidate("a"), candidate("b")
        asked = await count_requests(one)
        answers = await asyncio.gather(*(one.acquire(name, who, TTL_NS) for name in names))
        assert answers == [Granted(1)] * 1000
        grants = [Grant(name, who, 1, TTL_NS) for name in names]
        assert await one.renew(grants) == [True] * 1000
        assert len(asked) == 2
        others = await count_requests(two)
        for name in names:
            await two.watch(name, Ear(), rival)
        answers = await asyncio.gather(*(two.acquire(name, rival, TTL_NS) for name in names))
        assert {answer.leader for answer in answers if isinstance(answer, Occupied)} == {"a"}
        assert len(others) == 1
        assert (await one.describe("e7")).waiting == ("b",)
        released = await asyncio.gather(*(one.release(grant, DONE) for grant in grants))
        assert released == [True] * 1000
        assert len(asked) == 4

    play(url, 2, acts)


def test_two_processes_that_want_the_same_thousand_do_not_block_each_other(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        names = [f"e{number}" for number in range(300)]
        for token in range(1, 4):
            a, b = candidate("a"), candidate("b")
            answers = await asyncio.gather(
                *(one.acquire(name, a, TTL_NS) for name in names),
                *(two.acquire(name, b, TTL_NS) for name in reversed(names)),
            )
            won = [answer for answer in answers if isinstance(answer, Granted)]
            assert won == [Granted(token)] * 300
            held = [
                Grant(name, who, token, TTL_NS)
                for name, who, answer in zip(
                    [*names, *reversed(names)], [a] * 300 + [b] * 300, answers, strict=True
                )
                if isinstance(answer, Granted)
            ]
            assert all(await asyncio.gather(*(one.release(grant, DONE) for grant in held)))

    play(url, 2, acts)


def test_nobody_asks_while_nothing_happens(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        ear = Ear()
        await two.watch("nightly", ear, candidate("b"))
        await two.watch("nightly", Ear())
        await lead(one, "nightly", candidate("a"))
        await ear.until(led("a", 1))
        asked = await count_requests(one), await count_requests(two)
        await asyncio.sleep(0.5)
        assert asked == ([], [])

    play(url, 2, acts)


# -- under READ COMMITTED ------------------------------------------------------------------------


def test_whoever_waits_for_the_row_sees_it_as_it_is_then(url: str) -> None:
    """An acquisition that waits behind another one's transaction is refused by its outcome."""

    async def acts(store: Store) -> None:
        await store.release(await lead(store, "nightly", candidate("a")), DONE)
        dsn, _, prefix = url.partition("?table=")
        rival = await asyncpg.connect(dsn)
        try:
            await rival.execute("BEGIN")
            await rival.execute(
                f"UPDATE {prefix}_elections SET token = 2, holder = 'r', instance = 'r',"  # noqa: S608
                " since = clock_timestamp(), expires = clock_timestamp() + interval '1 min'"
            )
            asking = asyncio.create_task(store.acquire("nightly", candidate("a"), TTL_NS))
            blocked = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
            while not (await sql(url, blocked))[0]["n"]:
                assert not asking.done(), asking
                await asyncio.sleep(0.01)
            await rival.execute("COMMIT")
            answer = await asking
        finally:
            await rival.close()
        assert isinstance(answer, Occupied)
        assert (answer.leader, answer.token) == ("r", 2)
        assert answer.retry_in_ns is not None

    play(url, 1, acts)


def test_a_row_that_is_held_for_long_is_no_answer_and_no_poison(url: str) -> None:
    async def acts(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        await store.release(grant, DONE)
        kept = await lead(store, "daily", candidate("a"))
        dsn, _, prefix = url.partition("?table=")
        rival = await asyncpg.connect(dsn)
        try:
            await rival.execute("BEGIN")
            await rival.execute(f"SELECT FROM {prefix}_elections WHERE name = 'nightly' FOR UPDATE")
            with pytest.raises(StoreUnavailable, match="somebody holds the row"):
                await store.acquire("nightly", candidate("a"), TTL_NS)
            assert await store.renew([kept]) == [True]
        finally:
            await rival.close()
        assert (await lead(store, "nightly", candidate("a"))).token == 2

    play(url, 1, acts)


# -- asks and heirs ------------------------------------------------------------------------------


def test_an_ask_whose_notification_was_lost_is_found_by_the_renewal(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        ear, who = Ear(), candidate("a")
        await one.watch("nightly", ear, who)
        grant = await lead(one, "nightly", who)
        assert isinstance(one, PostgresStore)
        await rehearsed(one)
        link = one._kept._connection
        assert link is not None
        await link.connection.execute(f'UNLISTEN "{link.channel}"')
        await two.ask(Ask("nightly", grant.token, "heir"))
        assert ear.asks() == []
        for _ in range(3):  # and only once
            assert await one.renew([grant]) == [True]
        assert ear.asks() == [Ask("nightly", grant.token, "heir")]

    play(url, 2, acts)


def test_an_heir_that_leaves_frees_the_office_for_everybody(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        heirs_ear, ear, heir = Ear(), Ear(), candidate("heir")
        watch = await two.watch("nightly", heirs_ear, heir)
        await two.acquire("nightly", heir, TTL_NS)
        await one.watch("nightly", ear, candidate("b"))
        assert await one.release(grant, EndReason.TRANSFERRED, "heir")
        await heirs_ear.until(vacant(1))
        assert ear.vacancies() == []
        await watch.close()
        await ear.until(vacant(1))
        await lead(one, "nightly", candidate("b"))

    play(url, 2, acts)


def test_an_heir_that_does_not_come_is_not_waited_for_by_the_others(url: str) -> None:
    async def acts(one: Store, two: Store) -> None:
        ttl_ns = SECOND_NS
        grant = await lead(one, "nightly", candidate("a"), ttl_ns)
        ear, heir = Ear(), candidate("heir")
        await two.watch("nightly", Ear(), heir)
        await two.acquire("nightly", heir, ttl_ns)
        await one.watch("nightly", ear, candidate("b"))
        assert await one.release(grant, EndReason.TRANSFERRED, "heir")
        await ear.until(vacant(1))  # after the second that it was kept for
        assert isinstance(await two.acquire("nightly", candidate("c"), ttl_ns), Granted)

    play(url, 2, acts)


def test_a_name_that_does_not_wait_is_no_heir(url: str) -> None:
    async def acts(one: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        assert await one.release(grant, EndReason.TRANSFERRED, "nobody")
        await lead(one, "nightly", candidate("b"))

    play(url, 1, acts)


def test_asks_go_to_a_schema_of_ones_own(server: PostgresServer) -> None:
    url = f"{server.url}?table=apart.team"

    async def acts(one: Store, two: Store) -> None:
        ear, who = Ear(), candidate("a")
        await one.watch("nightly", ear, who)
        grant = await lead(one, "nightly", who)
        await two.ask(Ask("nightly", grant.token))
        await ear.until(is_ask)

    assert "create the schema" in str(refusal(url))
    asyncio.run(sql(server.url, "CREATE SCHEMA apart"))
    play(url, 2, acts)


# -- refusals ------------------------------------------------------------------------------------


def test_a_server_that_is_not_there() -> None:
    error = refusal(f"postgresql://elector:{PASSWORD}@127.0.0.1:{free_port()}/app")
    assert isinstance(error, StoreUnavailable)
    assert "cannot be reached" in str(error)


def test_a_wrong_password(server: PostgresServer) -> None:
    error = refusal(server.url.replace(PASSWORD, "wrong/secret?2#"))
    assert isinstance(error, StoreUnavailable)
    assert "correct the user and the password" in str(error)
    assert "secret" not in str(error)


def test_a_missing_database(server: PostgresServer) -> None:
    error = refusal(server.url.replace("/app", "/nowhere"))
    assert isinstance(error, StoreUnavailable)
    assert "createdb" in str(error)


def test_a_url_that_is_none(server: PostgresServer) -> None:
    for wrong in ("?session=advisory", "?table=a;b", "?table=", "?table=a.b.c", "?sslmode=perhaps"):
        assert isinstance(refusal(server.url + wrong), ConfigurationError)
    error = refusal(f"postgresql://elector:{PASSWORD}@127.0.0.1:port/app")
    assert isinstance(error, ConfigurationError)
    assert "correct the part of the URL" in str(refusal(f"{server.url}?tabel=x"))
    for missing in (
        f"{server.url}?sslmode=verify-full&sslrootcert=/nowhere",
        f"postgresql://elector:{PASSWORD}@/app?host=/nowhere",
    ):
        assert "that the URL names" in str(refusal(missing))


def test_a_password_from_the_usual_places(
    server: PostgresServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def acts(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))

    bare = url.replace(f":{PASSWORD}", "")
    assert "correct the user and the password" in str(refusal(bare))
    kept = tmp_path / "pgpass"
    kept.write_text(f"127.0.0.1:{server.port}:app:elector:{PASSWORD}\n")
    kept.chmod(0o600)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSFILE", str(kept))
        play(bare, 1, acts)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    play(f"{bare}b", 1, acts)


def test_reading_makes_nothing(server: PostgresServer, url: str) -> None:
    parsed = parse_url(url)
    error = refusal(StoreUrl(parsed.scheme, parsed.rest, create=False))
    assert "nobody has stood there yet" in str(error)
    prefix = url.partition("?table=")[2]
    tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE $1"
    assert asyncio.run(sql(server.url, tables, f"{prefix}%")) == []


@pytest.fixture
def guest(server: PostgresServer) -> Iterator[str]:
    """The URL of a user who owns nothing."""
    asyncio.run(sql(server.url, f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'"))
    yield server.url.replace("elector:", "guest:")
    asyncio.run(sql(server.url, "DROP OWNED BY guest"))
    asyncio.run(sql(server.url, "DROP ROLE guest"))


def test_a_user_who_may_not_make_tables_and_then_may_use_them(
    server: PostgresServer, guest: str, url: str
) -> None:
    table = url.partition("?")[2]
    own = f"{guest}?{table}"
    error = refusal(own)
    assert isinstance(error, StoreUnavailable)
    assert "may not make tables in schema public" in str(error)
    found = {f.what: f for f in asyncio.run(diagnose(parse_url(own)))}
    assert found["tables"].level == "bad"
    made = found["tables"].remedy
    assert made is not None
    _psql(server, made.removeprefix("their owner runs: "))  # to the letter

    async def acts(one: Store, two: Store) -> None:
        ear = Ear()
        await one.watch("nightly", ear)
        grant = await lead(two, "nightly", candidate("a"))
        assert await two.renew([grant]) == [True]
        assert await two.release(grant, DONE)
        await ear.until(vacant(1))
        await sql(url, "REVOKE ALL ON {}_elections FROM guest")
        with pytest.raises(StoreUnavailable, match="elector doctor") as caught:
            await one.acquire("nightly", candidate("a"), TTL_NS)
        assert "permission denied" in str(caught.value)

    play(own, 2, acts)
    found = {f.what: f for f in asyncio.run(diagnose(parse_url(own)))}
    assert found["tables"].remedy is not None
    assert "GRANT" in found["tables"].remedy


def _psql(server: PostgresServer, script: str) -> None:
    from tests.servers.postgresql import BIN

    done = subprocess.run(
        [BIN / "psql", "-v", "ON_ERROR_STOP=1", "-d", server.url],
        input=script,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_somebody_elses_table(url: str) -> None:
    asyncio.run(sql(url, "CREATE TABLE {}_elections (id int)"))
    error = refusal(url)
    assert isinstance(error, StoreCorrupt)
    assert "is not a table that elector made" in str(error)
    asyncio.run(sql(url, "COMMENT ON TABLE {}_elections IS 'elector schema 1'"))

    async def acts(store: Store) -> None:
        with pytest.raises(StoreCorrupt, match="not as elector makes them"):
            await store.acquire("nightly", candidate("a"), TTL_NS)

    play(url, 1, acts)
    asyncio.run(sql(url, "COMMENT ON TABLE {}_elections IS 'elector schema 7'"))
    assert "made by a newer elector" in str(refusal(url))


def test_eight_processes_make_the_tables_at_once(url: str) -> None:
    async def main() -> None:
        stores = await asyncio.gather(*(open_store(parse_url(url)) for _ in range(8)))
        racers = [candidate(f"r{number}") for number in range(8)]
        answers = await asyncio.gather(
            *(s.acquire("race", who, TTL_NS) for s, who in zip(stores, racers, strict=True))
        )
        assert [answer for answer in answers if isinstance(answer, Granted)] == [Granted(1)]
        for store in stores:
            await store.close()

    asyncio.run(main())


def test_a_session_commits_durably_whatever_the_default_is(
    server: PostgresServer, guest: str, url: str
) -> None:
    asyncio.run(sql(server.url, "GRANT CREATE ON SCHEMA public TO guest"))
    for setting in ("synchronous_commit = off", "default_transaction_isolation = serializable"):
        asyncio.run(sql(server.url, f"ALTER ROLE guest SET {setting}"))

    async def acts(store: Store) -> None:
        assert isinstance(store, PostgresStore)
        link = store._kept._connection
        assert link is not None
        for name, value in (
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
        ):
            assert await link.connection.fetchval("SELECT current_setting($1)", name) == value

    own = f"{guest}?{url.partition('?')[2]}"
    play(own, 1, acts)
    found = {f.what: f for f in asyncio.run(diagnose(parse_url(own)))}
    assert found["durability"].level == "good"
    assert "synchronous_commit=off, but on in our own" in found["durability"].says


# -- the doctor ----------------------------------------------------------------------------------


def test_the_doctor_finds_a_healthy_store(url: str) -> None:
    async def acts(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))

    before = asyncio.run(diagnose(parse_url(url)))
    play(url, 1, acts)
    after = asyncio.run(diagnose(parse_url(url)))
    for findings in (before, after):
        assert {finding.level for finding in findings} == {"good"}, findings
    assert [f.what for f in after] == [
        *("reachability", "server", "pooler", "tables", "clock", "durability", "replication")
    ]


def test_the_doctor_finds_triggers_that_sleep(url: str) -> None:
    async def acts(store: Store) -> None:
        await lead(store, "nightly", candidate("a"))

    play(url, 1, acts)
    asyncio.run(sql(url, "ALTER TABLE {}_elections DISABLE TRIGGER USER"))
    [bad] = [f for f in asyncio.run(diagnose(parse_url(url))) if f.level == "bad"]
    assert "missing or disabled" in bad.says


def test_the_doctor_says_that_nobody_is_there() -> None:
    [finding] = asyncio.run(diagnose(parse_url(f"postgresql://x:{PASSWORD}@127.0.0.1:1/app")))
    assert (finding.what, finding.level) == ("reachability", "bad")
    assert PASSWORD not in finding.says
