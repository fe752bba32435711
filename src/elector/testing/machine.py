"""The Hypothesis state machine of the conformance kit: a store against a naive one.

Hypothesis draws the operations, also stale and invented ones, through which store they go,
and the moments at which a store is closed and opened again; where time can be moved, also
the time that passes.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, NamedTuple, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.stores.port import Grant, Granted, Occupied, Store
from elector.testing.place import DONE, Advance, LawBroken, OpenStore, Place, require

T = TypeVar("T")

_NAMES = ("a", "a", "b")
_TAILS = ("", "/y")
_WHO = st.integers(0, len(_NAMES) - 1)
_WHERE = st.sampled_from(_TAILS)
_STORES = (0, 1)
_CHOSEN = st.sampled_from(_STORES)
_LONG_NS = 600 * SECOND_NS
_SHORT_NS = 15 * SECOND_NS
_FOR_EVER = 1 << 100


class Naive:
    """What an election is: the last token, who has it, until when."""

    def __init__(self) -> None:
        self.token = 0
        self.holder: Candidate | None = None
        self.expires_at = 0
        self.store = 0

    def led(self, now: int) -> bool:
        """Whether anybody leads."""
        return self.holder is not None and now < self.expires_at

    def holds(self, grant: Grant, now: int) -> bool:
        """Whether this very grant does."""
        return self.led(now) and (self.holder, self.token) == (grant.candidate, grant.token)


class Subject(NamedTuple):
    """The store under test: how it is opened, and how its clock is moved, if tests move it."""

    open_store: OpenStore
    advance: Advance | None = None


class StoreMachine(RuleBasedStateMachine):
    """Two stores on one place, as in two processes, and the naive twin of both.

    Made for a store by `elector.testing.stores.store_machine`.
    """

    subject: ClassVar[Subject]
    grants = Bundle[Grant]("grants")

    @initialize()
    def begin(self) -> None:
        """Open the stores, on elections that nobody has stood in."""
        self.runner = asyncio.Runner()
        self.stores = [self.do(self.opened()) for _ in _STORES]
        opener, advance = self.subject
        self.place = Place(opener, self.stores[0].traits, advance=advance)
        self.ttl_ns = _LONG_NS if advance is None else _SHORT_NS
        base = self.place.election()
        self.naive = {base + tail: Naive() for tail in _TAILS}
        self.names = {tail: base + tail for tail in _TAILS}
        self.who = [self.place.candidate(name) for name in _NAMES]

    async def opened(self) -> Store:
        """One more store on the place."""
        return await self.subject.open_store()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one request to its end."""
        return self.runner.run(work)

    @property
    def now(self) -> int:
        """Now, as far as the naive twin is concerned."""
        return self.place.now_ns() if self.place.moves_time else 0

    def until(self) -> int:
        """When a lease that is granted now is over."""
        return self.now + self.ttl_ns if self.place.expires else _FOR_EVER

    def store_of(self, grant: Grant, chosen: int) -> Store:
        """An office that is tied to its process is renewed and released there, a lease anywhere."""
        model = self.naive[grant.election]
        tied = not self.place.expires and model.holds(grant, self.now)
        return self.stores[model.store if tied else chosen]

    def check_token(self, before: int, token: int) -> None:
        """Tokens rise; by how much is the store's affair."""
        require(token > before, f"token {token} was granted after token {before}")

    @rule(target=grants, where=_WHERE, who=_WHO, chosen=_CHOSEN)
    def acquire(self, where: str, who: int, chosen: int) -> Any:
        """Ask for an office."""
        election, candidate = self.names[where], self.who[who]
        model = self.naive[election]
        led = model.led(self.now)
        if led and model.holder == candidate and not self.place.expires:
            chosen = model.store
        answer = self.do(self.stores[chosen].acquire(election, candidate, self.ttl_ns))
        if led and model.holder is not None and model.holder != candidate:
            expected = (model.holder.name, model.token)
            seen = (answer.leader, answer.token) if isinstance(answer, Occupied) else None
            require(seen == expected, f"{expected} leads, and who asked was told {answer}")
            return multiple()
        if not isinstance(answer, Granted):
            raise LawBroken(f"nobody else leads, and who asked was told {answer}")
        if led:
            require(answer.token == model.token, f"the holder of {model.token} got {answer}")
        else:
            self.check_token(model.token, answer.token)
        model.token, model.holder = answer.token, candidate
        model.expires_at, model.store = self.until(), chosen
        return Grant(election, candidate, model.token, self.ttl_ns)

    @rule(target=grants, where=_WHERE, who=_WHO, near=st.integers(-2, 2))
    def invent(self, where: str, who: int, near: int) -> Grant:
        """Make a grant up, with a token near the true one."""
        election = self.names[where]
        token = max(self.naive[election].token + near, 1)
        return Grant(election, self.who[who], token, self.ttl_ns)

    @rule(grant=grants, chosen=_CHOSEN)
    def renew(self, grant: Grant, chosen: int) -> None:
        """Renew, whatever the grant is worth."""
        model = self.naive[grant.election]
        ours = model.holds(grant, self.now)
        answers = self.do(self.store_of(grant, chosen).renew([grant]))
        require(answers == [ours], f"{grant} leads: {ours}; its renewal gave {answers}")
        if ours:
            model.expires_at = self.until()

    @rule(grant=consumes(grants), chosen=_CHOSEN)
    def release(self, grant: Grant, chosen: int) -> None:
        """Release, whatever the grant is worth."""
        model = self.naive[grant.election]
        ours = model.holds(grant, self.now)
        lapsed = not ours and (model.holder, model.token) == (grant.candidate, grant.token)
        done = self.do(self.store_of(grant, chosen).release(grant, DONE))
        # Of a lease that has run out and that nobody took, a store may say either.
        require(done == ours or lapsed, f"{grant} leads: {ours}; its release gave {done}")
        if done:
            model.holder = None

    @rule(chosen=_CHOSEN)
    def reopen(self, chosen: int) -> None:
        """Close a store and open it again, as a process that is started anew."""
        self.do(self.stores[chosen].close())
        self.stores[chosen] = self.do(self.opened())
        for model in self.naive.values():
            if not self.place.expires and model.store == chosen:
                model.holder = None  # it ended with the store that held it

    @rule(by_ns=st.sampled_from([1, _SHORT_NS // 2, _SHORT_NS - 1, _SHORT_NS]))
    def pass_time(self, by_ns: int) -> None:
        """Let time pass, where it is ours to move."""
        if self.place.moves_time:
            self.do(self.place.pass_time(by_ns))

    @invariant()
    def agree(self) -> None:
        """Both stores say what the naive twin says."""
        for election, model in self.naive.items():
            name = model.holder.name if model.holder and model.led(self.now) else None
            for store in self.stores:
                record = self.do(store.describe(election))
                expected = (name, model.token)
                seen = (record.leader, record.token)
                require(seen == expected, f"{expected} leads, but the store says {record}")

    def teardown(self) -> None:
        """Close the stores."""
        for store in getattr(self, "stores", []):
            self.do(store.close())
        if hasattr(self, "runner"):
            self.runner.close()
