"""The guard of objects in memory, whose every step can be interfered with."""

import asyncio
import threading
from typing import Any

import obstore
import pytest
from obstore.exceptions import PreconditionError
from obstore.store import LocalStore, MemoryStore

from elector.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from elector.fencing import StaleToken
from elector.fencing.objects import STAMP_KEY, TOKEN_KEY, ObjectGuard

KINDS = ["objects", "objects async"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def guard(store: MemoryStore) -> ObjectGuard:
    return ObjectGuard(store)


def content(store: Any, path: str = "ledger") -> bytes:
    return bytes(obstore.get(store, path).bytes())


def put(guard: ObjectGuard, data: Any, token: int, *, by_async: bool, **options: Any) -> None:
    if by_async:
        asyncio.run(guard.put_async("ledger", data, token, **options))
    else:
        guard.put("ledger", data, token, **options)


@pytest.mark.parametrize("by_async", [False, True])
def test_equal_and_higher_tokens_write_and_lower_ones_do_not(
    store: MemoryStore, guard: ObjectGuard, by_async: bool
) -> None:
    for token in (3, 3, 5):
        put(guard, b"by %d" % token, token, by_async=by_async)
    with pytest.raises(StaleToken) as refused:
        put(guard, b"by 4", 4, by_async=by_async)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert content(store) == b"by 5"
    assert guard.newest("ledger") == 5
    assert guard.newest("nothing") == 0


def test_each_object_has_a_bar_of_its_own(guard: ObjectGuard) -> None:
    guard.put("ledger", b"x", 9)
    guard.put("archive", b"x", 1)
    assert (guard.newest("ledger"), guard.newest("archive")) == (9, 1)


def test_attributes_are_kept_beside_the_token(store: MemoryStore, guard: ObjectGuard) -> None:
    guard.put("ledger", b"{}", 2, attributes={"Content-Type": "application/json", "mine": "yes"})
    said = obstore.get(store, "ledger").attributes
    assert said["Content-Type"] == "application/json"
    assert (said["mine"], said[TOKEN_KEY]) == ("yes", "2")
    assert said[STAMP_KEY].startswith("2-")


def test_each_write_has_a_stamp_of_its_own(guard: ObjectGuard) -> None:
    stamps = list[str]()

    def data(stamp: str) -> bytes:
        stamps.append(stamp)
        return stamp.encode()

    for _ in range(3):
        guard.put("ledger", data, 2)
    assert len(set(stamps)) == 3


def test_a_function_that_loses_its_stamp_is_refused(store: MemoryStore, guard: ObjectGuard) -> None:
    with pytest.raises(ConfigurationError, match="stamp is not in the content"):
        guard.put("ledger", lambda _: b"without", 2)
    assert obstore.list(store).collect() == []


@pytest.mark.parametrize("data", ["text", None, 7, lambda stamp: stamp])
def test_content_that_is_no_bytes_is_refused(
    store: MemoryStore, guard: ObjectGuard, data: Any
) -> None:
    with pytest.raises(ConfigurationError, match="no bytes"):
        guard.put("ledger", data, 2)
    assert obstore.list(store).collect() == []


class Between:
    """A store's client that lets something happen right before a put, or loses its reply."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._put, self._left = obstore.put, list[Any]()
        monkeypatch.setattr(obstore, "put", self)

    def then(self, act: Any) -> None:
        self._left.append(act)

    def __call__(self, *words: Any, **options: Any) -> Any:
        if self._left:
            self._left.pop(0)(lambda: self._put(*words, **options))
        return self._put(*words, **options)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(monkeypatch)


@pytest.mark.parametrize("begun", [False, True])
def test_a_newer_leader_between_the_look_and_the_put_is_noticed(
    store: MemoryStore, guard: ObjectGuard, between: Between, begun: bool
) -> None:
    if begun:
        guard.put("ledger", b"1", 1)
    between.then(lambda _: guard.put("ledger", b"2", 2))
    with pytest.raises(StaleToken):
        guard.put("ledger", b"1", 1)
    assert content(store) == b"2"


@pytest.mark.parametrize("rival", [1, 2])
def test_one_who_is_not_newer_does_not_keep_us_from_writing(
    store: MemoryStore, guard: ObjectGuard, between: Between, rival: int
) -> None:
    guard.put("ledger", b"first", 1)
    between.then(lambda _: guard.put("ledger", b"rival", rival))
    guard.put("ledger", b"ours", 2)
    assert content(store) == b"ours"


def test_a_put_whose_reply_was_lost_and_that_was_sent_again_is_recognised(
    store: MemoryStore, guard: ObjectGuard, between: Between
) -> None:
    guard.put("ledger", b"first", 1)
    between.then(lambda put: put())  # it happened; the client library then sends it once more
    guard.put("ledger", lambda stamp: stamp.encode(), 2)
    assert content(store).startswith(b"2-")
    assert obstore.get(store, "ledger").meta["e_tag"] == '"1"', "written once, not twice"


def test_an_object_that_says_no_token_is_no_new_start(store: MemoryStore) -> None:
    obstore.put(store, "ledger", b"by hand")
    with pytest.raises(StoreCorrupt, match=r"writes past the guard.*adopt=True"):
        ObjectGuard(store).put("ledger", b"x", 2)
    assert content(store) == b"by hand"
    ObjectGuard(store, adopt=True).put("ledger", b"x", 2)
    ObjectGuard(store).put("ledger", b"y", 2)


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "٣", ""])
def test_a_damaged_token_is_no_new_start(store: MemoryStore, token: str) -> None:
    obstore.put(store, "ledger", b"by hand", attributes={TOKEN_KEY: token})
    for adopt in (False, True):
        with pytest.raises(StoreCorrupt, match="for a token"):
            ObjectGuard(store, adopt=adopt).put("ledger", b"x", 2)


def test_a_store_that_always_says_no_is_given_up(
    store: MemoryStore, guard: ObjectGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise PreconditionError

    async def no_async(*_: Any, **__: Any) -> None:
        no()

    monkeypatch.setattr(obstore, "put", no)
    monkeypatch.setattr(obstore, "put_async", no_async)
    for by_async in (False, True):
        with pytest.raises(StoreUnavailable, match="was not written"):
            put(guard, b"x", 2, by_async=by_async)
    assert obstore.list(store).collect() == []


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_is_never_sent(store: MemoryStore, guard: ObjectGuard, token: Any) -> None:
    for by_async in (False, True):
        with pytest.raises(ConfigurationError, match="not a fencing token"):
            put(guard, b"x", token, by_async=by_async)
    assert obstore.list(store).collect() == []


def test_what_is_no_path_is_never_sent(guard: ObjectGuard) -> None:
    with pytest.raises(ConfigurationError, match="not the path"):
        guard.put("", b"x", 1)


def test_a_store_that_cannot_compare_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="LocalStore cannot compare"):
        ObjectGuard(LocalStore(tmp_path))  # type: ignore[arg-type]


def test_threads_never_write_out_of_order(store: MemoryStore, guard: ObjectGuard) -> None:
    start, seen = threading.Barrier(5), list[int]()
    done = threading.Event()

    def write(first: int) -> None:
        start.wait()
        for token in range(first, 401, 4):
            try:
                guard.put("ledger", b"%d" % token, token)
            except StaleToken:
                continue

    def look() -> None:
        start.wait()
        while not done.is_set():
            seen.append(guard.newest("ledger"))

    writers = [threading.Thread(target=write, args=(first,)) for first in range(1, 5)]
    observer = threading.Thread(target=look)
    for thread in (*writers, observer):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    observer.join()
    assert seen == sorted(seen)
    # The highest is never refused, and nothing can follow it.
    assert int(content(store)) == guard.newest("ledger") == 400
