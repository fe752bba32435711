"""A lasso as a trace: the way to the loop, and the loop once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from elector.core.events import Start
from elector.core.peers import NO_LOG, Delivered, FollowTerm, LeadTerm, Persist, Send, StepDownFrom
from elector.protocols.raft import RaftState
from elector.protocols.raft_messages import Ballot
from elector.trace import records
from elector.trace.plain import plain
from elector.verification.cores import Build
from elector.verification.kind import Kind, Links
from elector.verification.scope import Violation
from elector.version import __version__

if TYPE_CHECKING:
    from elector.verification.fairness import Situation

Turn = int | None
"""Whose patience ends in a round; None: nobody's; -1: the links change instead."""


def tell(
    situation: "Situation", build: Build, stem: list[Turn], loop: list[Turn], text: str
) -> Violation:
    """The violation with its trace, in which a round takes an election timeout."""
    teller = _Teller(situation, build)
    teller.run(stem)
    teller.add(records.Fault(teller.now, "from here again and again"))
    teller.run(loop)
    teller.add(records.End(teller.now))
    header = records.Header(
        format=records.FORMAT,
        elector=__version__,
        world="verification",
        protocol="raft",
        nodes=tuple(f"n{node}" for node in range(situation.nodes)),
        settings={"raft": plain(situation.settings)},
        run={
            "situation": plain(situation),
            "violates": {"property": "EventuallyLed", "text": text},
            "loop": len(loop),
        },
    )
    return Violation("EventuallyLed", text, len(stem) + len(loop), header, tuple(teller.told))


class _Teller:
    """Plays rounds and writes down what happens."""

    def __init__(self, situation: "Situation", build: Build) -> None:
        self.situation = situation
        self.now = 0
        self.told: list[records.Record] = []
        self.kind = Kind(situation.nodes, situation.settings, build)
        self.kind.listener = self._step
        self._numbers: dict[tuple[int, int, Any], int] = {}
        self._sent = 0
        self._phases = iter((*situation.before, situation.links))
        self._links: Links = self.kind.links
        self._change_links()
        disks = situation.disks or ((0, NO_LOG),) * situation.nodes
        for node, (term, _) in enumerate(disks):
            if term:  # what it once wrote is where it begins
                self.add(records.Persist(0, node, plain(Ballot(term))))
            self.add(records.Boot(0, node))
        self.rest = self.kind.boot(disks)

    def add(self, record: records.Record) -> None:
        """Write down one thing."""
        self.told.append(record)

    def run(self, turns: list[Turn]) -> None:
        """Play rounds."""
        for turn in turns:
            if turn == -1:
                self._change_links()
                continue
            round_began = self.now
            self.rest, _ = self.kind.beat(self.rest)
            self.now = max(self.now, round_began + self.situation.settings.election_ns)
            if turn is not None:
                self.rest = self.kind.lose_patience(self.rest, turn)

    def _change_links(self) -> None:
        links = next(self._phases)
        for node, to in sorted(self._links - links):
            self.add(records.Cut(self.now, node, to))
        for node, to in sorted(links - self._links):
            self.add(records.Heal(self.now, node, to))
        self._links = self.kind.links = links

    def _step(self, node: int, event: Any, _: tuple[Any, ...], before: RaftState) -> None:
        """Take the step again at its own time, and tell it."""
        self.now += _A_WHILE
        if isinstance(event, Delivered):
            number = self._numbers[event.source, node, event.message]
            self.add(records.Deliver(self.now, node, number))
        dated = replace(event, at=0 if isinstance(event, Start) else self.now)
        after, effects = self.kind.memos[node].protocol.step(before, dated)
        asked = tuple(plain(effect) for effect in effects)
        self.add(records.Step(self.now, node, plain(dated), asked, plain(after)))
        for effect in effects:
            self.told.extend(self._done(node, effect))

    def _done(self, node: int, effect: Any) -> Iterator[records.Record]:
        match effect:
            case Send(to, message):
                self._numbers[node, to, message] = self._sent
                yield records.Send(self.now, node, to, self._sent, plain(message))
                if (node, to) not in self._links:
                    yield records.Drop(self.now, to, self._sent, "cut")
                self._sent += 1
            case Persist(durable):
                yield records.Persist(self.now, node, plain(durable))
            case LeadTerm(term):
                yield records.Lead(self.now, node, term)
            case FollowTerm(term, leader):
                yield records.Follow(self.now, node, leader, term)
            case StepDownFrom(term):
                yield records.StepDown(self.now, node, term)
            case _:
                pass


_A_WHILE = 1_000_000
