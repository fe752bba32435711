"""A real server of a test's own: on a free port of loopback, ended with the test, come what may.

The server dies with the thread that started it (parent-death signal), so a test that is killed
leaves nothing running.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Longer than any start here takes on a busy machine: it is reached only by a failure.
DEADLINE_S = 60.0

# In the class below, `signal` is a method.
_TERMINATE = signal.SIGTERM


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class ServerProcess:
    """One server process, which can be killed, frozen, and started again on what it kept.

    Args:
        argv: the command; started in a process group of its own.
        ready: whether it answers; asked until it does.
        log: where its output goes.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        ready: Callable[[], bool],
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._argv = [str(part) for part in argv]
        self._ready, self._log, self._environment = ready, log, environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(self._environment or {})},
            )
        deadline = time.monotonic() + DEADLINE_S
        while not self._ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(
                    f"{self._argv[0]} did not start ({ended}): {self._log.read_text()[-2000:]}"
                )
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to the server and all that it has started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def pause(self) -> None:
        """Freeze it."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw it."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(DEADLINE_S)

    def stop(self, number: int = _TERMINATE) -> None:
        """Ask it to end, and end it if it does not."""
        if self._process is None:
            return
        self.resume()
        self.signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Server:
    """What the servers of all stores can be made to do; each has its own URL and options.

    Attributes:
        process: of the server.
    """

    process: ServerProcess

    def start(self) -> None:
        """Start, on what it has kept if it has run before."""
        self.process.start()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def crash(self) -> None:
        """Kill it, and start it again on what it has kept."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it."""
        self.process.pause()

    def resume(self) -> None:
        """Thaw it."""
        self.process.resume()

    def stop(self) -> None:
        """End it in peace."""
        self.process.stop()
