"""The timing budget of a lease, and why a bad one is refused.

A holder counts its lease from **before the request was sent**; the store counts from
later. With promised duration D, drift bound rho and margin epsilon::

    usable        = D * (1 - rho) / (1 + rho)          what is left when our clock is slow
    hard_deadline = sent_at + usable - epsilon         nobody else can lead before this
    soft_deadline = hard_deadline - stop_grace         cancel the work here

and the whole budget must fit::

    renew_period + attempts * request_timeout + stop_grace + epsilon  <=  usable

Source: Gray and Cheriton, "Leases" (SOSP 1989), section 3; the refusal at construction is
client-go's habit, with the numbers in the message.

>>> timing = LeaseTiming.of("15s")
>>> timing.deadlines(sent_at=0)
Deadlines(soft_ns=11402970297, hard_ns=14402970297)
"""

from collections.abc import Callable

import msgspec

from elector.core.duration import format_duration, parse_duration
from elector.core.office import Deadlines
from elector.errors import ConfigurationError

_MILLION = 1_000_000


class LeaseTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of a lease, in nanoseconds; built by `of` from one of them.

    Attributes:
        ttl_ns: D, the lease duration promised by the store.
        renew_period_ns: from one renewal to the next.
        request_timeout_ns: after this a request's outcome is unknown.
        attempts: how many lost renewals in a row the budget survives.
        stop_grace_ns: what the work gets between being cancelled and being aborted.
        margin_ns: epsilon, for what the arithmetic does not model (scheduling, timers).
        drift_ppm: rho, the bound on the error of clock rates, in millionths.
        retry_period_ns: how long to wait before trying a store that failed.
        cooldown_ns: after giving up office, do not contend for this long.
        drain_limit_ns: after a resignation, keep renewing at most this long for work
            that has not stopped yet.
    """

    ttl_ns: int
    renew_period_ns: int
    request_timeout_ns: int
    attempts: int
    stop_grace_ns: int
    margin_ns: int
    drift_ppm: int
    retry_period_ns: int
    cooldown_ns: int
    drain_limit_ns: int

    @classmethod
    def of(
        cls,
        ttl: str = "15s",
        *,
        renew_period: str | None = None,
        request_timeout: str | None = None,
        attempts: int = 3,
        stop_grace: str | None = None,
        margin: str | None = None,
        drift_ppm: int = 10_000,
        retry_period: str | None = None,
        cooldown: str | None = None,
        drain_limit: str | None = None,
    ) -> "LeaseTiming":
        """Derive the whole budget from one number, or from as many as are given.

        Raises:
            ConfigurationError: the budget cannot be kept; the message has the sum and
                says which number to change.

        >>> LeaseTiming.of("15s", stop_grace="10s")
        Traceback (most recent call last):
        ...
        elector.errors.ConfigurationError: the timing budget does not fit: renew_period 5s + 3 x \
request_timeout 1.5s + stop_grace 10s + margin 300ms = 19.8s, but a ttl of 15s leaves 14.7s under \
a drift of 1%; raise ttl or lower stop_grace (a ttl of 30.6s would do)
        """
        ttl_ns = parse_duration(ttl, "ttl")
        given = {
            "renew_period": renew_period,
            "request_timeout": request_timeout,
            "stop_grace": stop_grace,
            "margin": margin,
            "retry_period": retry_period,
            "cooldown": cooldown,
            "drain_limit": drain_limit,
        }
        chosen = {
            name: parse_duration(text, name) for name, text in given.items() if text is not None
        }

        def derived(ttl_ns: int) -> "LeaseTiming":
            renew_period_ns = chosen.get("renew_period", ttl_ns // 3)
            return cls(
                ttl_ns=ttl_ns,
                renew_period_ns=renew_period_ns,
                request_timeout_ns=chosen.get("request_timeout", ttl_ns // 10),
                attempts=attempts,
                stop_grace_ns=chosen.get("stop_grace", ttl_ns // 5),
                margin_ns=chosen.get("margin", ttl_ns // 50),
                drift_ppm=drift_ppm,
                retry_period_ns=chosen.get("retry_period", ttl_ns // 15),
                cooldown_ns=chosen.get("cooldown", renew_period_ns),
                drain_limit_ns=chosen.get("drain_limit", ttl_ns),
            )

        try:
            return derived(ttl_ns)
        except _OverBudget as error:
            enough_ns = _least_that_fits(derived, ttl_ns)
            if enough_ns is None:
                raise
            raise ConfigurationError(
                f"{error} (a ttl of {format_duration(enough_ns)} would do)"
            ) from None

    def __post_init__(self) -> None:
        for name in ("ttl_ns", "renew_period_ns", "request_timeout_ns", "retry_period_ns"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name.removesuffix('_ns')} must be more than 0s")
        for name in ("stop_grace_ns", "margin_ns", "cooldown_ns", "drain_limit_ns"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name.removesuffix('_ns')} must not be negative")
        if self.attempts < 1:
            raise ConfigurationError(f"attempts is {self.attempts}; at least 1 is needed to renew")
        if not 0 <= self.drift_ppm < _MILLION // 2:
            raise ConfigurationError(
                f"drift_ppm is {self.drift_ppm}; a bound on clock drift lies between 0 and "
                f"{_MILLION // 2}"
            )
        if self.needed_ns > self.usable_ns:
            raise _OverBudget(self._over_budget())

    @property
    def usable_ns(self) -> int:
        """What is left of the lease duration when our clock runs slow and the store's fast."""
        return self.ttl_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)

    @property
    def needed_ns(self) -> int:
        """What the budget has to fit into `usable_ns`."""
        return (
            self.renew_period_ns
            + self.attempts * self.request_timeout_ns
            + self.stop_grace_ns
            + self.margin_ns
        )

    def deadlines(self, sent_at: int) -> Deadlines:
        """The deadlines of a lease whose request was sent at `sent_at` (own clock, ns)."""
        hard_ns = sent_at + self.usable_ns - self.margin_ns
        return Deadlines(soft_ns=hard_ns - self.stop_grace_ns, hard_ns=hard_ns)

    def failover_bound_ns(self) -> int:
        """The longest vacancy after a holder vanished without a word, the store being up.

        Its last renewal may reach the store late by one request timeout, and then runs for a
        ttl on the store's clock; what a contender knows of that may be as old as a reply's
        way, its timer fires within `jitter_ns`, and its request takes a request timeout more.
        A store that gives no hint when to retry adds up to half a ttl.
        """
        stretched_ns = self.ttl_ns * (_MILLION + self.drift_ppm) // (_MILLION - self.drift_ppm)
        return stretched_ns + self.jitter_ns + 3 * self.request_timeout_ns

    def outage_budget_ns(self) -> int:
        """For how long the store may be away without costing a leader its office; 0 at least.

        At worst it goes just before a renewal that is due, and when it is back the next attempt
        has just failed.

        >>> LeaseTiming.of("15s").outage_budget_ns() // 1_000_000
        4902
        """
        next_attempt_ns = max(self.request_timeout_ns, self.retry_period_ns)
        kept_ns = self.renew_period_ns + self.stop_grace_ns + self.margin_ns
        return max(0, self.usable_ns - kept_ns - next_attempt_ns)

    @property
    def jitter_ns(self) -> int:
        """How far contenders spread when a lease expires, so that they do not herd."""
        return min(self.ttl_ns // 50, 50_000_000)

    def _over_budget(self) -> str:
        greatest = max(
            ("renew_period", self.renew_period_ns),
            ("request_timeout", self.attempts * self.request_timeout_ns),
            ("stop_grace", self.stop_grace_ns),
            ("margin", self.margin_ns),
            key=lambda named: named[1],
        )[0]
        return (
            "the timing budget does not fit: "
            f"renew_period {format_duration(self.renew_period_ns)} "
            f"+ {self.attempts} x request_timeout {format_duration(self.request_timeout_ns)} "
            f"+ stop_grace {format_duration(self.stop_grace_ns)} "
            f"+ margin {format_duration(self.margin_ns)} = {format_duration(self.needed_ns)}, "
            f"but a ttl of {format_duration(self.ttl_ns)} leaves "
            f"{format_duration(self.usable_ns)} under a drift of {self.drift_ppm / 10_000:g}%; "
            f"raise ttl or lower {greatest}"
        )


class _OverBudget(ConfigurationError):  # noqa: N818 - it reads as a sentence
    """The one refusal for which another ttl may be proposed."""


def _least_that_fits(derived: Callable[[int], LeaseTiming], ttl_ns: int) -> int | None:
    """A ttl whose budget fits, hardly longer than needed; None if even 1024 fold would not do."""

    def fits(candidate_ns: int) -> bool:
        try:
            derived(candidate_ns)
        except _OverBudget:
            return False
        return True

    too_short, enough = ttl_ns, ttl_ns << 10
    if not fits(enough):
        return None
    while enough - too_short > max(1, too_short // 1000):
        middle = (too_short + enough) // 2
        too_short, enough = (too_short, middle) if fits(middle) else (middle, enough)
    step: int = 10 ** max(0, len(str(enough)) - 3)
    proposed = -(-enough // step) * step
    while not fits(proposed):  # rounding down each part is not quite monotone
        proposed += step
    return proposed
