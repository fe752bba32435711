"""What must hold in every run of Raft, judged by what is seen from outside: disks, sends, outputs.

Nothing here looks into the state of a node, so a bug there cannot hide itself.
"""

from collections import defaultdict
from typing import NamedTuple

from elector.core.peers import FollowTerm, LeadTerm, Persist, Send, StepDownFrom
from elector.protocols.raft import RaftEffect
from elector.protocols.raft_messages import (
    Ballot,
    PreVote,
    RaftMessage,
    RequestPreVote,
    RequestVote,
    Vote,
)


class LawBroken(AssertionError):  # noqa: N818 - it reads as a sentence
    """What the run showed, and which law forbids it."""


def demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise LawBroken(complaint)


class Office(NamedTuple):
    """Who says that it leads, and until when on true time (None: until it steps down)."""

    node: int
    term: int
    until: float | None


class RaftLaws:
    """Watches effects as they are carried out, in the order in which that happens."""

    def __init__(self, nodes: int, *, only_leaders: bool = False) -> None:
        self.nodes = nodes
        self.only_leaders = only_leaders
        self.disks = [Ballot() for _ in range(nodes)]
        self.leaders: dict[int, int] = {}
        self.led: dict[int, list[int]] = defaultdict(list)
        self.votes: dict[tuple[int, int], int] = {}
        self.offices: dict[int, Office] = {}

    def watch(self, node: int, effect: RaftEffect, now: float, until: float | None = None) -> None:
        """Judge one effect; `until` is a lease's end on true time."""
        match effect:
            case Persist(durable):
                self._persisted(node, durable)
            case Send(to, message):
                self._sent(node, to, message)
            case LeadTerm(term):
                self._leads(node, term, now, until)
            case FollowTerm(term, leader) if leader is not None:
                self._names(term, leader)
            case StepDownFrom(term):
                self.offices.pop(node, None)
            case _:
                pass

    def crashed(self, node: int) -> None:
        self.offices.pop(node, None)

    def restarted(self, node: int, state: Ballot) -> None:
        if not self.only_leaders:
            demand(state == self.disks[node], "VoteOnce: forgot its ballot in a crash")

    def _persisted(self, node: int, ballot: Ballot) -> None:
        before = self.disks[node]
        self.disks[node] = ballot
        if self.only_leaders:
            return
        demand(ballot.term >= before.term, "TermMonotone: a term fell on disk")
        changed = ballot.term == before.term and before.voted_for not in {None, ballot.voted_for}
        demand(not changed, "VoteOnce: the vote of a term was changed on disk")

    def _sent(self, node: int, to: int, message: RaftMessage) -> None:
        match message:
            case Vote(term, granted=True):
                self._voted(node, term, to)
            case RequestVote(term):
                self._voted(node, term, node)
            case RequestPreVote() | PreVote(granted=True):
                return  # a term that nobody has begun
            case _:
                term = message.term
        if not self.only_leaders:
            demand(term <= self.disks[node].term, "durable: sent a term that is not on disk")
            demand(term >= self.disks[node].term, "TermMonotone: sent an old term")

    def _voted(self, node: int, term: int, choice: int) -> None:
        first = self.votes.setdefault((node, term), choice)
        if not self.only_leaders:
            demand(first == choice, f"VoteOnce: two votes of node {node} in term {term}")
            demand(self.disks[node] == Ballot(term, choice), "durable: a vote that is not on disk")

    def _leads(self, node: int, term: int, now: float, until: float | None) -> None:
        self._names(term, node)
        if not self.led[node] or self.led[node][-1] != term:
            self.led[node].append(term)
        if not self.only_leaders:
            demand(self.led[node] == sorted(self.led[node]), "TermMonotone: led an older term")
            won = sum(self.votes.get((voter, term)) == node for voter in range(self.nodes))
            won += (node, term) not in self.votes  # alone, it asked nobody
            demand(2 * won > self.nodes, f"majority: leads by {won} of {self.nodes} votes")
        if until is not None:
            for rival in self.offices.values():
                met = rival.node != node and rival.until is not None and now < rival.until
                demand(not met or now >= until, "LeaseDisjoint: two leases at one instant")
        self.offices[node] = Office(node, term, until)

    def _names(self, term: int, leader: int) -> None:
        first = self.leaders.setdefault(term, leader)
        demand(first == leader, f"TermUnique: {first} and {leader} lead term {term}")
