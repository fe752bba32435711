"""What lasted in a trace: tenures as nodes believe in them, work, leases, faults, overlaps.

Records tell when something begins and when it ends; a picture needs both at once. A `Teller`
reads the records of one run in order, and hands out `Span` values.

>>> from elector.trace.records import Lead, StepDown
>>> teller = Teller(nodes=2)
>>> for number, record in enumerate([Lead(10, 0, 7, until=30), StepDown(40, 0, 7)]):
...     teller.take(number, record)
>>> [(span.kind, span.begin, span.end) for span in teller.finish(50)]
[('belief', 10, 30), ('stale', 30, 40)]
"""

from collections.abc import Container, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from elector.trace import records
from elector.trace.records import Record

STORE = -1
WORLD = -2
"""The lane of what concerns no single node."""


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that lasted.

    Attributes:
        kind: ``belief`` (a node says that it leads, and nobody else does before its deadline),
            ``stale`` (it still says so, and has no right to), ``work``, ``stopping``,
            ``lease`` (of the store), ``down``, ``pause``, ``cut``, ``fault``,
            ``overlap`` (two nodes at once, and both with a right to it),
            ``outlived`` (two at once, of which one is a former leader that does not know yet).
        lane: number of a node, `STORE` or `WORLD`.
        begin: true time, ns.
        end: true time, ns; not before `begin`.
        label: in a few words.
        token: of the tenure, where there is one.
        record: number of the record that began it.
        other: the second node of an overlap, that with the newer token; the holder of a lease.
        of: what overlaps: ``belief`` or ``work``.
    """

    kind: str
    lane: int
    begin: int
    end: int
    label: str = ""
    token: int | None = None
    record: int | None = None
    other: int | None = None
    of: str | None = None


class _Tenure(msgspec.Struct):
    """A stay in office that has not ended."""

    token: int
    begin: int
    until: int | None
    record: int


class _Work(msgspec.Struct):
    token: int
    begin: int
    record: int
    what: str = "work"


class _Lease(msgspec.Struct):
    holder: int
    token: int
    begin: int
    until: int | None
    record: int


class _Severed(msgspec.Struct):
    """Whom a lane cannot reach, or hear, since when."""

    begin: int
    record: int
    to: tuple[int, ...] = ()
    hears_not: tuple[int, ...] = ()


class Teller:
    """Makes spans of records.

    Args:
        nodes: how many there are.
        names: of the nodes, for labels; their numbers if there are none.
    """

    def __init__(self, nodes: int, names: Sequence[str] = ()) -> None:
        self.names = tuple(names) or tuple(str(node) for node in range(nodes))
        self._spans: list[Span] = []
        self._tenures: dict[int, _Tenure] = {}
        self._leased: set[int] = set()
        self._works: dict[int, _Work] = {}
        self._lease: _Lease | None = None
        self._down: dict[int, tuple[int, int]] = {}
        self._up: set[int] = set()
        self._begun: int | None = None
        self._links: set[tuple[int, int]] = set()
        self._severed: dict[int, _Severed] = {}

    def take(self, number: int, record: Record) -> None:
        """Read the next record; `number` is its position in the trace."""
        if self._begun is None:
            self._begun = record.t
        match record:
            case records.Lead(t, node, token, until):
                self._lead(node, _Tenure(token, t, until, number))
            case records.StepDown(t, node):
                self._end_tenure(node, t)
            case records.Work(t, node, token, what):
                self._work(number, t, node, token, what)
            case records.Apply() | records.Expire():
                self._store(number, record)
            case records.Cut(t, node, to) | records.Heal(t, node, to):
                (self._links.add if record.__class__ is records.Cut else self._links.discard)(
                    (node, to)
                )
                self._relink(number, t, node)
                self._relink(number, t, to)
            case _:
                self._trouble(number, record)

    def finish(self, end: int) -> list[Span]:
        """There are no more records; all spans, by their beginning."""
        for node in list(self._tenures):
            self._end_tenure(node, end)
        for node in list(self._works):
            self._end_work(node, end)
        self._end_lease(end)
        for node, (begin, number) in self._down.items():
            self._add(Span("down", node, begin, end, "down", record=number))
        for lane in list(self._severed):
            self._end_severed(lane, end)
        self._spans += list(_overlaps(self._spans, self._leased))
        return sorted(self._spans, key=lambda span: (span.begin, span.end, span.lane))

    def _add(self, span: Span) -> None:
        if span.end > span.begin:
            self._spans.append(span)

    def _name(self, lane: int) -> str:
        return "store" if lane == STORE else self.names[lane]

    # -- office and work ---------------------------------------------------------------------

    def _lead(self, node: int, said: _Tenure) -> None:
        old, t = self._tenures.get(node), said.begin
        prolonged = old is not None and old.token == said.token
        if old is not None and prolonged and (old.until is None or t <= old.until):
            old.until = said.until
            return
        self._end_tenure(node, t)
        self._tenures[node] = said
        if said.until is not None:
            self._leased.add(said.record)

    def _end_tenure(self, node: int, t: int) -> None:
        old = self._tenures.pop(node, None)
        if old is None:
            return
        label, deadline = f"token {old.token}", t if old.until is None else min(old.until, t)
        deadline = max(deadline, old.begin)
        self._add(Span("belief", node, old.begin, deadline, label, old.token, old.record))
        self._add(Span("stale", node, deadline, t, label, old.token, old.record))

    def _work(self, number: int, t: int, node: int, token: int, what: str) -> None:
        self._end_work(node, t)
        if what != "stopped":
            kind = "stopping" if what == "stopping" else "work"
            self._works[node] = _Work(token, t, number, kind)

    def _end_work(self, node: int, t: int) -> None:
        old = self._works.pop(node, None)
        if old is not None:
            label = f"token {old.token}"
            self._add(Span(old.what, node, old.begin, t, label, old.token, old.record))

    # -- the store ---------------------------------------------------------------------------

    def _store(self, number: int, record: records.Apply | records.Expire) -> None:
        t, lease = record.t, self._lease
        if isinstance(record, records.Expire):
            if lease is not None and lease.token == record.token:
                self._end_lease(t, expired=True)
            return
        if record.holder is None:
            self._end_lease(t)
            return
        if lease is not None and (lease.holder, lease.token) == (record.holder, record.token):
            lease.until = record.until
            return
        self._end_lease(t)
        self._lease = _Lease(record.holder, record.token, t, record.until, number)

    def _end_lease(self, t: int, *, expired: bool = False) -> None:
        """It ends now; or it ended when it had to, if nobody told of it."""
        old, self._lease = self._lease, None
        if old is None:
            return
        end = t if expired or old.until is None else min(t, max(old.until, old.begin))
        label = f"{self._name(old.holder)}, token {old.token}"
        self._add(
            Span("lease", STORE, old.begin, end, label, old.token, old.record, other=old.holder)
        )

    # -- what goes wrong ---------------------------------------------------------------------

    def _trouble(self, number: int, record: Record) -> None:
        match record:
            case records.Boot(t, node):
                begin, since = self._down.pop(node, (self._begun or 0, number))
                if node not in self._up:
                    self._add(Span("down", node, begin, t, "down", record=since))
                self._up.add(node)
                self._end_tenure(node, t)
                self._end_work(node, t)
            case records.Crash(t, node):
                self._down[node] = (t, number)
                self._up.discard(node)
                self._end_tenure(node, t)
                self._end_work(node, t)
            case records.Pause(t, node, until):
                self._add(Span("pause", node, t, until, "paused", record=number))
            case records.Fault(t, what, node, until):
                lane = WORLD if node is None else node
                end = t if until is None else max(until, t)
                self._spans.append(Span("fault", lane, t, end, what, record=number))
            case _:
                pass

    def _relink(self, number: int, t: int, lane: int) -> None:
        self._end_severed(lane, t)
        to = tuple(sorted(there for here, there in self._links if here == lane))
        hears_not = tuple(sorted(here for here, there in self._links if there == lane))
        if to or hears_not:
            self._severed[lane] = _Severed(t, number, to, hears_not)

    def _end_severed(self, lane: int, t: int) -> None:
        old = self._severed.pop(lane, None)
        if old is not None:
            self._add(Span("cut", lane, old.begin, t, self._severance(old), record=old.record))

    def _severance(self, severed: _Severed) -> str:
        both = set(severed.to) & set(severed.hears_not)
        parts = (
            ("cut from", sorted(both)),
            ("unheard by", [lane for lane in severed.to if lane not in both]),
            ("deaf to", [lane for lane in severed.hears_not if lane not in both]),
        )
        said = [
            f"{how} {', '.join(self._name(lane) for lane in lanes)}"
            for how, lanes in parts
            if lanes
        ]
        return "; ".join(said)


# -- two at once ---------------------------------------------------------------------------------


def _overlaps(spans: Sequence[Span], leased: Container[int | None]) -> Iterator[Span]:
    """Where two nodes lead, or work, at the same time.

    It is grave (``overlap``) if both have a right to lead, or the same token, or if the work of
    one runs when that of the other begins. A former leader that stood still while its lease ran
    out, or that has no lease and has not heard of a newer one, merely outlived its office.
    `leased` are the records by which tenures with a lease began.
    """
    beliefs = [span for span in spans if span.kind in {"belief", "stale"}]
    for first, second in _meetings(beliefs):
        rightful = first.kind == second.kind == "belief" and first.record in leased
        yield _both(first, second, "belief", grave=rightful or first.token == second.token)
    pauses = [span for span in spans if span.kind == "pause"]
    for first, second in _meetings(_whole_works(spans)):
        grave = not any(
            pause.lane == first.lane
            and (_covers(pause, second.begin) or _slept_through_its_end(first, pause, beliefs))
            for pause in pauses
        )
        yield _both(first, second, "work", grave=grave)


def _meetings(spans: Iterable[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs of different nodes whose spans share some time; the one that began first is first."""
    active: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.begin, s.end)):
        active = [other for other in active if other.end > span.begin]
        yield from ((other, span) for other in active if other.lane != span.lane)
        active.append(span)


def _whole_works(spans: Sequence[Span]) -> list[Span]:
    """Work goes on while it is told to stop."""
    works: list[Span] = []
    last: dict[int, Span] = {}
    for span in sorted(spans, key=lambda s: s.begin):
        if span.kind not in {"work", "stopping"}:
            continue
        before = last.get(span.lane)
        if before is not None and (before.end, before.token) == (span.begin, span.token):
            works.remove(before)
            last[span.lane] = replace(before, end=span.end)
        else:
            last[span.lane] = span
        works.append(last[span.lane])
    return works


def _covers(pause: Span, t: int) -> bool:
    return pause.begin <= t <= pause.end


def _slept_through_its_end(work: Span, pause: Span, beliefs: Sequence[Span]) -> bool:
    return any(
        (belief.kind, belief.lane, belief.token) == ("belief", work.lane, work.token)
        and _covers(pause, belief.end)
        for belief in beliefs
    )


def _both(first: Span, second: Span, side: str, *, grave: bool) -> Span:
    """Both at once; the one with the older token stands first."""
    old, new = sorted((first, second), key=lambda span: (span.token or 0, span.lane))
    return Span(
        "overlap" if grave else "outlived",
        old.lane,
        second.begin,
        min(first.end, second.end),
        f"tokens {old.token} and {new.token}",
        record=second.record,
        other=new.lane,
        of=side,
    )
