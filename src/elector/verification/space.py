"""Global states as single numbers, and their successors by addition.

Layout
    A state is one Python integer, from the lowest bit: for each node its core; for each node
    and term a bit "has led it"; for each node a bit for every message that was ever sent to
    it; on top how many crashes there were. A message that was sent stays: it may arrive late,
    again, or never, so the set of all messages sent is all there is to know of a network that
    loses, repeats, delays and reorders.

Tables
    What a node can do depends on its core, on those messages in its inbox that change
    something in that core, and on which of the messages that it would send are there already.
    All this lies in the bits of one mask, which only the core decides. So for each core there
    is a table from ``state & mask`` to the numbers that, added to the state, make its
    successors; an entry is computed when it is first needed, and so is the verdict on it.
    States outnumber entries by hundreds, and judging costs the inner loop nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from elector.verification.cores import Build, Move, Node, Words
from elector.verification.dead import close, dead_messages, dead_timers
from elector.verification.member_laws import Broken, Laws
from elector.verification.scope import Reduction, Scope


class Found(Exception):  # noqa: N818 - it reads as a sentence
    """A move that violates something; `state` is where it begins, if it is known yet."""

    def __init__(self, node: int, move: Move, broken: Broken) -> None:
        super().__init__(broken.text)
        self.node = node
        self.move = move
        self.broken = broken
        self.state = 0


class _Way(NamedTuple):
    """A move in terms of a packed state.

    Attributes:
        needs: bits that must be set.
        change: of the core and of the number of crashes, to be added.
        adds: bits that are set afterwards.
        keeps: of the node's inbox, what still matters afterwards.
        rivals: bits that must not be set if at most one leads a term.
        move: as the node sees it.
    """

    needs: int
    change: int
    adds: int
    keeps: int
    rivals: int
    move: Move


class Table(dict[int, tuple[Any, ...]]):
    """From the bits that matter to a node in one core, to its ways from there.

    A way is the number to add; with dead messages dropped, that and what the node's inbox keeps.
    """

    __slots__ = ("_space", "_ways", "mask", "node")

    def __init__(self, space: "Space", node: int, ways: list[_Way]) -> None:
        super().__init__()
        self._space = space
        self._ways = ways
        self.node = node
        self.mask = space.core_mask[node]
        for way in ways:
            self.mask |= way.needs | way.adds | way.rivals

    def __missing__(self, key: int) -> tuple[Any, ...]:
        found: dict[Any, None] = {}
        for way in self._ways:
            if way.needs & key == way.needs:
                broken = way.move.broken or self._space.judged(way, key)
                if broken:
                    raise Found(self.node, way.move, broken)
                added = way.change + (way.adds & ~key)
                if self._space.drops:
                    found[self._space.shared(added), way.keeps] = None
                elif added:
                    found[added] = None
        entry: tuple[Any, ...] = self._space.shared(tuple(map(self._space.shared, found)))
        self[key] = entry
        return entry


class Row(NamedTuple):
    """What a node can do in one of its cores.

    Attributes:
        mask: the bits that matter.
        table: its ways, by these bits.
        others: the bits of other nodes that stay, those of dead messages missing.
    """

    mask: int
    table: Table
    others: int


class Rows(dict[int, tuple[Row, ...]]):
    """From the cores of all nodes to what each can do; with or without crashes."""

    __slots__ = ("_space", "crashes")

    def __init__(self, space: "Space", *, crashes: bool) -> None:
        super().__init__()
        self._space = space
        self.crashes = crashes

    def __missing__(self, key: int) -> tuple[Row, ...]:
        rows = self[key] = tuple(self._space.rows(key, crashes=self.crashes))
        return rows


class Space:
    """All that can happen in a scope, packed.

    Args:
        scope: what is explored.
        build: makes the members.
        properties: which are judged.
        reductions: what is used to merge states.
    """

    def __init__(
        self,
        scope: Scope,
        build: Build,
        properties: tuple[str, ...],
        reductions: tuple[Reduction, ...],
    ) -> None:
        self.scope = scope
        self.words = Words(scope.nodes)
        laws = Laws(scope.nodes, properties)
        self.nodes = [Node(number, build, scope, self.words, laws) for number in range(scope.nodes)]
        self.first = [node.first() for node in self.nodes]
        self.drops = "messages" in reductions or "symmetry" in reductions
        self._drops_dead = "messages" in reductions
        self._unique = "TermUnique" in properties
        self._shared: dict[Any, Any] = {}
        self._plain_core = self._close(timers="timers" in reductions)
        self._arrange()
        self.live = [self._live(node) for node in self.nodes]
        self._tables: dict[tuple[int, int, bool], Table] = {}
        self.start = sum(
            self._plain_core[node][core] << self.core_shift[node]
            for node, core in enumerate(self.first)
        )

    def _close(self, *, timers: bool) -> list[list[int]]:
        """All cores; for each the core that stands for it."""
        while True:
            close(self.nodes, self.words)
            sizes = [len(node.cores) for node in self.nodes]
            if not timers:
                return [list(range(size)) for size in sizes]
            plain = [self._without_dead_timers(node) for node in self.nodes]
            if sizes == [len(node.cores) for node in self.nodes]:
                return plain

    def _without_dead_timers(self, node: Node) -> list[int]:
        dead = dead_timers(node, len(self.words.arrivals[node.number]))
        return [node.without(core, timers) for core, timers in enumerate(dead)]

    def _arrange(self) -> None:
        """Give everything its place."""
        at = 0
        self.core_shift, self.core_mask, self.inbox_shift = [], [], []
        for node in self.nodes:
            width = max(1, (len(node.cores) - 1).bit_length())
            self.core_shift.append(at)
            self.core_mask.append((1 << width) - 1 << at)
            at += width
        self.all_cores = (1 << at) - 1
        self._led_shift = at
        at += self.scope.nodes * self.scope.terms
        for arrivals in self.words.arrivals:
            self.inbox_shift.append(at)
            at += len(arrivals)
        self.one_crash = 1 << at
        self.last_crash = self.scope.restarts << at
        self.bits = at + self.scope.restarts.bit_length()

    def _live(self, node: Node) -> list[int]:
        """For each core, the bits of its inbox that matter."""
        messages = len(self.words.arrivals[node.number])
        everything = (1 << messages) - 1
        dead = dead_messages(node, messages) if self._drops_dead else [0] * len(node.cores)
        return [(everything & ~mask) << self.inbox_shift[node.number] for mask in dead]

    def plain_core(self, node: int, core: int) -> int:
        """The core that stands for this one."""
        return self._plain_core[node][core]

    def part(self, node: int) -> int:
        """All bits of a state that belong to a node."""
        inbox = (1 << len(self.words.arrivals[node])) - 1
        return self.core_mask[node] | self._led_in_all(node) | inbox << self.inbox_shift[node]

    def led_shift(self, node: int) -> int:
        """Where the terms stand that a node has led."""
        return self._led_shift + node * self.scope.terms

    def led_by(self, node: int, state: int) -> int:
        """The terms that a node has led, a bit for each."""
        return (state & self._led_in_all(node)) >> self.led_shift(node)

    def inbox(self, node: int, state: int) -> int:
        """The messages that were sent to a node, a bit for each."""
        return state >> self.inbox_shift[node] & (1 << len(self.words.arrivals[node])) - 1

    def shared(self, value: Any) -> Any:
        """The one object that stands for all equal ones."""
        return self._shared.setdefault(value, value)

    def core(self, node: int, state: int) -> int:
        """The core of a node, by number."""
        return (state & self.core_mask[node]) >> self.core_shift[node]

    def rows(self, cores: int, *, crashes: bool) -> Iterator[Row]:
        """What each node can do, from the cores of all."""
        own = [self.core(node, cores) for node in range(self.scope.nodes)]
        live = [self.live[node][core] for node, core in enumerate(own)]
        fixed = self.all_cores | self._led_of_all() | ~(self.one_crash - 1)
        for node, core in enumerate(own):
            table = self._table(node, core, crashes=crashes)
            others = fixed | sum(live) - live[node]
            yield Row(table.mask, table, self.shared(others))

    def _table(self, node: int, core: int, *, crashes: bool) -> Table:
        known = self._tables.get((node, core, crashes))
        if known is None:
            ways = [way for way in self._ways(node, core) if crashes or way.move.kept is None]
            known = self._tables[node, core, crashes] = Table(self, node, ways)
        return known

    def _ways(self, node: int, core: int) -> Iterator[_Way]:
        member = self.nodes[node]
        for move in member.own(core):
            yield self._way(node, core, 0, move)
        for number in range(len(self.words.arrivals[node])):
            for move in member.received(core, number):
                yield self._way(node, core, 1 << self.inbox_shift[node] + number, move)

    def _way(self, node: int, core: int, needs: int, move: Move) -> _Way:
        after = self._plain_core[node][move.after]
        crashed = 0 if move.kept is None else self.one_crash
        change = (after - core << self.core_shift[node]) + crashed
        adds = sum(bits << self.inbox_shift[to] for to, bits in move.sends)
        rivals = 0
        if move.leads:
            mine = self._led(node, move.leads)
            adds |= mine
            rivals = sum(self._led(each, move.leads) for each in range(self.scope.nodes)) - mine
        return _Way(needs, change, adds, self.live[node][after], rivals, move)

    def _led(self, node: int, term: int) -> int:
        return 1 << self.led_shift(node) + term - 1

    def _led_of_all(self) -> int:
        return ((1 << self.scope.nodes * self.scope.terms) - 1) << self._led_shift

    def judged(self, way: _Way, key: int) -> Broken | None:
        """At most one node leads a term (3.2)."""
        if not self._unique or not way.rivals & key:
            return None
        rival = next(
            node for node in range(self.scope.nodes) if key & way.rivals & self._led_in_all(node)
        )
        term = way.move.leads
        return Broken("TermUnique", f"a second node leads term {term}, which {rival} has led")

    def _led_in_all(self, node: int) -> int:
        terms = self.scope.terms
        return ((1 << terms) - 1) << self.led_shift(node)

    def moves(self, state: int) -> Iterator[tuple[int, Move, int]]:
        """The slow way to all successors: who moves, how, and the state then."""
        for node, way in self._possible(state):
            after = state + way.change | way.adds
            if self.drops:
                after &= self._kept(after)
            yield node, way.move, after

    def violations(self, state: int) -> Iterator[tuple[int, Move, Broken]]:
        """The moves that violate something: who makes them, and what it is."""
        for node, way in self._possible(state):
            broken = way.move.broken or self.judged(way, state)
            if broken:
                yield node, way.move, broken

    def _possible(self, state: int) -> Iterator[tuple[int, _Way]]:
        for node in range(self.scope.nodes):
            for way in self._ways(node, self.core(node, state)):
                crashes = way.move.kept is not None
                if way.needs & state == way.needs and not (crashes and state >= self.last_crash):
                    yield node, way

    def _kept(self, state: int) -> int:
        """All bits but those of dead messages."""
        kept = self.all_cores | self._led_of_all() | ~(self.one_crash - 1)
        for node in range(self.scope.nodes):
            kept |= self.live[node][self.core(node, state)]
        return kept
