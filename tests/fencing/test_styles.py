"""Every parameter style of PEP 249, each against a real database behind a driver of that style."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from elector.errors import ConfigurationError
from elector.fencing import SqlGuard, StaleToken
from elector.fencing.statements import in_transaction, style_of

# How each style is said to SQLite, which itself understands ?, ?1 and :name.
TO_SQLITE = {
    "qmark": (r"\?", "?"),
    "format": (r"%s", "?"),
    "numeric": (r":(\d+)", r"?\1"),
    "named": (r":([a-z]+)", r":\1"),
    "pyformat": (r"%\((\w+)\)s", r":\1"),
}


class Cursor:
    """Takes one style and refuses the others, as a driver does."""

    def __init__(self, cursor: sqlite3.Cursor, style: str) -> None:
        self._cursor, self._style = cursor, style

    def execute(self, text: str, parameters: Any = ()) -> None:
        mark, ours = TO_SQLITE[self._style]
        text, count = re.subn(mark, ours, text)
        by_name = self._style in {"named", "pyformat"}
        assert not parameters or isinstance(parameters, dict if by_name else tuple)
        assert by_name or count == len(parameters)
        self._cursor.execute(text, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class Wrapped:
    """A connection of a made-up driver around SQLite."""

    def __init__(self, style: str) -> None:
        self._connection, self._style = sqlite3.connect(":memory:"), style

    def cursor(self) -> Cursor:
        return Cursor(self._connection.cursor(), self._style)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture(params=sorted(TO_SQLITE))
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connection(style: str) -> Iterator[Wrapped]:
    with closing(Wrapped(style)) as connection:
        yield connection


def test_the_guard_speaks_every_style(style: str, connection: Wrapped) -> None:
    guard = SqlGuard(paramstyle=style)
    guard.create(connection)
    with guard.writing(connection, "ledger", 2) as cursor:
        cursor.execute("CREATE TABLE ledger (entry)")
    guard.admit(connection, "ledger", 3)
    connection.commit()
    with pytest.raises(StaleToken) as refused, guard.writing(connection, "ledger", 2):
        pass
    assert refused.value.newest == 3


def test_the_style_is_found_in_the_drivers_package(
    monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    driver, inner = ModuleType("driver"), ModuleType("driver.inner")
    driver.paramstyle = style  # type: ignore[attr-defined]  # a module made up for this test
    monkeypatch.setitem(sys.modules, "driver", driver)
    monkeypatch.setitem(sys.modules, "driver.inner", inner)
    theirs = type("Connection", (), {"__module__": "driver.inner"})
    users = type("Ours", (theirs,), {})
    assert style_of(theirs()) == style
    assert style_of(users()) == style


def test_a_wrapper_that_hides_its_driver_must_be_explained() -> None:
    with pytest.raises(ConfigurationError, match=r"SqlGuard\(paramstyle=\.\.\.\)"):
        SqlGuard().admit(Wrapped("qmark"), "ledger", 1)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="paramstyle 'question' is not one of PEP 249"):
        SqlGuard(paramstyle="question")


def test_a_driver_that_does_not_count_rows_is_refused() -> None:
    uncounted = Wrapped("qmark")
    cursor = SimpleNamespace(execute=lambda *_: None, rowcount=-1, close=lambda: None)
    uncounted.cursor = lambda: cursor  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ConfigurationError, match="does not count the rows"):
        SqlGuard(paramstyle="qmark").admit(uncounted, "ledger", 1)
    uncounted.close()


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (SimpleNamespace(), None),
        (SimpleNamespace(autocommit=True), False),
        (SimpleNamespace(autocommit=False), None),
        (SimpleNamespace(autocommit=lambda: True), None),  # a method, as in PyMySQL
        (SimpleNamespace(in_transaction=True), True),
        (SimpleNamespace(in_transaction=False), False),
        # sqlite3 with autocommit=False has a transaction open from the start.
        (SimpleNamespace(in_transaction=True, autocommit=False), None),
        (SimpleNamespace(in_transaction=True, autocommit=True), True),
        # psycopg: idle, in a transaction, and in one within autocommit
        (SimpleNamespace(info=SimpleNamespace(transaction_status=0), autocommit=False), False),
        (SimpleNamespace(info=SimpleNamespace(transaction_status=2), autocommit=False), True),
        (SimpleNamespace(info=SimpleNamespace(transaction_status=2), autocommit=True), True),
    ],
)
def test_what_drivers_tell_of_their_transaction(connection: object, expected: object) -> None:
    assert in_transaction(connection) is expected
