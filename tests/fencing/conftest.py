import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from elector.fencing import SqlGuard

Connect = Callable[[], sqlite3.Connection]


@pytest.fixture
def guard() -> SqlGuard:
    return SqlGuard()


@pytest.fixture
def database(tmp_path: Path, guard: SqlGuard) -> Path:
    """A guarded ledger, as every deployment would have it."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        guard.create(connection)
        connection.execute("CREATE TABLE ledger (number INTEGER PRIMARY KEY, token, entry)")
        connection.commit()
    return path


@pytest.fixture
def connect(database: Path) -> Iterator[Connect]:
    """Opens connections to the ledger, closed at the end of the test; they never wait."""
    with ExitStack() as stack:

        def opened() -> sqlite3.Connection:
            return stack.enter_context(closing(sqlite3.connect(database, timeout=0)))

        yield opened


@pytest.fixture
def connection(connect: Connect) -> sqlite3.Connection:
    return connect()
