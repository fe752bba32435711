"""Elector and ``etcdctl elect`` in one election, at one time: never two leaders, both ways."""

import asyncio
import itertools
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from elector.core.office import EndReason
from elector.errors import UnsupportedTrait
from elector.stores.etcd import EtcdStore
from elector.stores.port import Ask, Grant, Granted, Occupied, Record
from tests.servers.etcd import EtcdServer, etcd_server
from tests.stores.worlds import DEADLINE_S, TTL_NS, Ear, candidate, lead, led, play_out, vacant

DONE = EndReason.COMPLETED


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path_factory.mktemp("etcd")) as started:
        yield started


@pytest.fixture
def prefix() -> str:
    return f"p{secrets.token_hex(4)}"


class Elect:
    """``etcdctl elect``, which stands, and leads until it is told to go."""

    def __init__(self, server: EtcdServer, path: str, name: str) -> None:
        argv = server.ctl_argv("elect", path, name)
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    async def won(self) -> None:
        """Wait until it says that it leads: it prints its key and its name."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(self._process.stdout.readline)

    async def go(self) -> None:
        """It resigns, as on Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        await asyncio.to_thread(self._process.wait, DEADLINE_S)


async def until_record(store: EtcdStore, election: str, holds: Callable[[Record], bool]) -> Record:
    deadline = time.monotonic() + DEADLINE_S
    while not holds(record := await store.describe(election)):
        assert time.monotonic() < deadline, record
        await asyncio.sleep(0.02)
    return record


def test_leadership_passes_both_ways(server: EtcdServer, prefix: str) -> None:
    async def play(store: EtcdStore, other: EtcdStore) -> None:
        who, ear, seen = candidate("elector"), Ear(), Ear()
        await other.watch("nightly", seen)
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who)
        with Elect(server, f"{prefix}/nightly", "go") as elect:
            record = await until_record(other, "nightly", lambda now: now.waiting == ("go",))
            assert record.leader == "elector"
            await store.release(grant, DONE)
            await elect.won()
            record = await other.describe("nightly")
            assert (record.leader, record.waiting, record.since) == ("go", (), None)
            answer = await store.acquire("nightly", who, TTL_NS)
            assert isinstance(answer, Occupied)
            assert (answer.leader, answer.token) == ("go", record.token)
            assert answer.token > grant.token
            await ear.until(led("go", answer.token))
            with pytest.raises(UnsupportedTrait, match="by etcd's own convention"):
                await other.ask(Ask("nightly", answer.token))
            await elect.go()
            await ear.until(vacant(answer.token))
            again = await lead(store, "nightly", who)
            assert again.token > answer.token
            await seen.until(led("elector", again.token))

    play_out(play, *[f"{server.url}/{prefix}"] * 2)


def test_etcdctl_sees_our_leader_and_we_hear_of_its_death(server: EtcdServer, prefix: str) -> None:
    async def play(store: EtcdStore) -> None:
        who, ear = candidate("elector"), Ear()
        await store.watch("nightly", ear, who)
        grant = await lead(store, "nightly", who)
        path = f"{prefix}/nightly"
        listen = server.ctl_argv("elect", "--listen", path)
        with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listening:  # noqa: ASYNC220
            assert listening.stdout is not None
            lines = [await asyncio.to_thread(listening.stdout.readline) for _ in range(2)]
            listening.kill()
        assert lines[0].startswith(f"{path}/")
        assert lines[1] == "elector\n"
        with Elect(server, path, "go") as elect:
            await until_record(store, "nightly", lambda now: now.waiting == ("go",))
            await store.release(grant, DONE)
            await elect.won()
            told = await until_record(store, "nightly", lambda now: now.leader == "go")
            await store.acquire("nightly", who, TTL_NS)
        [key] = server.ctl("get", "--prefix", f"{path}/", "--keys-only").split()
        server.ctl("lease", "revoke", key.rpartition("/")[2])  # its ttl is a minute
        await ear.until(vacant(told.token))
        await lead(store, "nightly", who)

    play_out(play, f"{server.url}/{prefix}")


def test_never_two_leaders(server: EtcdServer, prefix: str) -> None:
    """Four of ours and two of theirs, coming and going; nobody's time in office overlaps."""
    spans: list[tuple[float, float, str]] = []
    until = time.monotonic() + 8

    async def ours(store: EtcdStore, name: str) -> None:
        who, ear = candidate(name), Ear()
        watch = await store.watch("nightly", ear, who)
        while time.monotonic() < until:
            answer = await store.acquire("nightly", who, TTL_NS)
            if not isinstance(answer, Granted):
                await asyncio.sleep(0.02)
                continue
            began = time.monotonic()
            await asyncio.sleep(0.05 * random.random())  # noqa: S311 - a test
            spans.append((began, time.monotonic(), name))
            await store.release(Grant("nightly", who, answer.token, TTL_NS), DONE)
        await watch.close()

    async def theirs(name: str) -> None:
        while time.monotonic() < until:
            with Elect(server, f"{prefix}/nightly", name) as elect:
                await elect.won()
                began = time.monotonic()
                await asyncio.sleep(0.05)
                spans.append((began, time.monotonic(), name))
                await elect.go()
            await asyncio.sleep(0.2)

    async def play(*stores: EtcdStore) -> None:
        electors = [ours(store, f"e{number}") for number, store in enumerate(stores)]
        await asyncio.gather(*electors, theirs("go-1"), theirs("go-2"))

    play_out(play, *[f"{server.url}/{prefix}"] * 4)
    spans.sort()
    for before, after in itertools.pairwise(spans):
        assert before[1] <= after[0], (before, after)
    names = {name for _, _, name in spans}
    assert names >= {"go-1", "go-2"}
    assert names & {"e0", "e1", "e2", "e3"}


def test_the_command_and_etcdctl_hand_over_to_each_other(
    server: EtcdServer, prefix: str, tmp_path: Path
) -> None:
    note = tmp_path / "note"

    async def play(store: EtcdStore) -> None:
        with Elect(server, f"{prefix}/nightly", "go") as elect:
            await elect.won()
            argv = [sys.executable, "-m", "elector", "run", "nightly", "--candidate", "run"]
            command = ["--", "sh", "-c", f"echo $ELECTOR_TOKEN > {note}; exec sleep 60"]
            environment = {**os.environ, "ELECTOR_STORE": f"{server.url}/{prefix}"}
            with subprocess.Popen([*argv, *command], env=environment) as run:  # noqa: ASYNC220
                try:
                    await until_record(store, "nightly", lambda now: now.waiting == ("run",))
                    await elect.go()
                    record = await until_record(store, "nightly", lambda now: now.leader == "run")
                    deadline = time.monotonic() + DEADLINE_S
                    while not (note.exists() and note.read_text().endswith("\n")):
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.02)
                    assert int(note.read_text()) == record.token
                    with Elect(server, f"{prefix}/nightly", "next") as following:
                        await until_record(store, "nightly", lambda now: now.waiting == ("next",))
                        run.terminate()
                        await following.won()
                        assert (await store.describe("nightly")).leader == "next"
                finally:
                    run.terminate()

    play_out(play, f"{server.url}/{prefix}")
