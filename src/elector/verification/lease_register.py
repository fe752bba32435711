"""The store of the explorer: one linearizable register, as a value.

It is the register of `elector.simulation.store`, written so that two equal stores are equal
values: all its times are on its own clock, and what has expired is forgotten.

>>> empty = Register()
>>> taken, answer = empty.acquire(Acquire(1), (0, 0), StoreKind(), ttl=24)
>>> answer
Granted(at=0, op=1, token=1)
>>> taken.acquire(Acquire(1), (1, 0), StoreKind(), ttl=24)[1]
Occupied(at=0, op=1, leader='n0', token=1, retry_in_ns=24)
>>> taken.aged(24).held
False
"""

import msgspec
from msgspec.structs import replace

from elector.core.effects import Acquire, Release, Renew
from elector.core.events import Changed, Granted, Lost, Occupied, Released, Renewed, StoreEvent

Who = tuple[int, int]
"""A candidate's number, and how often it had crashed before: its instance."""

Request = Acquire | Renew | Release


class StoreKind(msgspec.Struct, frozen=True, kw_only=True):
    """What stores are free to do.

    Attributes:
        prolongs: asking again for an office that one holds prolongs the lease.
        hints: a refusal says when trying again is worth it.
        announces: those who wait are told when the office changes hands or falls vacant.
        ordered: the requests of one candidate take effect in the order they were sent.
    """

    prolongs: bool = True
    hints: bool = True
    announces: bool = False
    ordered: bool = False


def name_of(node: int) -> str:
    """The name of the candidate of a number."""
    return f"n{node}"


class Register(msgspec.Struct, frozen=True):
    """Who has the lease, and what goes with it; times are from now, on the store's clock.

    Attributes:
        holder: who has the lease; None once it has expired or was released.
        token: the last one that was granted.
        left: how long the lease will last.
        heir: for whom the office is kept.
        kept: for how long it is kept.
    """

    holder: Who | None = None
    token: int = 0
    left: int = 0
    heir: str | None = None
    kept: int = 0

    @property
    def held(self) -> bool:
        """Whether somebody has the lease."""
        return self.holder is not None

    def aged(self, by: int) -> "Register":
        """The same when its clock has moved on."""
        left, kept = max(0, self.left - by), max(0, self.kept - by)
        return replace(
            self,
            holder=self.holder if left else None,
            left=left,
            heir=self.heir if kept else None,
            kept=kept,
        )

    def grants(self, who: Who) -> bool:
        """Whether an acquisition would begin a new tenure."""
        return not self.held and (self.heir is None or self.heir == name_of(who[0]))

    def carry_out(
        self, request: Request, who: Who, kind: StoreKind, ttl: int
    ) -> tuple["Register", StoreEvent]:
        """The register after a request, and the reply, dated 0."""
        match request:
            case Acquire():
                return self.acquire(request, who, kind, ttl)
            case Renew(op, token):
                if not self.is_holder(who, token):
                    return self, Lost(0, op)
                return replace(self, left=ttl), Renewed(0, op)
            case Release(op, token, _, heir):
                if not self.is_holder(who, token):
                    return self, Released(0, op)
                kept = 0 if heir is None else ttl // 3
                return Register(None, self.token, 0, heir, kept), Released(0, op)

    def acquire(
        self, request: Acquire, who: Who, kind: StoreKind, ttl: int
    ) -> tuple["Register", StoreEvent]:
        """Take the office, prolong it, or be told who is in the way."""
        if self.holder == who:
            after = replace(self, left=ttl) if kind.prolongs else self
            return after, Granted(0, request.op, self.token)
        if self.grants(who):
            return Register(who, self.token + 1, ttl), Granted(0, request.op, self.token + 1)
        hint = (self.left or self.kept) if kind.hints else None
        leader = None if self.holder is None else name_of(self.holder[0])
        return self, Occupied(0, request.op, leader, self.token, hint)

    def is_holder(self, who: Who, token: int) -> bool:
        """Whether this lease is theirs: the comparison that fences off late requests."""
        return self.holder == who and self.token == token

    def news(self, kind: StoreKind) -> Changed:
        """What those who wait are told, dated 0."""
        if self.holder is None:
            return Changed(0, None, None, self.token, self.kept or None)
        name = name_of(self.holder[0])
        hint = self.left if kind.hints else None
        return Changed(0, name, f"{name}#{self.holder[1]}", self.token, hint)
