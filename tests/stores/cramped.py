"""A file store on a disk that is full, or read-only: in a child process of its own.

Root writes wherever it likes, so the disk itself has to refuse: a small or read-only mount in
a mount namespace, which ends with the child. Where the system allows no such namespace (the
first of `_namespace` that works is used), the test is skipped and says so.

Run as a program, it is that child: cramped.py KIND DIRECTORY, and prints its report.
"""

import asyncio
import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreUnavailable
from elector.stores.file import FileStore, open_store
from elector.stores.port import Grant, Granted
from elector.stores.registry import parse_url

Report = dict[str, Any]
_WAYS = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
_TTL_NS = 1_000_000_000


def full_disk(place: Path, how: str) -> Report:
    """What came of acquiring with no room left."""
    return _run(how, place, [] if how == "limit" else _namespace(place))


def read_only_disk(place: Path) -> Report:
    """What came of acquiring on a disk that became read-only."""
    return _run("read-only", place, _namespace(place))


def _namespace(place: Path) -> list[str]:
    for way in _WAYS:
        trial = [*way, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        try:
            if subprocess.run(trial, capture_output=True, check=False, timeout=30).returncode == 0:
                return way
        except FileNotFoundError:
            break
    pytest.skip("this system allows no mount namespace, so no disk can be made to refuse")


def _run(kind: str, place: Path, namespace: list[str]) -> Report:
    child = subprocess.run(
        [*namespace, sys.executable, __file__, kind, str(place)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    report: Report = json.loads(child.stdout)
    return report


# -- in the child ----------------------------------------------------------------------------


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", str(directory)], check=True)


async def _lead(store: FileStore, name: str) -> Grant:
    who = Candidate(name, f"{name}#1")
    answer = await store.acquire("nightly", who, _TTL_NS)
    assert isinstance(answer, Granted), answer
    return Grant("nightly", who, answer.token, _TTL_NS)


async def _refusal(store: FileStore, election: str = "nightly") -> str:
    try:
        await store.acquire(election, Candidate("b", "b#1"), _TTL_NS)
    except StoreUnavailable as error:
        return str(error)
    return "nothing was refused"


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _room(kind: str, place: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to leave no room on the disk, and how to make some again."""
    if kind == "limit":
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        return (
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1])),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, unlimited),
        )
    _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    filler = place / "filler"

    def fill() -> None:
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(fd, b"x" * 4096):
                pass
        except OSError:
            os.close(fd)

    return fill, filler.unlink


async def _full(kind: str, place: Path) -> Report:
    report: Report = {}
    fill, make_room = _room(kind, place)
    directory = place / "offices"
    store = await open_store(parse_url(f"file://{directory}"))
    grant = await _lead(store, "a")
    report["first"] = grant.token
    report["files before"] = _names(directory)
    fill()
    report["kept while full"] = await store.renew([grant])
    report["released while full"] = await store.release(grant, EndReason.COMPLETED)
    report["files before"].remove("nightly.tenure")
    report["refusal"] = await _refusal(store)
    report["files while full"] = _names(directory)
    report["locked after the refusal"] = _is_locked(directory / "nightly.lock")
    report["last before"] = grant.token
    make_room()
    report["when there is room"] = (await _lead(store, "c")).token
    await store.close()
    return report


async def _read_only(place: Path) -> Report:
    report: Report = {}
    directory = place / "offices"
    directory.mkdir(mode=0o700)
    url = parse_url(f"file://{directory}")
    store = await open_store(url)
    grant = await _lead(store, "a")
    report["first"] = grant.token
    # The same files, seen from now on through a mount that writes nothing.
    _mount("--bind", str(directory), str(directory))
    _mount("-o", "remount,ro,bind", str(directory))
    report["kept while read-only"] = await store.renew([grant])
    report["released while read-only"] = await store.release(grant, EndReason.COMPLETED)
    report["refusal"] = await _refusal(store)
    try:
        await open_store(url)
    except StoreUnavailable as error:
        report["opening"] = str(error)
    _unmount(directory)
    report["when writable"] = (await _lead(store, "c")).token
    await store.close()
    return report


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    work = _read_only(place) if kind == "read-only" else _full(kind, place)
    print(json.dumps(asyncio.run(work)))  # noqa: T201 - the test reads it
