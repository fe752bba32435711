"""On the path of the candidates, this breaks what `SABOTAGE` names."""

import os
import threading
from collections.abc import Sequence

from elector.core.identity import Candidate
from elector.fencing.sql import SqlGuard
from elector.runtime.tenure import Tenure
from elector.stores.port import Grant, Granted, Occupied
from elector.stores.sqlite import SqliteStore

_WHAT = os.environ.get("SABOTAGE")


def _guard_lets_all_in() -> None:
    SqlGuard._admit = lambda *_: None  # type: ignore[method-assign]


def _work_goes_on() -> None:
    """Nothing stops it: no cancellation, no look at the clock, no last resort."""
    Tenure._stop_body = lambda _: None  # type: ignore[method-assign, assignment]
    Tenure.check = lambda _: None  # type: ignore[method-assign, assignment]
    os._exit = lambda _: None  # type: ignore[assignment, return-value]


def _store_grants_twice() -> None:
    honest = SqliteStore.acquire

    async def acquire(
        store: SqliteStore, election: str, candidate: Candidate, ttl_ns: int
    ) -> Granted | Occupied:
        answer = await honest(store, election, candidate, ttl_ns)
        return Granted(answer.token + 1) if isinstance(answer, Occupied) else answer

    SqliteStore.acquire = acquire  # type: ignore[method-assign, assignment]


def _store_forgets_leases() -> None:
    async def renew(_: SqliteStore, grants: Sequence[Grant]) -> list[bool]:
        return [False for _ in grants]

    SqliteStore.renew = renew  # type: ignore[method-assign, assignment]


def _store_never_grants_again() -> None:
    honest = SqliteStore.acquire

    async def acquire(
        store: SqliteStore, election: str, candidate: Candidate, ttl_ns: int
    ) -> Granted | Occupied:
        record = await store.describe(election)
        if record.token:
            return Occupied(None, record.token)
        return await honest(store, election, candidate, ttl_ns)

    SqliteStore.acquire = acquire  # type: ignore[method-assign, assignment]


def _candidate_dies() -> None:
    threading.Timer(2, os._exit, (3,)).start()


_SABOTAGE = {
    "guard": _guard_lets_all_in,
    "work": _work_goes_on,
    "twice": _store_grants_twice,
    "forgetful": _store_forgets_leases,
    "vacant": _store_never_grants_again,
    "mortal": _candidate_dies,
}
if _WHAT is not None:
    _SABOTAGE[_WHAT]()
