"""One election as one object: what is written there, and how each change follows from the last.

Nothing here reads a clock that decides anything or sends a request: a change is made from the
record that was read, and is written only where that very version still stands.

Laws
    1. Every write carries a nonce of its own, so no two versions have the same content (an ETag
       is a hash of it on many stores), and a writer can tell its own write from another's.
    2. The revision rises by one with each write. Two records of an election are ordered by it,
       whatever the order in which replies arrive; one that falls was lost or restored.
    3. The token rises with each tenure and never falls; the object is never deleted.
    4. The pulse changes with what the holder writes and with nothing else, so that whoever asks
       something of a silent holder does not prolong its lease.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.core.office import EndReason
from elector.errors import StoreCorrupt
from elector.stores.port import Ask, Grant, PastTenure

FORMAT = 1
_KEPT_FOR_HEIR_NS = 5 * SECOND_NS
_HISTORY = 100
_LONGEST_STEM = 200

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Past(msgspec.Struct, frozen=True):
    """One tenure; of the present one `ended` and `reason` are None."""

    token: int
    holder: str
    began: str
    ended: str | None = None
    reason: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """What somebody asks of the holder; taken away by the holder's next renewal."""

    token: int
    heir: str | None


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """An election as it is written.

    Attributes:
        election: its name.
        revision: how often it was written.
        nonce: of this write.
        pulse: the nonce of the holder's last write: acquired, renewed or released.
        token: the last one that was granted.
        holder: the leader's name, None if nobody leads.
        instance: the leader's.
        ttl_ns: for how long the pulse must be seen to stand still before somebody else may lead.
        heir: for whom the vacant office is kept.
        kept_ns: for how long, counted as the lease is.
        asked: of the holder.
        past: the last tenures, newest last.
        format: of this record.
    """

    election: str
    revision: _Count = 0
    nonce: str = ""
    pulse: str = ""
    token: _Count = 0
    holder: str | None = None
    instance: str | None = None
    ttl_ns: _Count = 0
    heir: str | None = None
    kept_ns: _Count = 0
    asked: Asked | None = None
    past: tuple[Past, ...] = ()
    format: int = FORMAT

    # -- changes -------------------------------------------------------------------------

    def acquired(self, candidate: Candidate, ttl_ns: int) -> "Office":
        """The next tenure begins; one that was not ended had expired."""
        began = Past(self.token + 1, candidate.name, utc())
        past = (*self._ended(EndReason.EXPIRED), began)
        return self._by_holder(
            token=self.token + 1,
            holder=candidate.name,
            instance=candidate.instance,
            ttl_ns=ttl_ns,
            heir=None,
            kept_ns=0,
            asked=None,
            past=past[-_HISTORY:],
        )

    def renewed(self, ttl_ns: int) -> "Office":
        """The holder goes on; what was asked of it has been heard."""
        return self._by_holder(ttl_ns=ttl_ns, asked=None)

    def released(self, ttl_ns: int, reason: EndReason, heir: str | None) -> "Office":
        """The office is vacant, and kept for an heir for a while if one is named."""
        return self._by_holder(
            holder=None,
            instance=None,
            ttl_ns=0,
            heir=heir,
            kept_ns=0 if heir is None else min(ttl_ns, _KEPT_FOR_HEIR_NS),
            asked=None,
            past=self._ended(reason),
        )

    def with_ask(self, ask: Ask) -> "Office":
        """Somebody asks the holder to go."""
        return self._written(asked=Asked(ask.token, ask.heir))

    def _ended(self, reason: EndReason) -> tuple[Past, ...]:
        if not self.past or self.past[-1].ended is not None:
            return self.past
        return (*self.past[:-1], replace(self.past[-1], ended=utc(), reason=reason.value))

    def _by_holder(self, **changes: object) -> "Office":
        nonce = secrets.token_hex(8)
        return self._written(nonce=nonce, pulse=nonce, **changes)

    def _written(self, **changes: object) -> "Office":
        fresh: dict[str, object] = {"nonce": secrets.token_hex(8), "revision": self.revision + 1}
        return replace(self, **(fresh | changes))

    # -- questions -----------------------------------------------------------------------

    def held_by(self, grant: Grant) -> bool:
        """Whether this very grant holds office: instance and token, not the name."""
        return self.instance == grant.candidate.instance and self.token == grant.token

    def respected_ns(self, candidate: Candidate | None) -> int:
        """How long the pulse must stand still before this candidate may lead."""
        if self.holder is not None:
            return self.ttl_ns
        return self.kept_ns if candidate is not None and candidate.name != self.heir else 0

    def history(self, limit: int) -> list[PastTenure]:
        """Past tenures, newest first."""
        newest = self.past[::-1][:limit]
        return [
            PastTenure(self.election, one.token, one.holder, one.began, one.ended, one.reason)
            for one in newest
        ]


# -- as bytes and as a name ----------------------------------------------------------------

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Office)


class _Format(msgspec.Struct):
    format: int


def written(office: Office) -> bytes:
    """The record as it is stored: JSON that people can read, too."""
    return _ENCODER.encode(office)


def read(data: bytes, where: str, election: str | None = None) -> Office:
    """The record that was stored.

    Args:
        data: the object.
        where: the object's place, for people.
        election: whose record it must be, None if its name is what we want to know.

    Raises:
        StoreCorrupt: it is not a record of this election, or not one that we understand.
    """
    try:
        form = msgspec.json.decode(data, type=_Format).format
        if form != FORMAT:
            raise StoreCorrupt(
                f"{where} is of format {form}, and this Elector knows {FORMAT}: use the version "
                "of Elector that wrote it"
            )
        office = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(
            f"{where} is not a record of Elector's ({error}): something else writes there; give "
            "Elector a prefix of its own, or restore the object from an earlier version"
        ) from error
    if election is not None and office.election != election:
        raise StoreCorrupt(
            f"{where} is the record of election {office.election!r}, not of {election!r}: "
            "somebody copied or renamed it"
        )
    return office


def stem_of(election: str) -> str:
    """The name of an election as part of an object's; a hash stands for the end of a long one.

    Object stores allow a kilobyte, but some keep objects as files, whose names are shorter.

    >>> stem_of("billing/nightly:eu")
    'billing%2Fnightly%3Aeu'
    """
    stem = quote(election, safe="")
    if len(stem) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(election.encode()).hexdigest()
    return f"{stem[: _LONGEST_STEM - len(digest) - 1]}~{digest}"


def utc() -> str:
    """Now, for people; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
