import random
import threading

import pytest

from elector.errors import ConfigurationError
from elector.fencing import MemoryGuard, StaleToken


def test_equal_and_higher_tokens_pass_and_lower_ones_do_not() -> None:
    guard = MemoryGuard()
    for token in (3, 3, 5):
        guard.admit("ledger", token)
    with pytest.raises(StaleToken) as refused:
        guard.admit("ledger", 4)
    assert (refused.value.token, refused.value.newest) == (4, 5)
    assert guard.newest("ledger") == 5


def test_resources_do_not_disturb_each_other() -> None:
    guard = MemoryGuard()
    guard.admit("ledger", 9)
    guard.admit("archive", 1)
    assert (guard.newest("ledger"), guard.newest("archive"), guard.newest("none")) == (9, 1, 0)


@pytest.mark.parametrize("token", [0, -1, None, "7", 7.0, True, 2**63])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(ConfigurationError, match="not a fencing token"):
        MemoryGuard().admit("ledger", token)


@pytest.mark.parametrize("resource", ["", "a\nb", "x" * 201])
def test_what_is_no_resource_is_refused(resource: str) -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        MemoryGuard().admit(resource, 1)


def test_check_and_write_are_one_among_threads() -> None:
    seed = 20_310_505
    print(f"seed {seed}")  # noqa: T201 - to replay a failure
    guard, written = MemoryGuard(), list[int]()
    start = threading.Barrier(4)

    def write(tokens: list[int]) -> None:
        start.wait()
        for token in tokens:
            try:
                with guard.writing("ledger", token):
                    written.append(token)
            except StaleToken:
                continue

    rng = random.Random(seed)  # noqa: S311 - a test's choices are no secret
    threads = [
        threading.Thread(target=write, args=([rng.randint(1, 500) for _ in range(500)],))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == sorted(written)
    assert max(written) == guard.newest("ledger")


def test_a_newer_leader_waits_until_the_body_is_done() -> None:
    guard, order = MemoryGuard(), list[str]()
    inside, asked = threading.Event(), threading.Event()

    def newer() -> None:
        inside.wait()
        asked.set()
        guard.admit("ledger", 2)
        order.append("newer admitted")

    thread = threading.Thread(target=newer)
    thread.start()
    with guard.writing("ledger", 1):
        inside.set()
        asked.wait()
        # It stands before the guard now and cannot come in, however long we take.
        thread.join(timeout=0.05)
        order.append("older wrote")
    thread.join()
    assert order == ["older wrote", "newer admitted"]
