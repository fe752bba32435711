"""The judge: did two leaders work at once, was a stale write accepted?

It hears the witnesses and reads the ledger. It does not ask Elector.

A tenure is **at work** from its `begin` to its `end`. A leader that was killed left no end, and
one whose write was refused had been paused until long after it was replaced: they were at work
until the last thing that had an effect, an accepted write. What a paused process did not do, and
what the guard kept out, harmed nobody; everything else that overlaps did.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from elector.demo.ledger import Entry
from elector.demo.report import Stay
from elector.demo.witness import Deed, Line


def stays(lines: Iterable[Line], entries: Iterable[Entry]) -> list[Stay]:
    """The tenures that the evidence shows, by token.

    >>> stays([Line(10, "anna", "begin", 1), Line(30, "anna", "end", 1)], [])
    [Stay(token=1, replica='anna', begin_ns=10, end_ns=30, entries=0)]
    """
    said: defaultdict[tuple[int, str], list[Line]] = defaultdict(list)
    written: defaultdict[tuple[int, str], list[Entry]] = defaultdict(list)
    for line in lines:
        if line.token:
            said[line.token, line.replica].append(line)
    for entry in entries:
        written[entry.token, entry.replica].append(entry)
    return [_stay(*key, said[key], written[key]) for key in sorted({*said, *written})]


def _stay(token: int, replica: str, lines: Sequence[Line], entries: Sequence[Entry]) -> Stay:
    times = [line.at for line in lines] + [entry.at for entry in entries]
    effects = [*_at(lines, "begin"), *_at(lines, "wrote"), *(entry.at for entry in entries)]
    ends = [] if _at(lines, "refused") else _at(lines, "end")
    return Stay(
        token=token,
        replica=replica,
        begin_ns=min(times),
        end_ns=max([*effects, *ends], default=min(times)),
        entries=len(entries),
    )


def _at(lines: Iterable[Line], did: Deed) -> list[int]:
    return [line.at for line in lines if line.did == did]


def problems(lines: Sequence[Line], entries: Sequence[Entry]) -> list[str]:
    """Everything that is wrong, in words; empty if nothing is.

    Args:
        lines: what all witnesses saw.
        entries: the ledger, in the order of its commits.

    >>> problems([Line(10, "anna", "begin", 1), Line(30, "anna", "end", 1),
    ...           Line(20, "bert", "begin", 2), Line(40, "bert", "end", 2)], [])
    ['anna (token 1) was still at work when bert (token 2) began, for 10 ns']
    """
    return [
        *_overlaps(stays(lines, entries)),
        *_stale_writes(entries),
        *_contradictions(lines, entries),
    ]


def _overlaps(tenures: Sequence[Stay]) -> list[str]:
    # Whoever reached furthest so far is the one to compare with, not just the one before.
    found, furthest = [], None
    for stay in tenures:
        if furthest is not None and furthest.end_ns > stay.begin_ns:
            found.append(
                f"{_who(furthest)} was still at work when {_who(stay)} began, "
                f"for {furthest.end_ns - stay.begin_ns} ns"
            )
        if furthest is None or stay.end_ns > furthest.end_ns:
            furthest = stay
    shared = [
        f"token {one.token} was given to {one.replica} and to {other.replica}"
        for one, other in pairwise(tenures)
        if one.token == other.token
    ]
    return found + shared


def _stale_writes(entries: Sequence[Entry]) -> list[str]:
    return [
        f"the ledger accepted a stale write: entry {entry.number} of {_who(entry)} "
        f"came after one of {_who(before)}"
        for before, entry in pairwise(entries)
        if entry.token < before.token
    ]


def _contradictions(lines: Sequence[Line], entries: Sequence[Entry]) -> list[str]:
    ledger = {(entry.token, entry.replica, entry.entry) for entry in entries}
    seen: defaultdict[Deed, set[tuple[int, str, int]]] = defaultdict(set)
    for line in lines:
        seen[line.did].add((line.token, line.replica, line.entry))
    complaints = [
        (ledger - seen["writing"], "is in the ledger, but nobody saw it being written"),
        (seen["wrote"] - ledger, "was seen being written, but is not in the ledger"),
        (seen["refused"] & ledger, "was refused, and is in the ledger all the same"),
    ]
    return [
        f"entry {entry} of {replica} (token {token}) {complaint}"
        for guilty, complaint in complaints
        for token, replica, entry in sorted(guilty)
    ]


def _who(one: Stay | Entry) -> str:
    return f"{one.replica} (token {one.token})"
