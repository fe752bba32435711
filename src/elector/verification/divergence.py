"""Takes the steps of a trace again, and finds the first one that went otherwise.

Theory
    A protocol's step is a function of state and event, and both are in the trace. So a trace of
    any world can be checked without that world: begin where a node began, take its events in
    their order, and compare what is asked for and what the state is after each of them. A
    difference means that other code ran than this, or that the trace is not as it was written.

    A node that begins again begins with what it had made durable. How far its log reached is
    taken from its first step, for logs are not the election's affair.

    In production a record of what a step means (`Lead`, `Request`…) is made of the step alone,
    so those are checked too; in other worlds a crash may keep an effect from being carried out.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from elector.core.identity import Candidate
from elector.core.timing import LeaseTiming
from elector.errors import TraceError
from elector.protocols.lease import LeaseCandidate
from elector.protocols.raft import Raft
from elector.protocols.raft_settings import RaftSettings
from elector.trace import records
from elector.trace.plain import plain
from elector.trace.records import Header, Record
from elector.verification.retaken import Node, RetakenCandidate, RetakenMember
from elector.verification.wording import Wording

BuildLease = Callable[[Candidate, LeaseTiming], LeaseCandidate]
BuildRaft = Callable[[int, tuple[int, ...], RaftSettings], Raft]

_FIRST_LINE = 2  # of a file, behind the header


class Difference(msgspec.Struct, frozen=True):
    """One value that differs.

    Attributes:
        where: such as ``after.deadlines.hard_ns`` or ``effects[0].token``.
        recorded: what the trace says, as JSON has it; not set if it is not there.
        now: what this code does; not set if it does nothing of the kind.
    """

    where: str
    recorded: Any | UnsetType = UNSET
    now: Any | UnsetType = UNSET

    def __str__(self) -> str:
        return f"{self.where}: recorded {_short(self.recorded)}, now {_short(self.now)}"


class Divergence(msgspec.Struct, frozen=True):
    """The first record that this code would not have written.

    Attributes:
        record: its number, from 0.
        line: its number in the file, from 1.
        t: when it was, ns.
        node: whose it is, by name.
        what: what it was told, for people.
        differences: every value that differs.
    """

    record: int
    line: int
    t: int
    node: str
    what: str
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        lines = (f"\n  {difference}" for difference in self.differences)
        return f"line {self.line}: {self.node}, {self.what}:{''.join(lines)}"


def first_divergence(
    header: Header,
    told: Iterable[Record],
    *,
    lease: BuildLease = LeaseCandidate,
    raft: BuildRaft = Raft,
) -> Divergence | None:
    """Take all steps of a trace again.

    Args:
        header: of the trace, of any world.
        told: its records.
        lease: makes a candidate; other than `LeaseCandidate` to try other code.
        raft: makes a member.

    Returns:
        The first difference; None if this code would have done all of it.

    Raises:
        TraceError: the trace cannot be used so: an unknown protocol, settings or events that
            make no sense, a step of a node that is not there or has not begun.

    >>> from elector.trace.records import Boot, Step
    >>> header = Header(1, "0.0", "production", "lease", ("a",),
    ...                 settings={"timing": plain(LeaseTiming.of("15s"))})
    >>> start = Step(0, 0, {"type": "Start", "at": 0}, ({"type": "Acquire", "op": 2},))
    >>> print(first_divergence(header, [Boot(0, 0, "a#1"), start]).differences[0])
    effects[0].op: recorded 2, now 1
    """
    return _Retaking(header, lease, raft).all_of(told)


def _nodes(header: Header, lease: BuildLease, raft: BuildRaft) -> list[Node]:
    try:
        if header.protocol == "lease":
            timing = msgspec.convert(header.settings.get("timing"), LeaseTiming)
            return [RetakenCandidate(name, timing, lease) for name in header.nodes]
        if header.protocol == "raft":
            settings = msgspec.convert(header.settings.get("raft"), RaftSettings, str_keys=True)
            members = tuple(range(len(header.nodes)))
            return [RetakenMember(raft(node, members, settings)) for node in members]
    except msgspec.ValidationError as error:
        raise TraceError(f"line 1 of the trace: the settings make no sense: {error}") from error
    raise TraceError(
        f"line 1 of the trace: the protocol is {header.protocol!r}; steps can be taken again of: "
        "lease, raft"
    )


class _Retaking:
    """Goes through a trace, record by record."""

    def __init__(self, header: Header, lease: BuildLease, raft: BuildRaft) -> None:
        self._names = header.nodes
        self._nodes = _nodes(header, lease, raft)
        self._up: set[int] = set()
        self._fresh: set[int] = set()  # has begun, but taken no step
        self._number = 0
        worded = header.world == "production" and header.protocol == "lease"
        self._wording = Wording(header.nodes) if worded else None

    def all_of(self, told: Iterable[Record]) -> Divergence | None:
        for self._number, record in enumerate(told):
            try:
                found = self._one(record)
            except msgspec.ValidationError as error:
                raise self._unusable(f"this makes no sense: {error}") from error
            except _MisplacedError as error:
                raise self._unusable(str(error)) from error
            if found is not None:
                return found
        return None

    def _unusable(self, why: str) -> TraceError:
        return TraceError(f"line {self._number + _FIRST_LINE} of the trace: {why}")

    def _one(self, record: Record) -> Divergence | None:
        match record:
            case records.Step():
                return self._step(record)
            case records.Boot(_, node):
                self._node(node).booted(record.instance)
                self._up.add(node)
                self._fresh.add(node)
            case records.Crash(_, node):
                self._up.discard(node)
            case records.Persist(_, node, durable):
                self._node(node).persisted(durable)
            case records.Fault(_, "amnesia", int(node)):
                self._node(node).forgot()
            case _ if self._wording is not None:
                said, meant = self._wording.compared(record)
                return self._divergence(record, 0, "what its last step means", said, meant)
            case _:
                pass
        return None

    def _node(self, number: int) -> Node:
        if not 0 <= number < len(self._nodes):
            raise _MisplacedError(f"there is no node {number}; the header names {len(self._nodes)}")
        return self._nodes[number]

    def _step(self, record: records.Step) -> Divergence | None:
        node = self._node(record.node)
        if record.node not in self._up:
            raise _MisplacedError(f"node {record.node} takes a step, but it has not begun to run")
        event = msgspec.convert(record.event, node.event_type)
        what = f"told {type(event).__name__}"
        if record.node in self._fresh:
            self._fresh.discard(record.node)
            node.recalled(record.after)
        try:
            effects, after = node.take(event)
        except Exception as error:  # noqa: BLE001 - the code may be another one, and fail anyhow
            return self._divergence(record, record.node, what, {}, {"fails": repr(error)})
        said = {"effects": list(record.effects), "after": record.after}
        meant = {"effects": [plain(effect) for effect in effects], "after": plain(after)}
        found = self._divergence(record, record.node, what, said, meant)
        if found is None and self._wording is not None:
            said, meant = self._wording.stepped(record, event, effects)
            found = self._divergence(record, record.node, what, said, meant)
        return found

    def _divergence(
        self, record: Record, node: int, what: str, said: Any, meant: Any
    ) -> Divergence | None:
        differences = tuple(_differences("", said, meant))
        if not differences:
            return None
        number, name = self._number, self._names[node]
        return Divergence(number, number + _FIRST_LINE, record.t, name, what, differences)


class _MisplacedError(Exception):
    """A record that cannot stand where it stands."""


def _differences(where: str, old: Any, new: Any) -> Iterator[Difference]:
    """Every value that differs; of two different things, the things as a whole."""
    if isinstance(old, dict) and isinstance(new, dict) and old.get("type") == new.get("type"):
        for key in {**new, **old}:
            path = f"{where}.{key}" if where else key
            yield from _differences(path, old.get(key, UNSET), new.get(key, UNSET))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for place, (one, other) in enumerate(zip_longest(old, new, fillvalue=UNSET)):
            yield from _differences(f"{where}[{place}]", one, other)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield Difference(where, old, new)


def _short(value: Any) -> str:
    if value is UNSET:
        return "nothing"
    if isinstance(value, dict) and "type" in value:
        inside = (f"{key}={_short(item)}" for key, item in value.items() if key != "type")
        return f"{value['type']}({', '.join(inside)})"
    return msgspec.json.encode(value).decode()
