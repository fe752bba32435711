"""What a run cost its users: tenures, time without a leader, failovers, refused writes.

>>> measures = Measures()
>>> for record in (records.Lead(0, 1, 7), records.Crash(10, 1), records.Lead(35, 0, 8),
...                records.End(100)):
...     measures.watch(record)
True
True
True
True
>>> measures.tally().failovers_ns, measures.tally().leaderless_ns
((25,), 25)
"""

from collections import Counter

import msgspec

from elector.trace import records
from elector.trace.records import Record


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run; durations in ns.

    Attributes:
        ran_ns: how long it was, from the first leader on for what is said of leaders.
        first_leader_ns: when somebody led for the first time; None if nobody did.
        tenures: how many there were.
        leaderless_ns: for how long nobody was in office, since the first leader.
        failovers_ns: after each crash of the only leader, how long until somebody led.
        vacancies_ns: the same after every end of a tenure, whatever ended it.
        overlaps: how often somebody began to lead while another one had not stepped down.
        writes, refused: of the guarded resource.
        requests: to the store, by verb.
        messages: between members, by type.
        events: how many a node took.
    """

    ran_ns: int = 0
    first_leader_ns: int | None = None
    tenures: int = 0
    leaderless_ns: int = 0
    failovers_ns: tuple[int, ...] = ()
    vacancies_ns: tuple[int, ...] = ()
    overlaps: int = 0
    writes: int = 0
    refused: int = 0
    requests: dict[str, int] = {}
    messages: dict[str, int] = {}
    events: int = 0

    @property
    def availability(self) -> float:
        """The share of time with a leader, since there was one; 0 if there never was."""
        if self.first_leader_ns is None:
            return 0.0
        return 1 - self.leaderless_ns / max(1, self.ran_ns - self.first_leader_ns)


class Measures:
    """A watcher that counts."""

    reads: frozenset[type[Record]] = frozenset(
        {
            records.Lead,
            records.StepDown,
            records.Crash,
            records.Request,
            records.Write,
            records.End,
        }
    )

    messages: frozenset[str] | None = frozenset()

    def __init__(self) -> None:
        self._offices: dict[int, tuple[int, int | None]] = {}  # node: token, until
        self._first: int | None = None
        self._tenures = self._overlaps = 0
        self._vacant_since: int | None = None
        self._crashed = False
        self._leaderless = 0
        self._failovers: list[int] = []
        self._vacancies: list[int] = []
        self._requests: Counter[str] = Counter()
        self._writes: Counter[bool] = Counter()
        self._now = 0

    def watch(self, record: Record) -> bool:
        """Count one record; always True: counting never ends a run."""
        self._now = record.t
        match record:
            case records.Lead():
                self._lead(record)
            case records.StepDown(t, node):
                self._leave(t, node, crashed=False)
            case records.Crash(t, node):
                self._leave(t, node, crashed=True)
            case records.Request(_, _, _, what):
                self._requests[what] += 1
            case records.Write():
                self._writes[record.accepted] += 1
            case records.End(t):
                self._account(t)
            case _:
                pass
        return True

    def _lead(self, record: records.Lead) -> None:
        known = self._offices.get(record.node)
        self._offices[record.node] = (record.token, record.until)
        if known is not None and known[0] == record.token:
            return
        self._tenures += 1
        self._overlaps += any(
            node != record.node and (until is None or record.t < until)
            for node, (_, until) in self._offices.items()
        )
        if self._first is None:
            self._first = record.t
        if self._vacant_since is not None:
            lasted = record.t - self._vacant_since
            self._vacancies.append(lasted)
            if self._crashed:
                self._failovers.append(lasted)
        self._account(record.t)

    def _leave(self, at: int, node: int, *, crashed: bool) -> None:
        if self._offices.pop(node, None) is not None and not self._offices:
            self._vacant_since, self._crashed = at, crashed

    def _account(self, at: int) -> None:
        if self._vacant_since is not None:
            self._leaderless += at - self._vacant_since
            self._vacant_since = None

    def tally(self, messages: dict[str, int] | None = None, events: int = 0) -> Tally:
        """What was counted up to now."""
        return Tally(
            ran_ns=self._now,
            first_leader_ns=self._first,
            tenures=self._tenures,
            leaderless_ns=self._leaderless,
            failovers_ns=tuple(self._failovers),
            vacancies_ns=tuple(self._vacancies),
            overlaps=self._overlaps,
            writes=sum(self._writes.values()),
            refused=self._writes[False],
            requests=dict(self._requests),
            messages=messages or {},
            events=events,
        )
