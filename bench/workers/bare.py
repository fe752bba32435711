"""The least that tells a waiter of a release: ``python -m bench.workers.bare STORE URL``.

A bare client and no election: one write takes the mark, one gives it back and tells
whoever listens. Work begins as soon as a waiter hears of it. What Elector needs for a handover is
compared with this, on the same server and between processes that rest as long.
"""

import asyncio
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import redis

from bench.workers.reporting import note
from elector.stores.etcd.client import Endpoints, settings_of
from elector.stores.etcd.wire import message
from elector.stores.registry import parse_url


class Mark(NamedTuple):
    """What a bare client can do with it.

    Attributes:
        take: set it; False if it is set already.
        wait: until somebody gives it back.
        give: remove it, and tell those who wait.
    """

    take: Callable[[], bool]
    wait: Callable[[], object]
    give: Callable[[], object]


def _redis(url: str) -> Mark:
    client: Any = redis.Redis.from_url(url.partition("?")[0].replace("valkey://", "redis://"))
    listening = client.pubsub(ignore_subscribe_messages=True)
    listening.subscribe("bare")
    listening.get_message(timeout=5)
    give = client.register_script("redis.call('DEL', 'bare') redis.call('PUBLISH', 'bare', '')")
    return Mark(
        take=lambda: bool(client.set("bare", "", nx=True)),
        wait=lambda: next(listening.listen()),
        give=give,
    )


def _postgresql(url: str) -> Mark:
    # By name, since it is there for the benchmark alone, and type checkers run without it.
    psycopg: Any = import_module("psycopg")
    connect = psycopg.connect
    connection, listening = (connect(url.partition("?")[0], autocommit=True) for _ in range(2))
    connection.execute("CREATE TABLE IF NOT EXISTS bare (held int PRIMARY KEY)")
    listening.execute("LISTEN bare")
    put = "INSERT INTO bare VALUES (1) ON CONFLICT DO NOTHING"
    give = "WITH given AS (DELETE FROM bare RETURNING 1) SELECT pg_notify('bare', '') FROM given"
    return Mark(
        take=lambda: bool(connection.execute(put).rowcount),
        wait=lambda: next(listening.notifies()),
        give=lambda: connection.execute(give),
    )


def _etcd(url: str) -> Mark:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    run = loop.run_until_complete
    line = run(Endpoints(settings_of(parse_url(url)), url).dial())
    key = b"/bare"
    absent = message("Compare", result=0, target=1, key=key, create_revision=0)
    put = message("RequestOp", request_put=message("PutRequest", key=key))
    remove = message("RequestOp", request_delete_range=message("DeleteRangeRequest", key=key))
    create = message("WatchRequest", create_request=message("WatchCreateRequest", key=key))
    watch = line.stream("Watch")
    run(watch.write(create))
    run(watch.read())

    async def removed() -> None:
        while all(event.type != 1 for event in (await watch.read()).events):
            pass

    def transact(**what: Any) -> Any:
        return run(line.once("Txn", message("TxnRequest", **what), 5.0))

    return Mark(
        take=lambda: bool(transact(compare=[absent], success=[put]).succeeded),
        wait=lambda: run(removed()),
        give=lambda: transact(success=[remove]),
    )


_MARKS = {"redis": _redis, "postgresql": _postgresql, "etcd": _etcd}


def main(store: str, url: str) -> None:
    """Wait, work, leave."""
    mark = _MARKS[store](url)
    taken = mark.take()
    note("standing")
    if not taken:
        mark.wait()
    note("begin")
    if not taken:
        mark.take()
    sys.stdin.readline()
    note("end")
    mark.give()


if __name__ == "__main__":
    main(*sys.argv[1:])
