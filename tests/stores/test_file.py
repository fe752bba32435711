"""The file store alone: damage, crashes, full and read-only disks, replaced files."""

import asyncio
import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from elector.core.office import EndReason
from elector.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from elector.stores.file import FileStore, open_store
from elector.stores.file.files import FORMAT, OfficeFiles, drop
from elector.stores.port import Ask, Grant, Granted, Occupied
from elector.stores.registry import parse_url
from tests.stores.cramped import full_disk, read_only_disk
from tests.stores.worlds import TTL_NS, Ear, candidate, is_ask, lead, led, vacant, wait_in_line

DONE = EndReason.COMPLETED
Play = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def offices(tmp_path: Path) -> Path:
    return tmp_path / "offices"


def run(directory: Path, count: int, play: Play) -> None:
    async def main() -> None:
        stores = [await open_store(parse_url(f"file://{directory}")) for _ in range(count)]
        try:
            async with asyncio.timeout(60):
                await play(*stores)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(main())


def lead_once(directory: Path) -> None:
    async def play(store: FileStore) -> None:
        assert await store.release(await lead(store, "nightly", candidate("a")), DONE)

    run(directory, 1, play)


def assert_corrupt(directory: Path, *words: str) -> None:
    """Refused in one line by everybody who asks, and nothing was touched."""

    async def play(store: FileStore) -> None:
        for _ in range(2):
            with pytest.raises(StoreCorrupt) as refused:
                await store.acquire("nightly", candidate("b"), TTL_NS)
            with pytest.raises(StoreCorrupt):
                await store.describe("nightly")
            with pytest.raises(StoreCorrupt):
                await store.watch("nightly", Ear())
            message = str(refused.value)
            assert "\n" not in message
            for word in (str(directory), *words):
                assert word in message

    before = contents(directory)
    run(directory, 1, play)
    assert contents(directory) == before


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def modes(directory: Path) -> dict[str, int]:
    paths = [directory, *directory.iterdir()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}


def descriptors() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


def duplicates(path: Path) -> list[int]:
    """Copies of this process's descriptors of a file."""
    wanted, copies = path.stat(), []
    for name in descriptors():
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(int(name)), wanted):
                copies.append(os.dup(int(name)))
    return copies


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


# -- a token never goes back -----------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0" * 90,
        b'{"format": 1, "election": "nightly", "tok',
        b'{"format": 1, "election": "nightly"} and more',
        b'{"format": 1, "election": "nightly", "token": -1}',
        b'{"format": 1, "election": "nightly", "token": "7"}',
        b'{"election": "nightly", "token": 7}',
        b"[]",
        b"\xff\xfe",
    ],
)
def test_a_damaged_epoch_is_an_error(offices: Path, damage: bytes) -> None:
    lead_once(offices)
    (offices / "nightly.epoch").write_bytes(damage)
    assert_corrupt(offices, "nightly.epoch", "restore it from a copy")
    assert not is_locked(offices / "nightly.lock")


def test_an_epoch_from_the_future_says_who_shall_upgrade(offices: Path) -> None:
    lead_once(offices)
    future = {"format": FORMAT + 1, "election": "nightly", "tokens": [1, 2, 3]}
    (offices / "nightly.epoch").write_text(json.dumps(future))
    assert_corrupt(offices, "nightly.epoch", "newer elector", "upgrade elector")


def test_an_epoch_of_another_election_is_an_error(offices: Path) -> None:
    lead_once(offices)
    (offices / "daily.lock").write_bytes((offices / "nightly.lock").read_bytes())
    (offices / "nightly.epoch").rename(offices / "daily.epoch")
    (offices / "nightly.lock").unlink()

    async def play(store: FileStore) -> None:
        with pytest.raises(StoreCorrupt, match="belongs to election 'nightly', not to 'daily'"):
            await store.acquire("daily", candidate("a"), TTL_NS)

    run(offices, 1, play)


def test_a_missing_epoch_is_an_error_and_no_new_start(offices: Path) -> None:
    lead_once(offices)
    (offices / "nightly.epoch").unlink()
    assert_corrupt(offices, "nightly.epoch is missing", "restore it")


def test_a_missing_lock_is_an_error_and_the_remedy_works(offices: Path) -> None:
    lead_once(offices)
    (offices / "nightly.lock").unlink()
    assert_corrupt(offices, "nightly.lock is missing", "make it anew as an empty file")
    (offices / "nightly.lock").touch()

    async def play(store: FileStore) -> None:
        assert (await lead(store, "nightly", candidate("b"))).token == 2

    run(offices, 1, play)
    (offices / "nightly.epoch").unlink()
    assert_corrupt(offices, "nightly.epoch is missing")


def _renamed(epoch: Path) -> None:
    epoch.with_name("weekly.epoch").write_bytes(epoch.read_bytes())


def test_a_list_of_elections_with_a_damaged_one_says_so(offices: Path) -> None:
    async def play(store: FileStore) -> None:
        await lead(store, "daily", candidate("a"))
        with pytest.raises(StoreCorrupt, match=r"nightly\.epoch is damaged"):
            await store.elections()

    lead_once(offices)
    (offices / "nightly.epoch").write_text("{")
    run(offices, 1, play)


@pytest.mark.parametrize(("act", "said"), [(Path.unlink, "is missing"), (_renamed, "renamed")])
def test_a_list_of_elections_leaves_none_out(
    offices: Path, act: Callable[[Path], object], said: str
) -> None:
    """One whose epoch is gone, or stands under another name, is not passed over in silence."""

    async def play(store: FileStore) -> None:
        with pytest.raises(StoreCorrupt, match=said):
            await store.elections()

    lead_once(offices)
    (offices / "daily.lock").touch()  # what a crash left of a founding is no reason to complain
    act(offices / "nightly.epoch")
    run(offices, 1, play)


@pytest.mark.parametrize("founded", [False, True])
def test_a_crash_between_any_two_steps_loses_no_token(tmp_path: Path, founded: bool) -> None:
    for step in itertools.count():
        files = OfficeFiles(tmp_path / str(step), "nightly")
        files.directory.mkdir()
        before = _take_and_leave(files) if founded else 0
        granted = _token_before_crash(files, step)
        assert granted is None or granted > before
        assert _take_and_leave(files) > max(before, granted or 0)
        if granted is not None:
            break
    assert step > 30, "or it did not crash where it should have"


def _take_and_leave(files: OfficeFiles) -> int:
    tenure = files.take(candidate("a"))
    assert tenure is not None
    files.leave(tenure)
    return tenure.token


def _token_before_crash(files: OfficeFiles, step: int) -> int | None:
    """What a child is granted that dies at its n-th call into the system; None if nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        left = step

        def count(_frame: object, event: str, _arg: object) -> None:
            nonlocal left
            left -= event == "c_call"
            if left < 0:
                os._exit(1)

        who = candidate("crashing")
        sys.setprofile(count)
        tenure = files.take(who)
        sys.setprofile(None)
        os.write(writer, str(tenure.token if tenure else "nothing").encode())
        os._exit(0)
    os.close(writer)
    try:
        said = os.read(reader, 100)
    finally:
        os.close(reader)
        os.waitpid(child, 0)
    return int(said) if said else None


# -- files that are taken away ---------------------------------------------------------------


def test_a_holder_whose_lock_file_was_deleted_has_lost(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        who = candidate("a")
        grant = await lead(one, "nightly", who)
        assert await one.renew([grant]) == [True]
        (offices / "nightly.lock").unlink()
        assert await one.renew([grant]) == [False]
        assert not await one.release(grant, DONE)
        assert one.lifelines(grant) == ()
        for store, candidate_ in ((one, who), (two, candidate("b"))):
            with pytest.raises(StoreCorrupt, match=r"nightly\.lock is missing"):
                await store.acquire("nightly", candidate_, TTL_NS)

    run(offices, 2, play)


def test_a_holder_whose_lock_file_was_replaced_has_lost(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        who = candidate("a")
        old = await lead(one, "nightly", who)
        copy = (offices / "nightly.lock").read_bytes()
        (offices / "nightly.lock").unlink()
        (offices / "nightly.lock").write_bytes(copy)
        new = await lead(two, "nightly", candidate("b"))
        assert new.token == old.token + 1
        assert isinstance(await one.acquire("nightly", who, TTL_NS), Occupied)
        assert await one.renew([old]) == [False]
        assert not await one.release(old, DONE), "nor does it disturb who leads now"
        assert (await one.describe("nightly")).leader == "b"
        assert await two.renew([new]) == [True]

    run(offices, 2, play)


def test_a_lock_file_that_is_replaced_while_we_lock_it_is_not_held(
    offices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lock, replaced = fcntl.flock, offices / "nightly.lock", list[bytes]()

    def replace_first(fd: int, operation: int) -> None:
        if not replaced and os.path.samestat(os.fstat(fd), lock.stat()):
            replaced.append(lock.read_bytes())
            lock.unlink()
            lock.write_bytes(replaced[0])
        real(fd, operation)

    async def play(store: FileStore) -> None:
        monkeypatch.setattr(fcntl, "flock", replace_first)
        grant = await lead(store, "nightly", candidate("a"))
        assert replaced
        assert grant.token == 2
        assert is_locked(lock)
        assert await store.renew([grant]) == [True]

    lead_once(offices)
    run(offices, 1, play)


def test_the_pipes_are_only_hints(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        for pipe in ("nightly.tenure", "nightly.news"):
            (offices / pipe).unlink(missing_ok=True)
        answer = await two.acquire("nightly", candidate("b"), TTL_NS)
        assert isinstance(answer, Occupied)
        assert answer.leader is None
        assert answer.retry_in_ns is not None
        (offices / "nightly.tenure").write_text("no pipe at all")
        assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)
        assert await one.release(grant, DONE)
        assert (await lead(two, "nightly", candidate("b"))).token == 2

    run(offices, 2, play)


def test_a_creator_that_hangs_stops_new_elections_only(offices: Path) -> None:
    async def play(store: FileStore) -> None:
        fd = os.open(offices / ".lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        answer = await store.acquire("daily", candidate("a"), TTL_NS)
        assert isinstance(answer, Occupied)
        assert answer.leader is None
        assert answer.retry_in_ns is not None
        await lead(store, "nightly", candidate("a"))
        os.close(fd)
        await lead(store, "daily", candidate("a"))

    lead_once(offices)
    run(offices, 1, play)


def test_an_ask_waits_until_its_holder_listens(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        who = candidate("a")
        grant = await lead(one, "nightly", who)
        await two.ask(Ask("nightly", grant.token))
        await two.ask(Ask("nightly", grant.token + 1))  # not its token; does not hide the other
        ear = Ear()
        await one.watch("nightly", ear, who)
        await ear.until(is_ask)
        assert ear.asks() == [Ask("nightly", grant.token)]
        assert not (offices / "nightly.ask").exists()

    run(offices, 2, play)


def test_an_ask_that_was_never_heard_does_not_reach_the_next_tenure(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        who = candidate("a")
        grant = await lead(one, "nightly", who)
        await two.ask(Ask("nightly", grant.token))
        assert await one.release(grant, DONE)
        again = await lead(one, "nightly", who)
        ear = Ear()
        await one.watch("nightly", ear, who)
        await two.ask(Ask("nightly", again.token))
        await ear.until(is_ask)
        assert ear.asks() == [Ask("nightly", again.token)]

    run(offices, 2, play)


def test_an_ask_that_comes_while_an_old_one_is_taken_is_not_lost(
    offices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the old one and its removal."""
    read = Path.read_bytes
    newer: list[Path] = []

    def read_and_be_overtaken(path: Path) -> bytes:
        text = read(path)
        if ".taken-" in path.name or path.suffix == ".ask":
            fresh = path.with_name("nightly.ask")
            fresh.write_bytes(b"{}")
            newer.append(fresh)
        return text

    async def play(one: FileStore, two: FileStore) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        await two.ask(Ask("nightly", grant.token))
        monkeypatch.setattr(Path, "read_bytes", read_and_be_overtaken)
        assert one.files("nightly").take_ask(grant.token) == Ask("nightly", grant.token)
        monkeypatch.undo()

    run(offices, 2, play)
    assert newer
    assert newer[-1].exists()
    assert not list(offices.glob("*.taken-*"))


def test_an_ask_that_is_none_does_no_harm(offices: Path) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        ear, who = Ear(), candidate("a")
        await one.watch("nightly", ear, who)
        grant = await lead(one, "nightly", who)
        (offices / "nightly.ask").write_text('{"election": "nightly", "tok')
        two.files("nightly").spread_news()
        await two.ask(Ask("nightly", grant.token))
        await ear.until(is_ask)
        assert ear.asks() == [Ask("nightly", grant.token)]

    run(offices, 2, play)


# -- disks that refuse -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_a_full_disk_grants_nothing_and_loses_nothing(tmp_path: Path, how: str) -> None:
    report = full_disk(tmp_path, how)
    assert report["first"] == 1
    assert report["kept while full"] == [True]
    assert report["released while full"]
    assert "No space left" in report["refusal"] or "File too large" in report["refusal"]
    assert "\n" not in report["refusal"]
    assert report["files while full"] == report["files before"]
    assert not report["locked after the refusal"]
    assert report["when there is room"] > report["last before"]


def test_a_read_only_disk_grants_nothing_and_loses_nothing(tmp_path: Path) -> None:
    report = read_only_disk(tmp_path)
    assert report["first"] == 1
    assert report["kept while read-only"] == [True]
    assert report["released while read-only"]
    assert "Read-only file system" in report["refusal"]
    assert "cannot write in" in report["opening"]
    assert report["when writable"] == 2


def test_an_epoch_that_cannot_be_written_gives_the_lock_back(
    offices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(one: FileStore, two: FileStore) -> None:
        def fail(_fd: int) -> None:
            inherited.extend(duplicates(offices / "nightly.lock"))
            raise OSError(errno.EIO, "Input/output error")

        inherited: list[int] = []

        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fail)
            with pytest.raises(StoreUnavailable, match="Input/output error"):
                await one.acquire("nightly", candidate("a"), TTL_NS)
        assert inherited, "as a child would have, that was forked at this moment"
        assert not is_locked(offices / "nightly.lock")
        assert (await lead(two, "nightly", candidate("b"))).token == 2
        for fd in inherited:
            os.close(fd)

    lead_once(offices)
    run(offices, 2, play)


def test_a_directory_that_is_gone_is_unavailable(offices: Path) -> None:
    async def play(store: FileStore) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        shutil.rmtree(offices)
        with pytest.raises(StoreUnavailable, match="No such file"):
            await store.acquire("nightly", candidate("b"), TTL_NS)
        assert await store.renew([grant]) == [False]

    run(offices, 1, play)


# -- sleeping and descriptors ------------------------------------------------------------------


def test_waiting_looks_at_the_disk_only_when_woken(
    offices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = OfficeFiles.ears

    def counted(files: OfficeFiles) -> Iterator[int]:
        nonlocal looks
        looks += files.election == "nightly"
        return real(files)

    async def play(one: FileStore, two: FileStore) -> None:
        nonlocal looks
        await one.watch("nightly", Ear())  # vacant, and a dead leader's pipe is still there
        grant = await lead(two, "daily", candidate("a"))
        await wait_in_line(one, "daily", candidate("b"), Ear())
        looks = 0
        for _ in range(50):  # a busy loop would look thousands of times meanwhile
            assert await two.release(grant, DONE)
            grant = await lead(two, "daily", candidate("a"))
        assert looks <= 1

    monkeypatch.setattr(OfficeFiles, "ears", counted)
    lead_once(offices)
    (offices / "nightly.tenure").unlink(missing_ok=True)
    os.mkfifo(offices / "nightly.tenure")
    run(offices, 2, play)


def test_a_store_leaves_no_descriptor_and_no_task(offices: Path) -> None:
    async def main() -> None:
        store = await open_store(parse_url(f"file://{offices}"))
        who = candidate("a")
        ear = Ear()
        watch = await store.watch("nightly", ear, who)
        await store.watch("nightly", Ear())
        await store.watch("daily", Ear(), candidate("b"))
        await lead(store, "nightly", who)
        await ear.until(led("a", 1))
        await store.acquire("nightly", candidate("c"), TTL_NS)
        await watch.close()
        await store.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await watch.close()

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before
    assert not is_locked(offices / "nightly.lock")


def test_closing_a_store_gives_its_office_to_who_waits(offices: Path) -> None:
    async def play(one: FileStore) -> None:
        closing = await open_store(parse_url(f"file://{offices}"))
        await lead(closing, "nightly", candidate("a"))
        ear, who = Ear(), candidate("b")
        await wait_in_line(one, "nightly", who, ear)
        await closing.close()
        await ear.until(vacant(1))
        assert (await lead(one, "nightly", who)).token == 2

    run(offices, 1, play)


def test_lifelines_are_those_of_this_grant_and_not_inherited_by_chance(offices: Path) -> None:
    async def play(store: FileStore) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        lines = store.lifelines(grant)
        assert len(lines) == 2
        assert not any(os.get_inheritable(fd) for fd in lines)
        stranger = Grant("nightly", candidate("a"), grant.token, TTL_NS)
        stale = Grant("nightly", grant.candidate, grant.token + 1, TTL_NS)
        assert store.lifelines(stranger) == store.lifelines(stale) == ()

    run(offices, 1, play)


def test_a_watch_lives_through_trouble_with_the_directory(
    offices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[OSError] = []
    real = OfficeFiles.ears

    def broken_once(files: OfficeFiles) -> Iterator[int]:
        if not failures:
            failures.append(OSError(errno.EMFILE, "Too many open files"))
            raise failures[0]
        return real(files)

    async def play(one: FileStore, two: FileStore) -> None:
        ear = Ear()
        await one.watch("nightly", ear)
        await ear.until(vacant(0))
        monkeypatch.setattr(OfficeFiles, "ears", broken_once)
        grant = await lead(two, "nightly", candidate("a"))
        await ear.until(led("a", grant.token))
        assert failures

    run(offices, 2, play)


# -- where it may live -------------------------------------------------------------------------


def test_everything_is_private(offices: Path) -> None:
    async def play(store: FileStore) -> None:
        await store.watch("nightly", Ear(), candidate("b"))
        grant = await lead(store, "nightly", candidate("a"))
        await store.ask(Ask("nightly", grant.token))
        found = modes(offices)
        assert found.pop("offices") == 0o700
        assert found == dict.fromkeys(found, 0o600)
        assert {"nightly.lock", "nightly.epoch", "nightly.tenure", "nightly.news"} <= set(found)

    umask = os.umask(0)
    try:
        run(offices, 1, play)
    finally:
        os.umask(umask)


@pytest.mark.parametrize("rest", ["", "/", "relative", "host/path", "./x", "/x?y=1"])
def test_a_url_that_names_no_directory_is_refused(rest: str) -> None:
    with pytest.raises(ConfigurationError, match="file:///absolute/directory"):
        asyncio.run(open_store(parse_url(f"file://{rest}")))


def test_a_network_file_system_is_refused(offices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = offices.parent / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {offices} rw - nfs4 server:/ rw\n")
    monkeypatch.setattr("elector.stores.local_path._MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match="network file system"):
        run(offices, 1, _nothing)
    assert not offices.exists()


def test_a_file_in_the_place_of_the_directory_is_refused(offices: Path) -> None:
    offices.write_text("")
    with pytest.raises(StoreUnavailable, match="cannot make the directory"):
        run(offices, 1, _nothing)


def test_who_only_reads_makes_nothing(offices: Path) -> None:
    url = parse_url(f"file://{offices}")
    with pytest.raises(StoreUnavailable, match="nobody has stood there yet"):
        asyncio.run(open_store(type(url)(url.scheme, url.rest, create=False)))
    assert not offices.exists()


async def _nothing(_store: FileStore) -> None:
    pass


def test_a_lock_is_given_back_when_its_descriptors_are_dropped(offices: Path) -> None:
    offices.mkdir()
    files = OfficeFiles(offices, "nightly")
    tenure = files.take(candidate("a"))
    assert tenure is not None
    assert files.is_led()
    assert files.take(candidate("b")) is None
    drop(tenure)
    assert not files.is_led()
    assert isinstance(asyncio.run(_acquire(offices)), Granted)


async def _acquire(directory: Path) -> Granted | Occupied:
    store = await open_store(parse_url(f"file://{directory}"))
    try:
        return await store.acquire("nightly", candidate("c"), TTL_NS)
    finally:
        await store.close()
