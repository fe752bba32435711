"""What a leader does with each kind of guarded resource: write its token as the value.

Each opens the resource and yields a function that writes under a token. The client libraries
are imported where they are used: a process writes to one kind.
"""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager

from elector.fencing import SqlGuard

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


WRITERS: Mapping[str, Callable[[str], AbstractContextManager[Write]]] = {
    "http": http,
    "sqlalchemy": sqlalchemy,
    "sqlalchemy async": sqlalchemy_async,
    "psycopg": psycopg,
    "asyncpg": asyncpg,
    "trigger": trigger,
    "redis": redis,
    "redis async": redis_async,
}
