"""Signals: passed on to the command, heeded by one who waits, and the exit codes they leave."""

import signal
import sys

import pytest

from tests.cli.scene import ELECTOR, Process, Scene, children
from tests.runtime.waiting import until
from tests.runtime.witness import END, entries

NOHUP = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")


def leader_and_waiter(scene: Scene, act: str = "work") -> tuple[Process, Process]:
    leader = scene.run("leader", act)
    scene.works(leader)
    waiter = scene.run("waiter", "work")
    scene.waits(waiter)
    return leader, waiter


def test_every_signal_reaches_the_command(scene: Scene) -> None:
    leader, waiter = leader_and_waiter(scene, "listen")
    for name in ("SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGHUP", "SIGQUIT", "SIGINT", "SIGTERM"):
        leader.send(signal.Signals[name])
        scene.saw(leader, f"heard:{name}")
    leader.send(signal.SIGTERM)  # a second time: passed on as well
    scene.saw(leader, "heard:SIGTERM", 2)
    assert leader.popen.poll() is None
    scene.cue(leader, "done")
    leader.ended(0)  # the command's own exit code, though signals began it
    scene.works(waiter)
    assert scene.reasons() == ["shutdown", None]
    assert entries(scene.diary, END)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_command_ended_by_a_signal(scene: Scene, name: str) -> None:
    number = signal.Signals[name]
    leader = scene.run("leader", "work")
    scene.works(leader)
    leader.send(number)
    leader.ended(128 + number)
    assert scene.reasons() == ["failed" if name == "SIGHUP" else "shutdown"]


def test_waiting_candidates_leave(scene: Scene) -> None:
    leader, last = leader_and_waiter(scene)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    waiters = {number: scene.run(f"waiter-{number}", "work") for number in numbers}
    scene.waits(*waiters.values())
    for number, waiter in waiters.items():
        waiter.send(number)
    for number, waiter in waiters.items():
        waiter.ended(128 + number)
        assert not scene.late(waiter, 0)
    assert scene.ask_json("status", "nightly")["waiting"] == [last.name]
    assert leader.popen.poll() is None


def test_signals_for_the_command_do_not_end_a_waiting_candidate(scene: Scene) -> None:
    leader, waiter = leader_and_waiter(scene)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        waiter.send(number)
    leader.send(signal.SIGKILL)
    scene.works(waiter)


def test_hang_up_is_ignored_where_it_was(scene: Scene) -> None:
    command = (*ELECTOR, "run", "nightly", "--candidate")
    leader = scene.start("leader", *NOHUP, *command, "leader", "--", *scene.job("listen"))
    scene.works(leader)
    waiter = scene.start("waiter", *NOHUP, *command, "waiter", "--", *scene.job("work"))
    scene.waits(waiter)
    for process in (leader, waiter):
        process.send(signal.SIGHUP)
    leader.send(signal.SIGUSR1)
    scene.saw(leader, "heard:SIGUSR1")
    assert not entries(scene.diary, "heard:SIGHUP")
    waiter.send(signal.SIGTERM)
    waiter.ended(143)


@pytest.mark.parametrize("ignored", [set(), {signal.SIGHUP}])
def test_the_command_finds_signals_as_elector_found_them(
    scene: Scene, ignored: set[signal.Signals]
) -> None:
    """Nothing that Python, elector or the guardian ignore for themselves is passed down."""
    prefix = NOHUP if ignored else ()
    leader = scene.start("leader", *prefix, *ELECTOR, "run", "x", "--", "cat", "/proc/self/status")
    leader.ended(0)
    fields = dict(line.split(":\t") for line in leader.out().splitlines() if ":\t" in line)
    assert bits(fields["SigIgn"]) == ignored
    assert bits(fields["SigBlk"]) == set()


def bits(mask: str) -> set[int]:
    """Signals in a mask; 32 and above belong to the C library or to real time."""
    return {number for number in range(1, 32) if int(mask, 16) >> (number - 1) & 1}


def test_a_signal_while_the_store_is_being_opened(scene: Scene) -> None:
    """The interpreter is up, but nothing is ready yet: it ends all the same, and cleanly."""
    leader = scene.run("leader", "work")
    until(lambda: children(leader.pid))  # the guardian is the first thing that is started
    leader.send(signal.SIGTERM)
    leader.popen.wait()
    # Before it can catch signals it dies of it, which is as good.
    assert leader.popen.returncode in {143, -signal.SIGTERM}
    assert "Traceback" not in leader.err()
    assert scene.ask("run", "nightly", "--", "true").returncode == 0


def test_interrupts_are_not_heeded_in_the_background_of_a_script(scene: Scene) -> None:
    """A shell starts background jobs with INT ignored; elector and command keep that."""
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    leader = scene.start(
        "leader", *ignoring, *ELECTOR, "run", "nightly", "--", sys.executable, "-c", SLEEP
    )
    leader.said("leads")
    leader.send(signal.SIGINT)
    leader.send(signal.SIGTERM)
    leader.ended(143)


SLEEP = "import time; time.sleep(600)"
