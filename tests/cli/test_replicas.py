"""The main job: exactly one of the replicas works, however the one before it ended.

Whether two worked at once is read from the diary that the jobs write, never from elector.
"""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from elector.clock import now_ns
from tests.cli.scene import LONG, SHORT, Process, Scene, children, freeze, lives, thaw
from tests.runtime.waiting import until
from tests.runtime.witness import BEGIN, check, entries


def checked(scene: Scene) -> None:
    check([entry for entry in entries(scene.diary) if not entry.what.startswith("daemon:")])


def first_and_next(scene: Scene, act: str, *options: str, ttl: str = LONG) -> list[Process]:
    """A leader at work, and a candidate that waits."""
    first = scene.run("first", act, *options, ttl=ttl)
    scene.works(first, 2)
    second = scene.run("next", "work", ttl=ttl)
    scene.waits(second)
    return [first, second]


def test_one_works_two_wait_and_each_takes_over_from_the_one_before(scene: Scene) -> None:
    replicas = {name: scene.run(name, "work") for name in ("a", "b", "c")}
    for token, end in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGINT), 1):
        leader = scene.leader(*replicas.values(), after=token - 1)
        others = [replica for replica in replicas.values() if replica is not leader]
        scene.waits(*others)
        assert not [entry for entry in entries(scene.diary) if entry.token > token]
        for other in others:
            other.said("waiting: ")
        leader.send(end)
        leader.popen.wait()
        assert leader.popen.returncode == (-9 if end == signal.SIGKILL else 128 + end)
        del replicas[leader.name]
    until(lambda: not scene.survivors())
    assert [e.token for e in entries(scene.diary, BEGIN)] == [1, 2, 3]
    checked(scene)


# -- the command ends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)],
)
def test_the_exit_code_is_the_commands_and_the_next_one_takes_over(
    scene: Scene, script: str, code: int
) -> None:
    until_cued = f"while [ ! -e {scene.diary}.first.now ]; do sleep 0.01; done; {script}"
    first = scene.command("first", "sh", "-c", until_cued)
    first.said("leads")
    second = scene.run("next", "work")
    scene.waits(second)
    scene.cue(first, "now")
    assert f"ended with code {code}" in first.ended(code)
    scene.works(second)
    assert scene.reasons() == ["failed" if code else "completed", None]


def test_a_killed_command_is_reported_and_the_next_one_takes_over(scene: Scene) -> None:
    first, second = first_and_next(scene, "work")
    os.kill(first.job_pid(), signal.SIGKILL)
    first.ended(137)
    scene.works(second)
    checked(scene)


def test_what_the_command_leaves_in_its_group_ends_before_the_office_is_given_back(
    scene: Scene,
) -> None:
    first, second = first_and_next(scene, "brood")
    (orphan,) = children(first.job_pid())
    scene.cue(first, "orphan")
    scene.works(second)
    assert not lives(orphan)
    first.ended(0)
    checked(scene)


def test_a_daemon_outlives_the_tenure_but_delays_nobody_after_a_release(scene: Scene) -> None:
    first, second = first_and_next(scene, "daemon")
    daemon = daemon_of(scene)
    scene.strays.append(daemon)
    scene.cue(first, "done")
    first.ended(0)
    scene.works(second)
    assert lives(daemon)
    checked(scene)


# -- elector, or its guardian, is killed ---------------------------------------------------------


@pytest.mark.parametrize("act", ["work", "brood"])
def test_elector_is_killed(scene: Scene, act: str) -> None:
    first, second = first_and_next(scene, act)
    job = first.job_pid()
    first.send(signal.SIGKILL)
    scene.works(second)
    assert not lives(job)
    assert scene.reasons() == ["died", None]
    checked(scene)


def test_elector_is_killed_and_a_daemon_delays_the_next_one_until_the_lease_is_over(
    scene: Scene,
) -> None:
    first, second = first_and_next(scene, "daemon", ttl=SHORT)
    daemon = daemon_of(scene)
    scene.strays.append(daemon)
    first.send(signal.SIGKILL)
    first.popen.wait()
    lease_end = scene.lease_end()
    assert scene.saw(second, BEGIN).at >= lease_end
    assert lives(daemon)
    checked(scene)


@pytest.mark.parametrize("act", ["work", "brood"])
def test_the_guardian_is_killed(scene: Scene, act: str) -> None:
    first, second = first_and_next(scene, act)
    job = first.job_pid()
    os.kill(first.guardian_pid(), signal.SIGKILL)
    assert "the guardian was killed, and the command with it" in first.ended(137)
    scene.works(second)
    assert not lives(job)
    checked(scene)


def test_the_guardian_is_killed_while_its_daemon_goes_on(scene: Scene) -> None:
    first, second = first_and_next(scene, "daemon")
    scene.strays.append(daemon_of(scene))
    os.kill(first.guardian_pid(), signal.SIGKILL)
    first.ended(137)  # heard at once, though the daemon inherited what the command had
    scene.works(second)
    checked(scene)


def test_elector_and_guardian_are_killed_together(scene: Scene) -> None:
    first, second = first_and_next(scene, "deaf")
    job, guardian = first.job_pid(), first.guardian_pid()
    freeze(first.pid)  # so that neither can deal with the end of the other
    os.kill(guardian, signal.SIGKILL)
    first.send(signal.SIGKILL)
    scene.works(second)
    assert not lives(job)
    checked(scene)


def test_a_guardian_that_is_killed_while_elector_waits_is_replaced(scene: Scene) -> None:
    first, second = first_and_next(scene, "work")
    guardian = second.guardian_pid()
    os.kill(guardian, signal.SIGKILL)
    until(lambda: children(second.pid) not in ([], [guardian]))
    first.send(signal.SIGKILL)
    scene.works(second)
    checked(scene)


# -- frozen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["work", "brood"])
def test_elector_is_frozen_and_the_guardian_ends_the_command_before_the_lease(
    scene: Scene, act: str
) -> None:
    first, second = first_and_next(scene, act, ttl=SHORT)
    job = first.job_pid()
    freeze(first.pid)
    lease_end = scene.lease_end()
    assert scene.saw(second, BEGIN).at >= lease_end
    assert not lives(job)
    assert not scene.late(first, lease_end)
    thaw(first.pid)
    assert "leadership ended: expired" in first.ended(76)
    checked(scene)


def test_a_thawed_elector_stands_again_if_it_was_told_so(scene: Scene) -> None:
    first, second = first_and_next(scene, "work", "--on-loss", "campaign", ttl=SHORT)
    freeze(first.pid)
    scene.works(second)
    thaw(first.pid)
    scene.waits(first)
    second.send(signal.SIGTERM)
    second.ended(143)
    assert scene.leader(first, after=2) is first
    checked(scene)


def test_a_command_that_ended_while_elector_was_frozen_has_not_lost_office(scene: Scene) -> None:
    first = scene.run("first", "work", ttl=SHORT)
    scene.works(first)
    job = first.job_pid()
    freeze(first.pid)
    lease_end = scene.lease_end()
    scene.cue(first, "done")
    until(lambda: not lives(job))
    assert now_ns() < lease_end, "this machine is too slow for this test"
    until(lambda: now_ns() > lease_end)
    thaw(first.pid)
    first.ended(0)


@pytest.mark.parametrize("thawed_first", ["elector", "command"])
def test_all_is_frozen(scene: Scene, thawed_first: str) -> None:
    first, second = first_and_next(scene, "deaf", ttl=SHORT)
    guardian, job = first.guardian_pid(), first.job_pid()
    freeze(first.pid)  # before its guardian, which it would wake
    freeze(guardian, job)
    frozen_at, lease_end = now_ns(), scene.lease_end()
    taken = scene.saw(second, BEGIN).at
    assert taken >= lease_end
    assert not scene.late(first, frozen_at)
    if thawed_first == "command":
        thaw(job)
        until(lambda: scene.late(first, taken))  # nothing can prevent this: it needs a fence
    thaw(first.pid)  # which wakes its guardian
    assert "leadership ended" in first.ended(76)
    assert not lives(job)
    scene.works(second, 20)
    if thawed_first == "elector":
        checked(scene)


def test_a_guardian_is_not_left_frozen(scene: Scene) -> None:
    first, _ = first_and_next(scene, "work")
    os.kill(first.guardian_pid(), signal.SIGSTOP)
    first.send(signal.SIGTERM)
    first.ended(143)
    checked(scene)


# -- the store does not answer -------------------------------------------------------------------


def test_the_lease_cannot_be_renewed_and_the_command_does_not_heed_term(scene: Scene) -> None:
    first = scene.run("first", "deaf", ttl=SHORT)
    scene.works(first, 2)
    second = scene.run("next", "work")  # a long lease: its doubts will cost it some of that
    scene.waits(second)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as other_program:
        other_program.execute("BEGIN EXCLUSIVE")
        lease_end = scene.lease_end()
        said = first.ended(76)
        assert "did not answer the renewal in time" in said
        assert "stopping the command: expired" in said
        assert not scene.late(first, lease_end)
        assert second.popen.poll() is None
    scene.works(second)
    checked(scene)


def daemon_of(scene: Scene) -> int:
    """The process that left the group of a job."""

    def found() -> list[str]:
        return [e.what for e in entries(scene.diary) if e.what.startswith("daemon:")]

    return int(until(found)[0].partition(":")[2])
