"""On a terminal: the command is its foreground job; colour is for people who want it."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.cli.scene import ELECTOR, Scene, children
from tests.runtime.waiting import until

ESCAPE = "\x1b["
PATIENCE = 30


class Terminal:
    """A pseudo-terminal, and a session whose controlling terminal it is."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.ours, self.theirs = os.openpty()
        self.seen = ""

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a command as the leader of the session on this terminal."""
        # No preexec_fn and no pty.fork: this process may have threads.
        session = ("setsid", "--ctty", "--wait", *command)
        popen = subprocess.Popen(
            session,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=self._scene.environment(TERM="xterm", **env),
            cwd=self._scene.directory,
        )
        return self._scene.adopt("on the terminal", popen).popen

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def shows(self, text: str) -> str:
        """Wait until this has appeared; everything shown until then."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"only {self.seen!r} appeared"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 4096).decode()
        return self.seen

    def in_front(self) -> int:
        """The process group in the foreground."""
        return os.tcgetpgrp(self.ours)


@pytest.fixture
def terminal(scene: Scene) -> Iterator[Terminal]:
    if shutil.which("setsid") is None:
        pytest.skip("there is no setsid to give a session a terminal")
    terminal = Terminal(scene)
    yield terminal
    os.close(terminal.theirs)
    os.close(terminal.ours)


def ended(process: subprocess.Popen[bytes], code: int) -> None:
    process.wait(PATIENCE)
    assert process.returncode == code


ANSWER = "import sys; print('ready', flush=True); print('got', sys.stdin.readline(), flush=True)"
ASK = f'{sys.executable} -I -S -c "{ANSWER}"'
RUN = (*ELECTOR, "run", "nightly", "--")


def test_the_command_can_read_from_the_terminal(terminal: Terminal) -> None:
    elector = terminal.start(*RUN, "sh", "-c", ASK)
    terminal.shows("ready")
    assert terminal.in_front() != elector.pid
    terminal.type("hello\r")
    terminal.shows("got hello")
    ended(elector, 0)


def test_the_terminal_comes_back(terminal: Terminal) -> None:
    """A script that goes on reading after elector has ended."""
    script = f"{' '.join(RUN)} {ASK.replace('ready', 'first')}; {ASK}"
    shell = terminal.start("bash", "-c", script)
    for question in ("first", "ready"):
        terminal.shows(question)
        terminal.type("hello\r")
        terminal.shows("got hello")
        terminal.seen = terminal.seen.replace("got hello", "", 1)
    ended(shell, 0)


def test_an_interrupt_from_the_keyboard_ends_the_command(terminal: Terminal) -> None:
    elector = terminal.start(*RUN, "sh", "-c", "echo ready; exec sleep 600")
    terminal.shows("ready")
    terminal.type("\x03")
    terminal.shows("the command ended with code 130")
    ended(elector, 130)


def test_an_interrupt_from_the_keyboard_while_waiting(scene: Scene, terminal: Terminal) -> None:
    leader = scene.run("leader", "work")
    scene.works(leader)
    elector = terminal.start(*RUN, "true")
    terminal.shows("waiting: leader leads")
    terminal.type("\x03")
    ended(elector, 130)
    assert leader.popen.poll() is None


def test_a_leader_cannot_be_put_to_sleep_from_the_keyboard(terminal: Terminal) -> None:
    elector = terminal.start(*RUN, "sh", "-c", f"echo ready; {ASK.replace('ready', 'again')}")
    terminal.shows("again")
    terminal.type("\x1a")
    terminal.shows("^Z")
    terminal.type("hello\r")
    terminal.shows("got hello")
    ended(elector, 0)


def test_the_terminal_is_left_alone_by_a_background_job(terminal: Terminal) -> None:
    job = f"{' '.join(RUN)} sh -c 'echo working; sleep 0.1; echo over' </dev/tty & "
    shell = terminal.start("bash", "-c", f"set -m; {job} {ASK}; wait")
    terminal.shows("over")
    terminal.type("hello\r")
    terminal.shows("got hello")
    ended(shell, 0)


def test_when_the_terminal_hangs_up(scene: Scene) -> None:
    terminal = Terminal(scene)
    elector = terminal.start(*RUN, "sh", "-c", "echo ready; exec sleep 600")
    terminal.shows("ready")
    os.close(terminal.theirs)
    os.close(terminal.ours)
    elector.wait(PATIENCE)  # the kernel sends HUP; its processes are counted by the fixture


def test_when_the_guardian_is_killed_the_terminal_is_usable(terminal: Terminal) -> None:
    script = f"{' '.join(RUN)} sleep 600; {ASK}"
    shell = terminal.start("bash", "-c", script)
    terminal.shows("leads")
    (elector,) = children(shell.pid)
    guardian, *_ = until(lambda: children(elector))
    until(lambda: children(guardian))
    os.kill(guardian, signal.SIGKILL)
    terminal.shows("ready")
    terminal.type("hello\r")
    terminal.shows("got hello")
    ended(shell, 0)


# -- colour --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_on_a_terminal(terminal: Terminal, no_color: str, coloured: bool) -> None:
    elector = terminal.start(*RUN, "true", NO_COLOR=no_color)
    shown = terminal.shows("ended with code 0")
    assert (ESCAPE in shown) is coloured
    ended(elector, 0)
    terminal.seen = ""
    status = terminal.start(*ELECTOR, "status", NO_COLOR=no_color)
    assert (ESCAPE in terminal.shows("nightly")) is coloured
    ended(status, 0)


def test_no_colour_elsewhere(scene: Scene) -> None:
    process = scene.command("web-1", "true")
    assert ESCAPE not in process.ended(0)
    for verb in ("status", "history nightly", "--help"):
        assert ESCAPE not in scene.ask(*verb.split()).stdout
    assert ESCAPE not in scene.ask("no-such-verb").stderr
