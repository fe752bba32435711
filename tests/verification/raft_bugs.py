"""Bugs of Raft for the explorers: the text that is replaced, and where they show.

The numbers are those of the catalogue in `tests.mutants`.
"""

from types import ModuleType
from typing import NamedTuple

from elector.protocols import raft
from tests.mutants import mutation


class Mutant(NamedTuple):
    """A bug: where it is put, which law has to notice, in how large a group."""

    old: str
    new: str
    notices: str
    nodes: int = 3
    variant: str = "plain"


SAFETY = {
    "1 vote lost on restart": Mutant(
        "voted_for=durable.voted_for, log", "voted_for=None, log", "VoteOnce: forgot"
    ),
    "2 term lost on restart": Mutant("term=durable.term,", "term=0,", "VoteOnce: forgot"),
    "3 a second vote in one term": Mutant(
        "if state.voted_for not in {None, source} or message.log < state.log:",
        "if message.log < state.log:",
        "VoteOnce",
    ),
    "4 messages of a lower term accepted": Mutant(
        "        if message.term < state.term:", "        if False:", "TermUnique"
    ),
    "5 an old term's vote counted now": Mutant(
        "        if message.term < state.term:",
        "        if message.term < state.term and not isinstance(message, Vote):",
        "majority",
    ),
    "6 votes not cleared on a new candidacy": Mutant(
        "votes=frozenset({self.node}),",
        "votes=state.votes | {self.node},",
        "majority",
        4,
    ),
    "7 a repeated vote counted twice": Mutant(
        "votes=state.votes | {source})",
        "votes=state.votes | {(1 + source) * 100 ** len(state.votes)})",
        "majority",
        4,
    ),
    "8 half is a quorum": Mutant(
        "self.quorum = len(members) // 2 + 1",
        "self.quorum = (len(members) + 1) // 2",
        "majority",
        4,
    ),
    "10 sent before it is persisted": Mutant(
        "return left + kept + self._outputs(before, after) + effects",
        "return left + self._outputs(before, after) + effects + kept",
        "durable",
    ),
    "9 vote not cleared in a new term": Mutant(
        "term=message.term, voted_for=None)", "term=message.term)", "no leader"
    ),
    "11 PreVote ignores a lower term": Mutant(
        "            case RequestPreVote():\n"
        "                answer = PreVote(state.term, granted=False)\n"
        "            case Heartbeat():\n"
        "                answer = HeartbeatReply(state.term, _NEVER, state.log)\n",
        "",
        "no leader",
        3,
        "both",
    ),
    "12 a node that stands does not forget its leader": Mutant(
        "return replace(state, leader=None), (self._patience(state.leader, at),)",
        "return state, (self._patience(state.leader, at),)",
        "no leader",
        3,
        "both",
    ),
}
"""Number 8 as `len(members) // 2` would let each of three nodes elect itself at once; rounded
up it is the bug that three nodes cannot show."""


def mutated(mutant: Mutant) -> ModuleType:
    """Our code with one bug in it."""
    return mutation.mutated(raft, mutant.old, mutant.new)
