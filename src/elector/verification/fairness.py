"""Liveness on small scopes: a search for ways to go on for ever without a stable leader.

A *lasso* is a way to some situation and from there, round after round, back to it. It is fair
if every node that keeps losing patience gets its turn. If on such a way nobody stays in
office who is connected to a majority, then the protocol has a flaw: nobody hinders it, and it
elects nobody for good.

>>> from elector.verification.kind import everyone
>>> from elector.verification.scope import PLAIN
>>> calm = Situation(nodes=3, settings=PLAIN, links=everyone(3))
>>> find_lasso(calm).violation is None
True
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from elector.core.peers import NO_LOG, Position
from elector.errors import ConfigurationError
from elector.protocols.raft import Raft
from elector.protocols.raft_settings import RaftSettings
from elector.verification.components import components
from elector.verification.cores import Build
from elector.verification.kind import Kind, Links, Rest
from elector.verification.lasso import Turn, tell
from elector.verification.scope import Violation

Disk = tuple[int, Position]


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """Who is connected to whom, and what came before.

    Attributes:
        nodes: how many members.
        settings: of the protocol, without a lease.
        links: that there are, for ever.
        before: links that there were first, each for as long as one likes.
        disks: with which term and which log each node begins; empty: with nothing.

    Raises:
        ConfigurationError: a leader cannot be demanded, or the search cannot judge it.
    """

    nodes: int
    settings: RaftSettings
    links: Links
    before: tuple[Links, ...] = ()
    disks: tuple[Disk, ...] = ()

    def __post_init__(self) -> None:
        if self.settings.lease:
            raise ConfigurationError("a leader's lease counts on clocks: turn lease off")
        if self.disks and len(self.disks) != self.nodes:
            raise ConfigurationError(f"{len(self.disks)} disks are given for {self.nodes} nodes")
        if not self.fit:
            raise ConfigurationError(
                "no node is connected to a majority in both directions: without that there "
                "can be no stable leader"
            )

    @property
    def fit(self) -> frozenset[int]:
        """The nodes that are connected to a majority in both directions."""
        reached = (
            {other for other in range(self.nodes) if {(node, other), (other, node)} <= self.links}
            for node in range(self.nodes)
        )
        return frozenset(
            node for node, others in enumerate(reached) if 2 * (len(others) + 1) > self.nodes
        )

    @property
    def circles(self) -> tuple[frozenset[int], ...]:
        """The groups of nodes of which word passes from one to another at all."""
        circle = {node: frozenset({node}) for node in range(self.nodes)}
        for near, far in self.links:
            joined = circle[near] | circle[far]
            circle.update(dict.fromkeys(joined, joined))
        return tuple(dict.fromkeys(circle.values()))


class Liveness(msgspec.Struct, frozen=True):
    """What came of a search.

    Attributes:
        situation: that was looked at.
        states: at the ends of rounds, terms that differ by a common shift being one.
        cut: how many of them were not followed, because terms had drifted too far apart.
        seconds: that it took.
        violation: a lasso without a stable leader, if there is one.
    """

    situation: Situation
    states: int
    cut: int
    seconds: float
    violation: Violation | None

    @property
    def complete(self) -> bool:
        """Whether every fair way was looked at."""
        return not self.cut


class _Edge(NamedTuple):
    """A round.

    Attributes:
        turn: whose patience ended; None: nobody's; -1: the links changed instead.
        to: the vertex where it ends.
        stirred: whose office began or ended.
    """

    turn: Turn
    to: int
    stirred: frozenset[int]


_Met = Callable[[int, _Edge], bool]
"""Whether a round, from where it begins, is what is asked for."""


class _Vertex(NamedTuple):
    phase: int
    rest: Rest


def find_lasso(situation: Situation, build: Build = Raft, *, gap: int = 4) -> Liveness:
    """Look for a fair way to go on for ever without a stable leader.

    Args:
        situation: which links there are.
        build: makes a member: `Raft`, or that class with a bug in it.
        gap: how far terms may drift apart before a way is not followed any more.
    """
    began = time.perf_counter()
    graph = _Graph(situation, build, gap)
    graph.grow()
    lasso = graph.lasso()
    violation = None
    if lasso is not None:
        stem, loop = lasso
        text = (
            f"for ever {_listed(loop)}: no leader with a majority stays in office, though "
            f"{_named(situation.fit)} could"
        )
        violation = tell(situation, build, stem, loop, text)
    return Liveness(
        situation, len(graph.vertices), graph.cut, time.perf_counter() - began, violation
    )


def _listed(loop: list[Turn]) -> str:
    turns = ", ".join("nobody" if turn is None else f"n{turn}" for turn in loop)
    return f"the patience of {turns} ends in turn"


def _named(nodes: frozenset[int]) -> str:
    return " or ".join(f"n{node}" for node in sorted(nodes))


class _Graph:
    """The ends of rounds, and which lead to which."""

    def __init__(self, situation: Situation, build: Build, gap: int) -> None:
        self.situation = situation
        self.gap = gap
        self.cut = 0
        self.kind = Kind(situation.nodes, situation.settings, build)
        self.phases = (*situation.before, situation.links)
        self.vertices: list[_Vertex] = []
        self.edges: list[list[_Edge]] = []
        self.impatient: list[frozenset[int]] = []
        self._numbers: dict[_Vertex, int] = {}
        self._parents: list[tuple[int, Turn] | None] = []

    def grow(self) -> None:
        """Find everything that can be reached, nearest first."""
        disks = self.situation.disks or ((0, NO_LOG),) * self.situation.nodes
        self._vertex(self._normal(0, self.kind.boot(disks)), None)
        for number, vertex in enumerate(self.vertices):  # it grows meanwhile
            edges: list[_Edge] = []
            self.edges.append(edges)
            self.impatient.append(frozenset())
            if self._too_far(vertex.rest):
                self.cut += 1
                continue
            self.kind.links = self.phases[vertex.phase]
            calm, impatient = self.kind.beat(vertex.rest)
            self.impatient[number] = frozenset(impatient)
            stirred = frozenset(self.kind.stirred)
            for turn in impatient or (None,):
                rest = calm if turn is None else self.kind.lose_patience(calm, turn)
                also = stirred if turn is None else stirred | self.kind.stirred
                after = self._normal(vertex.phase, rest)
                edges.append(_Edge(turn, self._vertex(after, (number, turn)), also))
            if vertex.phase + 1 < len(self.phases):
                after = self._normal(vertex.phase + 1, vertex.rest)
                edges.append(_Edge(-1, self._vertex(after, (number, -1)), frozenset()))

    def _vertex(self, vertex: _Vertex, parent: tuple[int, Turn] | None) -> int:
        number = self._numbers.setdefault(vertex, len(self.vertices))
        if number == len(self.vertices):
            self.vertices.append(vertex)
            self._parents.append(parent)
        return number

    def _normal(self, phase: int, rest: Rest) -> _Vertex:
        """Terms as low as they can be, but 1: before the links are final, all can still meet."""
        final = phase == len(self.phases) - 1
        everybody = frozenset(range(self.situation.nodes))
        places = list(rest)
        for circle in self.situation.circles if final else (everybody,):
            low = min(self.kind.state(node, rest[node]).term for node in circle)
            for node in circle:
                places[node] = self.kind.shifted(node, rest[node], max(0, low - 1))
        return _Vertex(phase, tuple(places))

    def _too_far(self, rest: Rest) -> bool:
        terms = [self.kind.state(node, place).term for node, place in enumerate(rest)]
        return max(terms) > self.gap + max((term for term, _ in self.situation.disks), default=0)

    # -- lassos --------------------------------------------------------------------------

    def lasso(self) -> tuple[list[Turn], list[Turn]] | None:
        """The turns that lead to a loop without a stable leader, and those of the loop."""
        flawed = [
            sorted(part)
            for part in components([[edge.to for edge in edges] for edges in self.edges])
            if self.vertices[part[0]].phase == len(self.phases) - 1 and self._flawed(part)
        ]
        if not flawed:
            return None
        part = min(flawed)
        return self._stem(part[0]), self._loop(part)

    def _inside(self, part: list[int]) -> Iterator[tuple[int, _Edge]]:
        members = frozenset(part)
        for vertex in part:
            for edge in self.edges[vertex]:
                if edge.to in members:
                    yield vertex, edge

    def _flawed(self, part: list[int]) -> bool:
        inside = list(self._inside(part))
        return bool(inside) and all(
            any(met(vertex, edge) for vertex, edge in inside) for met in self._demands()
        )

    def _demands(self) -> list[_Met]:
        """What must occur on a loop for it to be fair, and to have no stable leader."""

        def has_its_turn(node: int) -> _Met:
            return lambda vertex, edge: edge.turn == node or node not in self.impatient[vertex]

        def is_not_stable(node: int) -> _Met:
            return lambda vertex, edge: (
                node in edge.stirred or not self.vertices[vertex].rest[node].office
            )

        nodes = range(self.situation.nodes)
        return [
            *(has_its_turn(node) for node in nodes),
            *(is_not_stable(node) for node in self.situation.fit),
        ]

    def _stem(self, vertex: int) -> list[Turn]:
        turns: list[Turn] = []
        parent = self._parents[vertex]
        while parent is not None:
            vertex, turn = parent
            turns.append(turn)
            parent = self._parents[vertex]
        return turns[::-1]

    def _loop(self, part: list[int]) -> list[Turn]:
        """From the first vertex past everything that is demanded, and back."""
        demands = self._demands()
        here = part[0]
        turns: list[Turn] = []
        while demands:
            way = self._way(part, here, _any(demands))
            for vertex, edge in way:
                demands = [met for met in demands if not met(vertex, edge)]
                turns.append(edge.turn)
                here = edge.to
        if here != part[0]:
            turns += [edge.turn for _, edge in self._way(part, here, lambda _, e: e.to == part[0])]
        return turns

    def _way(self, part: list[int], here: int, met: _Met) -> list[tuple[int, _Edge]]:
        """The shortest way inside a part of which the last edge is one that was asked for."""
        members = frozenset(part)
        ways: dict[int, list[tuple[int, _Edge]]] = {here: []}
        todo = deque([here])
        while todo:
            vertex = todo.popleft()
            for edge in self.edges[vertex]:
                if edge.to not in members:
                    continue
                way = [*ways[vertex], (vertex, edge)]
                if met(vertex, edge):
                    return way
                if edge.to not in ways:
                    ways[edge.to] = way
                    todo.append(edge.to)
        raise AssertionError("a strongly connected component is not connected")


def _any(demands: list[_Met]) -> _Met:
    return lambda vertex, edge: any(met(vertex, edge) for met in demands)
