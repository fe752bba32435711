"""A guard for SQLAlchemy sessions: a stale token cannot be committed.

Model
    The bar is the row of a `SqlGuard`. Events of the session lift it in the session's own
    transaction: before it flushes, before it executes what is not a ``SELECT``, and again
    before each commit.

Laws
    1. What was not admitted in this transaction is not committed: the last look comes with
       the commit, so a `StaleToken` that somebody swallowed, or a statement sent past the
       session on its connection, changes nothing.
    2. The bar is lifted before the first write, so that all writers queue there, in one
       order, and not for each other's rows.
    3. A session is guarded for its life. It cannot be let go, or what is left of an old
       tenure could commit unguarded.

Any database of SQLAlchemy's that has what `SqlGuard` needs, and async sessions too.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session, sessionmaker

from elector.errors import ConfigurationError
from elector.fencing.bar import checked_resource, checked_token
from elector.fencing.sql import SqlGuard
from elector.fencing.statements import in_transaction

__all__ = [
    "guard_session",
]


class HasSession(Protocol):
    """An ``AsyncSession``; its module cannot be imported where greenlet is not installed."""

    @property
    def sync_session(self) -> Session:
        """The session in it."""
        ...


Guardable = Session | sessionmaker[Any] | scoped_session[Any] | HasSession


def guard_session(
    sessions: Guardable,
    resource: str,
    token: int,
    *,
    table: str = "elector_fence",
    bind: Engine | Connection | None = None,
) -> None:
    """Let a session, or all that a maker makes from now on, commit only under this token.

    The table must be there; `SqlGuard.ddl` is its statement. A session may be guarded for
    several resources. A maker is for one tenure: make it when the tenure begins.

    Args:
        sessions: a session, a ``sessionmaker``, a ``scoped_session``, or an ``AsyncSession``.
        resource: what is guarded, by a name all its writers agree on.
        token: `tenure.token`.
        table: where the tokens are remembered.
        bind: the engine of that table, for a session with several. What the session writes to
            other databases is not guarded: no transaction holds it together with the bar.

    Raises:
        ConfigurationError: this is no token, no name or nothing that can be guarded. When
            the session writes: the table is not there, or the engine is set to AUTOCOMMIT.
        StaleToken: when the session flushes, executes or commits: a later leader has
            written. The session is to be rolled back.

    >>> from sqlalchemy import create_engine
    >>> from sqlalchemy.orm import sessionmaker
    >>> engine = create_engine("sqlite://")
    >>> with engine.begin() as connection:
    ...     _ = connection.execute(text(SqlGuard().ddl))
    ...     _ = connection.execute(text("CREATE TABLE ledger (entry TEXT)"))
    >>> def write(token):
    ...     with Session(engine) as session:
    ...         guard_session(session, "ledger", token)
    ...         session.execute(text("INSERT INTO ledger VALUES (:by)"), {"by": token})
    ...         session.commit()
    >>> write(token=2)
    >>> write(token=1)
    Traceback (most recent call last):
    ...
    elector.errors.StaleToken: refused: 'ledger' has been written under token 2, so token 1 \
belongs to a leader that was replaced; stop this work and campaign again
    >>> engine.dispose()
    """
    target = _target(sessions)
    admit = _admission(SqlGuard(table, paramstyle="named"), resource, token, bind)

    def before_flush(session: Session, *_: object) -> None:
        admit(session)

    def do_orm_execute(state: ORMExecuteState) -> None:
        if not state.is_select:
            admit(state.session)

    for name, listener in (
        ("before_flush", before_flush),
        ("do_orm_execute", do_orm_execute),
        ("before_commit", admit),
    ):
        event.listen(target, name, listener)


def _target(sessions: object) -> Session | sessionmaker[Any] | scoped_session[Any]:
    if type(sessions).__name__ == "async_sessionmaker":
        raise ConfigurationError(
            "an async_sessionmaker shares its events with every other: guard each AsyncSession "
            "that it makes, or the sessionmaker given to it as sync_session_class"
        )
    sessions = getattr(sessions, "sync_session", sessions)
    if not isinstance(sessions, Session | sessionmaker | scoped_session):
        raise ConfigurationError(
            f"{sessions!r} cannot be guarded: pass a Session, sessionmaker, scoped_session or "
            "AsyncSession"
        )
    return sessions


def _admission(
    guard: SqlGuard, resource: str, token: int, bind: Engine | Connection | None
) -> Callable[[Session], None]:
    checked_resource(resource)
    checked_token(token)
    where = {} if bind is None else {"bind": bind}

    def admit(session: Session) -> None:
        guard.admit(_Spoken(session.connection(bind_arguments=dict(where))), resource, token)

    return admit


class _Spoken:
    """A SQLAlchemy connection as a `SqlGuard` uses one; its ``:name`` style is ``text``'s."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._result: Any = None

    @property
    def in_transaction(self) -> bool | None:
        """What the driver knows; SQLAlchemy believes in a transaction under AUTOCOMMIT too."""
        driver: Any = self._connection.connection.dbapi_connection
        known = in_transaction(driver)
        if known is not None:
            return known
        with suppress(AttributeError, NotImplementedError):  # from SQLAlchemy 2.0.44 on
            return False if self._connection.dialect.detect_autocommit_setting(driver) else None
        return None

    def cursor(self) -> "_Spoken":
        return self

    def execute(self, statement: str, values: dict[str, object] | None = None) -> None:
        self._result = self._connection.execute(text(statement), values)

    @property
    def rowcount(self) -> int:
        return int(self._result.rowcount)

    def fetchone(self) -> Any:
        row = self._result.fetchone()
        self._result.close()
        return row

    def close(self) -> None:
        """Keep the connection: it is the session's."""

    def commit(self) -> None:
        """Leave it to the session."""

    def rollback(self) -> None:
        """Leave it to the session."""
