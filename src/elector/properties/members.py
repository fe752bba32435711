"""Safety of members that elect among themselves: terms, votes, disks, majorities.

Sections are those of Ongaro's dissertation. All of it is judged by what is seen from outside:
disks, sends and outputs. Nothing here looks into a node, so a bug there cannot hide itself.
Disks are empty at the beginning of a trace.
"""

from collections import defaultdict
from typing import Any

from elector.properties.verdict import Property
from elector.trace import records
from elector.trace.records import Plain, Record

_BALLOTS = frozenset({"Vote", "RequestVote"})
_TERMS = frozenset({"Vote", "RequestVote", "PreVote", "RequestPreVote", "TimeoutNow"})
_BEATS = frozenset({"Heartbeat", "HeartbeatReply"})


class TermUnique(Property):
    """At most one leader under each token, restarts included; naming one counts (3.2)."""

    name = "TermUnique"
    text = "under each token (term) at most one node leads, and all who name a leader agree"
    reads = frozenset({records.Lead, records.Follow})
    needs = frozenset({"durable_state", "rising_tokens"})

    def __init__(self) -> None:
        super().__init__()
        self._leaders: dict[int, int] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Lead(_, node, token):
                leader: int | None = node
            case records.Follow(_, _, leader, token):
                pass
            case _:
                return None
        if leader is None:
            return None
        self.exercised += 1
        first = self._leaders.setdefault(token, leader)
        return f"{first} and {leader} lead under token {token}" if first != leader else None


class _Disks(Property):
    """What all nodes have on their disks, as far as they told.

    Args:
        every_message: judge heartbeats too: most of all messages, so a simulation is slower.
    """

    def __init__(self, *, every_message: bool = False) -> None:
        super().__init__()
        if every_message:
            self.messages = _TERMS | _BEATS
        self.disks: dict[int, tuple[int, int | None]] = defaultdict(lambda: (0, None))

    def note(self, record: records.Persist) -> tuple[int, int | None]:
        """Remember a write; what was there before."""
        before = self.disks[record.node]
        self.disks[record.node] = _ballot(record.durable)
        return before


class VoteOnce(_Disks):
    """A node gives one vote in a term (3.4), and remembers it through a crash (3.8).

    A vote is seen when it is sent and when it is written; to stand is to vote for oneself.
    """

    name = "VoteOnce"
    text = "a node votes for at most one node in a term"
    reads = frozenset({records.Persist, records.Send})
    messages = _BALLOTS
    needs = frozenset({"durable_state"})

    def __init__(self) -> None:
        super().__init__()
        self._votes: dict[tuple[int, int], int] = {}

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        if isinstance(record, records.Persist):
            return self._persisted(record)
        if not isinstance(record, records.Send):
            return None
        choice = _choice(record)
        if choice is None:
            return None
        self.exercised += 1
        term = record.message["term"]
        first = self._votes.setdefault((record.node, term), choice)
        if first != choice:
            return f"node {record.node} voted for {first} and for {choice} in term {term}"
        return None

    def _persisted(self, record: records.Persist) -> str | None:
        (old_term, old), (term, new) = self.note(record), _ballot(record.durable)
        if term == old_term and old not in {None, new}:
            return f"node {record.node} changed its vote of term {term} on disk"
        return None


class Durable(_Disks):
    """Term and vote are on disk before anything that depends on them leaves the node (3.8)."""

    name = "Durable"
    text = "a term or vote is on disk before it is told"
    reads = frozenset({records.Persist, records.Send, records.Lead})
    messages = _TERMS
    needs = frozenset({"durable_state"})

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Persist():
                self.note(record)
            case records.Send():
                return self._sent(record)
            case records.Lead(_, node, token):
                self.exercised += 1
                if self.disks[node][0] != token:
                    return f"node {node} leads term {token}, which is not on its disk"
            case _:
                pass
        return None

    def _sent(self, record: records.Send) -> str | None:
        if _hypothetical(record.message):
            return None
        self.exercised += 1
        term, choice = record.message["term"], _choice(record)
        on_disk = self.disks[record.node]
        if term > on_disk[0]:
            return f"node {record.node} told of term {term}, which is not on its disk"
        if choice is not None and on_disk != (term, choice):
            return f"node {record.node} told of a vote for {choice} that is not on its disk"
        return None


class TermMonotone(_Disks):
    """Terms never fall: on disk, in what is sent, in what is led (3.3)."""

    name = "TermMonotone"
    text = "a node's term never falls"
    reads = frozenset({records.Persist, records.Send, records.Lead})
    messages = _TERMS
    needs = frozenset({"durable_state"})

    def __init__(self, *, every_message: bool = False) -> None:
        super().__init__(every_message=every_message)
        self._led: dict[int, int] = defaultdict(int)

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Persist():
                before = self.note(record)
                self.exercised += 1
                if self.disks[record.node][0] < before[0]:
                    return f"the term on node {record.node}'s disk fell from {before[0]}"
            case records.Send() if not _hypothetical(record.message):
                if record.message["term"] < self.disks[record.node][0]:
                    return f"node {record.node} sent the old term {record.message['term']}"
            case records.Lead(_, node, token):
                if token < self._led[node]:
                    return f"node {node} led term {token} after {self._led[node]}"
                self._led[node] = token
            case _:
                pass
        return None


class Majority(Property):
    """Who leads a term has the votes of a majority of different nodes (3.4).

    Only the first vote of a node in a term counts; a vote counts as soon as it is sent.

    Args:
        nodes: how many there are.
    """

    name = "Majority"
    text = "a leader has the votes of a majority"
    reads = frozenset({records.Send, records.Lead})
    messages = _BALLOTS
    needs = frozenset({"durable_state"})

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self._nodes = nodes
        self._votes: dict[int, dict[int, int]] = defaultdict(dict)  # term: voter: choice

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Send():
                choice = _choice(record)
                if choice is not None:
                    self._votes[record.message["term"]].setdefault(record.node, choice)
            case records.Lead(_, node, token):
                self.exercised += 1
                cast = self._votes[token]
                cast.setdefault(node, node)  # alone, it asked nobody
                votes = sum(choice == node for choice in cast.values())
                if 2 * votes <= self._nodes:
                    return f"node {node} leads term {token} by {votes} of {self._nodes} votes"
            case _:
                pass
        return None


def _ballot(durable: Plain) -> tuple[int, int | None]:
    return durable["term"], durable["voted_for"]


def _choice(sent: records.Send) -> int | None:
    """For whom the sender of a message votes in it."""
    message: dict[str, Any] = sent.message
    if message["type"] == "Vote" and message["granted"]:
        return sent.to
    return sent.node if message["type"] == "RequestVote" else None


def _hypothetical(message: Plain) -> bool:
    """Whether the term in it is one that nobody has begun (9.6)."""
    kind: str = message["type"]
    return kind == "RequestPreVote" or (kind == "PreVote" and bool(message["granted"]))
