"""Signs of life and bells, with real processes."""

import contextlib
import os
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elector.stores.presence import Life, Presence, life_behind, ring

# Makes its pipes, says its session and lives until the pipe it was given ends; with `fork` it
# leaves a child that inherited everything and lives until its standard input ends.
_SCRIPT = """
import os, sys
from pathlib import Path
from elector.stores.presence import Presence

presence = Presence(Path(sys.argv[1]))
if sys.argv[2] == "fork" and os.fork() == 0:
    while os.read(0, 1):
        pass
    os._exit(0)
print(presence.session, flush=True)
while True:
    os.read(int(sys.argv[3]), 1) or os._exit(0)
"""


class Other:
    """Another process with a presence of its own."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.parents_end, self._parents_input = os.pipe()[::-1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(directory), mode, str(self._parents_input)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._parents_input],
            text=True,
        )
        os.close(self._parents_input)
        assert self.process.stdout is not None
        self.session = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end_child(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def clean_up(self) -> None:
        self.kill()
        self.end_child()
        os.close(self.parents_end)
        assert self.process.stdout is not None
        self.process.stdout.read()
        self.process.stdout.close()


@pytest.fixture
def presence(tmp_path: Path) -> Iterator[Presence]:
    own = Presence(tmp_path)
    yield own
    own.close()


@pytest.fixture
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Other]:
    process = Other(tmp_path, getattr(request, "param", "alone"))
    yield process
    process.clean_up()


def watch(presence: Presence, session: str) -> int:
    reader = presence.watch(session)
    assert reader is not None
    return reader


def woken(reader: int, seconds: float = 30.0) -> bool:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_a_killed_process_wakes_whoever_watches_it(presence: Presence, other: Other) -> None:
    reader = watch(presence, other.session)
    try:
        assert life_behind(reader) is Life.ALIVE
        assert not woken(reader, 0)
        other.kill()
        assert woken(reader)
        assert life_behind(reader) is Life.ENDED
        assert presence.life(other.session) is Life.ENDED
    finally:
        os.close(reader)


@pytest.mark.parametrize("other", ["fork"], indirect=True)
def test_a_child_that_inherited_the_pipe_delays_the_news(presence: Presence, other: Other) -> None:
    reader = watch(presence, other.session)
    try:
        other.kill()
        assert life_behind(reader) is Life.ALIVE
        assert not woken(reader, 0)
        other.end_child()
        assert woken(reader)
        assert life_behind(reader) is Life.ENDED
    finally:
        os.close(reader)


def test_one_ends_by_closing_too(presence: Presence, tmp_path: Path) -> None:
    second = Presence(tmp_path)
    reader = watch(presence, second.session)
    try:
        second.close()
        assert woken(reader)
        assert life_behind(reader) is Life.ENDED
    finally:
        os.close(reader)
    assert presence.life(second.session) is Life.UNKNOWN, "its pipe is gone: no evidence"
    assert presence.bell(second.session) is None


@pytest.mark.parametrize("session", ["never", "../elsewhere", ""])
def test_what_is_not_there_says_nothing(presence: Presence, session: str) -> None:
    assert presence.watch(session) is None
    assert presence.life(session) is Life.UNKNOWN
    assert presence.bell(session) is None


def test_a_file_in_the_place_of_a_pipe_says_nothing(presence: Presence, tmp_path: Path) -> None:
    (tmp_path / "fake.alive").write_text("")
    (tmp_path / "fake.bell").write_text("")
    assert presence.life("fake") is Life.UNKNOWN, "an empty file ends at once, but nobody died"
    assert presence.bell("fake") is None


def test_a_bell_wakes_its_owner_and_is_silent_when_heard(
    presence: Presence, tmp_path: Path
) -> None:
    ringer = Presence(tmp_path)
    try:
        assert not woken(presence.bell_fd, 0)
        for _ in range(3):
            bell = ringer.bell(presence.session)
            assert bell is not None
            ring(bell)
        assert woken(presence.bell_fd)
        presence.heard()
        assert not woken(presence.bell_fd, 0)
        presence.heard()
        bell = ringer.bell(presence.session)
        assert bell is not None
        ring(bell)
        assert woken(presence.bell_fd)
    finally:
        ringer.close()


def test_ringing_never_blocks_nor_fails(presence: Presence, other: Other) -> None:
    first, full, broken = [presence.bell(other.session) for _ in range(3)]
    assert first is not None
    assert full is not None
    assert broken is not None
    with contextlib.suppress(BlockingIOError):
        while os.write(first, b"!" * 4096):  # nobody there ever listens
            pass
    with contextlib.suppress(BlockingIOError):
        while os.write(first, b"!"):
            pass
    ring(first)
    ring(full)
    other.kill()
    ring(broken)
    assert presence.bell(other.session) is None


def test_the_swept_are_those_that_ended_and_nobody_speaks_of(
    presence: Presence, other: Other, tmp_path: Path
) -> None:
    def there(session: str) -> bool:
        alive = (tmp_path / f"{session}.alive").exists()
        assert alive == (tmp_path / f"{session}.bell").exists()
        return alive

    presence.sweep(keep=())
    assert there(other.session), "it lives"
    other.kill()
    presence.sweep(keep={other.session})
    assert there(other.session), "a lease still speaks of it"
    presence.sweep(keep=())
    assert not there(other.session)
    assert there(presence.session)


def test_pipes_are_private_and_closed_for_programs_we_start(presence: Presence) -> None:
    for fd in (presence.alive_fd, presence.bell_fd):
        status = os.fstat(fd)
        assert stat.S_ISFIFO(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert not os.get_inheritable(fd)
