"""Models of stores: one register with a lease and a token, and what real stores do differently.

Each model is named after the store whose semantics it has; what differs is data. What was
measured of the real ones is in docs/guarantees.md.
"""

from collections.abc import Callable
from typing import NamedTuple

from elector.core.identity import Candidate
from elector.errors import ConfigurationError

_KEPT_FOR_HEIR_NS = 5_000_000_000
_POLLS_PER_TTL = 5


class Model(NamedTuple):
    """What stores are free to do.

    Attributes:
        text: for people.
        prolongs: asking again for an office that one holds prolongs the lease, as the port
            promises. One that does not is safe only if a request that was not answered can
            take no effect after a later one.
        hints: a refusal says when trying again is worth it.
        announces: the end of a lease is announced, not only its release.
        pushes: anything is announced at all.
        queues: a vacancy is announced to the first of those who wait, not to all of them.
        witness: the death of a holder's process is seen, and ends its lease.
        ordered: the requests of one candidate take effect in the order they were sent.
        observed: nobody expires a lease; a contender takes a record that it has seen
            unchanged for the holder's published duration, on its own clock.
        forgets: a failover loses the last writes.
    """

    text: str
    prolongs: bool = True
    hints: bool = True
    announces: bool = True
    pushes: bool = True
    queues: bool = False
    witness: bool = False
    ordered: bool = True
    observed: bool = False
    forgets: bool = False


MODELS: dict[str, Model] = {
    "sqlite": Model(
        "one file, the clock of its host; the next in line is told of releases and deaths",
        announces=False,
        queues=True,
        witness=True,
    ),
    "memory": Model("one process; the next in line is told of everything", queues=True),
    "postgresql": Model(
        "the database's clock; releases are announced, expiry is waited for",
        announces=False,
    ),
    "redis": Model(
        "the server's clock; releases are announced, a failover loses what was not replicated",
        announces=False,
        ordered=False,
        forgets=True,
    ),
    "etcd": Model(
        "the server's clock; the next in line is told of everything; requests may overtake",
        queues=True,
        ordered=False,
    ),
    "s3": Model(
        "no clock and no push: a record seen unchanged for its duration has expired",
        announces=False,
        pushes=False,
        ordered=False,
        observed=True,
    ),
}


def model_named(name: str) -> Model:
    """A model.

    Raises:
        ConfigurationError: there is none of that name; the message lists them.
    """
    if name not in MODELS:
        raise ConfigurationError(
            f"there is no model of a store {name!r}; there are: {', '.join(MODELS)}"
        )
    return MODELS[name]


class Refusal(NamedTuple):
    """Who is in the way, None if the office is kept for an heir, and for how long."""

    leader: str | None
    retry_in_ns: int | None


class Register:
    """One linearizable register; all times are on its own clock, ns.

    Attributes:
        holder: who has the lease, expired or not; None after a release.
        token: the last one that was granted.
        expires: when the lease ends.
    """

    def __init__(self, model: Model, ttl_ns: int) -> None:
        self.model, self.ttl_ns = model, ttl_ns
        self.holder: Candidate | None = None
        self.token = 0
        self.expires = 0
        self.heir: str | None = None
        self.heir_until = 0
        self._version = 0
        self._sights: dict[str, tuple[int, int]] = {}  # instance: version, when first seen
        self._before: tuple[Candidate | None, int, int] = (None, 0, 0)

    def held(self, now: int) -> bool:
        """Whether somebody has the lease."""
        return self.holder is not None and (self.model.observed or now < self.expires)

    def read(self, who: Candidate, shown: int) -> int:
        """The version that there is, which a contender sees when its clock shows this.

        From then on it counts, where nobody else expires a lease.
        """
        version, _ = self._sights.get(who.instance, (-1, 0))
        if version != self._version:
            self._sights[who.instance] = (self._version, shown)
        return self._version

    def acquire(self, who: Candidate, now: int, shown: int = 0, basis: int = 0) -> int | Refusal:
        """The token, or who is in the way.

        Args:
            who: asks.
            now: the register's clock.
            shown: the clock of who asks, when it asked; for observed expiry.
            basis: what it has read: where observers expire a lease, this is compared and set.
        """
        if self.held(now) and self.holder == who:
            if self.model.prolongs:
                self._prolong(now)
            return self.token
        if self.model.observed and basis != self._version:
            return Refusal(self.holder.name if self.holder else None, self._poll_ns)
        if self.held(now) and self.holder is not None:
            left = self._left(who, now, shown)
            if left > 0:
                retry = min(left, self._poll_ns) if self.model.observed else left
                return Refusal(self.holder.name, retry if self.model.hints else None)
        if self.heir not in {None, who.name} and now < self.heir_until:
            return Refusal(None, self.heir_until - now if self.model.hints else None)
        self._remember()
        self.holder, self.heir = who, None
        self.token += 1
        self._prolong(now)
        return self.token

    def _left(self, who: Candidate, now: int, shown: int) -> int:
        """How long the lease is still to be respected by this contender."""
        if not self.model.observed:
            return self.expires - now
        _, since = self._sights[who.instance]
        return since + self.ttl_ns - shown

    @property
    def _poll_ns(self) -> int:
        return self.ttl_ns // _POLLS_PER_TTL

    def renew(self, who: Candidate, token: int, now: int) -> bool:
        """Prolong the lease, if it is still theirs."""
        mine = self._is(who, token, now)
        if mine:
            self._remember()
            self._prolong(now)
        return mine

    def release(self, who: Candidate, token: int, heir: str | None, now: int) -> bool:
        """Give the office back, if it is still theirs."""
        mine = self._is(who, token, now)
        if mine:
            self._remember()
            self._version += 1
            self.holder, self.heir = None, heir
            self.heir_until = now + min(self.ttl_ns, _KEPT_FOR_HEIR_NS)
        return mine

    def expire(self) -> None:
        """End the lease; who held it is told when it asks."""
        self.holder = None

    def _is(self, who: Candidate, token: int, now: int) -> bool:
        return self.held(now) and self.holder == who and self.token == token

    def _prolong(self, now: int) -> None:
        self._version += 1
        self.expires = now + self.ttl_ns

    def _remember(self) -> None:
        self._before = (self.holder, self.token, self.expires)

    def fail_over(self) -> None:
        """Forget the last write, though it was acknowledged."""
        self.holder, self.token, self.expires = self._before
        self._version += 1

    def kept_for_ns(self, now: int) -> int | None:
        """For how long the office is kept for an heir."""
        kept = self.heir_until - now if self.heir is not None else 0
        return kept if kept > 0 else None


MakeRegister = Callable[[Model, int], Register]
