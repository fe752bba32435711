"""One SQL text for every DB-API 2 driver: parameter styles, names, and open transactions.

PEP 249 leaves the style of placeholders to the driver. A statement here is written once with
``:name`` placeholders and turned into the style of the driver at hand.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from elector.errors import ConfigurationError

Cursor_co = TypeVar("Cursor_co", covariant=True)


class Connection(Protocol[Cursor_co]):
    """The part of a PEP 249 connection that a guard uses."""

    def cursor(self) -> Cursor_co:
        """Open a cursor."""
        ...

    def commit(self) -> None:
        """Make the transaction last."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...


class Bound(NamedTuple):
    """A statement in the driver's style with its parameters: ``cursor.execute(*bound)``."""

    text: str
    parameters: Sequence[object] | Mapping[str, object]


_PLACEHOLDER = re.compile(r":(\w+)")

# For each positional style of PEP 249, the placeholder of the n-th parameter.
_POSITIONAL: Mapping[str, Callable[[int], str]] = {
    "qmark": lambda _: "?",
    "format": lambda _: "%s",
    "numeric": lambda number: f":{number}",
}
_BY_NAME = {"named": r":\1", "pyformat": r"%(\1)s"}
STYLES = frozenset({*_POSITIONAL, *_BY_NAME})


def bind(style: str, text: str, values: Mapping[str, object]) -> Bound:
    """Turn a statement with ``:name`` placeholders into a driver's parameter style.

    >>> bind("qmark", "UPDATE t SET a = :a WHERE b = :b AND a <= :a", {"a": 1, "b": "x"})
    Bound(text='UPDATE t SET a = ? WHERE b = ? AND a <= ?', parameters=(1, 'x', 1))
    >>> bind("pyformat", "SELECT a FROM t WHERE b = :b", {"b": "x"})
    Bound(text='SELECT a FROM t WHERE b = %(b)s', parameters={'b': 'x'})
    """
    names = _PLACEHOLDER.findall(text)
    if style in _BY_NAME:
        by_name = _PLACEHOLDER.sub(_BY_NAME[style], text)
        return Bound(by_name, {name: values[name] for name in names})
    pieces = _PLACEHOLDER.split(text)[::2]
    marks = [_POSITIONAL[style](number) for number in range(1, len(names) + 1)]
    positional = "".join(map("".join, zip(pieces, [*marks, ""], strict=True)))
    return Bound(positional, tuple(values[name] for name in names))


def style_of(connection: object) -> str:
    """Find the parameter style of the driver that made a connection.

    PEP 249 puts ``paramstyle`` in the driver's top module, which some package around the
    class of the connection is. Nothing is imported: the driver already is.

    Raises:
        ConfigurationError: no such module; a wrapper hides the driver.

    >>> import contextlib, sqlite3
    >>> with contextlib.closing(sqlite3.connect(":memory:")) as connection:
    ...     style_of(connection)
    'qmark'
    """
    for kind in type(connection).__mro__:
        package = kind.__module__
        while package:
            style = getattr(sys.modules.get(package), "paramstyle", None)
            if style in STYLES:
                return str(style)
            package = package.rpartition(".")[0]
    raise ConfigurationError(
        f"the parameter style of {type(connection).__qualname__} is not known: "
        "say SqlGuard(paramstyle=...) with the one its driver documents"
    )


def in_transaction(connection: object) -> bool | None:
    """Whether a transaction is open, None where the driver does not tell.

    >>> import contextlib, sqlite3
    >>> with contextlib.closing(sqlite3.connect(":memory:")) as connection:
    ...     in_transaction(connection)
    False
    """
    autocommit = getattr(connection, "autocommit", None)
    known = getattr(connection, "in_transaction", None)  # sqlite3, mysql.connector
    if isinstance(known, bool):
        # With autocommit=False sqlite3 begins anew at each commit: "open" then means nothing.
        return None if known and autocommit is False else known
    status = getattr(getattr(connection, "info", None), "transaction_status", None)  # psycopg
    if status is not None:
        return bool(status != 0)
    return False if autocommit is True else None


def is_conflict(error: Exception) -> bool:
    """Whether a driver reports a broken constraint; PEP 249 fixes only the error's name."""
    return any(kind.__name__ == "IntegrityError" for kind in type(error).__mro__)


# In the order of SQLite, PostgreSQL, MySQL, Oracle: its words or its number are all a driver tells.
_NO_TABLE = re.compile(r"no such table|relation .* does not exist|Table .* doesn't exist|ORA-00942")


def is_missing_table(error: Exception) -> bool:
    """Whether a driver reports a table that is not there.

    >>> import sqlite3
    >>> is_missing_table(sqlite3.OperationalError("no such table: elector_fence"))
    True
    """
    said = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    # A database may speak another language than English; its number does not.
    return said in {"42P01", "42S02"} or _NO_TABLE.search(str(error)) is not None


_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def identifier(text: str, what: str) -> str:
    """Check a name that is to stand in SQL text, where no parameter can.

    Raises:
        ConfigurationError: it has anything but letters, digits and underscores.

    >>> identifier("elector_fence", "table")
    'elector_fence'
    >>> identifier("fence; DROP TABLE users", "table")
    Traceback (most recent call last):
    ...
    elector.errors.ConfigurationError: table 'fence; DROP TABLE users' cannot be used: up to 63 \
letters, digits and underscores, not beginning with a digit
    """
    if not _IDENTIFIER.fullmatch(text):
        raise ConfigurationError(
            f"{what} {text!r} cannot be used: up to 63 letters, digits and underscores, "
            "not beginning with a digit"
        )
    return text


def qualified(text: str, what: str) -> str:
    """Check a name that may carry its schema in front: ``app.elector_fence``."""
    schema, dot, name = text.rpartition(".")
    return f"{identifier(schema, what)}.{identifier(name, what)}" if dot else identifier(text, what)


def only_value(row: Any) -> Any:
    """The value of a row with one column, whatever row factory made it; None for no row.

    >>> only_value((7,)), only_value({"token": 7}), only_value(None)
    (7, 7, None)
    """
    if row is None:
        return None
    return next(iter(row.values() if isinstance(row, Mapping) else row))
