"""The port: what Elector needs of a store, and what a store says about itself.

Five operations, no base class. A conflict is a result; that the store did not answer is an
exception, and there are two of them: `StoreUnavailable` (it did not happen) and
`OutcomeUnknown` (it may have happened). All methods run on the event loop of the engine
thread, and every callback is called there.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from elector.core.identity import Candidate
from elector.core.office import EndReason


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between stores; the guarantee table is generated from this.

    Attributes:
        scope: who can stand in one election: one process, one host, or a network.
        expiry: who ends a silent holder's lease: the server, each observer by its own
            watch of the record, the clock of the host that all share, or nobody.
        clock: which clock a lease is counted on.
        push: whether waiting candidates are told of a vacancy rather than asking for it.
        witness: whether the kernel reports the death of a holder's process.
        least_ttl_ns: a shorter lease is refused.
        token_source: where fencing tokens come from.
        failover_loss: what a failover or restore of the store can lose.
        history: whether past tenures are kept.
        asks: how `resign` and `transfer` reach the holder: at once, at its next renewal,
            or not at all.
        transfer: whether an office can be kept for a named candidate.
    """

    scope: Literal["process", "host", "network"]
    expiry: Literal["server", "observer", "host clock", "never"]
    clock: str
    push: bool
    witness: bool
    least_ttl_ns: int
    token_source: str
    failover_loss: str
    history: bool
    asks: Literal["at once", "at renewal", "never"]
    transfer: bool


class Granted(msgspec.Struct, frozen=True):
    """The office is ours, under this fencing token.

    A candidate that asks again while it holds the office is granted it again, under the
    token it has, and its lease is prolonged: that is how an acquisition whose reply was lost
    is found.
    """

    token: int


class Occupied(msgspec.Struct, frozen=True):
    """The office is not to be had now.

    Attributes:
        leader: the holder's name, or None when the office is kept for somebody else.
        token: the last token that was granted.
        retry_in_ns: when trying again is worth it, None if the store cannot tell.
    """

    leader: str | None
    token: int
    retry_in_ns: int | None = None


class Grant(msgspec.Struct, frozen=True):
    """What a holder presents to renew or release: compared whole, instance and token."""

    election: str
    candidate: Candidate
    token: int
    ttl_ns: int


class Change(msgspec.Struct, frozen=True):
    """Who leads an election now (`leader` None: nobody; `token` is then the last one)."""

    election: str
    leader: str | None
    instance: str | None
    token: int
    retry_in_ns: int | None = None


class Ask(msgspec.Struct, frozen=True):
    """Somebody asks the leader to hand over, to `heir` (a candidate's name) if given."""

    election: str
    token: int
    heir: str | None = None


class Record(msgspec.Struct, frozen=True):
    """What a store knows of one election.

    Attributes:
        election: its name.
        leader: the holder's name, None if nobody leads.
        token: the last token granted, 0 before the first.
        expires_in_ns: what is left of the lease, None without one.
        since: when this tenure began, UTC, for people only; None if nobody leads.
        waiting: names of candidates that wait, first in line first.
    """

    election: str
    leader: str | None
    token: int
    expires_in_ns: int | None = None
    since: str | None = None
    waiting: tuple[str, ...] = ()


class PastTenure(msgspec.Struct, frozen=True):
    """One tenure of the history; `ended` and `reason` are None while it lasts."""

    election: str
    token: int
    holder: str
    began: str
    ended: str | None
    reason: str | None


class Finding(msgspec.Struct, frozen=True):
    """One thing that ``elector doctor`` looked at.

    An adapter's module may have a function ``diagnose(url: StoreUrl) -> list[Finding]``, a
    coroutine: what it alone can know (versions, permissions, durability, poolers, the clock).

    Attributes:
        what: in two or three words, the same on every run: "durability".
        level: good; doubtful (it works, but a promise is weaker); bad (do not use it so).
        says: what was found, with the figure or the setting.
        remedy: what to do about it, None if there is nothing to do.
    """

    what: str
    level: Literal["good", "doubtful", "bad"]
    says: str
    remedy: str | None = None


News = Change | Ask
Notify = Callable[[News], None]


class Watch(Protocol):
    """A registration; closing it stops the news and leaves the queue."""

    async def close(self) -> None:
        """Stop; safe to call twice, and when the store does not answer."""
        ...


class Store(Protocol):
    """A coordination store."""

    @property
    def traits(self) -> Traits:
        """What this store can and cannot do."""
        ...

    async def acquire(self, election: str, candidate: Candidate, ttl_ns: int) -> Granted | Occupied:
        """Take the office if nobody holds it; the token is above every one before."""
        ...

    async def renew(self, grants: Sequence[Grant]) -> list[bool]:
        """Prolong leases, all in one batch; True renewed, False not ours any more."""
        ...

    async def release(self, grant: Grant, reason: EndReason, heir: str | None = None) -> bool:
        """Give the office back, kept for `heir` (a waiting candidate's name) if given.

        False: there was nothing of ours to release.
        """
        ...

    async def watch(
        self, election: str, notify: Notify, candidate: Candidate | None = None
    ) -> Watch:
        """Be told of changes; with a candidate, also stand in the queue of those who wait.

        An observer (no candidate) is told the present state at once. A holder's watch
        also carries what others `ask` of it. The last change is never missed.
        """
        ...

    async def describe(self, election: str) -> Record:
        """Who leads and who waits (the members of the election)."""
        ...

    async def elections(self) -> list[Record]:
        """All elections this store knows, by name."""
        ...

    async def history(self, election: str, limit: int) -> list[PastTenure]:
        """Past tenures, newest first. Raises `UnsupportedTrait` where none is kept."""
        ...

    async def ask(self, ask: Ask) -> None:
        """Send a request to the holder of exactly this token."""
        ...

    def lifelines(self, grant: Grant) -> tuple[int, ...]:
        """Descriptors that a child process must hold for its life to count as the holder's."""
        ...

    async def close(self) -> None:
        """Let go of every connection and descriptor; leases that are held stay as they are."""
        ...
