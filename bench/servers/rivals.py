"""Others on the same server, each as its own users would run it."""

from bench.contenders import Contender
from bench.stage import Actor, Stage
from tests.servers.places import Place

_PATIENCE_S = 90.0  # a lease of etcdctl's lasts for a minute


class Rival(Contender):
    """Another implementation's candidate.

    Args:
        label: what it is.
        module: of the worker.
        arguments: for the worker.
        crashes: how many crashes to measure; one that takes a minute is not repeated often.
    """

    def __init__(self, label: str, module: str, *arguments: str, crashes: int = 20) -> None:
        self.label, self.patience_s = label, _PATIENCE_S
        self.rounds = {"handover": 40, "crash": crashes}
        self._module, self._arguments = module, arguments

    def stand(self, stage: Stage, name: str) -> Actor:
        """Start a worker."""
        return stage.python(name, self._module, *self._arguments)


def rivals_of(place: Place) -> list[Rival]:
    """Who can be compared on this server."""
    port = str(place.port)
    return {
        "postgresql": [
            Rival("psycopg, pg_advisory_lock", "bench.workers.with_advisory_lock", place.url),
        ],
        "redis": [
            Rival(
                "redis-py Lock, ttl 3 s, a thread renews",
                "bench.workers.with_redis_lock",
                place.url,
            ),
        ],
        "etcd": [
            Rival("etcdctl elect, ttl 60 s", "bench.workers.with_etcdctl", port, crashes=2),
        ],
    }.get(place.store, [])


BARE = ("postgresql", "redis", "etcd")


def bare(place: Place) -> Rival | None:
    """No election, only what the server itself needs to tell a waiter of a release."""
    if place.store not in BARE:
        return None
    return Rival("a bare client", "bench.workers.bare", place.store, place.url)
