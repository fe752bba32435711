"""``file:///directory``: a kernel lock and a durable epoch, for processes of one host.

The office is a lock that the kernel gives back when its holder's process is gone, so there is
no ttl: a dead leader is replaced at once, a **frozen one is waited for**, for as long as it
is frozen. What lies on the disk, and in which order it is written, is told in
`elector.stores.file.files`.

Whoever waits or looks on sleeps in the kernel, with two descriptors for each election and
process, on the ends of named pipes. The end of a tenure wakes every process that waits, and
each of them calls one candidate, the first in its own line; the lock decides among them. So
a release costs one attempt for each waiting *process*, and there is no order between them.

A child process that inherits the descriptors of an office (by fork, or those of `lifelines`)
keeps it: until the child has ended too there is no second leader. That is also why closing
the store gives up what it holds, unless such a child lives.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import ConfigurationError, StoreError, StoreUnavailable, UnsupportedTrait
from elector.stores.file.files import OfficeFiles, Tenure, drop, elections
from elector.stores.local_path import private_directory, require_local
from elector.stores.port import (
    Ask,
    Change,
    Grant,
    Granted,
    News,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Traits,
)
from elector.stores.registry import StoreUrl
from elector.stores.worker import Worker

T = TypeVar("T")

# A lock that is taken while nobody leads is changing hands: the kernel is still closing what
# a dead holder had open, or a new one is writing its epoch.
_CHANGING_HANDS_S = (0.001, 0.002, 0.004, 0.008, 0.016)
_CHANGING_HANDS_NS = 250_000_000
_LONGEST_PAUSE_S = 1.0


async def open_store(url: StoreUrl) -> "FileStore":
    """Open the directory, and unless the URL forbids it make it.

    Raises:
        ConfigurationError: the URL names no absolute directory, or one on a network file system.
        StoreUnavailable: the directory cannot be made or not be written.
    """
    directory = Path(url.rest)
    if not directory.is_absolute() or len(directory.parts) == 1 or "?" in url.rest:
        raise ConfigurationError(f"{url} names no directory: write file:///absolute/directory")
    worker = Worker("elector-file")
    try:
        await worker.call(partial(_prepare, directory, create=url.create))
    except BaseException:
        await worker.close()
        raise
    return FileStore(directory, worker)


def _prepare(directory: Path, *, create: bool) -> None:
    require_local(directory)
    if not create and not directory.exists():
        raise StoreUnavailable(f"there is no directory {directory}: nobody has stood there yet")
    private_directory(directory)


class FileStore:
    """The adapter: one thread for the files, one listener for each election watched here."""

    traits = Traits(
        scope="host",
        expiry="never",
        clock="none: an office lasts as long as its holder's process",
        push=True,
        witness=True,
        least_ttl_ns=1,
        token_source="an epoch file, on the disk before each grant",  # noqa: S106 - not a password
        failover_loss="nothing while the directory is kept; an old copy brings old tokens back",
        history=False,
        asks="at once",
        transfer=False,
    )

    def __init__(self, directory: Path, worker: Worker) -> None:
        self._directory = directory
        self._worker = worker
        self._held: dict[tuple[str, str], Tenure] = {}  # changed on the worker's thread only
        self._listeners: dict[str, _Listener] = {}

    def files(self, election: str) -> OfficeFiles:
        """The files of an election."""
        return OfficeFiles(self._directory, election)

    async def call(self, job: Callable[[], T]) -> T:
        """Run a job on the thread for files; what the system refuses did not happen."""
        try:
            return await self._worker.call(job)
        except OSError as error:
            raise StoreUnavailable(
                f"{error.filename or self._directory}: {error.strerror}; check the disk and the "
                "permissions, or choose another store with --store"
            ) from error

    # -- the office ----------------------------------------------------------------------

    async def acquire(
        self,
        election: str,
        candidate: Candidate,
        ttl_ns: int,  # noqa: ARG002 - the port's signature
    ) -> Granted | Occupied:
        """Take the office if nobody has its lock; there is no ttl."""
        answer = await self.call(partial(self._attempt, election, candidate))
        for pause in _CHANGING_HANDS_S:
            if isinstance(answer, Granted) or answer.leader is not None:
                break
            await asyncio.sleep(pause)
            answer = await self.call(partial(self._attempt, election, candidate))
        if listener := self._listeners.get(election):
            listener.place(candidate, waits=isinstance(answer, Occupied))
        return answer

    def _attempt(self, election: str, candidate: Candidate) -> Granted | Occupied:
        held = self._own(election, candidate)
        if held is not None:
            return Granted(held.token)
        files = self.files(election)
        tenure = files.take(candidate)
        if tenure is not None:
            self._held[election, candidate.instance] = tenure
            return Granted(tenure.token)
        epoch, led = files.present()
        if led:
            return Occupied(epoch.holder, epoch.token)
        return Occupied(None, epoch.token, _CHANGING_HANDS_NS)

    def _own(self, election: str, candidate: Candidate) -> Tenure | None:
        """What this candidate holds; an office whose lock file was taken away is none."""
        key = (election, candidate.instance)
        tenure = self._held.get(key)
        if tenure is not None and not self.files(election).anchors(tenure.lock_fd):
            drop(self._held.pop(key))
            return None
        return tenure

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Whether the files that we hold locked are still the ones that others would lock."""
        return await self.call(lambda: [self._of(grant) is not None for grant in grants])

    def _of(self, grant: Grant) -> Tenure | None:
        tenure = self._own(grant.election, grant.candidate)
        return tenure if tenure is not None and tenure.token == grant.token else None

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:  # noqa: ARG002 - no history here
        """Give the office back; it cannot be kept for anybody.

        Raises:
            UnsupportedTrait: an heir is named; nothing was released.
        """
        if heir is not None:
            raise _no_heirs()
        return await self.call(partial(self._release, grant))

    def _release(self, grant: Grant) -> bool:
        tenure = self._of(grant)
        if tenure is None:
            return False
        del self._held[grant.election, grant.candidate.instance]
        self.files(grant.election).leave(tenure)
        return True

    def lifelines(self, grant: Grant) -> tuple[int, ...]:
        """The lock, which a child that holds it keeps, and the pipe whose end tells of it."""
        tenure = self._held.get((grant.election, grant.candidate.instance))
        if tenure is None or tenure.token != grant.token:
            return ()
        return (tenure.lock_fd, tenure.pipe_fd)

    # -- watching ----------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> "_Watch":
        """Be told the present state now and every change from now on; see the port."""
        listener = self._listeners.get(election)
        if listener is None:
            listener = self._listeners[election] = _Listener(self, self.files(election))
        watch = _Watch(listener, notify, candidate)
        listener.add(watch)
        try:
            watch.tell(await self.call(listener.files.change))
        except BaseException:
            await watch.close()
            raise
        return watch

    def token_of(self, election: str, candidate: Candidate | None) -> int | None:
        """The token under which this candidate of ours holds the office."""
        tenure = self._held.get((election, candidate.instance)) if candidate else None
        return tenure.token if tenure else None

    def forget(self, listener: "_Listener") -> None:
        """Nobody listens there any more."""
        if self._listeners.get(listener.files.election) is listener:
            del self._listeners[listener.files.election]

    # -- reading -----------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """Who leads; nobody keeps a list of those who wait."""
        return await self.call(partial(self._record, election))

    def _record(self, election: str) -> Record:
        epoch, led = self.files(election).present()
        if not led:
            return Record(election, None, epoch.token)
        return Record(election, epoch.holder, epoch.token, since=epoch.since)

    async def elections(self) -> list[Record]:
        """All elections that somebody ever led here."""
        return await self.call(
            lambda: [self._record(election) for election in elections(self._directory)]
        )

    async def history(self, election: str, limit: int) -> list[PastTenure]:  # noqa: ARG002 - the port's signature
        """Not kept here.

        Raises:
            UnsupportedTrait: always.
        """
        raise UnsupportedTrait("a file:// store keeps no history of past tenures; sqlite:// does")

    async def ask(self, ask: Ask) -> None:
        """Leave a request for the holder and wake it.

        Raises:
            UnsupportedTrait: an heir is named.
        """
        if ask.heir is not None:
            raise _no_heirs()
        await self.call(partial(self.files(ask.election).leave_ask, ask))

    async def close(self) -> None:
        """Let go of everything, of offices too: they are held by descriptors."""
        for listener in tuple(self._listeners.values()):
            await listener.close()
        await self.call(self._drop_all)
        await self._worker.close()

    def _drop_all(self) -> None:
        while self._held:
            _, tenure = self._held.popitem()
            drop(tenure)


def _no_heirs() -> UnsupportedTrait:
    return UnsupportedTrait(
        "a file:// store cannot transfer an office to a named candidate, since the kernel's lock "
        "has no heirs; sqlite:// can. Resign without naming one"
    )


class _Watch:
    """A registration of a candidate or an observer."""

    def __init__(self, listener: "_Listener", notify: Notify, candidate: Candidate | None) -> None:
        self.candidate = candidate
        self._listener = listener
        self._notify = notify
        self._told: Change | None = None
        self._closed = False

    def tell(self, news: News) -> None:
        """Pass news on, in a turn of its own; the same state is told once."""
        if news == self._told:
            return
        if isinstance(news, Change):
            self._told = news
        asyncio.get_running_loop().call_soon(self._pass_on, news)

    def _pass_on(self, news: News) -> None:
        if not self._closed:
            self._notify(news)

    async def close(self) -> None:
        """Stop, and leave the line; safe to call twice."""
        if not self._closed:
            self._closed = True
            await self._listener.remove(self)


class _Listener:
    """Listens to one election for all its watches in this store."""

    def __init__(self, store: FileStore, files: OfficeFiles) -> None:
        self.files = files
        self._store = store
        self._watches: list[_Watch] = []
        self._line: list[_Watch] = []  # those of candidates that wait, first in line first
        self._present: Change | None = None
        self._closed = False
        self._ears: list[int] = []  # changed on the worker's thread only
        self._task = asyncio.get_running_loop().create_task(self._listen())

    def add(self, watch: _Watch) -> None:
        """Take a watch in; a candidate's stands in line from now on."""
        self._watches.append(watch)
        if watch.candidate is not None:
            self._line.append(watch)

    async def remove(self, watch: _Watch) -> None:
        """Let a watch go; if it was its turn, it is the next one's."""
        self._watches = [other for other in self._watches if other is not watch]
        self._line = [other for other in self._line if other is not watch]
        if not self._watches:
            await self.close()
        elif self._present is not None:
            self._tell(self._present)

    def place(self, candidate: Candidate, *, waits: bool) -> None:
        """Who leads loses its place in line, and gets a new one when it asks in vain."""
        for watch in self._watches:
            if watch.candidate == candidate and watch not in self._line and waits:
                self._line.append(watch)
            elif watch.candidate == candidate and watch in self._line and not waits:
                self._line.remove(watch)

    async def _listen(self) -> None:
        """Open our ears, look, tell, sleep in the kernel; again.

        What happens while the ears are shut is seen by the look, what happens after it by
        the ears. Being woken for nothing several times in a row makes us slower.
        """
        idle = 0
        while True:
            try:
                idle = 0 if await self._look() else idle + 1
            except StoreError:  # candidates are told when they ask; we try again
                await asyncio.sleep(_LONGEST_PAUSE_S)
                continue
            if idle > 1:
                await asyncio.sleep(min(0.001 * 2**idle, _LONGEST_PAUSE_S))
            await self._woken()

    async def _look(self) -> bool:
        """Tell what is to be told; False if it was nothing."""
        present, asks = await self._store.call(self._heard)
        changed = present != self._present
        self._present = present
        self._tell(present)
        for watch, ask in asks:
            watch.tell(ask)
        return changed or bool(asks)

    def _heard(self) -> tuple[Change, list[tuple[_Watch, Ask]]]:
        self._shut()
        for ear in self.files.ears():
            self._ears.append(ear)
        return self.files.change(), list(self._asks())

    def _asks(self) -> Iterator[tuple[_Watch, Ask]]:
        for watch in self._watches:
            token = self._store.token_of(self.files.election, watch.candidate)
            ask = self.files.take_ask(token) if token else None
            if ask is not None:
                yield watch, ask

    def _shut(self) -> None:
        while self._ears:
            os.close(self._ears.pop())

    def _tell(self, change: Change) -> None:
        """A new leader interests everybody; a vacancy observers, and the first in line."""
        for watch in self._watches:
            turn = watch.candidate is None or watch in self._line[:1]
            if change.leader is not None or turn:
                watch.tell(change)

    async def _woken(self) -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        ears = tuple(self._ears)
        for ear in ears:
            loop.add_reader(ear, _wake, woken)
        try:
            await woken
        finally:
            for ear in ears:
                loop.remove_reader(ear)

    async def close(self) -> None:
        """Stop listening; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._store.forget(self)
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._store.call(self._shut)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
