"""The models of stores: the same histories on a model and on the real store have one outcome."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from elector.core.effects import Acquire, Lead
from elector.core.events import Granted, Occupied, OutcomeLost, Start, TimerFired
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.protocols.lease import RETRY, LeaseCandidate
from elector.simulation.faults import MS, SECOND_NS
from elector.simulation.lease import Candidates
from elector.simulation.store import MODELS, Model, Register, model_named
from elector.stores import port
from elector.stores.memory import MemoryStore
from elector.stores.registry import StoreUrl
from elector.stores.sqlite import open_store
from elector.stores.sqlite import table as sqlite_table

TTL = 10 * SECOND_NS
A, B, C = (Candidate(name, f"{name}#1") for name in "abc")
A2 = Candidate("a", "a#2")


class Ask(NamedTuple):
    """Who asks what, how long after the last one, and what it is answered."""

    who: Candidate
    what: str
    answer: str
    after: int = 0
    token: int = 0
    heir: str | None = None


HISTORIES: dict[str, list[Ask]] = {
    "one takes it, others wait, it is given back": [
        Ask(A, "acquire", "granted 1"),
        Ask(B, "acquire", "occupied by a, 1, retry in 10s"),
        Ask(A, "release", "released", token=1),
        Ask(B, "acquire", "granted 2"),
        Ask(A, "acquire", "occupied by b, 2, retry in 10s"),
    ],
    "a renewal prolongs, and one that comes too late is lost": [
        Ask(A, "acquire", "granted 1"),
        Ask(A, "renew", "renewed", 4 * SECOND_NS, 1),
        Ask(B, "acquire", "occupied by a, 1, retry in 3s", 7 * SECOND_NS),
        Ask(A, "renew", "lost", 3 * SECOND_NS, 1),
        Ask(B, "acquire", "granted 2"),
        Ask(A, "renew", "lost", token=1),
        Ask(A, "release", "nothing to release", token=1),
    ],
    "who asks again gets what it has, prolonged": [
        Ask(A, "acquire", "granted 1"),
        Ask(A, "acquire", "granted 1", 6 * SECOND_NS),
        Ask(B, "acquire", "occupied by a, 1, retry in 5s", 5 * SECOND_NS),
        Ask(A, "acquire", "granted 2", 5 * SECOND_NS),
    ],
    "one name is two candidates": [
        Ask(A, "acquire", "granted 1"),
        Ask(A2, "acquire", "occupied by a, 1, retry in 10s"),
        Ask(A2, "renew", "lost", token=1),
        Ask(A2, "release", "nothing to release", token=1),
        Ask(A, "renew", "renewed", token=1),
    ],
    "an old token renews and releases nothing": [
        Ask(A, "acquire", "granted 1"),
        Ask(A, "release", "released", token=1),
        Ask(A, "acquire", "granted 2"),
        Ask(A, "renew", "lost", token=1),
        Ask(A, "release", "nothing to release", token=1),
        Ask(B, "acquire", "occupied by a, 2, retry in 10s"),
    ],
    "an office is kept for an heir, and not for ever": [
        Ask(A, "acquire", "granted 1"),
        Ask(B, "acquire", "occupied by a, 1, retry in 10s"),
        Ask(C, "acquire", "occupied by a, 1, retry in 10s"),
        Ask(A, "release", "released", token=1, heir="c"),
        Ask(B, "acquire", "occupied by nobody, 1, retry in 5s"),
        Ask(B, "acquire", "occupied by nobody, 1, retry in 1s", 4 * SECOND_NS),
        Ask(C, "acquire", "granted 2"),
        Ask(C, "release", "released", token=2, heir="b"),
        Ask(A, "acquire", "granted 3", 5 * SECOND_NS),
    ],
}

Asked = Callable[[Ask], str]


def occupied(leader: str | None, token: int, retry_in_ns: int | None) -> str:
    retry = "?" if retry_in_ns is None else f"{retry_in_ns / SECOND_NS:g}s"
    return f"occupied by {leader or 'nobody'}, {token}, retry in {retry}"


class Time:
    """A clock that only histories move."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND_NS

    def __call__(self) -> int:
        return self.now


def on_the_model(name: str, time: Time) -> Asked:
    register = Register(model_named(name), TTL)

    def asked(ask: Ask) -> str:
        if ask.what == "renew":
            return "renewed" if register.renew(ask.who, ask.token, time()) else "lost"
        if ask.what == "release":
            ours = register.release(ask.who, ask.token, ask.heir, time())
            return "released" if ours else "nothing to release"
        found = register.acquire(ask.who, time())
        if isinstance(found, int):
            return f"granted {found}"
        return occupied(found.leader, register.token, found.retry_in_ns)

    return asked


async def on_the_store(store: port.Store, history: list[Ask], time: Time) -> list[str]:
    """Candidates watch, as those in production do; only who waits can be an heir."""
    watches = [await store.watch("e", lambda _: None, who) for who in (A, B, C, A2)]
    answers = []
    for ask in history:
        time.now += ask.after
        grant = port.Grant("e", ask.who, ask.token, TTL)
        if ask.what == "renew":
            answers.append("renewed" if (await store.renew([grant]))[0] else "lost")
        elif ask.what == "release":
            ours = await store.release(grant, EndReason.RESIGNED, ask.heir)
            answers.append("released" if ours else "nothing to release")
        else:
            found = await store.acquire("e", ask.who, TTL)
            if isinstance(found, port.Granted):
                answers.append(f"granted {found.token}")
            else:
                answers.append(occupied(found.leader, found.token, found.retry_in_ns))
    for watch in watches:
        await watch.close()
    await store.close()
    return answers


EVERY_HISTORY = pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)


@pytest.mark.parametrize("name", ["sqlite", "memory", "etcd", "redis", "postgresql"])
@EVERY_HISTORY
def test_the_model_answers_as_it_should(history: list[Ask], name: str) -> None:
    time = Time()
    asked = on_the_model(name, time)
    for ask in history:
        time.now += ask.after
        assert asked(ask) == ask.answer, ask


@EVERY_HISTORY
def test_the_memory_store_answers_the_same(history: list[Ask]) -> None:
    async def play() -> list[str]:
        time = Time()
        name = f"models {next(_NUMBERS)}"
        return await on_the_store(MemoryStore(name, clock=time), history, time)

    assert asyncio.run(play()) == [ask.answer for ask in history]


_NUMBERS = iter(range(1000))


@EVERY_HISTORY
def test_the_sqlite_store_answers_the_same(
    history: list[Ask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    monkeypatch.setattr(sqlite_table, "now_ns", time)

    async def play() -> list[str]:
        store = await open_store(StoreUrl("sqlite", f"/{tmp_path}/elector.db"))
        return await on_the_store(store, history, time)

    assert asyncio.run(play()) == [ask.answer for ask in history]


# -- what only some stores do ----------------------------------------------------------------


def test_where_observers_expire_a_lease_each_counts_from_its_own_first_sight() -> None:
    register = Register(model_named("s3"), TTL)
    assert register.acquire(A, 0, 0, register.read(A, 0)) == 1
    seen = register.read(B, 500)
    assert not isinstance(register.acquire(B, 0, 500, seen), int)
    assert register.renew(A, 1, 4 * SECOND_NS)
    # What B had seen is not there any more, however long ago it saw it.
    assert not isinstance(register.acquire(B, 0, 500 + TTL, seen), int)
    seen = register.read(B, 500 + TTL)
    assert not isinstance(register.acquire(B, 0, 500 + 2 * TTL - 1, seen), int)
    assert register.acquire(B, 0, 500 + 2 * TTL, seen) == 2
    assert not register.renew(A, 1, 0)


def test_a_request_that_comes_late_finds_another_version_and_does_nothing() -> None:
    register = Register(model_named("s3"), TTL)
    late = register.read(A, 0)
    assert register.acquire(B, 0, 0, register.read(B, 0)) == 1
    assert register.release(B, 1, None, 0)
    assert not isinstance(register.acquire(A, 0, 0, late), int)
    assert register.acquire(A, 0, 0, register.read(A, 0)) == 2


def test_a_failover_forgets_the_last_write() -> None:
    register = Register(model_named("redis"), TTL)
    assert register.acquire(A, 0) == 1
    assert register.release(A, 1, None, 1)
    assert register.acquire(B, 2) == 2
    register.fail_over()
    assert register.acquire(A, 3) == 2, "one token is granted twice"


def deadline_after_a_zombie(model: Model) -> tuple[int, int]:
    """An acquisition is given up and refused in the next attempt; then the first one succeeds.

    Returns:
        When the candidate believes its tenure to end, and when the lease ends.
    """
    register = Register(model, TTL)
    candidate = LeaseCandidate(A, LeaseTiming.of("10s", margin="0s"))
    assert register.acquire(B, 0) == 1
    state, asked = candidate.step(candidate.initial(), Start(0))
    assert asked == (Acquire(1),)
    state, _ = candidate.step(state, OutcomeLost(1 * SECOND_NS, 1))
    state, asked = candidate.step(state, TimerFired(2 * SECOND_NS, RETRY))
    assert Acquire(2) in asked
    refused = register.acquire(A, 2 * SECOND_NS)
    assert not isinstance(refused, int)
    state, _ = candidate.step(state, Occupied(2 * SECOND_NS, 2, refused.leader, register.token))
    assert register.release(B, 1, None, 3 * SECOND_NS)
    assert register.acquire(A, 3 * SECOND_NS) == 2  # the first one, after all
    state, asked = candidate.step(state, TimerFired(8 * SECOND_NS, RETRY))
    assert Acquire(3) in asked
    assert register.acquire(A, 8 * SECOND_NS) == 2
    _, effects = candidate.step(state, Granted(8 * SECOND_NS, 3, 2))
    lead = effects[0]
    assert isinstance(lead, Lead)
    return lead.deadlines.hard_ns, register.expires


def test_why_the_port_promises_that_asking_again_prolongs() -> None:
    believed, lasts = deadline_after_a_zombie(Model("any"))
    assert believed <= lasts
    believed, lasts = deadline_after_a_zombie(Model("any", prolongs=False))
    assert believed > lasts, "two may lead: such a store must not let requests overtake"


def test_only_the_first_in_line_is_told_where_there_is_a_line() -> None:
    def asked_after_release(store: str) -> int:
        world = Candidates(5, LeaseTiming.of("15s"), store=store)
        world.begin()
        assert world.run_until(5 * SECOND_NS, world.agreed)
        leader = world.leader()
        assert leader is not None
        before = [process.state.op for process in world.processes]
        world.resign(leader)
        world.run_until(world.now + 100 * MS)
        after = [process.state.op for process in world.processes]
        return sum(b < a for n, (b, a) in enumerate(zip(before, after, strict=True)) if n != leader)

    assert asked_after_release("sqlite") == 1
    assert asked_after_release("redis") == 4


@pytest.mark.parametrize("name", MODELS)
def test_a_death_is_seen_at_once_where_the_kernel_tells_of_it(name: str) -> None:
    world = Candidates(3, LeaseTiming.of("15s"), store=name)
    world.begin()
    assert world.run_until(20 * SECOND_NS, world.agreed)
    leader, died_at = world.leader(), world.now
    assert leader is not None
    world.crash(leader, died_at + 1000 * SECOND_NS)
    assert world.run_until(died_at + 60 * SECOND_NS, lambda: world.leader() is not None)
    at_once = world.now - died_at < SECOND_NS
    assert at_once == model_named(name).witness


def test_a_model_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="there are: sqlite"):
        model_named("paper")
