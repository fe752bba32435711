"""The ledger: a SQLite file that only the leader may write to, and a guard that sees to it."""

import sqlite3
from pathlib import Path

import msgspec

from elector.clock import now_ns
from elector.fencing import SqlGuard

_FILE, _RESOURCE = "ledger.db", "ledger"
_CREATE = """
    CREATE TABLE ledger (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        token INTEGER NOT NULL, replica TEXT NOT NULL, entry INTEGER NOT NULL, at INTEGER NOT NULL
    )"""
_WRITE = "INSERT INTO ledger (token, replica, entry, at) VALUES (?, ?, ?, ?)"
_READ = "SELECT number, token, replica, entry, at FROM ledger WHERE token > ? ORDER BY number"


class Entry(msgspec.Struct, frozen=True):
    """One entry: the `entry`-th of a tenure, written at `at` (ns, monotonic) by `replica`.

    Numbers follow the order in which the entries were committed.
    """

    number: int
    token: int
    replica: str
    entry: int
    at: int


class Ledger:
    """An open ledger."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / _FILE)
        self._guard = SqlGuard()

    @classmethod
    def create(cls, directory: Path) -> "Ledger":
        """Make an empty one."""
        ledger = cls(directory)
        # Readers do not disturb the writer, and a commit need not wait for the disk.
        ledger._connection.execute("PRAGMA journal_mode = WAL")
        ledger._connection.execute(_CREATE)
        ledger._guard.create(ledger._connection)
        return ledger

    def write(self, token: int, replica: str, entry: int) -> None:
        """Write one entry.

        Raises:
            StaleToken: a later leader has written.
        """
        with self._guard.writing(self._connection, _RESOURCE, token) as cursor:
            cursor.execute(_WRITE, (token, replica, entry, now_ns()))

    def entries(self, above: int = 0) -> list[Entry]:
        """The entries under tokens above this one, in the order of their commits."""
        return [Entry(*row) for row in self._connection.execute(_READ, (above,))]

    def first_above(self, token: int) -> Entry | None:
        """The first entry under a higher token, if there is one yet."""
        row = self._connection.execute(f"{_READ} LIMIT 1", (token,)).fetchone()
        return None if row is None else Entry(*row)

    def last(self) -> Entry | None:
        """The last entry, if there is one yet."""
        newest_first = f"{_READ} DESC LIMIT 1"
        row = self._connection.execute(newest_first, (0,)).fetchone()
        return None if row is None else Entry(*row)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
