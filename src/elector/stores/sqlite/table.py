"""The lease table of the SQLite store: its schema and its transactions, blocking and in one thread.

A row is an election. It is never deleted and its token never falls: triggers see to that,
whoever writes. Nor does a power cut give a token out twice, and yet a grant does not wait for
the disk: what is on the disk before a token is used is a *ceiling* above it, raised ahead of
need. After another boot the next token is above the ceiling, whatever was lost below it.

Everything that decides happens inside ``BEGIN IMMEDIATE``; a lease runs from
the moment read inside the transaction, which is later than the moment the holder counts from.

Whose lease has run out is judged on the host's monotonic clock, which all its processes
share. A row written under another boot or in another time namespace carries times that mean
nothing here, so it is watched for its whole published duration instead.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from elector.clock import now_ns
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreCorrupt
from elector.stores.port import Ask, Grant, Granted, Occupied, PastTenure
from elector.stores.presence import Life, Presence
from elector.stores.sqlite.schema import connect, disconnect, store_error

_KEPT_TENURES = 1000
_LONG_LOG_BYTES = 4_000_000
_TOKENS_AHEAD = 256
_RESERVED_AT_MOST_NS = 5_000_000_000


class _CeilingReached(Exception):  # noqa: N818 - not an error: the transaction must be durable
    """The next token is above what is on the disk."""


class Row(NamedTuple):
    """One election as the table has it; `holder` None means vacant."""

    name: str
    token: int
    ceiling: int
    holder: str | None
    instance: str | None
    session: str | None
    since: str | None
    clock: str
    ttl_ns: int
    renewed_ns: int
    expires_ns: int
    heir: str | None
    heir_until_ns: int
    changed: int


class Ruling(NamedTuple):
    """What came of an acquisition: the answer, the row behind it, and whose bells to ring."""

    answer: Granted | Occupied
    row: Row
    audience: tuple[str, ...] = ()


class LeaseTable:
    """All transactions on one database file; used from one thread only.

    Args:
        path: the database file.
        presence: this process's signs of life, and its view of others'.
    """

    def __init__(self, path: Path, presence: Presence) -> None:
        self.path = path
        self._presence = presence
        self._boot, self._clock = _boot_and_clock(presence.session)
        self._first_seen: dict[str, tuple[tuple[int, int], int]] = {}
        with self._translated():
            self._db = connect(path)
        self._durable = True

    # -- opening -----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection."""
        disconnect(self._db, self.path)

    # -- the lease ---------------------------------------------------------------------

    def acquire(self, election: str, candidate: Candidate, ttl_ns: int, *, enlist: bool) -> Ruling:
        """Take the office, or say who has it and (with `enlist`) stand in the queue."""
        with self._translated():
            row = self._row(election)
        if row is not None and not enlist:
            refusal = self._refusal(row, candidate)
            if refusal is not None:
                return Ruling(refusal, row)
        try:
            return self._decide(election, candidate, ttl_ns, enlist=enlist, durable=False)
        except _CeilingReached:
            return self._decide(election, candidate, ttl_ns, enlist=enlist, durable=True)

    def _decide(
        self, election: str, candidate: Candidate, ttl_ns: int, *, enlist: bool, durable: bool
    ) -> Ruling:
        with self._writing(durable=durable):
            row = self._row(election) or self._founded(election)
            refusal = self._refusal(row, candidate)
            if refusal is None:
                return self._take(row, candidate, ttl_ns, durable=durable)
            if enlist:
                self._enlist(election, candidate.instance, candidate.name)
            return Ruling(refusal, row)

    def _refusal(self, row: Row, candidate: Candidate) -> Occupied | None:
        """Why this candidate cannot have the office now; None if it can."""
        if row.instance == candidate.instance:
            return None
        left_ns = self.remaining_ns(row)
        if left_ns == 0 or (row.holder is None and row.heir == candidate.instance):
            return None
        if row.holder is not None and self.holder_ended(row):
            return None
        return Occupied(row.holder, row.token, left_ns)

    def remaining_ns(self, row: Row) -> int:
        """What is left of a lease, or of a reservation when the office is vacant; 0 if free."""
        now = now_ns()
        if row.holder is None:
            return max(0, row.heir_until_ns - now) if row.clock == self._clock else 0
        if row.clock == self._clock:
            return max(0, row.expires_ns - now)
        version = (row.token, row.renewed_ns)
        known, since = self._first_seen.get(row.name, (None, 0))
        if known != version:
            self._first_seen[row.name] = (version, now)
            return row.ttl_ns
        return max(0, since + row.ttl_ns - now)

    def holder_ended(self, row: Row) -> bool:
        """Whether this kernel says that the holder's process, and all that it lent, is gone."""
        if row.session is None or row.session == self._presence.session:
            return False
        same_kernel = row.clock.partition("/")[0] == self._boot
        return same_kernel and self._presence.life(row.session) is Life.ENDED

    def _founded(self, election: str) -> Row:
        """The first row of an election; history without a row means that one was taken away."""
        if self._db.execute(
            "SELECT 1 FROM elector_tenures WHERE election = ?", (election,)
        ).fetchone():
            raise StoreCorrupt(_missing_row(self.path, election))
        self._db.execute(
            "INSERT INTO elector_elections VALUES (?,0,0,NULL,NULL,NULL,NULL,?,0,0,0,NULL,0,0)",
            (election, self._clock),
        )
        return Row(election, 0, 0, None, None, None, None, self._clock, 0, 0, 0, None, 0, 0)

    def _next_token(self, row: Row, *, durable: bool) -> tuple[int, int]:
        """The next token, and the ceiling that is on the disk before the token is used."""
        same_boot = row.clock.partition("/")[0] == self._boot
        token = 1 + (row.token if same_boot else row.ceiling)
        if token <= row.ceiling:
            return token, row.ceiling
        if not durable:
            raise _CeilingReached
        return token, token + _TOKENS_AHEAD

    def raise_ceiling(self, election: str) -> None:
        """Look ahead while nobody waits, so that the next grants need not wait for the disk."""
        with self._writing(durable=True):
            self._db.execute(
                "UPDATE elector_elections SET ceiling = max(ceiling, token + ?) WHERE name = ?",
                (_TOKENS_AHEAD, election),
            )

    def _take(self, row: Row, candidate: Candidate, ttl_ns: int, *, durable: bool) -> Ruling:
        now = now_ns()
        mine = row.instance == candidate.instance and row.holder is not None
        if mine and row.clock == self._clock and row.expires_ns > now:
            self._db.execute(
                "UPDATE elector_elections SET renewed_ns = ?, expires_ns = ? WHERE name = ?",
                (now, now + ttl_ns, row.name),
            )
            return Ruling(Granted(row.token), self._known_row(row.name))
        self._check_history(row)
        if row.holder is not None:
            self._end_tenure(row.name, row.token, self._how_it_ended(row))
        (token, ceiling), since = self._next_token(row, durable=durable), _wall_time()
        self._db.execute(
            "UPDATE elector_elections SET token = ?, ceiling = ?, holder = ?, instance = ?, "
            "session = ?, since = ?, clock = ?, ttl_ns = ?, renewed_ns = ?, expires_ns = ?, "
            "heir = NULL, heir_until_ns = 0, changed = ? WHERE name = ?",
            (
                token,
                ceiling,
                candidate.name,
                candidate.instance,
                self._presence.session,
                since,
                self._clock,
                ttl_ns,
                now,
                now + ttl_ns,
                self._next_change(),
                row.name,
            ),
        )
        self._begin_tenure(row.name, token, candidate.name, since)
        self._delist(candidate.instance)
        return Ruling(Granted(token), self._known_row(row.name), self._audience(row.name))

    def _check_history(self, row: Row) -> None:
        newest = self._db.execute(
            "SELECT max(token) FROM elector_tenures WHERE election = ?", (row.name,)
        ).fetchone()[0]
        if (newest or 0) > row.token:
            raise StoreCorrupt(
                f"{self.path}: election {row.name!r} has token {row.token}, but its history has "
                f"{newest}: a token never goes back; restore the database from a good copy"
            )

    def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong all these leases in one transaction."""
        with self._writing():
            now = now_ns()
            return [
                self._db.execute(
                    "UPDATE elector_elections SET renewed_ns = ?, expires_ns = ? WHERE name = ? "
                    "AND token = ? AND instance = ? AND clock = ? AND expires_ns > ?",
                    (
                        now,
                        now + grant.ttl_ns,
                        grant.election,
                        grant.token,
                        grant.candidate.instance,
                        self._clock,
                        now,
                    ),
                ).rowcount
                == 1
                for grant in grants
            ]

    def release(
        self, grant: Grant, reason: EndReason, heir: str | None
    ) -> tuple[Row | None, tuple[int, ...]]:
        """Give the office back; the row as it is now (None: not ours) and open bells to ring."""
        with self._writing():
            row = self._row(grant.election)
            ours = row is not None and (row.token, row.instance) == (
                grant.token,
                grant.candidate.instance,
            )
            if row is None or not ours:
                return None, ()
            next_up, bells = self._next_in_line(row.name, heir)
            kept = heir is not None and next_up is not None
            until = now_ns() + min(grant.ttl_ns, _RESERVED_AT_MOST_NS) if kept else 0
            self._db.execute(
                "UPDATE elector_elections SET holder = NULL, instance = NULL, session = NULL, "
                "since = NULL, clock = ?, expires_ns = 0, heir = ?, heir_until_ns = ?, "
                "changed = ? WHERE name = ?",
                (self._clock, next_up, until, self._next_change(), row.name),
            )
            self._end_tenure(row.name, row.token, reason)
            return self._known_row(row.name), bells

    # -- the queue and its bells -----------------------------------------------------------

    def _next_in_line(self, election: str, heir: str | None) -> tuple[str | None, tuple[int, ...]]:
        """The candidate to wake, and the bells of its process and of observers.

        A waiter whose process is gone is struck off. Only one candidate is woken.
        """
        waiters = self._db.execute(
            "SELECT instance, session, name FROM elector_waiters WHERE election = ? ORDER BY place",
            (election,),
        ).fetchall()
        candidates = [waiter for waiter in waiters if waiter[2] is not None]
        candidates.sort(key=lambda waiter: heir is not None and waiter[2] != heir)
        observers = [waiter for waiter in waiters if waiter[2] is None]
        next_up, bells = None, dict[str, int]()
        for instance, session, _ in candidates:
            if self._reach(instance, session, bells):
                next_up = instance
                break
        for instance, session, _ in observers:
            self._reach(instance, session, bells)
        return next_up, tuple(bells.values())

    def _reach(self, instance: str, session: str, bells: dict[str, int]) -> bool:
        if session == self._presence.session or session in bells:
            return True
        bell = self._presence.bell(session)
        if bell is None:
            self._delist(instance)
            return False
        bells[session] = bell
        return True

    def _audience(self, election: str) -> tuple[str, ...]:
        sessions = self._db.execute(
            "SELECT DISTINCT session FROM elector_waiters WHERE election = ? AND session <> ?",
            (election, self._presence.session),
        )
        return tuple(session for (session,) in sessions)

    def _enlist(self, election: str, instance: str, name: str | None) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO elector_waiters (election, instance, session, name) "
            "VALUES (?,?,?,?)",
            (election, instance, self._presence.session, name),
        )

    def _delist(self, instance: str) -> None:
        self._db.execute("DELETE FROM elector_waiters WHERE instance = ?", (instance,))

    def observe(self, election: str, instance: str) -> Row | None:
        """Put an observer on the list of those who are told; the row as it is now."""
        with self._writing():
            self._enlist(election, instance, None)
            return self._row(election)

    def forget(self, election: str, instance: str) -> tuple[Row | None, tuple[int, ...]]:
        """Take a waiter or an observer off the list.

        If it was called to the vacant office, the call goes on to the next in line: the row
        as it is then, and open bells to ring.
        """
        with self._writing():
            self._delist(instance)
            row = self._row(election)
            if row is None or row.holder is not None or row.heir != instance:
                return None, ()
            next_up, bells = self._next_in_line(election, None)
            self._db.execute(
                "UPDATE elector_elections SET heir = ?, heir_until_ns = 0, changed = ? "
                "WHERE name = ?",
                (next_up, self._next_change(), election),
            )
            return self._known_row(election), bells

    def forget_sessions(self, sessions: Iterable[str]) -> None:
        """Take everybody of these sessions off the list: nobody answers there."""
        with self._writing():
            self._db.executemany(
                "DELETE FROM elector_waiters WHERE session = ?", [(s,) for s in sessions]
            )

    def ask(self, ask: Ask) -> str | None:
        """Leave a request for the holder; the session to ring, None if it is not in office."""
        with self._writing():
            row = self._row(ask.election)
            if row is None or row.holder is None or row.token != ask.token:
                return None
            self._db.execute(
                "INSERT INTO elector_asks (election, token, heir) VALUES (?,?,?)",
                (ask.election, ask.token, ask.heir),
            )
            return row.session

    # -- reading ---------------------------------------------------------------------------

    def refresh(self, since: int) -> tuple[list[Row], int]:
        """Rows that changed after `since`, and the number of the newest change."""
        with self._translated():
            rows = [
                Row(*values)
                for values in self._db.execute(
                    "SELECT * FROM elector_elections WHERE changed > ? ORDER BY changed", (since,)
                )
            ]
            return rows, max((row.changed for row in rows), default=since)

    def take_asks(self) -> list[tuple[Ask, str]]:
        """Requests for holders of this process, with the holder's instance; each only once."""
        with self._translated():
            found = self._db.execute(
                "SELECT a.id, a.election, a.token, a.heir, e.instance FROM elector_asks a "
                "JOIN elector_elections e ON e.name = a.election AND e.token = a.token "
                "WHERE e.session = ? ORDER BY a.id",
                (self._presence.session,),
            ).fetchall()
        if found:
            with self._writing():
                self._db.executemany(
                    "DELETE FROM elector_asks WHERE id = ?", [(ask[0],) for ask in found]
                )
        return [(Ask(election, token, heir), who) for _, election, token, heir, who in found]

    def rows(self, elections: Iterable[str] | None = None) -> list[Row]:
        """These elections, or all of them, by name."""
        with self._translated():
            if elections is None:
                every = self._db.execute("SELECT * FROM elector_elections ORDER BY name")
                return [Row(*values) for values in every]
            return [row for name in elections if (row := self._row(name)) is not None]

    def waiting(self, election: str) -> tuple[str, ...]:
        """Names of the candidates in the queue whose process still lives, first in line first."""
        with self._translated():
            queue = self._db.execute(
                "SELECT name, session FROM elector_waiters "
                "WHERE election = ? AND name IS NOT NULL ORDER BY place",
                (election,),
            ).fetchall()
        return tuple(
            name for name, session in queue if self._presence.life(session) is not Life.ENDED
        )

    def history(self, election: str, limit: int) -> list[PastTenure]:
        """Tenures, newest first."""
        with self._translated():
            tenures = self._db.execute(
                "SELECT election, token, holder, began, ended, reason FROM elector_tenures "
                "WHERE election = ? ORDER BY token DESC LIMIT ?",
                (election, min(limit, _KEPT_TENURES)),
            )
            past = [PastTenure(*values) for values in tenures]
            row = self._row(election)
        if not past or row is None or past[0].ended is not None or self.in_office(row):
            return past
        # It is over, though nobody has come after it to write that down.
        return [msgspec.structs.replace(past[0], reason=self._how_it_ended(row)), *past[1:]]

    @staticmethod
    def near_ceiling(row: Row) -> bool:
        """Whether it is time for `raise_ceiling`."""
        return row.ceiling - row.token < _TOKENS_AHEAD // 2

    def in_office(self, row: Row) -> bool:
        """Whether somebody leads by this row, now."""
        return row.holder is not None and self.remaining_ns(row) > 0 and not self.holder_ended(row)

    def _how_it_ended(self, row: Row) -> EndReason:
        return EndReason.DIED if self.holder_ended(row) else EndReason.EXPIRED

    def sessions(self) -> set[str]:
        """Sessions that a lease still speaks of."""
        with self._translated():
            found = self._db.execute(
                "SELECT session FROM elector_elections WHERE session IS NOT NULL"
            )
            return {session for (session,) in found}

    def _row(self, election: str) -> Row | None:
        values = self._db.execute(
            "SELECT * FROM elector_elections WHERE name = ?", (election,)
        ).fetchone()
        return None if values is None else Row(*values)

    def _known_row(self, election: str) -> Row:
        row = self._row(election)
        if row is None:
            raise StoreCorrupt(_missing_row(self.path, election))
        return row

    # -- small writes ----------------------------------------------------------------------

    def _next_change(self) -> int:
        (number,) = self._db.execute(
            "UPDATE elector_meta SET value = value + 1 WHERE key = 'changes' RETURNING value"
        ).fetchone()
        return int(number)

    def _begin_tenure(self, election: str, token: int, holder: str, began: str) -> None:
        self._db.execute(
            "INSERT INTO elector_tenures VALUES (?,?,?,?,NULL,NULL)",
            (election, token, holder, began),
        )
        self._db.execute(
            "DELETE FROM elector_tenures WHERE election = ? AND token <= ?",
            (election, token - _KEPT_TENURES),
        )
        self._db.execute("DELETE FROM elector_asks WHERE election = ?", (election,))

    def _end_tenure(self, election: str, token: int, reason: EndReason) -> None:
        self._db.execute(
            "UPDATE elector_tenures SET ended = ?, reason = ? "
            "WHERE election = ? AND token = ? AND ended IS NULL",
            (_wall_time(), reason.value, election, token),
        )

    # -- transactions and errors -----------------------------------------------------------

    @contextmanager
    def _writing(self, *, durable: bool = False) -> Iterator[None]:
        """One transaction; a commit that fails may have happened all the same.

        Only a ceiling has to survive a power cut. All else may be lost with the machine: it
        says what processes did that are gone then too.
        """
        with self._translated():
            if durable != self._durable:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    raise
                raise OutcomeUnknown(f"{self.path}: the commit failed: {error}") from error

    def tidy(self) -> None:
        """Bring the log back into the database, when nobody waits for us."""
        log = self.path.with_name(f"{self.path.name}-wal")
        with self._translated(), contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LONG_LOG_BYTES:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error


def _missing_row(path: Path, election: str) -> str:
    return (
        f"{path}: election {election!r} has a history but no row, so its next token is unknown: "
        "restore the database from a good copy"
    )


def _boot_and_clock(session: str) -> tuple[str, str]:
    """Names of this boot and of this clock; unique to the process where Linux does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, f"{boot}/{Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return session, f"{session}/"


def _wall_time() -> str:
    """UTC for people; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
