"""Which links a partition cuts: pairs (from, to), each one way.

Sources: the partial partitions of Alquraan et al., "An analysis of network-partitioning
failures in cloud systems" (OSDI 2018), and the names that Jepsen gave them.
"""

from collections.abc import Iterable, Iterator, Sequence

Link = tuple[int, int]


def both_ways(pairs: Iterable[Link]) -> Iterator[Link]:
    """Every link and its opposite."""
    for near, far in pairs:
        yield near, far
        yield far, near


def isolated(node: int, nodes: int) -> list[Link]:
    """One node cut off from all others.

    >>> isolated(0, 3)
    [(0, 1), (1, 0), (0, 2), (2, 0)]
    """
    return list(both_ways((node, other) for other in range(nodes) if other != node))


def deaf(node: int, nodes: int) -> list[Link]:
    """A node that is heard, and hears nothing."""
    return [(other, node) for other in range(nodes) if other != node]


def between(these: Sequence[int], those: Sequence[int]) -> list[Link]:
    """No word between two groups."""
    return list(both_ways((near, far) for near in these for far in those))


def halves(order: Sequence[int]) -> list[Link]:
    """The first half of a shuffled order, rounded down, and the rest."""
    middle = len(order) // 2
    return between(order[:middle], order[middle:])


def minority(order: Sequence[int]) -> list[Link]:
    """The largest minority, and the rest."""
    few = (len(order) - 1) // 2
    return between(order[:few], order[few:])


def bridge(order: Sequence[int]) -> list[Link]:
    """Two halves that only the first of the order connects."""
    _, *others = order
    middle = len(others) // 2
    return between(others[:middle], others[middle:])


def majorities_ring(order: Sequence[int]) -> list[Link]:
    """Each node keeps its nearest neighbours on a ring, just enough for a majority.

    >>> majorities_ring([0, 1, 2, 3, 4])[:4]
    [(0, 2), (2, 0), (0, 3), (3, 0)]
    """
    count = len(order)
    near = max(1, count // 4)
    cut = [
        (order[a], order[b])
        for a in range(count)
        for b in range(a + 1, count)
        if min(b - a, count - (b - a)) > near
    ]
    return list(both_ways(cut))


def all_but(kept: Iterable[Link], nodes: int) -> list[Link]:
    """Everything is cut except these links, which stay open both ways."""
    stay = set(both_ways(kept))
    return [
        (near, far)
        for near in range(nodes)
        for far in range(nodes)
        if near != far and (near, far) not in stay
    ]
