"""The real demo, as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from elector.demo.company import Company, StageFailure
from elector.demo.report import Report

PROGRAM = "from elector.cli.demo import command; command(prog_name='elector demo')"
# Shorter than what people see, and still with room for a busy machine.
COMMAND = [sys.executable, "-c", PROGRAM, "--ttl", "2s"]
DEADLINE_S = 30


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    (tmp_path / "temporary").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "temporary"), **more}


def members(scene: Path) -> set[int]:
    """The processes that took part, by their witness files."""
    return {int(path.name.split(".")[1]) for path in scene.rglob("*.witness")}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead child of a dead parent may wait long for somebody to reap it.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[p for p in pids if is_alive(p)]}"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    scene = tmp_path_factory.mktemp("demo") / "scene"
    run = subprocess.run(
        [*COMMAND, "--json", "--keep", str(scene)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert run.stdout.count("\n") == 1
    return msgspec.json.decode(run.stdout), scene


def test_the_report_has_the_documented_keys_and_no_others(played: tuple[Any, Path]) -> None:
    report, _ = played
    assert list(report) == list(Report.__struct_fields__)
    msgspec.convert(report, Report, strict=True)
    assert list(report["takeovers"][0]) == [
        "act",
        "old",
        "old_token",
        "new",
        "new_token",
        "takeover_ns",
    ]
    assert list(report["refusals"][0]) == ["replica", "token", "newest", "at_ns"]
    assert list(report["tenures"][0]) == ["token", "replica", "begin_ns", "end_ns", "entries"]


def test_leaders_go_in_three_ways_and_another_comes_each_time(played: tuple[Any, Path]) -> None:
    report = msgspec.convert(played[0], Report)
    assert (report.ok, report.problems) == (True, [])
    assert [takeover.act for takeover in report.takeovers] == ["kill", "freeze", "shutdown"]
    for takeover in report.takeovers:
        assert takeover.old != takeover.new
        assert takeover.old_token < takeover.new_token
        assert takeover.takeover_ns > 0
    tokens = [tenure.token for tenure in report.tenures]
    assert tokens == sorted(set(tokens))
    assert report.entries == sum(tenure.entries for tenure in report.tenures)


def test_the_woken_leaders_write_was_refused(played: tuple[Any, Path]) -> None:
    report = msgspec.convert(played[0], Report)
    frozen = report.takeovers[1]
    (refusal,) = report.refusals
    assert (refusal.replica, refusal.token) == (frozen.old, frozen.old_token)
    assert refusal.newest >= frozen.new_token


def test_everything_is_kept_where_it_was_asked_for_and_nobody_stays(
    played: tuple[Any, Path],
) -> None:
    _, scene = played
    assert (scene / "ledger.db").exists()
    pids = members(scene)
    assert len(pids) == 4  # the killed one was started anew
    assert not [pid for pid in pids if is_alive(pid)]


def test_people_get_plain_lines_and_nothing_is_left_behind(tmp_path: Path) -> None:
    run = subprocess.run(
        COMMAND, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "\x1b" not in run.stdout
    assert "its write was refused" in run.stdout
    assert "no two leaders worked at once, no stale write was accepted" in run.stdout
    assert list((tmp_path / "temporary").iterdir()) == []


def test_without_a_guard_the_judge_finds_the_stale_write(tmp_path: Path) -> None:
    """The same show, the guard taken away: what is promised above can be false."""
    sabotage = str(Path(__file__).parent / "sabotage")
    path = os.pathsep.join([sabotage, *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [*COMMAND, "--json"],
        env=environment(tmp_path, PYTHONPATH=path),
        capture_output=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    report = msgspec.json.decode(run.stdout, type=Report)
    assert not report.ok
    assert report.refusals == []
    assert any("accepted a stale write" in problem for problem in report.problems)
    assert any("was still at work" in problem for problem in report.problems)


@contextmanager
def running_until(words: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, as far as the line with these words."""
    demo = subprocess.Popen(
        COMMAND,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        try:
            assert demo.stdout is not None
            assert demo.stderr is not None
            told: list[str] = []
            while words not in (line := demo.stdout.readline()):
                told.append(line)
                assert line, ("".join(told), demo.stderr.read())
            yield demo
        finally:
            demo.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", ["leads with token 1", "frozen; its lease"])
def test_an_interrupted_demo_leaves_nothing(
    tmp_path: Path, number: signal.Signals, words: str
) -> None:
    with running_until(words, tmp_path) as demo:
        deadline = time.monotonic() + DEADLINE_S
        while len(pids := members(tmp_path)) < 3:  # the first may lead before the last has begun
            assert time.monotonic() < deadline
            time.sleep(0.01)
        demo.send_signal(number)
        _, complaint = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 130
    assert complaint == "elector: the demo was interrupted; its processes are gone\n"
    assert not [pid for pid in pids if is_alive(pid)]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a frozen orphan reads no leash")
def test_the_replicas_die_with_the_stage_even_a_frozen_one(tmp_path: Path) -> None:
    with running_until("frozen; its lease", tmp_path) as demo:
        pids = members(tmp_path)
        demo.kill()
        wait_until_gone(pids)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--ttl", "5"], "did you mean 5s?"),
        (["--ttl", "0s"], "ttl must be more than 0s"),
        (["--ttl", "100ms"], "keeps leases from 500ms on"),
        (["--keep", str(Path(__file__).parent)], "is not empty"),
        (["--keep", f"{__file__}/below"], "Not a directory"),
    ],
)
def test_a_wrong_option_gets_one_line(arguments: list[str], complaint: str) -> None:
    run = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert complaint in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_a_replica_that_ends_by_itself_ends_the_demo(tmp_path: Path) -> None:
    def watch(company: Company) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            company.check()

    with Company(tmp_path, "nonsense") as company:
        company.start("anna")
        with pytest.raises(StageFailure, match=r"anna ended by itself.*is not a duration"):
            watch(company)
