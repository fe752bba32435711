"""As process 1 of a container: signals, and no zombies."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR, JOB, Process, Scene, children
from tests.runtime.waiting import until

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def container() -> tuple[str, ...]:
    """What to put in front of a command to make it process 1."""
    rootless = () if os.geteuid() == 0 else ("--map-root-user",)
    prefix = (CONTAINER[0], *rootless, *CONTAINER[1:])
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to make a container with")
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"this system lets nobody make containers: {probe.stderr.strip()}")
    return prefix


def run(scene: Scene, container: tuple[str, ...], act: str, *options: str) -> tuple[Process, int]:
    """A leader at work as process 1; and its process id out here."""
    command = ("run", "nightly", "--candidate", "first", "--ttl", "2s", *options, "--")
    process = scene.start("first", *container, *ELECTOR, *command, *scene.job(act))
    scene.works(process)
    (elector,) = children(process.pid)
    return process, elector


def test_signals_and_exit_codes(scene: Scene, container: tuple[str, ...]) -> None:
    process, elector = run(scene, container, "listen")
    os.kill(elector, signal.SIGUSR1)
    scene.saw(process, "heard:SIGUSR1")
    os.kill(elector, signal.SIGTERM)
    scene.saw(process, "heard:SIGTERM")
    scene.cue(process, "done")
    process.ended(0)


def test_orphans_of_the_command_are_reaped(scene: Scene, container: tuple[str, ...]) -> None:
    script = (
        "(sh -c 'echo $PPID; sleep 0.05' &) ; sleep 0.2; "
        "for stat in /proc/[0-9]*/stat; do cut -d' ' -f3 $stat; done | grep -c Z"
    )
    command = ("run", "nightly", "-q", "--", "sh", "-c", script)
    process = scene.start("first", *container, *ELECTOR, *command)
    process.ended(1)  # grep found none
    assert process.out().splitlines()[-1] == "0"


def test_orphans_of_a_guardian_are_reaped(scene: Scene, container: tuple[str, ...]) -> None:
    """A daemon outlives the guardian, becomes ours, and its end is taken note of."""
    process, elector = run(scene, container, "daemon", "--on-loss", "campaign")
    scene.strays.append(elector)  # the container goes with it
    assert scene.ask("resign", "nightly").returncode == 0
    (daemon,) = until(lambda: [pid for pid in children(elector) if is_job(pid)])
    os.kill(daemon, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{daemon}").exists())
    assert process.popen.poll() is None


def is_job(pid: int) -> bool:
    return str(JOB).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
