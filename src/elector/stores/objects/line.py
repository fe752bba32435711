"""Who waits: one small object for each candidate that was refused, so that others can name it.

It decides nothing. It is written when a candidate that watches is refused, again each minute, and
deleted when the candidate leads or leaves; one that has not been written for a while belongs to a
process that is gone. Its age is told by the store's own clock, against the newest of the others:
whoever writes one also removes those that are long out of date.
"""

import asyncio
import contextlib
import hashlib

import msgspec

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.errors import StoreError
from elector.stores.objects.bucket import Bucket, Found
from elector.stores.objects.record import stem_of, utc
from elector.stores.objects.url import PATIENCE_S

FOLDER = ".waiting"
_REFRESH_NS = 60 * SECOND_NS
_GONE_S = 150.0
_SWEPT_S = 1800.0


class _Entry(msgspec.Struct, frozen=True):
    """A candidate that waits, and since when: for people, and for the order among them."""

    name: str
    since: str


class Line:
    """The candidates of this process that wait, and whoever else does."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._wanted: dict[str, bytes] = {}
        self._written: dict[str, int] = {}  # path: when, on our clock
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- ours ------------------------------------------------------------------------------

    def stand(self, election: str, candidate: Candidate) -> None:
        """This candidate waits; said to the store in the background."""
        path = self._path(election, candidate)
        if path not in self._wanted:
            self._wanted[path] = msgspec.json.encode(_Entry(candidate.name, utc()))
            self._begin()

    def leave(self, election: str, candidate: Candidate) -> None:
        """It does not wait any more."""
        if self._wanted.pop(self._path(election, candidate), None) is not None:
            self._begin()

    async def close(self) -> None:
        """Leave everywhere, as far as the store lets us."""
        self._wanted.clear()
        if self._task is None:
            return
        self._changed.set()
        await asyncio.wait({self._task}, timeout=PATIENCE_S)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _path(self, election: str, candidate: Candidate) -> str:
        instance = hashlib.sha256(candidate.instance.encode()).hexdigest()[:24]
        return f"{self._folder(election)}/{instance}"

    def _folder(self, election: str) -> str:
        return self._bucket.spot.path(f"{stem_of(election)}{FOLDER}")

    def _begin(self) -> None:
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """One request at a time, so that a late one never undoes a newer one."""
        try:
            while self._wanted or self._written:
                self._changed.clear()
                await self._catch_up()
                if not self._changed.is_set() and self._wanted:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_REFRESH_NS / SECOND_NS):
                            await self._changed.wait()
        finally:
            self._task = None

    async def _catch_up(self) -> None:
        for path in [path for path in self._written if path not in self._wanted]:
            del self._written[path]
            with contextlib.suppress(StoreError):  # it will look old soon
                await self._bucket.forget(path)
        for path, entry in list(self._wanted.items()):
            new = path not in self._written
            if path in self._wanted and (new or now_ns() - self._written[path] > _REFRESH_NS // 2):
                with contextlib.suppress(StoreError):  # it is tried again in a minute
                    self._written[path] = now_ns()
                    await self._bucket.note(path, entry)
                    if new:
                        await self._sweep(path.rpartition("/")[0])

    async def _sweep(self, folder: str) -> None:
        written = await self._bucket.names(folder)
        newest = max((at for _, at in written), default=0.0)
        for path, at in written:
            if newest - at > _SWEPT_S:
                await self._bucket.forget(path)

    # -- everybody's -------------------------------------------------------------------------

    async def waiting(self, election: str) -> tuple[str, ...]:
        """The names of those who wait, first in line first.

        Raises:
            StoreUnavailable: the store does not tell.
        """
        return await self.named(await self._bucket.names(self._folder(election)))

    async def named(self, written: list[tuple[str, float]]) -> tuple[str, ...]:
        """The candidates behind these objects, those of processes that are gone left out."""
        newest = max((at for _, at in written), default=0.0)
        alive = [path for path, at in written if newest - at <= _GONE_S]
        found = await asyncio.gather(*map(self._bucket.get, alive))
        entries: list[_Entry] = []
        for entry in found:
            if isinstance(entry, Found):
                with contextlib.suppress(msgspec.DecodeError):  # what decides nothing may be odd
                    entries.append(msgspec.json.decode(entry.data, type=_Entry))
        return tuple(entry.name for entry in sorted(entries, key=lambda entry: entry.since))
