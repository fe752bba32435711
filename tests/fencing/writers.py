"""What a leader does with each kind of guarded resource: write its token as the value.

Each opens the resource and yields a function that writes under a token. The client libraries
are imported where they are used: a process writes to one kind.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any

from elector.fencing import SqlGuard

if TYPE_CHECKING:
    from obstore.store import S3Store

Write = Callable[[int], None]

RESOURCE = "the ledger"


@contextmanager
def http(where: str) -> Iterator[Write]:
    from elector.fencing.http import fencing_headers, raise_if_stale

    def write(token: int) -> None:
        signed = fencing_headers(token, RESOURCE)
        request = urllib.request.Request(where, str(token).encode(), signed)  # noqa: S310 - a test's
        try:
            urllib.request.urlopen(request).close()  # noqa: S310 - a test's own server
        except urllib.error.HTTPError as answer:
            with answer:
                raise_if_stale(answer.code, answer.read())
                raise

    yield write


@contextmanager
def sqlalchemy(where: str) -> Iterator[Write]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    from elector.fencing.sqlalchemy import guard_session

    engine = create_engine(where)

    def write(token: int) -> None:
        with Session(engine) as session:
            guard_session(session, RESOURCE, token)
            session.execute(text("INSERT INTO ledger (token) VALUES (:token)"), {"token": token})
            session.commit()

    yield write
    engine.dispose()


@contextmanager
def sqlalchemy_async(where: str) -> Iterator[Write]:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    from elector.fencing.sqlalchemy import guard_session

    engine = create_async_engine(where)

    async def write(token: int) -> None:
        async with AsyncSession(engine) as session:
            guard_session(session, RESOURCE, token)
            await session.execute(
                text("INSERT INTO ledger (token) VALUES (:token)"), {"token": token}
            )
            await session.commit()

    with asyncio.Runner() as runner:
        yield lambda token: runner.run(write(token))
        runner.run(engine.dispose())


@contextmanager
def psycopg(where: str) -> Iterator[Write]:
    from psycopg import connect

    guard = SqlGuard()
    with closing(connect(where)) as connection:

        def write(token: int) -> None:
            with guard.writing(connection, RESOURCE, token) as cursor:
                cursor.execute("INSERT INTO ledger (token) VALUES (%s)", (token,))

        yield write


@contextmanager
def trigger(where: str) -> Iterator[Write]:
    """A program that knows only of the token's column."""
    from psycopg import connect

    guard = SqlGuard()
    with closing(connect(where)) as connection:

        def write(token: int) -> None:
            with guard.translating(connection, RESOURCE, token), connection.transaction():
                connection.execute("INSERT INTO rows (token) VALUES (%s)", (token,))
                # Rows are numbered before the trigger waits its turn; these after it.
                connection.execute("INSERT INTO ledger (token) VALUES (%s)", (token,))

        yield write


@contextmanager
def asyncpg(where: str) -> Iterator[Write]:
    from asyncpg import connect

    from elector.fencing.postgresql import PostgresGuard

    guard = PostgresGuard()
    with asyncio.Runner() as runner:
        connection = runner.run(connect(where))

        async def write(token: int) -> None:
            async with guard.writing(connection, RESOURCE, token):
                await connection.execute("INSERT INTO ledger (token) VALUES ($1)", token)

        yield lambda token: runner.run(write(token))
        runner.run(connection.close())


@contextmanager
def redis(where: str) -> Iterator[Write]:
    from redis import Redis

    from elector.fencing.redis import RedisGuard

    with Redis.from_url(where) as client:
        guard = RedisGuard(client)

        def write(token: int) -> None:
            guard.run([("RPUSH", "ledger", token)], RESOURCE, token)

        yield write


@contextmanager
def redis_async(where: str) -> Iterator[Write]:
    from redis.asyncio import Redis

    from elector.fencing.redis import AsyncRedisGuard

    client = Redis.from_url(where)
    guard, script = AsyncRedisGuard(client), "return redis.call('RPUSH', KEYS[1], ARGV[1])"

    async def write(token: int) -> None:
        await guard.eval(script, RESOURCE, token, keys=["ledger"], args=[token])

    with asyncio.Runner() as runner:
        yield lambda token: runner.run(write(token))
        runner.run(client.aclose())


def s3_store(port: str) -> S3Store:
    """The bucket; its keys are in the environment, as they would be in earnest."""
    from obstore.store import S3Store

    from tests.servers.s3 import BUCKET

    return S3Store(BUCKET, endpoint=f"http://127.0.0.1:{port}", client_options={"allow_http": True})


@contextmanager
def objects(where: str) -> Iterator[Write]:
    from elector.fencing.objects import ObjectGuard

    guard = ObjectGuard(s3_store(where))
    yield lambda token: guard.put("ledger", lambda stamp: f"{token} {stamp}".encode(), token)


@contextmanager
def objects_async(where: str) -> Iterator[Write]:
    from elector.fencing.objects import ObjectGuard

    guard = ObjectGuard(s3_store(where))

    async def write(token: int) -> None:
        await guard.put_async("ledger", lambda stamp: f"{token} {stamp}".encode(), token)

    with asyncio.Runner() as runner:
        yield lambda token: runner.run(write(token))


@contextmanager
def objects_paused_between(where: str) -> Iterator[Write]:
    """It is paused once more, when it has read the object and is about to put its own."""
    import obstore

    put = obstore.put

    def late(*words: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return put(*words, **options)

    with objects(where) as write:
        obstore.put = late
        yield write
        obstore.put = put


@contextmanager
def etcd(where: str) -> Iterator[Write]:
    from elector.fencing.etcd import EtcdGuard, gateway, put

    guard = EtcdGuard(gateway(where))

    def write(token: int) -> None:
        guard.run([put(f"ledger/{secrets.token_hex(8)}", str(token))], RESOURCE, token)

    yield write


@contextmanager
def etcd_grpc(where: str) -> Iterator[Write]:
    """An asyncio client over gRPC, which turns the Txn into its own messages."""
    import grpc
    from google.protobuf.json_format import MessageToDict, ParseDict

    from elector.fencing.etcd import AsyncEtcdGuard, Json, put
    from elector.stores.etcd import wire as etcd_wire

    async def send(txn: Json) -> Json:
        reply: Json = MessageToDict(
            await call(ParseDict(dict(txn), etcd_wire.message("TxnRequest")))
        )
        return reply

    async def write(token: int) -> None:
        await guard.run([put(f"ledger/{secrets.token_hex(8)}", str(token))], RESOURCE, token)

    async def open_channel() -> Any:
        return grpc.aio.insecure_channel(where.removeprefix("http://"))

    guard = AsyncEtcdGuard(send)
    with asyncio.Runner() as runner:
        channel = runner.run(open_channel())
        call = channel.unary_unary(
            etcd_wire.path("Txn"),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=type(etcd_wire.message("TxnResponse")).FromString,
        )
        yield lambda token: runner.run(write(token))
        runner.run(channel.close())


WRITERS: Mapping[str, Callable[[str], AbstractContextManager[Write]]] = {
    "http": http,
    "sqlalchemy": sqlalchemy,
    "sqlalchemy async": sqlalchemy_async,
    "psycopg": psycopg,
    "asyncpg": asyncpg,
    "trigger": trigger,
    "redis": redis,
    "redis async": redis_async,
    "etcd": etcd,
    "etcd grpc": etcd_grpc,
    "objects": objects,
    "objects async": objects_async,
    "objects paused between": objects_paused_between,
}
