"""A guard inside the database: SQLite triggers that refuse rows with an old token.

For tables that are also written by programs which know nothing of Elector. Each row carries
the token of the tenure that wrote it; a row whose token is below the highest seen is refused
by the database itself, whoever sends it.

What triggers cannot see: a ``DELETE`` has no new row and passes, and an ``UPDATE`` that
leaves the token column alone is judged by the token already in the row. Write every row under
its own token, or hold check and write together with `SqlGuard.writing`.
"""

import re

from elector.fencing.bar import checked_resource
from elector.fencing.statements import identifier

# RAISE takes only a literal before SQLite 3.47: the numbers are read from the table later.
REFUSAL = "elector: stale fencing token"
NO_TOKEN = "elector: the fencing token must be a whole number from 1 on"  # noqa: S105 - a sentence
_TOLD = re.compile(re.escape(REFUSAL) + r"; the newest is (\d+)")

_TRIGGER = """\
DROP TRIGGER IF EXISTS "{table}_fence_{verb}";
CREATE TRIGGER "{table}_fence_{verb}" BEFORE {verb} ON "{table}"
BEGIN
  SELECT RAISE(ABORT, '{no_token}')
    WHERE typeof(NEW."{column}") <> 'integer' OR NEW."{column}" < 1;
  SELECT RAISE(ABORT, '{refusal}')
    FROM "{fence}" WHERE resource = {resource} AND token > NEW."{column}";
  UPDATE "{fence}" SET token = NEW."{column}", writes = writes + 1 WHERE resource = {resource};
  INSERT INTO "{fence}" (resource, token, writes) SELECT {resource}, NEW."{column}", 1
    WHERE NOT EXISTS (SELECT 1 FROM "{fence}" WHERE resource = {resource});
END;
"""


def guard_trigger(
    table: str, token_column: str, resource: str, fence: str = "elector_fence"
) -> str:
    """The SQLite DDL that guards a table, for ``connection.executescript``.

    The table of `SqlGuard.create` must be there. Run again, it replaces what it made before.

    Args:
        table: the guarded table.
        token_column: its column that holds the token of whoever writes the row.
        resource: the name under which the highest token is remembered.
        fence: the table of the `SqlGuard`.

    Raises:
        ConfigurationError: one of the names cannot be used.

    >>> import sqlite3
    >>> from elector.fencing import SqlGuard
    >>> connection, guard = sqlite3.connect(":memory:"), SqlGuard()
    >>> guard.create(connection)
    >>> _ = connection.execute("CREATE TABLE ledger (entry TEXT, token INTEGER)")
    >>> _ = connection.executescript(guard_trigger("ledger", "token", "ledger"))
    >>> _ = connection.execute("INSERT INTO ledger VALUES ('a', 2)")
    >>> with guard.translating(connection, "ledger", token=1):
    ...     _ = connection.execute("INSERT INTO ledger VALUES ('b', 1)")
    Traceback (most recent call last):
    ...
    elector.errors.StaleToken: refused: 'ledger' has been written under token 2, so token 1 \
belongs to a leader that was replaced; stop this work and campaign again
    >>> connection.close()
    """
    quoted = checked_resource(resource).replace("'", "''")
    names = {
        "table": identifier(table, "table"),
        "column": identifier(token_column, "token column"),
        "fence": identifier(fence, "fence table"),
    }
    return "".join(
        _TRIGGER.format(
            verb=verb, refusal=REFUSAL, no_token=NO_TOKEN, resource=f"'{quoted}'", **names
        )
        for verb in ("INSERT", "UPDATE")
    )


def is_refusal(error: Exception) -> bool:
    """Whether an error of the driver is the refusal of one of these triggers."""
    return REFUSAL in str(error)


def newest_told(error: Exception) -> int:
    """The highest token as the refusal tells it, 0 where it does not."""
    told = _TOLD.search(str(error))
    return int(told[1]) if told else 0
