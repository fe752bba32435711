"""The session hook over SQLite; tests/fencing/test_postgresql.py has it over PostgreSQL."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, insert, select, text, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from elector.errors import ConfigurationError
from elector.fencing import SqlGuard, StaleToken
from elector.fencing.sqlalchemy import guard_session

from .processes import rivals, started, thaw, wait_until_stopped
from .writers import RESOURCE, sqlalchemy


class Base(DeclarativeBase):
    """The tables of the application."""


class Entry(Base):
    """A line of the ledger, as conftest.py makes the table."""

    __tablename__ = "ledger"
    number: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[int]
    entry: Mapped[str | None]


@pytest.fixture
def engine(database: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{database}")
    yield engine
    engine.dispose()


def written(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT token FROM ledger ORDER BY number")))


def newest(engine: Engine, resource: str = "ledger") -> int:
    with closing(sqlite3.connect(str(engine.url.database))) as connection:
        return SqlGuard().newest(connection, resource)


def write(engine: Engine, token: int) -> None:
    with Session(engine) as session:
        guard_session(session, "ledger", token)
        session.add(Entry(token=token))
        session.commit()


def test_equal_and_higher_tokens_write_and_lower_ones_do_not(engine: Engine) -> None:
    for token in (3, 3, 5):
        write(engine, token)
    with pytest.raises(StaleToken) as refused:
        write(engine, 4)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert written(engine) == [3, 3, 5]


def by_flush(session: Session) -> None:
    session.add(Entry(token=1))
    session.flush()


def by_core(session: Session) -> None:
    session.execute(insert(Entry).values(token=1))


def by_update(session: Session) -> None:
    session.execute(update(Entry).values(token=1))


def by_delete(session: Session) -> None:
    session.execute(delete(Entry))


def by_text(session: Session) -> None:
    session.execute(text("UPDATE ledger SET token = 1"))


def by_deletion(session: Session) -> None:
    session.delete(session.scalars(select(Entry)).one())
    session.flush()


def by_bulk(session: Session) -> None:
    session.bulk_insert_mappings(Entry.__mapper__, [{"token": 1}])


def past_the_session(session: Session) -> None:
    session.connection().exec_driver_sql("UPDATE ledger SET token = 1")


WAYS = [by_flush, by_core, by_update, by_delete, by_text, by_deletion, by_bulk, past_the_session]


@pytest.mark.parametrize("way", WAYS)
def test_a_stale_session_can_be_committed_in_no_way(
    engine: Engine, way: Callable[[Session], None]
) -> None:
    write(engine, 2)
    with Session(engine) as session:
        guard_session(session, "ledger", 1)
        try:
            way(session)
        except StaleToken:
            assert way not in {by_bulk, past_the_session}
        else:
            assert way in {by_bulk, past_the_session}
        for _ in range(2):  # whoever swallows the error gets it again
            with pytest.raises(StaleToken):
                session.commit()
    assert written(engine) == [2]


@pytest.mark.parametrize("way", WAYS)
def test_the_bar_moves_in_the_transaction_of_the_write(
    engine: Engine, way: Callable[[Session], None]
) -> None:
    write(engine, 2)
    with Session(engine) as session:
        guard_session(session, "ledger", 3)
        way(session)
        session.rollback()
        assert (newest(engine), written(engine)) == (2, [2])
        way(session)
        session.commit()
    assert newest(engine) == 3
    assert written(engine) != [2]


def test_readers_do_not_raise_the_bar_until_they_commit(engine: Engine) -> None:
    write(engine, 2)
    with Session(engine) as session:
        guard_session(session, "ledger", 3)
        assert session.scalars(select(Entry.token)).all() == [2]
        write(engine, 2)  # nobody is held back by one who reads
        session.rollback()
    assert newest(engine) == 2


def test_a_commit_without_a_write_is_a_check(engine: Engine) -> None:
    write(engine, 2)
    with Session(engine) as session:
        guard_session(session, "ledger", 1)
        with pytest.raises(StaleToken):
            session.commit()


def test_a_rolled_back_savepoint_takes_the_bar_along_and_the_commit_lifts_it_again(
    engine: Engine,
) -> None:
    with Session(engine) as session:
        guard_session(session, "ledger", 3)
        savepoint = session.begin_nested()
        session.add(Entry(token=3))
        session.flush()
        savepoint.rollback()
        session.add(Entry(token=3))
        session.commit()
    assert (newest(engine), written(engine)) == (3, [3])
    with Session(engine) as session:
        guard_session(session, "ledger", 1)
        with pytest.raises(StaleToken), session.begin_nested():
            session.add(Entry(token=1))
    assert written(engine) == [3]


@pytest.mark.parametrize("wrap", [lambda maker: maker, scoped_session])
def test_a_maker_guards_all_its_sessions_and_no_others(
    engine: Engine, wrap: Callable[[Any], Any]
) -> None:
    stale, other = sessionmaker(engine), sessionmaker(engine)
    write(engine, 2)
    guard_session(wrap(stale), "ledger", 1)
    for _ in range(2):
        with stale() as session, pytest.raises(StaleToken):
            by_flush(session)
    with other.begin() as session:
        session.add(Entry(token=9))
    with Session(engine) as session:
        session.add(Entry(token=9))
        session.commit()
    assert written(engine) == [2, 9, 9]


def test_a_session_may_be_guarded_for_several_resources(engine: Engine) -> None:
    with Session(engine) as session:
        guard_session(session, "archive", 5)
        session.commit()
    with Session(engine) as session:
        guard_session(session, "ledger", 1)
        guard_session(session, "archive", 4)
        session.add(Entry(token=1))
        with pytest.raises(StaleToken, match="'archive'"):
            session.commit()
    assert (newest(engine), written(engine)) == (0, [])


def test_a_session_with_an_engine_for_each_table_says_where_the_bar_is(engine: Engine) -> None:
    with Session(binds={Entry: engine}) as session:
        guard_session(session, "ledger", 2, bind=engine)
        session.add(Entry(token=2))
        session.commit()
    assert (newest(engine), written(engine)) == (2, [2])


def test_an_engine_on_autocommit_is_refused_before_anything_is_written(engine: Engine) -> None:
    on = engine.execution_options(isolation_level="AUTOCOMMIT")
    for way in (by_flush, by_core):
        with Session(on) as session:
            guard_session(session, "ledger", 2)
            with pytest.raises(ConfigurationError, match="autocommit"):
                way(session)
    assert written(engine) == []


def test_a_missing_table_is_named_with_what_makes_it(engine: Engine) -> None:
    with Session(engine) as session:
        guard_session(session, "ledger", 2, table="nowhere")
        with pytest.raises(ConfigurationError, match=r"no table nowhere.*SqlGuard\.ddl"):
            by_flush(session)
        with pytest.raises(ConfigurationError, match="no table nowhere"):
            session.commit()
    assert written(engine) == []


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_is_refused(engine: Engine, token: Any) -> None:
    with Session(engine) as session, pytest.raises(ConfigurationError, match="not a fencing token"):
        guard_session(session, "ledger", token)


def test_what_is_no_resource_or_no_session_is_refused(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(ConfigurationError, match="printable"):
        guard_session(session, "", 1)
    with pytest.raises(ConfigurationError, match="cannot be guarded"):
        guard_session(engine, "ledger", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be guarded"):
        guard_session(Session, "ledger", 1)  # type: ignore[arg-type] # would guard all there are


def test_an_async_maker_is_refused_with_what_to_do() -> None:
    from sqlalchemy.ext.asyncio import async_sessionmaker

    with pytest.raises(ConfigurationError, match="sync_session_class"):
        guard_session(async_sessionmaker(), "ledger", 1)  # type: ignore[arg-type]


def test_plain_sessions_need_no_greenlet() -> None:
    program = "import sys; sys.modules['greenlet'] = None; import elector.fencing.sqlalchemy"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_paused_leader_wakes_up_after_its_successor_wrote(engine: Engine) -> None:
    where = str(engine.url)
    with started("late_leader.py", "sqlalchemy", where, "1") as late:
        wait_until_stopped(late)
        with sqlalchemy(where) as prompt:
            prompt(2)
        assert thaw(late) == "refused 1 < 2"
    assert written(engine) == [2]


def test_rival_processes_never_write_out_of_order(engine: Engine) -> None:
    admitted = rivals("sqlalchemy", f"{engine.url}?timeout=60", writes=60)
    assert written(engine) == sorted(admitted)
    assert newest(engine, RESOURCE) == max(admitted)
