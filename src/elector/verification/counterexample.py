"""A way through the space as a trace, told as if it had been watched."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from elector.core.effects import SetTimer
from elector.core.events import Start
from elector.core.peers import Delivered, FollowTerm, LeadTerm, Persist, Send, StepDownFrom
from elector.protocols.raft_messages import Ballot
from elector.trace import records
from elector.trace.plain import plain
from elector.verification.cores import Move
from elector.verification.member_laws import Broken
from elector.version import __version__

if TYPE_CHECKING:
    from elector.verification.space import Space


class Stride(NamedTuple):
    """One step of a way: who moves, and how."""

    node: int
    move: Move


def told(
    space: "Space", path: Sequence[Stride], broken: Broken
) -> tuple[records.Header, tuple[records.Record, ...]]:
    """The trace of a path: each step is taken again, at the instant of its number."""
    scope = space.scope
    header = records.Header(
        format=records.FORMAT,
        elector=__version__,
        world="verification",
        protocol="raft",
        nodes=tuple(f"n{node}" for node in range(scope.nodes)),
        settings={"raft": plain(scope.settings)},
        run={
            "scope": plain(scope),
            "violates": {"property": broken.property, "text": broken.text},
        },
    )
    teller = _Teller(space)
    return header, tuple(teller.tell(path))


class _Teller:
    """Takes the steps of a path again."""

    def __init__(self, space: "Space") -> None:
        self.protocols: list[Any] = [node.protocol for node in space.nodes]
        self.states = [protocol.initial() for protocol in self.protocols]
        self.disks = [Ballot() for _ in self.protocols]
        self.numbers: dict[tuple[int, int, Any], int] = {}
        self.sent = 0

    def tell(self, path: Sequence[Stride]) -> Iterator[records.Record]:
        for node in range(len(self.protocols)):
            yield records.Boot(0, node)
            yield from self._step(0, node, Start(at=0), None)
        for now, (node, move) in enumerate(path, start=1):
            yield from self._stride(now, node, move)
        yield records.End(len(path))

    def _stride(self, now: int, node: int, move: Move) -> Iterator[records.Record]:
        if isinstance(move.event, Delivered):
            source, message = move.event.source, move.event.message
            yield records.Deliver(now, node, self.numbers[source, node, message])
        if move.event is not None:
            yield from self._step(now, node, replace(move.event, at=now), move.kept)
        if move.kept is not None:
            self.states[node] = self.protocols[node].recovered(self.disks[node])
            yield records.Crash(now, node)
            yield records.Boot(now, node)
            yield from self._step(now, node, Start(at=now), None)

    def _step(self, now: int, node: int, event: Any, kept: int | None) -> Iterator[records.Record]:
        self.states[node], effects = self.protocols[node].step(self.states[node], event)
        asked = tuple(plain(effect) for effect in effects)
        yield records.Step(now, node, plain(event), asked, plain(self.states[node]))
        for effect in effects[:kept]:
            match effect:
                case Send(to, message):
                    self.numbers[node, to, message] = self.sent
                    yield records.Send(now, node, to, self.sent, plain(message))
                    self.sent += 1
                case Persist(durable):
                    self.disks[node] = durable
                    yield records.Persist(now, node, plain(durable))
                case LeadTerm(term):
                    yield records.Lead(now, node, term)
                case FollowTerm(term, leader):
                    yield records.Follow(now, node, leader, term)
                case StepDownFrom(term):
                    yield records.StepDown(now, node, term)
                case SetTimer():
                    pass
