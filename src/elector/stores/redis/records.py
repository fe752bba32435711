"""What goes to the scripts of Redis and Valkey, what they answer, publish and keep."""

from datetime import UTC, datetime, timedelta
from typing import Self

import msgspec

from elector.core.identity import Candidate
from elector.stores.port import Change, PastTenure, Record

US_NS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One election's part of a script call; what is empty is not sent."""

    name: str
    candidate: str = ""
    instance: str = ""
    token: str = ""
    ttl: int = 0
    member: str = ""
    reason: str = ""
    heir: str = ""
    limit: int = 0


class Message(msgspec.Struct, frozen=True):
    """What is published of an election."""

    token: str
    leader: str | None = None
    instance: str | None = None
    left: str | None = None
    called: str | None = None
    ask: bool = False
    heir: str | None = None


class Tenure(msgspec.Struct, frozen=True):
    """What is kept of a tenure; times are microseconds since 1970."""

    token: str
    holder: str
    began: str
    ended: str | None = None
    reason: str | None = None

    def past(self, election: str) -> PastTenure:
        """For people.

        Raises:
            ValueError: its numbers are none.
        """
        ended = _utc(self.ended) if self.ended else None
        began = _utc(self.began)
        return PastTenure(election, int(self.token), self.holder, began, ended, self.reason)


class Seen(msgspec.Struct, frozen=True):
    """An office as a script saw it."""

    token: int
    leader: str
    instance: str
    left_ns: int | None
    since: str
    heir: str
    kept_ns: int | None
    waiting: tuple[str, ...]

    @classmethod
    def of(cls, answer: list[str]) -> Self:
        """From what the script answered."""
        _, token, leader, instance, left, since, heir, kept, *waiting = answer
        left_ns = int(left) * US_NS if left else None
        kept_ns = int(kept) * US_NS if kept else None
        return cls(int(token), leader, instance, left_ns, since, heir, kept_ns, tuple(waiting))

    def record(self, election: str) -> Record:
        """For those who ask."""
        if not self.leader:
            return Record(election, None, self.token, waiting=self.waiting)
        return Record(
            election, self.leader, self.token, self.left_ns, _utc(self.since), self.waiting
        )

    def change(self, election: str, candidate: Candidate | None) -> Change:
        """As this candidate, or an observer, should see it."""
        if self.leader:
            return Change(election, self.leader, self.instance, self.token, self.left_ns)
        others = candidate is not None and self.heir and self.heir != candidate.name
        return Change(election, None, None, self.token, self.kept_ns if others else None)


def whole_us(duration_ns: int) -> int:
    """In microseconds, rather a little longer than shorter."""
    return -(-duration_ns // US_NS)


def _utc(microseconds: str) -> str:
    at = _EPOCH + timedelta(microseconds=int(microseconds))
    return at.isoformat(timespec="milliseconds")
