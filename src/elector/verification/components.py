"""Strongly connected components: where an endless walk through a finite graph ends up."""

from collections.abc import Iterator, Sequence


def components(successors: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Tarjan's algorithm (1972), without recursion.

    Args:
        successors: of each vertex, by number.

    >>> sorted(map(sorted, components([[1], [2, 0], [2]])))
    [[0, 1], [2]]
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    stacked: set[int] = set()
    for root in range(len(successors)):
        if root in order:
            continue
        order[root] = low[root] = len(order)
        stack.append(root)
        stacked.add(root)
        path = [(root, iter(successors[root]))]
        while path:
            vertex, rest = path[-1]
            for after in rest:
                if after not in order:
                    order[after] = low[after] = len(order)
                    stack.append(after)
                    stacked.add(after)
                    path.append((after, iter(successors[after])))
                    break
                if after in stacked:
                    low[vertex] = min(low[vertex], order[after])
            else:
                path.pop()
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[vertex])
                if low[vertex] == order[vertex]:
                    place = stack.index(vertex)
                    found = stack[place:]
                    del stack[place:]
                    stacked.difference_update(found)
                    yield found
