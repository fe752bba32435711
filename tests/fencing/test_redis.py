"""The guards of Redis against a real server, with plain and asyncio clients."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from elector.errors import ConfigurationError, StoreCorrupt
from elector.fencing import StaleToken
from elector.fencing.redis import AsyncRedisGuard, RedisGuard
from tests.servers.redis import redis_server

from .processes import rivals, started, thaw, wait_until_stopped
from .writers import RESOURCE, WRITERS

KINDS = ["redis", "redis async"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


@pytest.fixture
def guard(client: Any) -> RedisGuard:
    return RedisGuard(client)


def written(client: Any) -> list[int]:
    return [int(token) for token in client.lrange("ledger", 0, -1)]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_and_higher_tokens_write_and_lower_ones_do_not(
    client: Any, server: str, kind: str
) -> None:
    with WRITERS[kind](server) as write:
        for token in (3, 3, 5):
            write(token)
        with pytest.raises(StaleToken) as refused:
            write(4)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert written(client) == [3, 3, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_leader_wakes_up_after_its_successor_wrote(
    client: Any, server: str, kind: str
) -> None:
    with started("late_leader.py", kind, server, "1") as late:
        wait_until_stopped(late)
        with WRITERS[kind](server) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    assert written(client) == [2]


@pytest.mark.parametrize("kind", KINDS)
def test_rival_processes_never_write_out_of_order(client: Any, server: str, kind: str) -> None:
    admitted = rivals(kind, server, writes=300)
    assert written(client) == sorted(admitted)
    assert int(client.get(f"elector:fence:{{{RESOURCE}}}")) == max(admitted)


def test_resources_do_not_disturb_each_other(guard: RedisGuard) -> None:
    guard.run([], "ledger", 9)
    guard.run([], "archive", 1)
    RedisGuard(guard._client, prefix="other:").run([], "ledger", 1)
    with pytest.raises(StaleToken):
        guard.run([], "ledger", 8)


@pytest.mark.parametrize(
    ("newest", "stale"),
    [(10, 9), (100, 99), (2**53 + 1, 2**53), (2**63 - 1, 2**63 - 2), (2**60, 2**53)],
)
def test_tokens_are_compared_exactly(guard: RedisGuard, newest: int, stale: int) -> None:
    guard.run([], "ledger", stale)
    guard.run([], "ledger", newest)
    with pytest.raises(StaleToken) as refused:
        guard.run([], "ledger", stale)
    assert refused.value.newest == newest


def test_commands_answer_as_they_do_alone(client: Any, guard: RedisGuard) -> None:
    blob = bytes(range(256))
    replies = guard.run(
        [
            ("SET", "blob", blob),
            ("GET", "blob"),
            ("GET", "nothing"),
            ("INCRBY", "total", 7),
            ("LRANGE", "nothing", 0, -1),
            ("SET", b"half", 0.5),
        ],
        "ledger",
        1,
    )
    assert replies == [b"OK", blob, None, 7, [], b"OK"]
    assert client.get("half") == b"0.5"


def test_a_stale_leader_changes_nothing_at_all(client: Any, guard: RedisGuard) -> None:
    guard.run([("SET", "total", 1)], "ledger", 2)
    before = {key: client.dump(key) for key in client.keys()}  # noqa: SIM118 - no dict
    with pytest.raises(StaleToken):
        guard.run([("SET", "total", 9), ("SET", "other", 9)], "ledger", 1)
    with pytest.raises(StaleToken):
        guard.eval("return redis.call('SET', 'total', 9)", "ledger", 1)
    assert {key: client.dump(key) for key in client.keys()} == before  # noqa: SIM118 - no dict


def test_a_script_sees_its_own_keys_and_arguments(client: Any, guard: RedisGuard) -> None:
    script = """
        redis.call('SET', KEYS[1], ARGV[1])
        if ARGV[2] == nil then return {#KEYS, #ARGV, KEYS[1]} end
        return 'more' -- and a comment at the end"""
    assert guard.eval(script, "ledger", 1, keys=["a"], args=[5]) == [1, 1, b"a"]
    assert guard.eval(script, "ledger", 1, keys=["a"], args=[5, 6]) == b"more"
    assert client.get("a") == b"5"


@pytest.mark.parametrize("script", ["", "return nil", "local a = 1"])
def test_a_script_may_answer_nothing(guard: RedisGuard, script: str) -> None:
    assert guard.eval(script, "ledger", 1) is None


def test_errors_of_scripts_and_commands_are_the_clients(client: Any, guard: RedisGuard) -> None:
    for script in ("return redis.error_reply('MINE it is')", "error('MINE it is')"):
        with pytest.raises(ResponseError, match="MINE it is"):
            guard.eval(script, "ledger", 1)
    client.rpush("entries", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        guard.run([("SET", "total", 1), ("INCR", "entries"), ("SET", "after", 1)], "ledger", 1)
    assert (client.get("total"), client.get("after")) == (b"1", None)  # as in MULTI, and as told


@pytest.mark.parametrize("damage", ["", "x", "0", "-1", "007", "1.5", " 7", "7\n"])
def test_a_damaged_bar_is_no_new_start(client: Any, guard: RedisGuard, damage: str) -> None:
    client.set(guard.key("ledger"), damage)
    with pytest.raises(StoreCorrupt, match="holds no token") as refused:
        guard.run([("SET", "total", 1)], "ledger", 9)
    assert "\n" not in str(refused.value)
    assert client.get("total") is None
    assert client.get(guard.key("ledger")) == damage.encode()


def test_a_key_of_another_kind_is_a_damaged_bar(client: Any, guard: RedisGuard) -> None:
    client.rpush(guard.key("ledger"), 1)
    with pytest.raises(StoreCorrupt, match="WRONGTYPE"):
        guard.eval("return 1", "ledger", 9)


def test_clients_that_decode_are_served_alike(server: str, client: Any) -> None:
    client.set("seen", 1)
    with redis.Redis.from_url(server, decode_responses=True) as decoding:
        guard = RedisGuard(decoding)
        assert guard.run([("GET", "seen")], "ledger", 2) == ["1"]
        with pytest.raises(StaleToken, match="token 2"):
            guard.run([], "ledger", 1)
        decoding.set(guard.key("ledger"), "x")
        with pytest.raises(StoreCorrupt):
            guard.run([], "ledger", 1)


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_are_served_alike(server: str, client: Any, protocol: int) -> None:
    assert client.ping()
    with redis.Redis.from_url(server, protocol=protocol) as other:
        guard = RedisGuard(other)
        assert guard.run([("GET", "x"), ("SET", "x", 1)], "ledger", 2) == [None, b"OK"]
        with pytest.raises(ResponseError, match="MINE"):
            guard.eval("return redis.error_reply('MINE it is')", "ledger", 2)
        with pytest.raises(StaleToken):
            guard.run([], "ledger", 1)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_is_never_sent(client: Any, guard: RedisGuard, token: Any) -> None:
    for act in (lambda: guard.run([], "ledger", token), lambda: guard.eval("", "ledger", token)):
        with pytest.raises(ConfigurationError, match="not a fencing token"):
            act()
    assert client.dbsize() == 0


def test_what_is_no_resource_is_never_sent(client: Any, guard: RedisGuard) -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        guard.run([], "a\nb", 1)
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    "commands",
    [["SET x 1"], [()], [("SADD", *range(7000))], "SET x 1", [{"SET": 1}], [None], [("A",), ""]],
)
def test_what_is_no_list_of_commands_is_never_sent(
    client: Any, guard: RedisGuard, commands: Any
) -> None:
    with pytest.raises(ConfigurationError, match="1 to 7000 words"):
        guard.run(commands, "ledger", 1)
    assert client.dbsize() == 0


def test_commands_may_come_from_a_generator(client: Any, guard: RedisGuard) -> None:
    guard.run((("RPUSH", "ledger", token) for token in (1, 2)), "ledger", 1)
    assert written(client) == [1, 2]


def test_a_long_command_is_carried_out(client: Any, guard: RedisGuard) -> None:
    guard.run([("SADD", "many", *range(6998))] * 3, "ledger", 1)
    assert client.scard("many") == 6998


def test_a_script_with_a_shebang_is_refused(guard: RedisGuard) -> None:
    with pytest.raises(ConfigurationError, match="shebang"):
        guard.eval("#!lua flags=allow-stale\nreturn 1", "ledger", 1)


def test_a_client_of_the_other_kind_is_refused(server: str, client: Any) -> None:
    async def act() -> None:
        asynchronous = redis.asyncio.Redis.from_url(server)
        with pytest.raises(ConfigurationError, match="use AsyncRedisGuard"):
            RedisGuard(asynchronous).run([("SET", "x", 1)], "ledger", 1)
        await asynchronous.aclose()
        with pytest.raises(ConfigurationError, match="use RedisGuard"):
            await AsyncRedisGuard(client).run([], "ledger", 1)

    asyncio.run(act())
    assert client.get("x") is None
