"""The laws of a single member, judged when one of its moves is first computed.

They are the properties of `elector.properties.members`, said of one step instead of a whole
run: each follows for the run by induction over its steps. `TermUnique` alone is about two
nodes, and is judged where these meet. Sections are those of Ongaro's dissertation.
"""

from typing import Any, NamedTuple

from elector.protocols.raft_messages import Ballot, PreVote, RequestPreVote, RequestVote, Vote


class Broken(NamedTuple):
    """A property that a move violates, and how."""

    property: str
    text: str


class Laws:
    """Judges what a node does, by its disk and its messages.

    Args:
        nodes: how many there are.
        properties: which are judged.
    """

    def __init__(self, nodes: int, properties: tuple[str, ...]) -> None:
        self.nodes = nodes
        self.chosen = frozenset(properties)

    def _first(self, *said: tuple[bool, str, str]) -> Broken | None:
        for wrong, name, text in said:
            if wrong and name in self.chosen:
                return Broken(name, text)
        return None

    def persisted(self, before: Ballot, after: Ballot) -> Broken | None:
        """Terms do not fall (3.3), and a vote is not given twice (3.4)."""
        changed = after.term == before.term and before.voted_for not in {None, after.voted_for}
        return self._first(
            (after.term < before.term, "TermMonotone", f"{_said(after)} follows {_said(before)}"),
            (changed, "VoteOnce", f"{_said(after)} follows {_said(before)}"),
        )

    def sent(self, node: int, disk: Ballot, to: int, message: Any) -> Broken | None:
        """What leaves a node is on its disk (3.8); `PreVote` speaks of terms not begun."""
        match message:
            case RequestPreVote() | PreVote(granted=True):
                return None
            case Vote(term, granted=True):
                lost = disk != Ballot(term, to)
            case RequestVote(term):
                lost = disk != Ballot(term, node)
            case _:
                lost = message.term > disk.term
        text = f"sent {message!r} while {_said(disk)} is on its disk"
        return self._first(
            (lost, "Durable", text), (message.term < disk.term, "TermMonotone", text)
        )

    def leads(self, term: int, backers: int) -> Broken | None:
        """An office comes from a majority of votes (3.4).

        `backers` are the others whose votes have arrived, a bit for each.
        """
        votes = backers.bit_count() + 1
        return self._first(
            (
                2 * votes <= self.nodes,
                "Majority",
                f"leads term {term} by {votes} of {self.nodes} votes",
            )
        )


def _said(ballot: Ballot) -> str:
    vote = "no vote" if ballot.voted_for is None else f"a vote for {ballot.voted_for}"
    return f"term {ballot.term} with {vote}"
