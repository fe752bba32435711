"""The database behind the SQLite store: its schema, how it is opened, and its errors in words."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from elector.errors import ConfigurationError, StoreCorrupt, StoreError, StoreUnavailable

SCHEMA_VERSION = 1
_BUSY_SECONDS = 2.0
# Who has opened which file, and how often. SQLite keeps such a book as well, and a forked child
# inherits both: it would take its parent's locks for its own, and two processes would lead.
_OPEN: dict[tuple[int, int] | None, tuple[int, int]] = {}

_SCHEMA = """
CREATE TABLE elector_meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE elector_elections (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL CHECK (token >= 0),
    ceiling INTEGER NOT NULL CHECK (ceiling >= token),
    holder TEXT, instance TEXT, session TEXT, since TEXT,
    clock TEXT NOT NULL,
    ttl_ns INTEGER NOT NULL, renewed_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL,
    heir TEXT, heir_until_ns INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX elector_changes ON elector_elections (changed);
CREATE TABLE elector_waiters (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    election TEXT NOT NULL, instance TEXT NOT NULL UNIQUE, session TEXT NOT NULL,
    name TEXT
) STRICT;
CREATE INDEX elector_queue ON elector_waiters (election, place);
CREATE TABLE elector_tenures (
    election TEXT NOT NULL, token INTEGER NOT NULL, holder TEXT NOT NULL,
    began TEXT NOT NULL, ended TEXT, reason TEXT,
    PRIMARY KEY (election, token)
) STRICT, WITHOUT ROWID;
CREATE TABLE elector_asks (
    id INTEGER PRIMARY KEY, election TEXT NOT NULL, token INTEGER NOT NULL, heir TEXT
) STRICT;
CREATE TRIGGER elector_token_rises BEFORE UPDATE OF token, ceiling ON elector_elections
    WHEN NEW.token < OLD.token OR NEW.ceiling < OLD.ceiling
    BEGIN SELECT RAISE(ABORT, 'a fencing token never goes back'); END;
CREATE TRIGGER elector_never_deleted BEFORE DELETE ON elector_elections
    BEGIN SELECT RAISE(ABORT, 'an election is never deleted: its token must not start again'); END;
INSERT INTO elector_meta VALUES ('schema', 1), ('changes', 0);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the database, with its tables.

    Raises:
        StoreCorrupt: a newer elector wrote it.
        ConfigurationError: this process was forked from one that has it open.
        sqlite3.Error: see `store_error`.
    """
    file = _identity(path)
    pid, connections = _OPEN.get(file, (os.getpid(), 0))
    if pid != os.getpid() and connections:
        raise ConfigurationError(
            f"{path} is open in process {pid}, from which this one was forked, and SQLite's locks "
            "do not hold across a fork: open it only after the fork, or start this process anew "
            "(spawn, not fork)"
        )
    # One thread uses it, though another one may have made it.
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # The log is checkpointed by `LeaseTable.tidy`, never while somebody waits for office.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    _OPEN[file] = (os.getpid(), connections + 1)
    return db


def disconnect(db: sqlite3.Connection, path: Path) -> None:
    """Close a database that `connect` has opened."""
    db.close()
    file = _identity(path)
    pid, connections = _OPEN.get(file, (os.getpid(), 0))
    _OPEN[file] = (pid, max(0, connections - 1))


def _identity(path: Path) -> tuple[int, int] | None:
    """By what SQLite, too, knows that two paths are one file; None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new database, and refuse one that is newer than this program."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'elector_meta'").fetchone():
            for statement in _statements(_SCHEMA):
                db.execute(statement)
        found = db.execute("SELECT value FROM elector_meta WHERE key = 'schema'").fetchone()
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    version = found[0] if found else None
    if not isinstance(version, int):
        raise StoreCorrupt(
            f"{path} does not say which elector wrote it: restore it from a good copy; or, if its "
            "table elector_meta is another program's, name another database"
        )
    if version > SCHEMA_VERSION:
        raise StoreCorrupt(
            f"{path} was written by a newer elector (schema {version}, this one reads "
            f"{SCHEMA_VERSION}): upgrade elector, or name another database"
        )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Say in one line whose fault it is and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreCorrupt(
            f"{path} is damaged or is no SQLite database ({error}): restore it from a good copy; "
            "elector does not start its tokens again"
        )
    advice = {
        sqlite3.SQLITE_BUSY: "another program holds its lock: end that, or try again",
        sqlite3.SQLITE_FULL: "the disk is full: free some space",
        sqlite3.SQLITE_READONLY: "it is read-only: give this user the right to write",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the path and the permissions",
        sqlite3.SQLITE_IOERR: "the disk is full, or it failed: check it",
    }.get(code, "check the file")
    return StoreUnavailable(f"{path}: {error}; {advice}")
