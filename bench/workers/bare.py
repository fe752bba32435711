"""The least that tells a waiter of a release: ``python -m bench.workers.bare STORE URL``.

A bare, blocking client and no election: one write takes the mark, one gives it back and tells
whoever listens. Work begins as soon as a waiter hears of it. What Elector needs for a handover is
compared with this, on the same server and between processes that rest as long.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import grpc
import redis

from bench.workers.reporting import note
from elector.stores.etcd.wire import message, path, request_type, response_type


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
    channel = grpc.insecure_channel(url.removeprefix("etcd://").partition("/")[0])
    transact = channel.unary_unary(
        path("Txn"),
        request_serializer=request_type("Txn").SerializeToString,
        response_deserializer=response_type("Txn").FromString,
    )
    watch = channel.stream_stream(
        path("Watch"),
        request_serializer=request_type("Watch").SerializeToString,
        response_deserializer=response_type("Watch").FromString,
    )
    key = b"/bare"
    absent = message("Compare", result=0, target=1, key=key, create_revision=0)
    put = message("RequestOp", request_put=message("PutRequest", key=key))
    remove = message("RequestOp", request_delete_range=message("DeleteRangeRequest", key=key))
    create = message("WatchRequest", create_request=message("WatchCreateRequest", key=key))
    answers = watch(iter([create]))
    next(answers)
    return Mark(
        take=lambda: transact(message("TxnRequest", compare=[absent], success=[put])).succeeded,
        wait=lambda: next(answer for answer in answers if any(e.type == 1 for e in answer.events)),
        give=lambda: transact(message("TxnRequest", success=[remove])),
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
