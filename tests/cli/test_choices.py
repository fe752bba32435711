"""``--timeout`` and ``--once``; and settings: by flag, then ``ELECTOR_*``, then default."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR, Scene
from tests.runtime.witness import BEGIN, check, entries

# -- timeout -----------------------------------------------------------------------------------


def test_not_elected_in_time(scene: Scene) -> None:
    leader = scene.run("leader", "work")
    scene.works(leader)
    late = [scene.run(time, "work", "--timeout", time) for time in ("0s", "100ms")]
    for candidate in late:
        assert "not elected in time" in candidate.ended(75)
        assert not scene.late(candidate, 0)
    assert scene.ask_json("status", "nightly")["waiting"] == []
    assert leader.popen.poll() is None


def test_the_first_answer_is_waited_for_however_short_the_time(scene: Scene) -> None:
    """The database does not even exist yet."""
    command = ("--timeout", "0s", "--", "echo", "elected")
    started = [scene.start(f"{n}", *ELECTOR, "run", f"nightly-{n}", *command) for n in range(4)]
    for process in started:
        process.ended(0)
        assert process.out() == "elected\n"


def test_the_time_counts_for_being_elected_not_for_the_work(scene: Scene) -> None:
    leader = scene.run("leader", "listen", "--timeout", "100ms")
    scene.works(leader, 50)
    assert leader.popen.poll() is None
    scene.cue(leader, "done")
    leader.ended(0)


# -- once --------------------------------------------------------------------------------------


def test_what_one_has_completed_the_others_do_not_do_again(scene: Scene) -> None:
    first = scene.run("first", "work", "--once")
    scene.works(first)
    second = scene.run("second", "work", "--once")
    third = scene.run("third", "work", "--once")
    scene.waits(second, third)
    scene.cue(first, "done")
    first.ended(0)
    for other in (second, third):
        assert "first has done the work meanwhile" in other.ended(0)
    assert [entry.who for entry in entries(scene.diary, BEGIN)] == ["first"]
    assert scene.reasons() == ["completed", "shutdown", "shutdown"]


@pytest.mark.parametrize("end", ["fails", "dies"])
def test_what_one_has_failed_to_do_the_next_one_does(scene: Scene, end: str) -> None:
    first = scene.run("first", "work", "--once")
    scene.works(first)
    second = scene.run("second", "work", "--once")
    scene.waits(second)
    if end == "fails":
        os.kill(first.job_pid(), signal.SIGKILL)
        first.ended(137)
    else:
        first.send(signal.SIGKILL)
    scene.works(second)
    scene.cue(second, "done")
    second.ended(0)
    check(entries(scene.diary))


def test_what_was_done_before_is_done_again(scene: Scene) -> None:
    for _ in range(2):
        done = scene.ask("run", "nightly", "--once", "-q", "--", "echo", "done")
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_store_without_history_cannot_know(scene: Scene, tmp_path: Path) -> None:
    store = f"file://{tmp_path}/offices"
    refused = scene.ask("run", "nightly", "--once", "--store", store, "--", "echo", "done")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("elector: --once asks what others have done")
    assert refused.stderr.count("\n") == 1


# -- settings ----------------------------------------------------------------------------------

SHOW = "echo $ELECTOR_CANDIDATE $ELECTOR_STORE"


def test_a_flag_wins_over_the_environment_and_that_over_the_default(
    scene: Scene, tmp_path: Path
) -> None:
    def shown(*flags: str, **env: str) -> Sequence[str]:
        done = scene.ask("run", "nightly", "-q", *flags, "--", "sh", "-c", SHOW, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    by_default = f"sqlite:///{tmp_path}/state/elector/elections.db"
    drawn, store = shown(ELECTOR_STORE="", XDG_STATE_HOME=f"{tmp_path}/state")
    assert store == by_default
    assert drawn
    env = {"ELECTOR_CANDIDATE": "by-env", "ELECTOR_STORE": f"sqlite:///{tmp_path}/env.db"}
    assert shown(**env) == ["by-env", env["ELECTOR_STORE"]]
    flags = ("--candidate", "by-flag", "--store", f"sqlite:///{tmp_path}/flag.db")
    assert shown(*flags, **env) == ["by-flag", f"sqlite:///{tmp_path}/flag.db"]
    assert (tmp_path / "state" / "elector").stat().st_mode & 0o077 == 0


def test_each_variable_is_read_and_its_flag_wins(scene: Scene) -> None:
    complaints = {
        "ELECTOR_TTL": ("--ttl=30s", "elector: ttl 'x' is not a duration"),
        "ELECTOR_STOP_GRACE": ("--stop-grace=1s", "elector: stop_grace 'x' is not a duration"),
        "ELECTOR_DRAIN_LIMIT": ("--drain-limit=1s", "elector: drain_limit 'x' is not a duration"),
        "ELECTOR_TIMEOUT": ("--timeout=1s", "elector: timeout 'x' is not a duration"),
        "ELECTOR_ON_LOSS": ("--on-loss=exit", "elector: Invalid value for '--on-loss'"),
    }
    command = (*ELECTOR, "run", "nightly")
    for name, (_, complaint) in complaints.items():
        env = scene.environment(**{name: "x"})
        assert scene.start(name, *command, "true", env=env).ended(2).startswith(complaint)
    flags = [flag for flag, _ in complaints.values()]
    env = scene.environment(**dict.fromkeys(complaints, "x"))
    scene.start("right", *command, *flags, "true", env=env).ended(0)


def test_the_store_of_a_relative_path_is_in_the_working_directory(
    scene: Scene, tmp_path: Path
) -> None:
    done = scene.ask("run", "nightly", "-q", "--store", "sqlite:///here.db", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "here.db").exists()
    process = scene.start("status", *ELECTOR, "status", "--store", "sqlite:///here.db")
    process.ended(0)
    assert process.out().startswith("election ")
