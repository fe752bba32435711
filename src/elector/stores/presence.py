"""Signs of life that the kernel answers for, and bells that wake exactly one process.

Each process that opens an embedded store makes two named pipes beside it::

    <session>.alive     it holds the writing end for as long as it lives; nothing is written.
                        Whoever waits for it holds a reading end and sleeps in the kernel:
                        when the last writer is gone, the reader is woken by the end of file.
    <session>.bell      it holds the reading end; one byte in it means "read the store again".

Why a pipe and not a pidfd, a lock or a socket: docs/decisions/0004-kernel-witness.md. In short,
the end of file means that **every** process holding the writing end is gone, so a forked
child that inherited it delays the news (the lease's ttl still counts) and never makes it
early; it needs no process ids, which are reused and differ between containers; it can be
waited for in an event loop; and paths of any length work.

Only positive evidence counts. A pipe that cannot be opened, of another machine, or already
swept away, says nothing, and the lease then runs its full time.
"""

import contextlib
import enum
import errno
import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path

ALIVE, BELL = ".alive", ".bell"


class Life(enum.Enum):
    """What the kernel says of a session."""

    ALIVE = "alive"
    ENDED = "ended"
    UNKNOWN = "unknown"


class Presence:
    """This process's own pipes, and its view of others'.

    Raises:
        OSError: the directory cannot be written.
    """

    def __init__(self, directory: Path, mode: int = 0o600) -> None:
        self.directory = directory
        self.session = secrets.token_hex(8)
        self._mode = mode
        self.alive_fd = self._own(ALIVE)
        self.bell_fd = self._own(BELL)

    def _own(self, kind: str) -> int:
        # Opened before it has its name: a pipe without a writer would be swept away as dead.
        unborn = self.directory / f"{self.session}{kind}.unborn"
        os.mkfifo(unborn, self._mode)
        # Both directions, so that opening does not wait for a partner.
        pipe = os.open(unborn, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        unborn.rename(self._path(self.session, kind))
        return pipe

    def _path(self, session: str, kind: str) -> Path:
        return self.directory / f"{session}{kind}"

    def watch(self, session: str) -> int | None:
        """A descriptor that becomes readable when the session ends; None if unknowable."""
        return self._open_pipe(session, ALIVE, os.O_RDONLY)

    def life(self, session: str) -> Life:
        """Ask the kernel once."""
        reader = self.watch(session)
        if reader is None:
            return Life.UNKNOWN
        try:
            return life_behind(reader)
        finally:
            os.close(reader)

    def bell(self, session: str) -> int | None:
        """The bell of another process, to be rung with `ring`; None if nobody listens."""
        return self._open_pipe(session, BELL, os.O_WRONLY)

    def _open_pipe(self, session: str, kind: str, way: int) -> int | None:
        try:
            fd = os.open(self._path(session, kind), way | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None

    def heard(self) -> None:
        """Empty the own bell; the store is read after this, never before."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.bell_fd, 4096):
                pass

    def sweep(self, keep: Collection[str]) -> None:
        """Remove the pipes of sessions that ended, except those still spoken of."""
        for path in self.directory.glob(f"*{ALIVE}"):
            session = path.name.removesuffix(ALIVE)
            if session not in keep and self.life(session) is Life.ENDED:
                self._remove(session)

    def close(self) -> None:
        """End this session: whoever watches it is told."""
        self._remove(self.session)
        os.close(self.alive_fd)
        os.close(self.bell_fd)

    def _remove(self, session: str) -> None:
        for kind in (ALIVE, BELL):
            with contextlib.suppress(OSError):
                self._path(session, kind).unlink()


def life_behind(reader: int) -> Life:
    """What an open reading end tells: an end of file means that no writer is left."""
    try:
        return Life.ENDED if os.read(reader, 1) == b"" else Life.UNKNOWN
    except BlockingIOError:
        return Life.ALIVE
    except OSError:
        return Life.UNKNOWN


def ring(bell: int) -> None:
    """Ring and close; a full bell has been rung already, a broken one has no listener."""
    try:
        os.write(bell, b"!")
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EPIPE}:
            raise
    finally:
        os.close(bell)
