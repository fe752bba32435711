"""The store of the little world: one register that is linearizable by construction, and clocks."""

from typing import NamedTuple

from elector.core.events import Changed
from elector.core.identity import Candidate

_MILLION = 1_000_000
_KEPT_FOR_HEIR_NS = 2_000_000_000


class Clock(NamedTuple):
    """A clock that shows `offset` at true time 0 and is fast by `ppm` millionths."""

    offset: int = 0
    ppm: int = 0

    def shows(self, true: int) -> int:
        """What it shows at a true time."""
        return self.offset + true * (_MILLION + self.ppm) // _MILLION

    def true(self, shown: int) -> int:
        """The first true time at which it shows this."""
        return -(-(shown - self.offset) * _MILLION // (_MILLION + self.ppm))


class StoreKind(NamedTuple):
    """What stores are free to do.

    Attributes:
        prolongs: asking again for an office that one holds prolongs the lease.
        hints: a refusal says when trying again is worth it.
        announces: the end of a lease is announced, not only its release.
        ordered: the requests of one candidate take effect in the order they were sent.
    """

    prolongs: bool = True
    hints: bool = True
    announces: bool = True
    ordered: bool = True


class Store:
    """One linearizable register with a lease and a token that rises."""

    def __init__(self, kind: StoreKind, clock: Clock, ttl_ns: int) -> None:
        self.kind, self.clock, self.ttl_ns = kind, clock, ttl_ns
        self.holder: Candidate | None = None
        self.token = 0
        self.expires = 0
        self.heir: str | None = None
        self.heir_until = 0

    def held(self, now: int) -> bool:
        return self.holder is not None and now < self.expires

    def acquire(self, who: Candidate, now: int) -> tuple[str | None, int | None] | int:
        """Return the token, or who is in the way and until when."""
        if self.held(now):
            if self.holder == who:
                if self.kind.prolongs:
                    self.expires = now + self.ttl_ns
                return self.token
            assert self.holder is not None
            return self.holder.name, self._hint(self.expires - now)
        if self.heir not in {None, who.name} and now < self.heir_until:
            return None, self._hint(self.heir_until - now)
        self.holder, self.heir = who, None
        self.token += 1
        self.expires = now + self.ttl_ns
        return self.token

    def renew(self, who: Candidate, token: int, now: int) -> bool:
        mine = self.held(now) and self.holder == who and self.token == token
        if mine:
            self.expires = now + self.ttl_ns
        return mine

    def release(self, who: Candidate, token: int, heir: str | None, now: int) -> bool:
        mine = self.held(now) and self.holder == who and self.token == token
        if mine:
            self.holder, self.heir = None, heir
            self.heir_until = now + _KEPT_FOR_HEIR_NS
        return mine

    def change(self, at: int, now: int) -> Changed:
        """The news that a watch brings."""
        if self.held(now):
            assert self.holder is not None
            hint = self._hint(self.expires - now)
            return Changed(at, self.holder.name, self.holder.instance, self.token, hint)
        kept = self.heir_until - now if self.heir is not None else 0
        return Changed(at, None, None, self.token, kept if kept > 0 else None)

    def _hint(self, in_ns: int) -> int | None:
        return in_ns if self.kind.hints else None
