"""Commands that become another user's, whom elector may not signal (``sudo``, say).

Nothing can be done about them, but nobody may believe that they had ended.
"""

import os
import shutil
import signal

import pytest

from tests.cli.scene import ELECTOR, Process, Scene, children, is_zombie, lives
from tests.runtime.waiting import until

WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
AS_ANOTHER = ("setpriv", "--reuid=65534")


@pytest.fixture(autouse=True)
def rights() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, and with setpriv, can play two users")


def run(scene: Scene, *command: str) -> Process:
    elector = ("run", "nightly", "--candidate", "first", "--", *command)
    first = scene.start("first", *WITHOUT_RIGHTS, *ELECTOR, *elector)
    first.said("leads")
    return first


def test_a_command_that_refuses_signals(scene: Scene) -> None:
    first = run(scene, *AS_ANOTHER, "sleep", "600")
    until(lambda: uid_of(first.job_pid()) == 65534)
    first.send(signal.SIGTERM)
    first.said("signal 15 was refused: the command runs as another user")
    assert first.popen.poll() is None
    os.kill(first.job_pid(), signal.SIGKILL)
    first.ended(137)


def test_what_cannot_be_ended_keeps_the_office(scene: Scene) -> None:
    done = f"while [ ! -e {scene.directory}/done ]; do sleep 0.01; done"
    first = run(scene, "sh", "-c", f"{' '.join(AS_ANOTHER)} sleep 600 & {done}")
    job = first.job_pid()
    (stray,) = until(lambda: [pid for pid in children(job) if uid_of(pid) == 65534])
    scene.strays.append(stray)
    second = scene.run("next", "work")
    scene.waits(second)
    (scene.directory / "done").touch()
    assert "processes of its group could not be ended" in first.ended(0)
    assert lives(stray)
    assert not scene.late(second, 0)
    os.kill(stray, signal.SIGKILL)
    scene.works(second)
    assert not is_zombie(second.pid)


def uid_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - one call, of a path that may be gone
