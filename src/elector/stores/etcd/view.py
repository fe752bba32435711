"""What stands in etcd for one election, and what it means.

With B for ``<prefix>/<election>`` (a ``/`` in the name of an election written ``%2F``)::

    B/<lease, in hex>       an office, or a place in the queue of Go's concurrency.Election
    B.~/line/<instance>     an Elector candidate that waits; goes with the lease of its process
    B.~/office              the last tenure of an Elector candidate; stays
    B.~/heir                whom the vacant office is kept for; goes with a lease of its own
    B.~/ask                 what the holder was last asked
    <prefix>/~history/<election>/<token>      the tenures that have ended

No name of an election has a ``~``, so all but the history lies in one range, which is read at
one revision and watched by one watch; and nothing of ours lies under ``B/``, where a Go contender
waits for every key that is older than its own.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from elector.core.identity import Candidate, election_name
from elector.errors import ConfigurationError, StoreCorrupt
from elector.stores.etcd.wire import DELETE


class Keys:
    """The keys of one election.

    >>> Keys("team", "billing/eu").base, Keys("", "billing").contender(0x7F3A)
    (b'team/billing%2Feu', b'billing/7f3a')
    """

    def __init__(self, prefix: str, election: str) -> None:
        self.election = election
        name = election.replace("/", "%2F")
        self.base = (f"{prefix}/{name}" if prefix else name).encode()
        self.first, self.end = self.base + b".~", self.base + b"0"  # "0" comes after "/"
        self.queue, self.queue_end = self.base + b"/", self.base + b"0"
        self.lines = self.base + b".~/line/"
        self.office, self.heir, self.ask = (
            self.base + b".~/" + what for what in (b"office", b"heir", b"ask")
        )
        history = f"{prefix}/~history/{name}" if prefix else f"~history/{name}"
        self.history, self.history_end = f"{history}/".encode(), f"{history}0".encode()

    def contender(self, lease: int) -> bytes:
        """The key of whoever stands with this lease, as Go's ``%x`` writes it."""
        return self.queue + f"{lease:x}".encode()

    def line(self, instance: str) -> bytes:
        """The key of a candidate that waits."""
        return self.lines + quote(instance, safe="").encode()

    def past(self, token: int) -> bytes:
        """The key of a tenure that has ended; they sort by token."""
        return self.history + f"{token:020}".encode()


def all_elections(prefix: str) -> tuple[bytes, bytes]:
    """The range in which every election lies: their names begin with a letter or a digit."""
    start = f"{prefix}/" if prefix else ""
    return f"{start}0".encode(), f"{start}{{".encode()


def election_of(prefix: str, key: bytes) -> str | None:
    """Which election a key speaks of, None if it is none of ours."""
    rest = _text(key)[len(prefix) + 1 if prefix else 0 :]
    name, slash, _ = rest.partition("/")
    if not slash:
        return None
    name = name.removesuffix(".~").replace("%2F", "/")
    try:
        return election_name(name)
    except ConfigurationError:
        return None


class Office(msgspec.Struct, frozen=True):
    """The record of a tenure, written in the transactions that begin and end it.

    Attributes:
        holder: the candidate's name.
        instance: of the candidate.
        ttl_ns: of its lease.
        began: UTC, for people only.
        token: written at the end. While the tenure lasts it is the revision of this record.
        ended: UTC; None while it lasts, or when nobody has noted its end.
        reason: why it ended.
    """

    holder: str
    instance: str
    ttl_ns: int
    began: str
    token: int = 0
    ended: str | None = None
    reason: str | None = None


class Heir(msgspec.Struct, frozen=True):
    """Whom a vacant office is kept for, and for how long at most."""

    name: str
    kept_ns: int


class Request(msgspec.Struct, frozen=True):
    """What the holder of a token is asked."""

    token: int
    heir: str | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A candidate in line: its name stands in the value, its instance in the key."""

    name: str
    instance: str
    created: int


class Contender(msgspec.Struct, frozen=True):
    """A key of Go's convention: the one created first leads."""

    name: str
    key: bytes
    lease: int
    token: int


class View:
    """An election at one revision of the store; never changed, `after` makes the next one."""

    def __init__(
        self, keys: Keys, pairs: Iterable[Any], revision: int, seen_token: int = 0
    ) -> None:
        self.keys, self.revision = keys, revision
        self._pairs = {pair.key: pair for pair in pairs}
        self._seen_token = seen_token

    def after(self, events: Iterable[Any]) -> "View":
        """The election once these events of a watch have happened; old ones are passed over."""
        pairs, revision = dict(self._pairs), self.revision
        for event in events:
            pair = event.kv
            if pair.mod_revision <= self.revision:
                continue
            revision = max(revision, pair.mod_revision)
            if event.type == DELETE:
                pairs.pop(pair.key, None)
            else:
                pairs[pair.key] = pair
        return View(self.keys, pairs.values(), revision, self.token)

    def knowing(self, earlier: "View") -> "View":
        """The same, by somebody who knows an earlier one: of a Go contender no record is kept."""
        return View(self.keys, self._pairs.values(), self.revision, earlier.token)

    def at(self, key: bytes) -> Any | None:
        """The key and its value, None if there is none."""
        return self._pairs.get(key)

    @cached_property
    def queue(self) -> list[Contender]:
        """Who stands, first in line first. Go counts every key under ``B/``, so we do too."""
        found = (pair for key, pair in self._pairs.items() if key.startswith(self.keys.queue))
        return sorted(
            (
                Contender(_text(pair.value), pair.key, pair.lease, pair.create_revision)
                for pair in found
            ),
            key=lambda contender: contender.token,
        )

    @property
    def leader(self) -> Contender | None:
        """Who leads."""
        return self.queue[0] if self.queue else None

    @property
    def leader_name(self) -> str | None:
        """The leader's name."""
        return self.queue[0].name if self.queue else None

    @cached_property
    def office(self) -> Office | None:
        """The last tenure of an Elector candidate, with its token."""
        pair = self.at(self.keys.office)
        if pair is None:
            return None
        office: Office = self._decoded(pair, Office)
        return office if office.token else msgspec.structs.replace(office, token=pair.mod_revision)

    @property
    def office_written(self) -> int:
        """When the record of the office was last written, 0 if it never was."""
        pair = self.at(self.keys.office)
        return 0 if pair is None else int(pair.mod_revision)

    @property
    def tenure(self) -> Office | None:
        """The record of the tenure that lasts; None if nobody leads, or somebody without one."""
        office, leader = self.office, self.leader
        ours = leader is not None and office is not None and office.token == leader.token
        return office if ours else None

    @property
    def instance(self) -> str | None:
        """The leader's; of a contender that is not an Elector candidate, its lease in hex."""
        leader, tenure = self.leader, self.tenure
        if leader is None:
            return None
        return _text(leader.key[len(self.keys.queue) :]) if tenure is None else tenure.instance

    @property
    def token(self) -> int:
        """Of the leader; if nobody leads, the last one that is known."""
        if self.leader is not None:
            return self.leader.token
        return max(self._seen_token, 0 if self.office is None else self.office.token)

    def holds(self, candidate: Candidate) -> bool:
        """Whether this very candidate leads."""
        return self.tenure is not None and self.instance == candidate.instance

    @cached_property
    def line(self) -> list[Waiting]:
        """The Elector candidates that wait, first in line first."""
        start = len(self.keys.lines)
        found = (
            Waiting(_text(pair.value), unquote(_text(key[start:])), pair.create_revision)
            for key, pair in self._pairs.items()
            if key.startswith(self.keys.lines)
        )
        return sorted(found, key=lambda waiting: waiting.created)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The names of all who wait: those in Go's queue are before those in our line."""
        return (*(one.name for one in self.queue[1:]), *(one.name for one in self.line))

    @cached_property
    def heir(self) -> Heir | None:
        """Whom the office is kept for, as long as that one waits for it."""
        pair = self.at(self.keys.heir)
        if pair is None or self.leader is not None:
            return None
        heir = self._decoded(pair, Heir)
        return heir if any(one.name == heir.name for one in self.line) else None

    def kept_from(self, candidate_name: str | None) -> int | None:
        """For how long, at most, the vacant office is kept for somebody else."""
        if self.heir is None or candidate_name in {None, self.heir.name}:
            return None
        return self.heir.kept_ns

    @property
    def asked(self) -> tuple[int, Request] | None:
        """What the leader was last asked, and at which revision."""
        pair = self.at(self.keys.ask)
        if pair is None:
            return None
        request = self._decoded(pair, Request)
        return (pair.mod_revision, request) if request.token == self.token else None

    def check(self) -> None:
        """Refuse a store whose next token could be below one that it has granted.

        Raises:
            StoreCorrupt: this store's revision is behind its own records.
        """
        if self.office is not None and self.revision < self.office.token:
            raise StoreCorrupt(
                f"election {self.keys.election!r}: etcd is at revision {self.revision}, but token "
                f"{self.office.token} was granted in it: the keys came from another cluster; "
                "restore from a snapshot, or use a new prefix and guards that know no token yet"
            )

    def _decoded(self, pair: Any, kind: Any) -> Any:
        try:
            return msgspec.json.decode(pair.value, type=kind)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(
                f"etcd key {_text(pair.key)!r} was not written by Elector ({error}); remove it, or "
                "use another prefix"
            ) from error


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
