"""Which messages and timers do not matter any more: inferred from steps that changed nothing.

Theory
    All cores that a node can have, if any message that anybody could send may reach it at any
    time, are computed first; there are few, because the network is left out. A message is
    *dead* in a core if its delivery changes nothing there, nor in any core that can follow.
    Then it makes no difference whether it is still on its way, and two worlds that differ in
    nothing else are one. A timer is dead in a core if its going off changes nothing there,
    nor in any core that can follow before it is set again.

    Nothing is declared. A rule such as "old terms are dropped anyway" would hold for the
    correct code and hide the very bugs that break it; what is inferred from the steps of a
    wrong code is true of the wrong code. The cores are more than can really occur, so less is
    found dead than is dead: that costs states, and never a counterexample.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_

from elector.core.events import TimerFired
from elector.verification.cores import Move, Node, Words


def close(nodes: Sequence[Node], words: Words) -> None:
    """Compute every core and every move, whatever may be on its way."""
    known = [[0] * 0 for _ in nodes]  # of each core, how many messages it was given
    grew = True
    while grew:
        grew = False
        for node, given in zip(nodes, known, strict=True):
            arrivals = words.arrivals[node.number]
            core = 0
            while core < len(node.cores):
                if core == len(given):
                    node.own(core)
                    given.append(0)
                    grew = True
                while given[core] < len(arrivals):
                    node.received(core, given[core])
                    given[core] += 1
                    grew = True
                core += 1


def moves_of(node: Node, core: int, messages: int) -> list[Move]:
    """Everything that can happen in a core."""
    return [
        *node.own(core),
        *(move for number in range(messages) for move in node.received(core, number)),
    ]


def dead_messages(node: Node, messages: int) -> list[int]:
    """For each core, the messages that are dead in it, a bit for each."""
    quiet = [
        sum(1 << number for number in range(messages) if not node.received(core, number))
        for core in range(len(node.cores))
    ]
    after = [
        {move.after for move in moves_of(node, core, messages)} for core in range(len(node.cores))
    ]
    return _greatest(
        quiet, lambda core, dead: reduce(and_, (dead[end] for end in after[core]), dead[core])
    )


def dead_timers(node: Node, messages: int) -> list[int]:
    """For each core, the timers that are dead in it, a bit for each; what is not set is dead."""
    after = [
        {(move.after, move.sets) for move in moves_of(node, core, messages)}
        for core in range(len(node.cores))
    ]
    unset = [~core.timers for core in node.cores.values]

    def still(core: int, dead: list[int]) -> int:
        lasting = (dead[end] | sets for end, sets in after[core])
        return unset[core] | reduce(and_, lasting, dead[core])

    return _greatest(
        [unset[core] | _harmless(node, core) for core in range(len(node.cores))], still
    )


def _harmless(node: Node, core: int) -> int:
    """The armed timers whose going off changes nothing but that they are not armed any more."""
    armed = node.cores.values[core].timers
    for move in node.own(core):
        if isinstance(move.event, TimerFired):
            timer = 1 << node.words.timers.number(move.event.name)
            if move.sets or not move.idle or move.after != node.without(core, timer):
                armed &= ~timer
    return armed


def _greatest(sets: list[int], smaller: Callable[[int, list[int]], int]) -> list[int]:
    """The greatest fixpoint below the given sets."""
    changed = True
    while changed:
        changed = False
        for core in reversed(range(len(sets))):
            left = smaller(core, sets)
            if left != sets[core]:
                sets[core] = left
                changed = True
    return sets
