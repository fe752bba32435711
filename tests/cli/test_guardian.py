"""The guardian alone, at the end of its line: what it is told and what it tells."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elector.clock import now_ns
from elector.runtime import guardian
from tests.cli.scene import Scene, children, freeze, lives, thaw
from tests.runtime.waiting import until

FAR = 60_000_000_000
PATIENCE = 30

# Stands in for a farewell: writes down what it hears, and whether the command is still there then.
FAREWELL = """
import os, socket, sys
heard = open(sys.argv[1], "a", 1)
for line in socket.socket(fileno=int(sys.argv[3])).makefile("r"):
    heard.write(f"{os.path.exists('/proc/' + sys.argv[2])} {line}")
    if "release_by" in line and "deaf" not in sys.argv[1]:
        break
"""


class Line:
    """A supervisor's end of the line."""

    def __init__(self, scene: Scene) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        with theirs:
            script = str(Path(guardian.__file__))
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", script, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=scene.environment(),
            )
        self.reports = self.socket.makefile("rb")

    def tell(self, **order: object) -> None:
        self.socket.sendall(json.dumps(order).encode() + b"\n")

    def start(self, *argv: str, soft_ns: int = FAR, kill_ns: int = FAR) -> None:
        until = [now_ns() + soft_ns, now_ns() + kill_ns]
        self.tell(start={"argv": argv, "env": dict(os.environ), "terminal": None, "until": until})

    def farewell(self, heard: Path, job: int) -> None:
        argv = [sys.executable, "-I", "-S", "-c", FAREWELL, str(heard), str(job)]
        self.tell(farewell={"argv": argv, "env": {}, "will": {"token": 7}})

    def hear(self) -> Any:
        return json.loads(self.reports.readline())

    def job(self) -> int:
        """Its command, once that is started."""
        pid = self.hear()["started"]
        assert isinstance(pid, int)
        return pid


@pytest.fixture
def line(scene: Scene) -> Iterator[Line]:
    line = Line(scene)
    assert line.hear() == {"ready": True}
    with contextlib.closing(line.socket), line.reports:
        yield line
        line.socket.shutdown(socket.SHUT_RDWR)  # as if the supervisor had died
        line.process.wait(PATIENCE)
    assert line.process.returncode == 0


def test_it_tells_the_end_with_its_time(line: Line) -> None:
    before = now_ns()
    line.start("sh", "-c", "exit 7")
    line.job()
    end = line.hear()
    assert before < end.pop("at") < now_ns()
    assert end == {"exited": 7 << 8, "left": 0}


def test_it_does_not_start_what_would_be_too_late(line: Line, tmp_path: Path) -> None:
    line.start("touch", str(tmp_path / "ran"), soft_ns=-1)
    assert line.hear() == {"late": True}
    assert not (tmp_path / "ran").exists()


def test_frozen_before_the_order_came_it_does_not_obey_it_later(line: Line, tmp_path: Path) -> None:
    freeze(line.process.pid)
    line.start("touch", str(tmp_path / "ran"), soft_ns=1_000_000, kill_ns=2_000_000)
    too_late = now_ns() + 2_000_000
    until(lambda: now_ns() > too_late)
    thaw(line.process.pid)
    assert line.hear() == {"late": True}
    assert not (tmp_path / "ran").exists()


def test_soft_deadline_then_hard_deadline(line: Line) -> None:
    line.start(
        *("sh", "-c", "trap 'echo' TERM; while :; do sleep 0.01; done"),
        soft_ns=50_000_000,
        kill_ns=150_000_000,
    )
    begun = now_ns()
    line.job()
    end = line.hear()
    assert end["exited"] == signal.SIGKILL
    assert end["at"] > begun + 100_000_000


def test_deadlines_move(line: Line) -> None:
    line.start("sleep", "600", soft_ns=200_000_000, kill_ns=200_000_000)
    job = line.job()
    line.tell(until=[now_ns() + FAR, now_ns() + FAR])
    past_the_first = now_ns() + 250_000_000
    until(lambda: now_ns() > past_the_first)
    assert lives(job)
    line.tell(until=[now_ns(), now_ns() + FAR])
    assert line.hear()["exited"] == signal.SIGTERM


@pytest.mark.parametrize(
    ("order", "number"),
    [
        ({"stop": True}, signal.SIGTERM),
        ({"signal": signal.SIGUSR1}, signal.SIGUSR1),
        ({"kill": True}, signal.SIGKILL),
    ],
)
def test_orders(line: Line, order: dict[str, int], number: int) -> None:
    line.start("sleep", "600")
    line.job()
    line.tell(**order)
    assert line.hear()["exited"] == number


def test_the_end_of_the_line_is_the_end_of_the_command_and_of_its_group(line: Line) -> None:
    line.start("sh", "-c", "trap '' TERM; sleep 600 & sleep 600")
    job = line.job()
    group = [job, *until(lambda: children(job))]
    line.socket.shutdown(socket.SHUT_WR)
    line.process.wait(PATIENCE)
    assert not [pid for pid in group if lives(pid)]


def test_an_impossible_command(line: Line) -> None:
    line.start("/not/there")
    assert line.hear() == {"failed": 2}
    line.start("true")  # it is still at work
    line.job()
    assert line.hear()["exited"] == 0


# -- the farewell ------------------------------------------------------------------------------


def test_the_farewell_is_told_once_the_command_is_gone(line: Line, tmp_path: Path) -> None:
    line.start("sleep", "600")
    line.farewell(heard := tmp_path / "heard", line.job())
    until(lambda: heard.exists() and heard.read_text() == 'True {"token": 7}\n')
    line.socket.shutdown(socket.SHUT_WR)
    line.process.wait(PATIENCE)
    last = heard.read_text().splitlines()[-1]
    assert last.startswith('False {"release_by": ')


def test_a_farewell_that_was_not_ready_is_started_then(line: Line, tmp_path: Path) -> None:
    line.start("sleep", "600")
    line.farewell(heard := tmp_path / "heard", line.job())
    line.socket.shutdown(socket.SHUT_WR)
    line.process.wait(PATIENCE)
    assert [text[:6] for text in heard.read_text().splitlines()] == ["False "] * 2


def test_after_a_goodbye_the_farewell_is_not_told(line: Line, tmp_path: Path) -> None:
    line.start("sleep", "600")
    line.farewell(heard := tmp_path / "heard", line.job())
    until(heard.exists)
    line.tell(kill=True)
    assert line.hear()["exited"] == signal.SIGKILL
    (farewell,) = children(line.process.pid)
    line.tell(goodbye=True)
    line.socket.shutdown(socket.SHUT_WR)
    line.process.wait(PATIENCE)
    assert not lives(farewell)
    assert "release_by" not in heard.read_text()


def test_a_farewell_does_not_outlive_the_lease(line: Line, tmp_path: Path) -> None:
    line.start("sleep", "600", kill_ns=3_000_000_000)
    line.farewell(heard := tmp_path / "deaf", line.job())
    until(lambda: heard.exists() and heard.read_text())
    (_, farewell) = children(line.process.pid)
    line.socket.shutdown(socket.SHUT_WR)
    line.process.wait(PATIENCE)
    assert not lives(farewell)
    assert "release_by" in heard.read_text()


def test_a_farewell_that_ends_is_reported(line: Line, tmp_path: Path) -> None:
    line.start("sleep", "600")
    job = line.job()
    line.farewell(tmp_path, job)  # a directory cannot be written
    assert line.hear() == {"farewell_ended": 1 << 8}
    assert lives(job)


def test_an_impossible_farewell_is_reported(line: Line) -> None:
    line.start("sleep", "600")
    job = line.job()
    line.tell(farewell={"argv": ["/not/there"], "env": {}, "will": {}})
    assert line.hear() == {"farewell_ended": 1 << 8}
    assert lives(job)
