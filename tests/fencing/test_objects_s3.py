"""The guard of objects on a real S3 server that real processes write to."""

import hashlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import obstore
import pytest

from elector.errors import ConfigurationError
from elector.fencing import StaleToken
from elector.fencing.objects import TOKEN_KEY, ObjectGuard

from .processes import rivals, started, thaw, wait_until_stopped
from .writers import WRITERS, s3_store

KINDS = ["objects", "objects async"]


def content(store: Any, path: str = "ledger") -> bytes:
    return bytes(obstore.get(store, path).bytes())


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests.servers.s3 import s3_server

    with (
        s3_server(tmp_path_factory.mktemp("s3")) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in server.env.items():
            environment.setenv(name, value)
        yield str(server.port)


@pytest.fixture
def s3(port: str) -> Any:
    store = s3_store(port)
    obstore.delete(store, ["ledger", "plain"])
    return store


@pytest.mark.parametrize("kind", KINDS)
def test_s3_lets_equal_and_higher_tokens_write_and_lower_ones_not(
    s3: Any, port: str, kind: str
) -> None:
    with WRITERS[kind](port) as write:
        for token in (3, 3, 5):
            write(token)
        with pytest.raises(StaleToken, match="token 5"):
            write(4)
    assert content(s3).startswith(b"5 5-")


@pytest.mark.parametrize("kind", KINDS)
def test_a_paused_leader_wakes_up_after_its_successor_wrote(s3: Any, port: str, kind: str) -> None:
    with started("late_leader.py", kind, port, "1") as late:
        wait_until_stopped(late)
        with WRITERS[kind](port) as write:
            write(2)
        assert thaw(late) == "refused 1 < 2"
    assert content(s3).startswith(b"2 ")


@pytest.mark.parametrize("begun", [False, True])
def test_a_leader_paused_between_its_look_and_its_put_is_refused_by_the_server(
    s3: Any, port: str, begun: bool
) -> None:
    with WRITERS["objects"](port) as write:
        if begun:
            write(1)
        with started("late_leader.py", "objects paused between", port, "1") as late:
            wait_until_stopped(late)
            late.send_signal(signal.SIGCONT)
            wait_until_stopped(late)  # it has read, and not yet put
            write(2)
            assert thaw(late) == "refused 1 < 2"
    assert content(s3).startswith(b"2 ")


@pytest.mark.parametrize("kind", KINDS)
def test_rival_processes_never_write_out_of_order(s3: Any, port: str, kind: str) -> None:
    seen, done = list[int](), threading.Event()

    def look() -> None:
        guard = ObjectGuard(s3)
        while not done.is_set():
            seen.append(guard.newest("ledger"))

    observer = threading.Thread(target=look)
    observer.start()
    try:
        admitted = rivals(kind, port, writes=40)
    finally:
        done.set()
        observer.join()
    assert seen == sorted(seen)
    assert int(content(s3).split()[0]) == max(admitted) == ObjectGuard(s3).newest("ledger")


def test_s3_compares_content_so_equal_ones_are_refused(s3: Any) -> None:
    """Why there is a stamp: the version comes back with the content, whoever wrote it."""
    tags = list[Any]()
    for token, plain in ((1, b"idle"), (2, b"busy"), (2, b"idle")):
        put = obstore.put(s3, "plain", plain, attributes={TOKEN_KEY: str(token)})
        tags.append(put["e_tag"])
    assert tags[0] == tags[2] == f'"{hashlib.md5(b"idle").hexdigest()}"'  # noqa: S324 - S3's choice
    with pytest.raises(ConfigurationError, match="equal contents would pass for one version"):
        ObjectGuard(s3).put("plain", b"late", 1)
    assert content(s3, "plain") == b"idle"
