"""Every store against a naive one: a dictionary, three lines for each operation.

Hypothesis draws the operations, also stale and false ones, the time that passes between
them, and the moments at which a store is closed and opened again.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.stores.port import Grant, Granted, Store
from tests.stores.worlds import TTL_NS, World

T = TypeVar("T")

CANDIDATES = (Candidate("a", "a#1"), Candidate("a", "a#2"), Candidate("b", "b#1"))
ELECTIONS = ("x", "x/y")
STORES = (0, 1)


class Naive:
    """What an election is: the last token, who has it, until when."""

    def __init__(self) -> None:
        self.token = 0
        self.holder: Candidate | None = None
        self.expires_at = 0
        self.store = 0

    def holds(self, grant: Grant, now: int) -> bool:
        return now < self.expires_at and (self.holder, self.token) == (grant.candidate, grant.token)


class Comparison(RuleBasedStateMachine):
    """Two stores on one place, as in two processes, and the naive twin of both."""

    kind = ""
    grants = Bundle[Grant]("grants")

    @initialize()
    def open(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.runner = asyncio.Runner()
        self.world = World(self.kind, self.place, self.patch)
        self.naive = {election: Naive() for election in ELECTIONS}
        self.stores = [self.do(self.world.open()) for _ in STORES]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def now(self) -> int:
        return self.world.clock.now_ns

    def until(self) -> int:
        return self.now + TTL_NS if self.world.expires else 1 << 100

    def store_of(self, grant: Grant, chosen: int) -> Store:
        """A kernel lock is renewed and released by the process that has it, a lease by any."""
        model = self.naive[grant.election]
        ours = not self.world.expires and model.holds(grant, self.now)
        return self.stores[model.store if ours else chosen]

    @rule(
        target=grants,
        election=st.sampled_from(ELECTIONS),
        who=st.sampled_from(CANDIDATES),
        chosen=st.sampled_from(STORES),
    )
    def acquire(self, election: str, who: Candidate, chosen: int) -> Any:
        model = self.naive[election]
        held = model.holder is not None and self.now < model.expires_at
        if held and model.holder == who and not self.world.expires:
            chosen = model.store
        answer = self.do(self.stores[chosen].acquire(election, who, TTL_NS))
        if held and model.holder != who:
            assert not isinstance(answer, Granted)
            assert model.holder is not None
            assert (answer.leader, answer.token) == (model.holder.name, model.token)
            return multiple()
        if not held:
            model.token += 1
        model.holder, model.expires_at, model.store = who, self.until(), chosen
        assert answer == Granted(model.token)
        return Grant(election, who, model.token, TTL_NS)

    @rule(
        target=grants,
        election=st.sampled_from(ELECTIONS),
        who=st.sampled_from(CANDIDATES),
        token=st.integers(1, 6),
    )
    def invent(self, election: str, who: Candidate, token: int) -> Grant:
        return Grant(election, who, token, TTL_NS)

    @rule(grant=grants, chosen=st.sampled_from(STORES))
    def renew(self, grant: Grant, chosen: int) -> None:
        model = self.naive[grant.election]
        ours = model.holds(grant, self.now)
        assert self.do(self.store_of(grant, chosen).renew([grant])) == [ours]
        if ours:
            model.expires_at = self.until()

    @rule(grant=consumes(grants), chosen=st.sampled_from(STORES))
    def release(self, grant: Grant, chosen: int) -> None:
        model = self.naive[grant.election]
        ours = model.holds(grant, self.now)
        lapsed = not ours and (model.holder, model.token) == (grant.candidate, grant.token)
        done = self.do(self.store_of(grant, chosen).release(grant, EndReason.COMPLETED))
        # Of a lease that has run out and that nobody took, a store may say either.
        assert done == ours or lapsed
        if done:
            model.holder = None

    @rule(by_ns=st.sampled_from([1, TTL_NS // 2, TTL_NS - 1, TTL_NS]))
    def pass_time(self, by_ns: int) -> None:
        self.world.clock.advance(by_ns)

    @rule(chosen=st.sampled_from(STORES))
    def reopen(self, chosen: int) -> None:
        self.do(self.stores[chosen].close())
        self.stores[chosen] = self.do(self.world.open())
        for model in self.naive.values():
            if not self.world.expires and model.store == chosen:
                model.holder = None  # the kernel's lock was let go of

    @invariant()
    def agree(self) -> None:
        for election, model in self.naive.items():
            held = self.now < model.expires_at
            for store in self.stores:
                record = self.do(store.describe(election))
                name = model.holder.name if model.holder is not None and held else None
                assert (record.leader, record.token) == (name, model.token)

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            self.do(store.close())
        if hasattr(self, "runner"):
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.place)


class MemoryComparison(Comparison):
    kind = "memory"


class SqliteComparison(Comparison):
    kind = "sqlite"


class FileComparison(Comparison):
    kind = "file"


TestMemory = MemoryComparison.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=40)
TestSqlite = SqliteComparison.TestCase
TestSqlite.settings = settings(max_examples=25, stateful_step_count=30)
TestFile = FileComparison.TestCase
TestFile.settings = settings(max_examples=25, stateful_step_count=30)
