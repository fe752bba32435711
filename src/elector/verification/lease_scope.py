"""What is explored of lease candidates and their store, and what came of it.

Theory
    True time goes on in ticks, in each of which every clock gains a whole number of ns. All
    durations of `SMALL` are whole ticks of slow clocks and of fast ones, but for the half tick
    in the stop grace of a fast clock. For such systems, whose comparisons are with constants,
    what can happen at all can happen at whole ticks: Henzinger, Manna and Pnueli, "What good are
    digital clocks?" (ICALP 1992). So a grid leaves nothing out between its instants.

    ``corners`` does: an event that would have to come between two of them, so that something
    much later meets something else, is not tried. It is for leases that are too long in ticks
    for a grid; what it finds is real, but that it finds nothing says less.

    Rates stay at the ends of the drift bound for a whole run; clocks that change their rate
    are for the simulator.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Literal

import msgspec

from elector.core.identity import Candidate
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.protocols.lease import LeaseCandidate
from elector.verification.lease_register import StoreKind
from elector.verification.scope import Progress, Violation

MakeCandidate = Callable[[Candidate, LeaseTiming], LeaseCandidate]
"""Makes a candidate: `LeaseCandidate`, or that class with a bug in it."""

LEASE_SAFETY = ("LeaseDisjoint", "TermUnique", "FenceMonotone", "StopBeforeTakeover")
"""The properties that are judged at each step; what they say is in `elector.properties`."""

LEASE_LIVENESS = "EventuallyLed"
"""Judged at the end: from everywhere, if nothing more goes wrong, somebody can come to lead."""

Rate = Literal["slow", "exact", "fast"]

Wish = Literal["resign", "transfer", "withdraw", "finish", "fail", "stall", "stubborn"]

_MILLION = 1_000_000
_FINEST = 1000
_MOST_CANDIDATES = 3
_GRID_UP_TO = 64

SMALL = LeaseTiming(
    ttl_ns=24,
    renew_period_ns=4,
    request_timeout_ns=4,
    attempts=1,
    stop_grace_ns=2,
    margin_ns=0,
    drift_ppm=333_333,
    retry_period_ns=4,
    cooldown_ns=4,
    drain_limit_ns=8,
)
"""The smallest lease with every part, and no margin: under a drift of 1/3 its budget is tight.

A slow clock and a fast one differ by a factor of 2, so that all durations are whole ticks on
both: 1 or 2 for a renewal period, 6 or 12 for the lease.
"""

STEADY = LeaseTiming(
    ttl_ns=4,
    renew_period_ns=1,
    request_timeout_ns=1,
    attempts=1,
    stop_grace_ns=1,
    margin_ns=0,
    drift_ppm=0,
    retry_period_ns=1,
    cooldown_ns=1,
    drain_limit_ns=2,
)
"""A lease of four ticks on clocks that do not drift: room for many other faults."""


def coarse(drift_ppm: int) -> LeaseTiming:
    """The same parts in the same proportions, for any drift: to be explored at corners.

    Raises:
        ConfigurationError: such a drift leaves nothing of a lease.
    """
    part = 400
    return LeaseTiming(
        ttl_ns=6 * part,
        renew_period_ns=part,
        request_timeout_ns=part,
        attempts=1,
        stop_grace_ns=part,
        margin_ns=0,
        drift_ppm=drift_ppm,
        retry_period_ns=part,
        cooldown_ns=part,
        drain_limit_ns=2 * part,
    )


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """How often each thing may go wrong, in one run.

    Attributes:
        lost: requests that get no answer in time (lost, their reply lost, or refused), and
            news that do not arrive.
        late: of these, how many messages are not lost but arrive later, whenever.
        pauses: of processes, as long as you like.
        crashes: of processes, between any two effects; a new instance starts at once.
        wishes: of users, of the kinds in `LeaseScope.wishes`.
        steps: a candidate's clock goes back by half a ttl.
        forgets: the store loses all it knows.
    """

    lost: int = 0
    late: int = 0
    pauses: int = 0
    crashes: int = 0
    wishes: int = 0
    steps: int = 0
    forgets: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= _MOST_FAULTS:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}: 0 to {_MOST_FAULTS} can be explored"
                )


_MOST_FAULTS = 9


class LeaseScope(msgspec.Struct, frozen=True, kw_only=True):
    """A world small enough to try everything in it.

    Attributes:
        candidates: how many.
        tenures: the last fencing token; the store grants no later one.
        timing: of every candidate, and its ttl of the store.
        drift_ppm: how far clocks really are off, in millionths; None: as far as `timing`
            believes. More than that voids the promise. It is taken as the simplest fraction
            near it: 333333 is a third.
        budgets: what may go wrong.
        wishes: what users may ask for.
        kind: of the store.
        rates: which clocks are tried, as the rate of each candidate's and last the store's;
            empty: every choice of both ends of the drift.
        instants: when something may happen: at each tick of a ``grid``, or only at
            ``corners``, which are the instants at which something becomes due or ends.
        liveness: whether `LEASE_LIVENESS` is judged too.

    Raises:
        ConfigurationError: this cannot be explored.

    >>> scope = LeaseScope()
    >>> scope.gains, scope.tick_ns, len(list(scope.clocks()))
    ({'slow': 2, 'exact': 3, 'fast': 4}, 3, 6)
    """

    candidates: int = 2
    tenures: int = 2
    timing: LeaseTiming = SMALL
    drift_ppm: int | None = None
    budgets: Budgets = Budgets()
    wishes: tuple[Wish, ...] = ("resign",)
    kind: StoreKind = StoreKind()
    rates: tuple[tuple[Rate, ...], ...] = ()
    instants: Literal["grid", "corners"] = "grid"
    liveness: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= _MOST_CANDIDATES:
            raise ConfigurationError(
                f"candidates is {self.candidates}: 1 to {_MOST_CANDIDATES} can be explored; "
                "every bug of the catalogue shows with two"
            )
        if not 1 <= self.tenures <= _MOST_FAULTS:
            raise ConfigurationError(f"tenures is {self.tenures}: 1 to {_MOST_FAULTS} can be")
        if not 0 <= self.real_drift_ppm < _MILLION:
            raise ConfigurationError(
                f"drift_ppm is {self.real_drift_ppm}: a clock that drifts by {_MILLION} millionths "
                "stands still"
            )
        if any(len(rates) != self.candidates + 1 for rates in self.rates):
            raise ConfigurationError(
                f"rates must name {self.candidates + 1} clocks: the candidates' and the store's"
            )
        if self.instants == "grid" and self.ticks > _GRID_UP_TO:
            raise ConfigurationError(
                f"a lease of {self.timing.ttl_ns} ns is {self.ticks} ticks of {self.tick_ns} ns, "
                f"and a grid is explored up to {_GRID_UP_TO}: choose a shorter ttl, a drift with "
                "a smaller denominator (20% or a third), or the instants 'corners'"
            )

    @property
    def real_drift_ppm(self) -> int:
        """How far clocks are off, millionths."""
        return self.timing.drift_ppm if self.drift_ppm is None else self.drift_ppm

    @property
    def _drift(self) -> Fraction:
        return Fraction(self.real_drift_ppm, _MILLION).limit_denominator(_FINEST)

    @property
    def tick_ns(self) -> int:
        """True time between two ticks, ns: the least in which all clocks gain whole ns."""
        return self._drift.denominator

    @property
    def gains(self) -> dict[Rate, int]:
        """What clocks gain in a tick, ns."""
        exact, drift = self._drift.denominator, self._drift.numerator
        return {"slow": exact - drift, "exact": exact, "fast": exact + drift}

    @property
    def ticks(self) -> int:
        """The longest lease, in ticks."""
        return -(-self.timing.ttl_ns // self.gains["slow"])

    @property
    def void(self) -> tuple[str, ...]:
        """Assumptions of the protocol that this scope breaks on purpose."""
        breaks_drift = self.real_drift_ppm > self.timing.drift_ppm or self.budgets.steps
        return (("drift_bound",) if breaks_drift else ()) + (
            ("rising_tokens",) if self.budgets.forgets else ()
        )

    def clocks(self) -> Iterator[tuple[int, ...]]:
        """What the clocks gain in a tick: each candidate's, and last the store's.

        All ends of the drift bound, the most dangerous first: slow holders, a fast store.
        Candidates are alike, so that which of them is the slow one does not matter.
        """
        gains = self.gains
        if self.rates:
            yield from (tuple(gains[rate] for rate in rates) for rates in self.rates)
            return
        ends = tuple(dict.fromkeys((gains["slow"], gains["fast"])))
        for store in reversed(ends):
            for nodes in combinations_with_replacement(ends, self.candidates):
                yield (*nodes, store)


class LeaseExploration(msgspec.Struct, frozen=True):
    """What came of an exploration.

    Attributes:
        scope: what was explored.
        properties: what was judged.
        progress: states, depth and time at the end; `queue` is the frontier that was left.
        stopped: why it is not complete: ``violation``, ``memory``, ``states``,
            ``interrupted``; empty if it is.
        violation: the first one, if there was any, and the shortest way there.
    """

    scope: LeaseScope
    properties: tuple[str, ...]
    progress: Progress
    stopped: str = ""
    violation: Violation | None = None

    @property
    def complete(self) -> bool:
        """Whether everything in the scope was seen."""
        return not self.stopped

    @property
    def holds(self) -> bool:
        """Whether every property holds everywhere in the scope."""
        return self.complete and self.violation is None
