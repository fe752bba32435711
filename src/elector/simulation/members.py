"""A world of members that elect among themselves: messages, disks, crashes.

Steps of a timeless protocol are memoised, and what they ask for is compiled once into small
tuples; then an event costs an entry of the agenda, a look into a table and its effects. When
somebody reads every `Step`, or the protocol keeps clock values, each step is taken anew: the
run is the same, event for event.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.memo import Interned
from elector.core.peers import (
    NO_LOG,
    Appended,
    Delivered,
    FollowTerm,
    LeadTerm,
    Persist,
    Position,
    Send,
    StepDownFrom,
    Transfer,
)
from elector.protocols.raft import Raft, RaftState
from elector.protocols.raft_messages import Ballot
from elector.protocols.raft_settings import RaftSettings
from elector.simulation import links
from elector.simulation.chance import Chance
from elector.simulation.faults import Faults, Trouble
from elector.simulation.network import Network
from elector.simulation.world import Deed, Watcher, World
from elector.trace import records
from elector.trace.plain import plain

Make = Callable[[int, tuple[int, ...], RaftSettings], Raft]
_Op = tuple[int, int, Any, int]

_TIMERS = 32  # keys below are timers, keys from here on are messages
_TIMER, _OUTPUT = -1, -2
_NO_FAULTS = Faults()


class _Taken(NamedTuple):
    """A step that was computed.

    Attributes:
        table: what is known of the steps from the next state.
        ops: what is asked for: (to, key there, message, told) sends; (-1, timer, earliest, width)
            sets a timer, ns from now on the node's clock; (-2, 0, effect, 0) is all else.
        plain: nothing but messages and timers.
    """

    table: "_Table"
    ops: tuple[_Op, ...]
    plain: bool


class _Table(dict[int, _Taken]):
    """The steps from one state, by key."""

    __slots__ = ("state",)

    def __init__(self, state: RaftState) -> None:
        super().__init__()
        self.state = state


class Members(World):
    """n nodes of a Raft group in one world.

    Args:
        nodes: how many.
        settings: of the protocol.
        faults: what befalls them.
        chance: where choices come from.
        watchers: who is told what happens.
        make: makes the node of a number among members; other than `Raft` to try other code.
        logs: how far each node's log reaches at first.
    """

    def __init__(
        self,
        nodes: int,
        settings: RaftSettings,
        faults: Faults = _NO_FAULTS,
        chance: Chance | None = None,
        watchers: tuple[Watcher, ...] = (),
        *,
        make: Make = Raft,
        logs: Sequence[Position] = (),
    ) -> None:
        super().__init__(nodes, faults, chance or Chance(), watchers)
        self.settings = settings
        self.protocols = [make(node, tuple(range(nodes)), settings) for node in range(nodes)]
        self.disks = [Ballot()] * nodes
        self.logs = list(logs or (NO_LOG,) * nodes)
        self.offices: dict[int, int] = {}  # who says that it leads, and which term
        self.events = 0
        self.sent: list[int] = []  # how often each message was sent
        self.messages = Interned[Any]()
        self._memoises = self.protocols[0].timeless and records.Step not in self.wanted
        self._tables: list[dict[RaftState, _Table]] = [{} for _ in range(nodes)]
        self._table = [
            self._table_of(node, self.protocols[node].initial()) for node in range(nodes)
        ]
        self._timers = Interned[str]()
        self._due = [[0] * _TIMERS for _ in range(nodes)]
        self._entry = [[0] * _TIMERS for _ in range(nodes)]
        # When it was asked for, when it is written if it is a write, and what it is.
        self._todo: list[deque[tuple[int, int, _Op]]] = [deque() for _ in range(nodes)]
        self._writing = [False] * nodes
        self._written = [0] * nodes
        self._forgets = [Ballot()] * nodes
        self._life = [0] * nodes
        self._stalled_until = [0] * nodes
        self._copies: dict[int, int] = {}
        self._traced = not self.wanted.isdisjoint({records.Deliver, records.Drop})
        self._remembers = self.chance.remembers or self._traced
        self.network = Network(self)

    def state(self, node: int) -> RaftState:
        """What a node remembers now."""
        return self._table[node].state

    def leader(self) -> int | None:
        """Who leads the latest term, if it still says so."""
        return max(self.offices, key=self.offices.__getitem__) if self.offices else None

    def follows(self, node: int) -> int | None:
        """Whom a node takes for the leader."""
        return self.state(node).leader

    def sent_by_type(self) -> dict[str, int]:
        """How many messages of each type were sent."""
        counts: Counter[str] = Counter()
        for message, count in zip(self.messages.values, self.sent, strict=True):
            counts[type(message).__name__] += count
        return dict(counts)

    # -- the course of time --------------------------------------------------------------

    def run_until(  # noqa: C901 - the hot loop: a call costs as much as a branch
        self, end: int, stop: Callable[[], bool] | None = None
    ) -> bool:
        """See `World.run_until`; `stop` is looked at before every event."""
        agenda, entries, dues, paused = self._agenda, self._entry, self._due, self.paused_until
        tables, memoises, writing = self._table, self._memoises, self._writing
        cuts, traced = self.network.cuts, self._traced
        while agenda and agenda[0][0] <= end and not self.over:
            if stop is not None and stop():
                return True
            when, number, node, key = heappop(agenda)
            self.now = when
            if node < 0:
                self._deeds.pop(number)()
                continue
            if key < _TIMERS:
                if entries[node][key] != when:
                    continue
                entries[node][key] = 0
                due = dues[node][key]
                if due != when or when < paused[node]:
                    self._set_timer(node, key, max(due, paused[node]) if due else 0)
                    continue
                dues[node][key] = 0
            elif (when < paused[node] or not self.up[node] or cuts or traced) and (
                not self._arrives(node, key, number)
            ):
                continue
            self.events += 1
            if memoises:
                taken = tables[node].get(key) or self._compute(node, key)
                tables[node] = taken.table
                ops = taken.ops
                if taken.plain and not writing[node] and not self.weather.crash:
                    if ops:
                        self._perform(node, ops)
                    continue
            else:
                ops = self._step(node, self._event(node, key))
            self._ask(node, ops)
        if not self.over:
            self.now = max(self.now, end)
        return stop is not None and stop()

    # -- steps ---------------------------------------------------------------------------

    def _table_of(self, node: int, state: RaftState) -> _Table:
        if not self._memoises:
            return _Table(state)
        known = self._tables[node].get(state)
        if known is None:
            known = self._tables[node][state] = _Table(state)
        return known

    def _event(self, node: int, key: int) -> Any:
        """What a key stands for, dated by the node's clock."""
        at = 0 if self._memoises else self.clocks[node].shows(self.now)
        if key < _TIMERS:
            return TimerFired(at, self._timers.values[key])
        message, source = divmod(key - _TIMERS, self.nodes)
        return Delivered(at, source, self.messages.values[message])

    def _compute(self, node: int, key: int) -> _Taken:
        """Take a step for the first time, and remember it."""
        table = self._table[node]
        state, effects = self.protocols[node].step(table.state, self._event(node, key))
        ops = tuple(self._op(node, effect, 0) for effect in effects)
        simple = all(op[0] != _OUTPUT for op in ops)
        taken = table[key] = _Taken(self._table_of(node, state), ops, simple)
        return taken

    def _step(self, node: int, event: Any) -> tuple[_Op, ...]:
        """Take a step and tell it; what it asks for."""
        state, effects = self.protocols[node].step(self.state(node), event)
        self._table[node] = self._table_of(node, state)
        if records.Step in self.wanted:
            told = tuple(plain(effect) for effect in effects)
            self.tell(records.Step(self.now, node, plain(event), told, plain(state)))
        return tuple(self._op(node, effect, event.at) for effect in effects)

    def _op(self, node: int, effect: Any, at: int) -> _Op:
        match effect:
            case Send(to, message):
                number = self.messages.number(message)
                if number == len(self.sent):
                    self.sent.append(0)
                return to, _TIMERS + number * self.nodes + node, number, self._tells(message)
            case SetTimer(name, earliest, latest):
                return _TIMER, self._timers.number(name), earliest - at, latest - earliest
        return _OUTPUT, 0, effect, 0

    def _tells(self, message: Any) -> bool:
        """Whether somebody reads of messages of this type."""
        types = self.wanted_messages
        return types is None or type(message).__name__ in types

    def feed(self, node: int, event: Callable[[int], Any]) -> None:
        """Let a node that is up take an event that is neither timer nor message."""
        if not self.up[node]:
            return
        if self.now < self.paused_until[node]:
            self.at(self.paused_until[node], lambda: self.feed(node, event))
            return
        self.events += 1
        at = 0 if self._memoises else self.clocks[node].shows(self.now)
        self._ask(node, self._step(node, event(at)))

    # -- effects -------------------------------------------------------------------------

    def _perform(self, node: int, ops: Sequence[_Op]) -> None:
        """Carry out messages and timers."""
        now, duplicate, fate = self.now, self.weather.duplicate, self.network.fate
        carefully = self._remembers or self.weather.late_ns > 0 or any(self.network.slowed)
        for to, key, what, width in ops:
            if to == _TIMER:
                if width or carefully:
                    self._draw_timer(node, key, what, width)
                else:
                    self._set_timer(node, key, now + self.clocks[node].lasts(what))
                continue
            self.sent[what] += 1
            if width or carefully:
                self._send(node, to, key, what, told=bool(width))
                continue
            delay = fate()
            if delay >= 0:
                self._sequence += 1
                heappush(self._agenda, (now + delay, self._sequence, to, key))
            if duplicate and self._coin(duplicate):
                self._sequence += 1
                heappush(self._agenda, (now + self.network.delay(), self._sequence, to, key))

    def _send(self, node: int, to: int, key: int, message: int, *, told: bool) -> None:
        """Send where choices are remembered, links are slow, or somebody reads about it."""
        name, low = f"send {node}>{to}", self.weather.delay.low_ns
        delay = self.chance.choose(name, self.network.fate, low)
        self._sequence += 1
        first = self._sequence
        if told:
            said = plain(self.messages.values[message])
            self.tell(records.Send(self.now, node, to, first, said))
        slowed = self.network.slowed[node] + self.network.slowed[to]
        if delay >= 0:
            heappush(self._agenda, (self.now + delay + slowed, first, to, key))
        else:
            self.tell(records.Drop(self.now, to, first, "lost"))
        duplicate = self.weather.duplicate
        if duplicate and self.chance.choose(f"{name} twice", lambda: self._coin(duplicate), 0):
            delay = self.chance.choose(f"{name} again", self.network.delay, low)
            self._sequence += 1
            self._copies[self._sequence] = first
            heappush(self._agenda, (self.now + delay + slowed, self._sequence, to, key))

    def _arrives(self, node: int, key: int, number: int) -> bool:
        """Whether a message reaches a node that takes it now."""
        source = (key - _TIMERS) % self.nodes
        first = self._copies.pop(number, number)
        if not self.up[node] or self.network.cuts.get((source, node)):
            self.tell(records.Drop(self.now, node, first, "cut" if self.up[node] else "down"))
            return False
        if self.now < self.paused_until[node]:
            self._sequence += 1
            self._copies[self._sequence] = first
            heappush(self._agenda, (self.paused_until[node], self._sequence, node, key))
            return False
        if self._traced:
            self.tell(records.Deliver(self.now, node, first))
        return True

    def _draw_timer(self, node: int, timer: int, earliest: int, width: int, since: int = 0) -> None:
        """Draw inside the window; `since`, not above 0, is when it was asked for."""
        waits = earliest
        if width:
            random = self.chance.random
            if self.chance.remembers:
                name = f"timer {node} {self._timers.values[timer]}"
                waits += self.chance.choose(name, lambda: int(random.random() * width), width // 2)
            else:
                waits += int(random.random() * width)
        if self.weather.late_ns:
            waits += self._lateness(node)
        due = self.now + since + self.clocks[node].lasts(max(waits, 0))
        self._set_timer(node, timer, max(due, self.now + 1))

    def _set_timer(self, node: int, timer: int, due: int) -> None:
        """Let it fire at a true time, 0 for never; an earlier entry of it is used again."""
        self._due[node][timer] = due
        entry = self._entry[node][timer]
        if due and (entry == 0 or entry > due):
            self._entry[node][timer] = due
            self._sequence += 1
            heappush(self._agenda, (due, self._sequence, node, timer))

    def _lateness(self, node: int) -> int:
        most, random = self.weather.late_ns, self.chance.random
        return self.chance.choose(f"late {node}", lambda: random.randint(0, most), 0)

    def _ask(self, node: int, ops: Sequence[_Op]) -> None:
        """Put what a step asks for behind what is still to be done.

        Writes begin at once and are finished in their order; what follows one waits for it.
        Timers count from the step, however long they wait here.
        """
        for op in ops:
            written_at = 0
            if isinstance(op[2], Persist):
                written_at = self._written[node] = self._write_ends(node, op[2].durable)
            self._todo[node].append((self.now, written_at, op))
        self._work(node)

    def _write_ends(self, node: int, durable: Ballot) -> int:
        if self.weather.votes_only and durable.voted_for in {None, node}:
            return max(self.now, self._written[node])
        low, high = self.weather.disk
        random = self.chance.random
        took = self.chance.choose(f"disk {node}", lambda: random.randint(low, high), low)
        return max(self.now + took, self._stalled_until[node], self._written[node])

    def _work(self, node: int) -> None:
        """Carry out effects in order: a write is waited for, and a crash may come before any."""
        todo = self._todo[node]
        while todo and not self._writing[node] and not self.over:
            if self.weather.crash and self._crashes(node):
                return
            asked_at, written_at, op = todo.popleft()
            if op[0] == _TIMER:
                since = asked_at - self.now
                self._draw_timer(node, op[1], op[2], op[3], since)
            elif op[0] != _OUTPUT:
                self._perform(node, (op,))
            elif isinstance(op[2], Persist):
                self._write(node, op[2].durable, written_at)
            else:
                self._say(node, op[2])

    def _crashes(self, node: int) -> bool:
        rate, random = self.weather.crash, self.chance.random
        if not self.chance.choose(f"crash {node}", lambda: self._coin(rate), 0):
            return False
        low, high = self.weather.down
        down = self.chance.choose(f"down {node}", lambda: random.randint(low, high), low)
        self.crash(node, self.now + down)
        return True

    def _write(self, node: int, durable: Ballot, written_at: int) -> None:
        life = self._life[node]
        self._writing[node] = True

        def written() -> None:
            if self._life[node] == life:
                self._forgets[node], self.disks[node] = self.disks[node], durable
                self._writing[node] = False
                if records.Persist in self.wanted:
                    self.tell(records.Persist(self.now, node, plain(durable)))
                self._work(node)

        self.at(max(written_at, self._stalled_until[node]), written)

    def _say(self, node: int, effect: Any) -> None:
        """An output: what the members were elected for."""
        match effect:
            case LeadTerm(term, until):
                self.offices[node] = term
                ends = None if until is None else self.clocks[node].true(until)
                self.tell(records.Lead(self.now, node, term, ends))
            case StepDownFrom(term):
                self.offices.pop(node, None)
                self.tell(records.StepDown(self.now, node, term))
            case FollowTerm(term, leader):
                self.tell(records.Follow(self.now, node, leader, term))
            case _:
                raise TypeError(f"no world can do this: {effect!r}")

    # -- processes -----------------------------------------------------------------------

    def boot(self, node: int) -> None:
        """Start a node with what is on its disk; one that is up already stays as it is."""
        if self.up[node]:
            return
        self.up[node] = True
        state = self.protocols[node].recovered(self.disks[node], self.logs[node])
        self._table[node] = self._table_of(node, state)
        self.tell(records.Boot(self.now, node))
        self.feed(node, Start)

    def crash(self, node: int, until: int) -> None:
        """Kill a process; it is started again at `until`."""
        if not self.up[node]:
            return
        self.up[node], self._writing[node] = False, False
        self._life[node] += 1
        self._todo[node].clear()
        self._written[node] = 0
        self._due[node] = [0] * _TIMERS
        self.offices.pop(node, None)
        self.tell(records.Crash(self.now, node))
        self.at(until, lambda: self.boot(node))

    def append(self, node: int) -> None:
        """A node's log grows; that it is durable at once is somebody else's work."""
        term, index = self.logs[node]
        position = self.logs[node] = (max(term, self.state(node).term), index + 1)
        self.feed(node, lambda at: Appended(at, position))

    def transfer(self, node: int, target: int) -> None:
        """Ask a node to hand over, if it leads."""
        self.feed(node, lambda at: Transfer(at, target))

    # -- troubles ------------------------------------------------------------------------

    def strike(self, what: str, nodes: tuple[int, ...], trouble: Trouble) -> Deed | None:
        """See `World.strike`."""
        if what in _PARTITIONS:
            return self.network.cut(_PARTITIONS[what](nodes, self.nodes))
        return _TROUBLES[what](self, nodes, trouble)

    def storm(self, until: int) -> None:
        """Kill every process."""
        for node in range(self.nodes):
            self.crash(node, until)

    def stall(self, node: int, until: int) -> None:
        """Let no write of a node be durable before this."""
        self._stalled_until[node] = max(self._stalled_until[node], until)

    def slow(self, node: int, by: int) -> Deed:
        """Let everything from and to a node take longer."""
        slowed = self.network.slowed
        slowed[node] += by

        def recover() -> None:
            slowed[node] -= by  # of the list of then: everything may have been mended meanwhile

        return recover

    def forget(self, node: int, until: int) -> None:
        """Lose the last write, though the disk had said that it was durable, and crash."""
        self.disks[node] = self._forgets[node]
        self.crash(node, until)

    def change_clock(self, what: str, node: int, trouble: Trouble) -> Deed | None:
        """Give a clock another rate, stop it or let it jump; timers go by it, so they move too."""
        clock, before = self.clocks[node], self.clocks[node].ppm
        left = [clock.shows(due) - clock.shows(self.now) for due in self._due[node]]
        if what == "step":
            clock.change(self.now, step=trouble.value)
            left = [waits - trouble.value for waits in left]
        else:
            clock.change(self.now, ppm=-1_000_000 if what == "freeze" else trouble.value)
        self.tell_clock(node, what)
        for timer, due in enumerate(self._due[node]):
            if due:
                self._set_timer(node, timer, self.now + clock.lasts(max(1, left[timer])))
        if what != "freeze":
            return None
        thaw = Trouble(trouble.until, "drift", (node,), value=before)
        return lambda: self.change_clock("drift", node, thaw) and None

    def settle(self) -> None:
        """See `World.settle`."""
        self.network.settle()
        for node in range(self.nodes):
            self.paused_until[node] = min(self.paused_until[node], self.now)
            self._stalled_until[node] = 0
            self.boot(node)
        furthest = max(self.logs)
        for node in range(self.nodes):
            if self.logs[node] != furthest:  # replication would have done this
                self.logs[node] = furthest
                self.feed(node, lambda at: Appended(at, furthest))

    def _coin(self, probability: float) -> int:
        return int(self.chance.random.random() < probability)


_PARTITIONS: dict[str, Callable[[tuple[int, ...], int], list[links.Link]]] = {
    "cut": lambda nodes, _: [(nodes[0], nodes[1])],
    "isolate": lambda nodes, count: links.isolated(nodes[0], count),
    "deaf": lambda nodes, count: links.deaf(nodes[0], count),
    "halves": lambda nodes, _: links.halves(nodes),
    "minority": lambda nodes, _: links.minority(nodes),
    "bridge": lambda nodes, _: links.bridge(nodes),
    "ring": lambda nodes, _: links.majorities_ring(nodes),
}
_TROUBLES: dict[str, Callable[[Members, tuple[int, ...], Trouble], Deed | None]] = {
    "crash": lambda world, nodes, trouble: world.crash(nodes[0], trouble.until),
    "storm": lambda world, _, trouble: world.storm(trouble.until),
    "pause": lambda world, nodes, trouble: world.pause(nodes[0], trouble.until),
    "stall": lambda world, nodes, trouble: world.stall(nodes[0], trouble.until),
    "slow": lambda world, nodes, trouble: world.slow(nodes[0], trouble.value),
    "transfer": lambda world, nodes, _: world.transfer(*nodes),
    "append": lambda world, nodes, _: world.append(nodes[0]),
    "amnesia": lambda world, nodes, trouble: world.forget(nodes[0], trouble.until),
    "flap": lambda world, nodes, trouble: world.network.flap((nodes[0], nodes[1]), trouble.until),
    "drift": lambda world, nodes, trouble: world.change_clock("drift", nodes[0], trouble),
    "freeze": lambda world, nodes, trouble: world.change_clock("freeze", nodes[0], trouble),
    "step": lambda world, nodes, trouble: world.change_clock("step", nodes[0], trouble),
}
