"""A candidate's trace: complete, checked step for step, and never in the candidate's way."""

import contextlib
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from elector.core.events import Start, Withdraw
from elector.errors import StoreError, TraceError
from elector.runtime import recorder as recorder_module
from elector.runtime.driver import Driver, Listener, join
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.runtime.recorder import Recorder
from elector.runtime.settings import Settings
from elector.trace import records
from elector.trace.ndjson import read
from elector.trace.records import Header, Record
from elector.verification.divergence import first_divergence
from tests.runtime.conftest import Faulty
from tests.runtime.faulty_store import Fault
from tests.runtime.waiting import until


class Stage:
    """One candidate, driven by hand, and its trace."""

    def __init__(self, path: Path, store: str, ttl: str = "15s", name: str = "a") -> None:
        self.path = path
        self.warnings: list[str] = []
        self.tenures: list[Holding] = []
        self.used = 0
        self.stopped: list[Holding] = []
        self.settings = Settings.of("nightly", store=store, ttl=ttl, candidate=name)
        self.recorder = Recorder(path, self.settings, self.warnings.append)
        self.engine = Engine.current()
        self._driver: Driver | None = None

    def join(self) -> Driver:
        listener = Listener(
            leads=self.tenures.append,
            must_stop=self.stopped.append,
            observes=lambda _: None,
            asked=lambda answer: answer(),
        )
        joining = join(self.engine, self.settings, listener, self.recorder)
        self._driver = self.engine.submit(joining).result(30)
        return self._driver

    @property
    def driver(self) -> Driver:
        return self._driver or self.join()

    def elected(self) -> Holding:
        """The next tenure, which may have come already."""
        self.driver.post(Start)
        self.used += 1
        until(lambda: len(self.tenures) >= self.used)
        return self.tenures[self.used - 1]

    def work(self, *, failed: bool = False) -> None:
        """A tenure from its beginning to its end."""
        holding = self.elected()
        self.driver.start_work(holding)
        self.driver.work_stopped(holding, failed=failed)
        until(lambda: holding.over)

    def leave(self) -> None:
        self.driver.post(Withdraw)
        self.engine.submit(self.driver.left()).result(30)

    def written(self) -> tuple[Header, list[Record]]:
        """The trace, once it is written."""
        until(lambda: self.recorder not in self.engine._leavers)
        header, told = read(self.path)
        return header, list(told)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ndjson"


def kinds(told: list[Record], *but: str) -> list[str]:
    return [kind for kind in (type(one).__name__ for one in told) if kind not in but]


def test_a_life_is_written_down_and_can_be_taken_again(path: Path, memory: str) -> None:
    stage = Stage(path, memory)
    stage.work()
    stage.leave()
    header, told = stage.written()
    assert (header.world, header.protocol, header.nodes) == ("production", "lease", ("a",))
    assert header.settings["election"] == "nightly"
    assert kinds(told, "Step", "Follow") == [
        "Boot",
        *("Request", "Answer", "Lead", "Work", "Work", "StepDown", "Request", "Answer"),
        "End",
    ]
    assert [one.what for one in told if isinstance(one, records.Work)] == ["began", "stopped"]
    assert first_divergence(header, told) is None
    assert stage.warnings == []


def test_what_is_told_is_in_order_and_dated(path: Path, memory: str) -> None:
    stage = Stage(path, memory)
    stage.work(failed=True)
    stage.leave()
    _, told = stage.written()
    assert [one.t for one in told] == sorted(one.t for one in told)
    for one in told:
        if isinstance(one, records.Step):
            assert one.event["at"] <= one.t
    assert [one.failed for one in told if isinstance(one, records.Work)] == [False, True]


def test_work_that_has_to_stop(path: Path, faulty: Faulty) -> None:
    store = faulty("a")
    stage = Stage(path, "faulty://a", ttl="1s")
    holding = stage.elected()
    stage.driver.start_work(holding)
    store.fail(Fault.REFUSED)
    until(lambda: stage.stopped)
    store.mend()
    stage.driver.work_stopped(holding)
    stage.leave()
    header, told = stage.written()
    assert [one.what for one in told if isinstance(one, records.Work)] == [
        *("began", "stopping", "stopped")
    ]
    outcomes = {one.outcome for one in told if isinstance(one, records.Answer)}
    assert {"granted", "failed"} <= outcomes
    assert [one.reason for one in told if isinstance(one, records.StepDown)] == ["expired"]
    assert first_divergence(header, told) is None


def test_work_that_never_began_is_none(path: Path, memory: str) -> None:
    stage = Stage(path, memory)
    stage.driver.work_stopped(stage.elected())
    stage.leave()
    assert "Work" not in kinds(stage.written()[1])


def test_a_lease_that_is_prolonged_is_said_again(path: Path, memory: str) -> None:
    stage = Stage(path, memory, ttl="300ms")
    holding = stage.elected()
    stage.driver.start_work(holding)
    before = holding.deadlines
    until(lambda: holding.deadlines != before)
    stage.driver.work_stopped(holding)
    stage.leave()
    header, told = stage.written()
    untils = [one.until or 0 for one in told if isinstance(one, records.Lead)]
    assert untils[0] == before.hard_ns
    assert len(untils) >= 2
    assert untils == sorted(set(untils))
    assert first_divergence(header, told) is None


def test_others_are_named(tmp_path: Path, memory: str) -> None:
    first, second = Stage(tmp_path / "a", memory), Stage(tmp_path / "b", memory, name="b")
    holding = first.elected()
    second.driver.post(Start)
    until(lambda: b"occupied" in second.path.read_bytes())
    first.driver.work_stopped(holding)
    first.leave()
    second.driver.work_stopped(second.elected())
    second.leave()
    header, told = second.written()
    seen = [(one.leader, one.name) for one in told if isinstance(one, records.Follow)]
    assert (None, "a") in seen
    assert (0, "") in seen
    assert first_divergence(header, told) is None


def test_a_line_does_not_wait_for_the_next_one(path: Path, memory: str) -> None:
    stage = Stage(path, memory, ttl="10m")
    holding = stage.elected()
    stage.driver.start_work(holding)
    until(lambda: b'"began"' in path.read_bytes())  # the next renewal is minutes away
    stage.driver.work_stopped(holding)
    stage.leave()


def test_the_store_is_not_in_it(path: Path, memory: str) -> None:
    stage = Stage(path, f"{memory}?password=hunter2")
    stage.work()
    stage.leave()
    stage.written()
    assert b"hunter2" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_that_cannot_be_joined_leaves_the_file_free(path: Path) -> None:
    (path.parent / "file").touch()
    stage = Stage(path, f"sqlite:///{path.parent}/file/elections.db")
    with pytest.raises(StoreError):
        stage.join()
    assert path.read_bytes() == b""
    Stage(path, "memory://").recorder.close()


def test_a_file_in_use_is_refused(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(TraceError, match="is not empty"):
        Stage(path, "memory://")
    assert path.read_text() == "mine"


# -- when it cannot be written -----------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_costs_the_trace_alone(memory: str) -> None:
    stage = Stage(Path("/dev/full"), memory)
    stage.work()
    stage.work()
    stage.leave()
    until(lambda: stage.recorder not in stage.engine._leavers)
    assert [holding.token for holding in stage.tenures[:2]] == [1, 2]
    assert stage.warnings == ["the trace /dev/full ends early: No space left on device"]


def test_a_disk_that_hangs_costs_the_trace_alone(
    path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_BACKLOG", 5)
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(filler, b"\0" * 4096)
        stage = Stage(path, memory)
        stage.work()
        stage.leave()
        assert stage.warnings == [f"the trace {path} ends early: the disk is too slow"]
        assert stage.recorder in stage.engine._leavers  # it is still at it
    finally:
        os.close(filler)
        os.close(reader)
    until(lambda: stage.recorder not in stage.engine._leavers)
    assert len(stage.warnings) == 1


def test_what_cannot_be_written_down_costs_the_trace_alone(
    path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise TypeError("no such value")

    stage = Stage(path, memory)
    monkeypatch.setattr(recorder_module, "plain", broken)
    stage.work()
    stage.leave()
    until(lambda: stage.recorder not in stage.engine._leavers)
    assert stage.warnings == [f"the trace {path} ends early: TypeError('no such value')"]


def test_it_is_logged_if_nobody_else_is_told(memory: str, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(Path(os.devnull), memory)
    stage.recorder.close()
    stage.recorder = Recorder(Path("/dev/full"), stage.settings)
    with caplog.at_level(logging.WARNING, "elector"):
        stage.work()
        stage.leave()
        until(lambda: stage.recorder not in stage.engine._leavers)
    assert "the trace /dev/full ends early" in caplog.text


# -- the end of the process --------------------------------------------------------------


def test_an_interpreter_that_ends_amid_work_ends_the_trace(path: Path, memory: str) -> None:
    stage = Stage(path, memory)
    holding = stage.elected()
    stage.driver.start_work(holding)
    stage.engine.call(stage.driver.leave)
    header, told = stage.written()
    assert kinds(told)[-1] == "Work"
    assert first_divergence(header, told) is None
    stage.driver.work_stopped(holding)
    stage.leave()
    assert list(read(path)[1]) == told


def test_closing_twice_is_closing(path: Path, memory: str) -> None:
    stage = Stage(path, memory)
    stage.leave()
    stage.recorder.end()
    stage.recorder.close()
    assert kinds(stage.written()[1])[-1] == "End"
