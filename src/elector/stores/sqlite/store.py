"""``sqlite:///path``: the embedded default, for processes of one host.

Leases with a ttl stand in a table (`elector.stores.sqlite.table`); beside it the kernel
answers for the life of each process (`elector.stores.presence`). So a killed leader is
replaced at once, a frozen one when its lease has run out, and nobody polls:

* a release wakes exactly one waiting candidate, through its process's bell;
* an acquisition tells everybody on the list who leads now, so that they watch that process;
* the end of a process wakes those who wait for it.

The path follows the custom of database URLs: three slashes are relative to the working
directory, four begin an absolute path.
"""

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import ConfigurationError, StoreCorrupt, StoreError, StoreUnavailable
from elector.stores.local_path import private_directory, require_local
from elector.stores.port import (
    Ask,
    Change,
    Grant,
    Granted,
    Notify,
    Occupied,
    PastTenure,
    Record,
    Traits,
)
from elector.stores.presence import Life, Presence, life_behind, ring
from elector.stores.registry import StoreUrl
from elector.stores.sqlite.table import LeaseTable, Row
from elector.stores.worker import Worker

_LEAST_SQLITE = (3, 37, 0)
_BORN = "born"


async def open_store(url: StoreUrl) -> "SqliteStore":
    """Open, and unless the URL forbids it create, the database."""
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise ConfigurationError(
            f"this Python carries SQLite {sqlite3.sqlite_version}; elector needs 3.37 or newer"
        )
    path = _path(url)
    require_local(path)
    if not url.create and not path.exists():
        raise StoreUnavailable(f"there is no database at {path}: nobody has stood there yet")
    worker = Worker("elector-sqlite")
    try:
        return SqliteStore(await worker.call(partial(_open_table, path)), worker)
    except BaseException:
        await worker.close()
        raise


def _path(url: StoreUrl) -> Path:
    address, _, query = url.rest.partition("?")
    if not address.startswith("/") or len(address) == 1 or query:
        raise ConfigurationError(
            f"{url} is not a path: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    path = Path(address[1:]).absolute()
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory; name a database file in it")
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} is a device or a pipe; name a database file")
    return path


def _open_table(path: Path) -> tuple[LeaseTable, Presence]:
    """The table and our place beside it.

    The directory of pipes is born after the database. So if it is there and the database
    is not, the database was taken away, and its tokens must not start again.
    """
    beside = path.with_name(f"{path.name}-elector")
    was_born = (beside / _BORN).exists()
    private_directory(path.parent)
    if was_born and not _holds_something(path):
        raise StoreCorrupt(
            f"{path} is missing or empty, but was in use: its tokens would start again at 1. "
            f"Restore it; or, if nothing remembers those tokens, remove {beside} as well"
        )
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        private_directory(beside)
        presence = Presence(beside, path.stat().st_mode & 0o666)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot open {path}: {error.strerror}; give this user access, free some space or "
            "choose another store with --store"
        ) from error
    try:
        table = LeaseTable(path, presence)
        (beside / _BORN).touch(mode=0o600)
        presence.sweep(keep=table.sessions())
    except BaseException:
        presence.close()
        raise
    return table, presence


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


class _Watch:
    """One registration of a candidate or an observer."""

    __slots__ = ("_store", "candidate", "election", "enlisted", "instance", "notify")

    def __init__(
        self, store: "SqliteStore", election: str, notify: Notify, candidate: Candidate | None
    ) -> None:
        self._store = store
        self.election = election
        self.notify = notify
        self.candidate = candidate
        self.instance = candidate.instance if candidate else secrets.token_hex(8)
        self.enlisted = False

    async def close(self) -> None:
        await self._store.unwatch(self)


class SqliteStore:
    """The adapter: watches, bells and signs of life around a `LeaseTable`."""

    traits = Traits(
        scope="host",
        expiry="host clock",
        clock="the host's monotonic clock, which counts during suspend",
        push=True,
        witness=True,
        least_ttl_ns=500_000_000,
        token_source="a column that triggers keep from falling",  # noqa: S106 - not a password
        failover_loss="nothing while the file is kept; restoring an old copy loses tokens",
        history=True,
        asks="at once",
        transfer=True,
    )

    def __init__(self, opened: tuple[LeaseTable, Presence], worker: Worker) -> None:
        self._table, self._presence = opened
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._watches: dict[str, list[_Watch]] = {}
        self._holders: dict[str, str] = {}  # election -> session of its holder, where we wait
        self._lives: dict[str, int] = {}  # session -> descriptor that ends with it
        self._held: set[tuple[str, int]] = set()
        self._seen = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(self._presence.bell_fd, self._on_bell)

    # -- the lease ---------------------------------------------------------------------

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """See `elector.stores.port.Store.acquire`."""
        watch = self._watch_of(election, candidate.instance)
        enlist = watch is not None and not watch.enlisted
        ruling = await self._worker.call(
            partial(self._table.acquire, election, candidate, ttl_ns, enlist=enlist)
        )
        if isinstance(ruling.answer, Occupied):
            if watch is not None:
                watch.enlisted = True
            self._follow(ruling.row)
            return ruling.answer
        if watch is not None:
            watch.enlisted = False
        self._held.add((election, ruling.answer.token))
        self._ring_all(ruling.audience)
        self._tell(ruling.row)
        if self._table.near_ceiling(ruling.row):
            self._run(self._worker.call(partial(self._table.raise_ceiling, election)))
        return ruling.answer

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """See `elector.stores.port.Store.renew`."""
        renewed = await self._worker.call(partial(self._table.renew, grants))
        for grant, ours in zip(grants, renewed, strict=True):
            if not ours:
                self._held.discard((grant.election, grant.token))
        # A bell that was missed, by a hair or a crash, is made good here.
        self._run(self._deliver_asks())
        self._run(self._worker.call(self._table.tidy))
        return renewed

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """See `elector.stores.port.Store.release`."""
        row, bells = await self._worker.call(partial(self._table.release, grant, reason, heir))
        self._held.discard((grant.election, grant.token))
        for bell in bells:
            ring(bell)
        if row is not None:
            self._tell(row)
        self._run(self._worker.call(self._table.tidy))
        return row is not None

    def lifelines(self, grant: Grant) -> tuple[int, ...]:  # noqa: ARG002 - one for all grants
        """See `elector.stores.port.Store.lifelines`."""
        return (self._presence.alive_fd,)

    # -- watching ----------------------------------------------------------------------

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> _Watch:
        """See `elector.stores.port.Store.watch`.

        A candidate is put into the queue by its first refused acquisition, in the same
        transaction: between looking and queueing nothing can be missed.
        """
        watch = _Watch(self, election, notify, candidate)
        self._watches.setdefault(election, []).append(watch)
        if candidate is None:
            watch.enlisted = True
            try:
                row = await self._worker.call(
                    partial(self._table.observe, election, watch.instance)
                )
            except BaseException:
                self._drop(watch)
                raise
            self._follow(row)
            notify(self._change(election, row))
        return watch

    async def unwatch(self, watch: _Watch) -> None:
        """Forget a registration, here and in the table."""
        if self._drop(watch) and watch.enlisted:
            watch.enlisted = False
            try:
                row, bells = await self._worker.call(
                    partial(self._table.forget, watch.election, watch.instance)
                )
            except StoreError:
                return  # struck off by whoever finds that nobody answers
            for bell in bells:
                ring(bell)
            if row is not None:
                self._tell(row)

    def _drop(self, watch: _Watch) -> bool:
        watches = self._watches.get(watch.election, [])
        if watch not in watches:
            return False
        watches.remove(watch)
        if not watches:
            del self._watches[watch.election]
            self._holders.pop(watch.election, None)
            self._forget_idle_lives()
        return True

    def _watch_of(self, election: str, instance: str) -> _Watch | None:
        watches = self._watches.get(election, ())
        return next((watch for watch in watches if watch.instance == instance), None)

    def _change(self, election: str, row: Row | None) -> Change:
        if row is None or row.holder is None or self._table.holder_ended(row):
            return Change(election, None, None, row.token if row else 0)
        left_ns = max(1, self._table.remaining_ns(row))
        return Change(election, row.holder, row.instance, row.token, left_ns)

    def _tell(self, row: Row) -> None:
        """Pass on what a row says; of a vacancy, only whose turn it is among the candidates."""
        watches = self._watches.get(row.name)
        if not watches:
            return
        self._follow(row)
        change = self._change(row.name, row)
        for watch in list(watches):
            waits = watch.candidate is not None
            turn_of_another = row.heir is not None and row.heir != watch.instance
            if change.leader is None and waits and turn_of_another:
                continue
            watch.notify(change)

    # -- bells ---------------------------------------------------------------------------

    def _on_bell(self) -> None:
        self._presence.heard()
        self._run(self._refresh())

    async def _refresh(self) -> None:
        rows, self._seen = await self._worker.call(partial(self._table.refresh, self._seen))
        for row in rows:
            self._tell(row)
        await self._deliver_asks()

    async def _deliver_asks(self) -> None:
        for ask, instance in await self._worker.call(self._table.take_asks):
            watch = self._watch_of(ask.election, instance)
            if watch is not None:
                watch.notify(ask)

    def _ring_all(self, sessions: Iterable[str]) -> None:
        silent = []
        for session in sessions:
            bell = self._presence.bell(session)
            if bell is None:
                silent.append(session)
            else:
                ring(bell)
        if silent:
            self._run(self._forget_sessions(silent))

    async def _forget_sessions(self, sessions: list[str]) -> None:
        await self._worker.call(partial(self._table.forget_sessions, sessions))

    async def ask(self, ask: Ask) -> None:
        """See `elector.stores.port.Store.ask`."""
        session = await self._worker.call(partial(self._table.ask, ask))
        if session == self._presence.session:
            await self._deliver_asks()
        elif session is not None:
            self._ring_all([session])

    # -- signs of life ---------------------------------------------------------------------

    def _follow(self, row: Row | None) -> None:
        """Be woken by the kernel when the process of this row's holder ends."""
        if row is None or row.name not in self._watches:
            return
        if row.session is None or row.session == self._presence.session:
            self._holders.pop(row.name, None)
        else:
            self._holders[row.name] = row.session
            self._listen(row.session)
        self._forget_idle_lives()

    def _listen(self, session: str) -> None:
        if session in self._lives:
            return
        reader = self._presence.watch(session)
        if reader is None:
            return
        self._lives[session] = reader
        self._loop.add_reader(reader, self._on_life, session)
        if life_behind(reader) is Life.ENDED:  # it ended before we listened
            self._loop.call_soon(self._on_life, session)

    def _on_life(self, session: str) -> None:
        if session in self._lives and life_behind(self._lives[session]) is Life.ENDED:
            self._unlisten(session)
            self._run(self._session_ended(session))

    def _unlisten(self, session: str) -> None:
        reader = self._lives.pop(session)
        self._loop.remove_reader(reader)
        os.close(reader)

    def _forget_idle_lives(self) -> None:
        for session in self._lives.keys() - self._holders.values():
            self._unlisten(session)

    async def _session_ended(self, session: str) -> None:
        """Tell the first of our candidates in each election that the dead process held."""
        held = [name for name, holder in self._holders.items() if holder == session]
        for row in await self._worker.call(partial(self._table.rows, held)):
            watches = self._watches.get(row.name, [])
            if row.session != session:
                self._tell(row)
                continue
            first = next((w for w in watches if w.candidate is not None and w.enlisted), None)
            for watch in [w for w in watches if w is first or w.candidate is None]:
                watch.notify(Change(row.name, None, None, row.token))

    # -- reading -----------------------------------------------------------------------

    async def describe(self, election: str) -> Record:
        """See `elector.stores.port.Store.describe`."""
        rows = await self._worker.call(partial(self._table.rows, [election]))
        if not rows:
            return Record(election, None, 0)
        return await self._worker.call(partial(self._record, rows[0]))

    async def elections(self) -> list[Record]:
        """See `elector.stores.port.Store.elections`."""
        rows = await self._worker.call(self._table.rows)
        return [await self._worker.call(partial(self._record, row)) for row in rows]

    def _record(self, row: Row) -> Record:
        waiting = self._table.waiting(row.name)
        if not self._table.in_office(row):
            return Record(row.name, None, row.token, waiting=waiting)
        left_ns = self._table.remaining_ns(row)
        return Record(row.name, row.holder, row.token, left_ns, row.since, waiting)

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """See `elector.stores.port.Store.history`."""
        return await self._worker.call(partial(self._table.history, election, limit))

    # -- ending --------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._forgiving(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forgiving(self, work: Coroutine[Any, Any, None]) -> None:
        """News that cannot be read now is read later: every candidate also has its timer."""
        try:
            await work
        except StoreError:
            return

    async def close(self) -> None:
        """See `elector.stores.port.Store.close`.

        The sign of life stays while a lease is held: its end would invite the next leader.
        """
        self._loop.remove_reader(self._presence.bell_fd)
        for session in list(self._lives):
            self._unlisten(session)
        for task in list(self._tasks):
            await task
        await self._worker.call(self._table.close)
        await self._worker.close()
        if not self._held:
            self._presence.close()
