"""A sweep's figures: what held, what did not, and how long people waited for a leader.

>>> percentile((1, 2, 3, 4), 50), percentile((1, 2, 3, 4), 99)
(2, 4)
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from elector.simulation.run import Outcome


class Distribution(msgspec.Struct, frozen=True):
    """Durations in ns; percentiles are values that occurred (nearest rank)."""

    n: int
    mean_ns: int
    median_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class PropertyCount(msgspec.Struct, frozen=True, kw_only=True):
    """How a property fared in all runs, by outcome, and the seeds that violated it."""

    kind: str
    outcomes: dict[str, int]
    violated_by: tuple[int, ...] = ()
    text: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a sweep.

    Attributes:
        runs: how many came to their end.
        properties: by name.
        failover: from the crash of a leader until the next one, None if none crashed.
        known: the same until all who were up knew, for `crash_leader` alone.
        unelected: runs of `crash_leader` that found no leader in time.
        vacancy: from the end of any tenure until the next one.
        availability: the share of time with a leader, since there was one.
        leaderless_ns, simulated_ns: over all runs.
        tenures, overlaps, writes, refused, requests, messages, events: as in `Tally`, summed.
    """

    runs: int
    properties: dict[str, PropertyCount]
    failover: Distribution | None
    known: Distribution | None
    unelected: int
    vacancy: Distribution | None
    availability: float
    leaderless_ns: int
    simulated_ns: int
    tenures: int
    overlaps: int
    writes: int
    refused: int
    requests: dict[str, int]
    messages: dict[str, int]
    events: int

    @property
    def violations(self) -> dict[str, tuple[int, ...]]:
        """The seeds that violated a property, by its name."""
        return {name: p.violated_by for name, p in self.properties.items() if p.violated_by}


def percentile(ordered: Sequence[int], per_cent: float) -> int:
    """The least value that is not exceeded by this share of all; `ordered` rises."""
    return ordered[max(0, math.ceil(len(ordered) * per_cent / 100) - 1)]


def distribution(durations: Iterable[int]) -> Distribution | None:
    """What is said of durations; None of none."""
    ordered = sorted(durations)
    if not ordered:
        return None
    return Distribution(
        len(ordered),
        round(sum(ordered) / len(ordered)),
        percentile(ordered, 50),
        percentile(ordered, 99),
        percentile(ordered, 99.9),
        ordered[-1],
    )


class Reporter:
    """Takes outcomes one after another, and makes the report of those it has.

    Attributes:
        runs: how many it has taken.
        failing: the first outcome that violated a property, by seed.
    """

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    @property
    def runs(self) -> int:
        """How many outcomes it has."""
        return len(self._outcomes)

    @property
    def failing(self) -> Outcome | None:
        """Of the runs that violated a property, the one with the least seed."""
        violated = (outcome for outcome in self._outcomes if outcome.violation is not None)
        return min(violated, key=lambda outcome: outcome.seed, default=None)

    def take(self, outcome: Outcome) -> None:
        """Take one more."""
        self._outcomes.append(outcome)

    def failovers_ns(self) -> list[int]:
        """All failovers, for a picture."""
        crashed = [o.failover_ns for o in self._outcomes if o.failover_ns is not None]
        return crashed or [took for o in self._outcomes for took in o.tally.failovers_ns]

    def report(self, *, crash_leader: bool = False) -> Report:
        """The figures of what was taken so far, the same in whatever order it came."""
        outcomes = sorted(self._outcomes, key=lambda outcome: outcome.seed)
        tallies = [outcome.tally for outcome in outcomes]
        with_leader = [t for t in tallies if t.first_leader_ns is not None]
        led_ns = sum(t.ran_ns - (t.first_leader_ns or 0) for t in with_leader)
        leaderless_ns = sum(t.leaderless_ns for t in tallies)
        return Report(
            runs=len(outcomes),
            properties=_properties(outcomes),
            failover=distribution(self.failovers_ns()),
            known=distribution(o.known_ns for o in outcomes if o.known_ns is not None),
            unelected=sum(crash_leader and o.failover_ns is None for o in outcomes),
            vacancy=distribution(took for t in tallies for took in t.vacancies_ns),
            availability=1 - leaderless_ns / led_ns if led_ns else 0.0,
            leaderless_ns=leaderless_ns,
            simulated_ns=sum(t.ran_ns for t in tallies),
            tenures=sum(t.tenures for t in tallies),
            overlaps=sum(t.overlaps for t in tallies),
            writes=sum(t.writes for t in tallies),
            refused=sum(t.refused for t in tallies),
            requests=_summed(t.requests for t in tallies),
            messages=_summed(t.messages for t in tallies),
            events=sum(t.events for t in tallies),
        )


def _properties(outcomes: Sequence[Outcome]) -> dict[str, PropertyCount]:
    names = dict.fromkeys(v.name for outcome in outcomes for v in outcome.verdicts)
    found = {}
    for name in names:
        verdicts = [(o.seed, v) for o in outcomes for v in o.verdicts if v.name == name]
        violated = [(seed, v) for seed, v in verdicts if v.outcome == "violated"]
        found[name] = PropertyCount(
            kind=verdicts[0][1].kind,
            outcomes=dict(Counter(v.outcome for _, v in verdicts)),
            violated_by=tuple(seed for seed, _ in violated),
            text=violated[0][1].text if violated else "",
        )
    return found


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
