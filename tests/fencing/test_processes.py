"""The guard among real processes, one of them really stopped."""

import sqlite3
from pathlib import Path

import pytest

from elector.fencing import SqlGuard

from .conftest import Connect
from .processes import started, thaw, wait_until_stopped


def written(connection: sqlite3.Connection) -> list[int]:
    return [token for (token,) in connection.execute("SELECT token FROM ledger ORDER BY number")]


def write(connection: sqlite3.Connection, token: int) -> None:
    with SqlGuard().writing(connection, "ledger", token) as cursor:
        cursor.execute("INSERT INTO ledger (token, entry) VALUES (?, 'prompt')", (token,))


@pytest.mark.parametrize(
    ("how", "answer", "ledger"),
    [
        ("before", "refused 1 < 2", [2]),
        # The same pause without a guard: the harm is real, and this test can see it.
        ("unguarded", "written", [2, 1]),
    ],
)
def test_a_paused_leader_wakes_up_after_its_successor_wrote(
    database: Path, connection: sqlite3.Connection, how: str, answer: str, ledger: list[int]
) -> None:
    with started("late_writer.py", str(database), "1", how) as late:
        wait_until_stopped(late)
        write(connection, 2)
        assert thaw(late) == answer
    assert written(connection) == ledger


def test_a_leader_paused_between_check_and_write_holds_its_successor_back(
    database: Path, connect: Connect
) -> None:
    with started("late_writer.py", str(database), "1", "inside") as late:
        wait_until_stopped(late)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write(connect(), 2)
        assert thaw(late) == "written"
    write(connect(), 2)
    assert written(connect()) == [1, 2]


def test_a_leader_killed_between_check_and_write_leaves_nothing(
    database: Path, connection: sqlite3.Connection
) -> None:
    with started("late_writer.py", str(database), "7", "inside") as late:
        wait_until_stopped(late)
        late.kill()
        late.wait()
    assert SqlGuard().newest(connection, "ledger") == 0
    write(connection, 1)
    assert written(connection) == [1]


def test_rival_processes_never_write_out_of_order(
    database: Path, connection: sqlite3.Connection
) -> None:
    seeds = ["20310505", "20310506", "20310507"]
    print(f"seeds {seeds}")  # noqa: T201 - to replay a failure
    with (
        started("rival_writer.py", str(database), seeds[0]) as one,
        started("rival_writer.py", str(database), seeds[1]) as two,
        started("rival_writer.py", str(database), seeds[2]) as three,
    ):
        rivals = (one, two, three)
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        assert [rival.communicate()[1] for rival in rivals] == ["", "", ""]
    ledger = written(connection)
    assert ledger == sorted(ledger)
    assert ledger[-1] == SqlGuard().newest(connection, "ledger")
