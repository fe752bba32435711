"""What idle elections cost a server: three processes stand in a thousand, and nothing happens.

The requests are counted by the server itself, not by us.
"""

import asyncio
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from bench.plan import Plan, progress
from bench.stage import Stage
from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from tests.servers.places import Place

_TTL = "15s"
_PROCESSES = 3
_WAVE = 100
_PERIOD_S = LeaseTiming.of(_TTL).renew_period_ns / SECOND_NS


def requests_a_second(plan: Plan, place: Place) -> tuple[int, list[float]] | None:
    """How many elections there were, and the rate in each window; None if nobody counts."""
    count = _COUNTERS.get(place.store)
    if count is None:
        return None
    elections, windows = (200, 1) if plan.quick else (1000, 2)
    seconds = 10.0 if plan.quick else 30.0
    with Stage() as stage:
        for number in range(_PROCESSES):
            name = f"crowd{number}"
            wave = (place.url, _TTL, str(elections), str(_WAVE))
            stage.python(name, "bench.workers.standing", *wave)
            stage.hear("standing", name, within=180)
        time.sleep((2 if plan.quick else 8) * _PERIOD_S)
        rates = []
        for _ in progress(f"idle: {elections} elections", range(windows), windows):
            before, began = count(place), time.monotonic()
            time.sleep(seconds)
            rates.append((count(place) - before) / (time.monotonic() - began))
    return elections, rates


def _postgresql(place: Place) -> float:
    """Transactions that were committed, less the one of this question."""
    import asyncpg

    async def ask() -> float:
        connection: Any = await asyncpg.connect(place.url.partition("?")[0])
        try:
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            committed = await connection.fetchval(
                "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = current_database()"
            )
            return float(committed)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _redis(place: Place) -> float:
    """Calls of scripts and of what is not called inside of scripts."""
    import redis

    client: Any = redis.Redis(port=place.port, password=_password(place.url))
    try:
        stats: dict[str, dict[str, float]] = client.info("commandstats")
    finally:
        client.close()
    asked = ("evalsha", "eval", "ping", "subscribe", "unsubscribe")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0.0) for name in asked)


def _password(url: str) -> str | None:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return user.partition(":")[2] if at else None


def _etcd(place: Place) -> float:
    """Requests and messages on streams that the server has received."""
    with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("grpc_server_msg_received_total")
    )


_COUNTERS: dict[str, Callable[[Place], float]] = {
    "postgresql": _postgresql,
    "redis": _redis,
    "etcd": _etcd,
}
