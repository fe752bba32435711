"""What one member can do: the steps of the protocol, and crashes between any two effects.

Theory
    A step is taken at once: all its effects, or, if the node crashes during it, the first k
    of them; then only what was persisted in them survives, and the node begins again. Taking
    them at once loses nothing. Between two effects others may act, but what they see of this
    node is what it has sent, and a message sent may always arrive later. The node itself may
    take further events while its disk is busy, but what these ask for waits behind the same
    write; so a crash before the write is done is a crash in this step, and all that came
    later is as if it had not happened.

    A timer that is armed may go off at any time; so a lost, a slow and a fast clock are all
    among what is tried.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.memo import Interned, Memo
from elector.core.peers import (
    Delivered,
    FollowTerm,
    LeadTerm,
    Persist,
    Send,
    StepDownFrom,
    Transfer,
)
from elector.protocols.raft import Raft, RaftState
from elector.protocols.raft_messages import Ballot, Vote
from elector.protocols.raft_settings import RaftSettings
from elector.verification.member_laws import Broken, Laws
from elector.verification.scope import Scope

Build = Callable[[int, tuple[int, ...], RaftSettings], Raft]
"""Makes the node of a number among members: `Raft`, or that class with a bug in it."""


Sends = tuple[tuple[int, int], ...]
"""To whom, and which bits of that one's inbox."""


class Core(NamedTuple):
    """All of a node but what waits to be delivered to it.

    Attributes:
        state: of the protocol, by number.
        timers: that are armed, a bit for each name.
        disk: the ballot that would survive a crash, by number.
        backers: whose vote reached it in this term and has not served yet, a bit for each.
    """

    state: int
    timers: int
    disk: int
    backers: int = 0


class Move(NamedTuple):
    """One thing that a node can do.

    Attributes:
        event: what it is told; None if it just crashes.
        kept: how many effects are carried out before it crashes; None if it does not.
        after: its core then, by number.
        sends: what it sends.
        leads: the term that it says to lead; 0 if none.
        sets: the timers that it arms, a bit for each; -1 for all.
        broken: a law that this breaks.
    """

    event: Any
    kept: int | None
    after: int
    sends: Sends
    leads: int
    sets: int
    broken: Broken | None

    @property
    def idle(self) -> bool:
        """Whether nobody is told anything by it."""
        return not (self.sends or self.leads or self.broken)

    @property
    def law(self) -> str | None:
        """The name of the property that it breaks."""
        return self.broken.property if self.broken else None


class Words:
    """Names that all nodes share: timers, ballots, and the messages that each may receive."""

    def __init__(self, nodes: int) -> None:
        self.timers = Interned[str]()
        self.ballots = Interned[Ballot]()
        self._bits: dict[tuple[int, int, Any], int] = {}
        self.arrivals: list[list[Delivered[Any]]] = [[] for _ in range(nodes)]

    def timer(self, name: str) -> int:
        """The bit of a timer."""
        return 1 << self.timers.number(name)

    def bit(self, to: int, source: int, message: Any) -> int:
        """The bit of a message in the inbox of its addressee."""
        bit = self._bits.get((to, source, message))
        if bit is None:
            bit = self._bits[to, source, message] = 1 << len(self.arrivals[to])
            self.arrivals[to].append(Delivered(0, source, message))
        return bit

    def known_bit(self, to: int, source: int, message: Any) -> int:
        """The same for a message that must have been seen before.

        Raises:
            ValueError: nobody could have sent it.
        """
        try:
            return self._bits[to, source, message]
        except KeyError:
            raise ValueError(f"node {source} never sends {message!r} to node {to}") from None


class Node:
    """One node's cores and moves, each computed when it is first asked for."""

    def __init__(self, number: int, build: Build, scope: Scope, words: Words, laws: Laws) -> None:
        self.number = number
        self.scope = scope
        self.words = words
        self.laws = laws
        self.memo = Memo[RaftState](build(number, tuple(range(scope.nodes)), scope.settings))
        self.protocol: Any = self.memo.protocol
        self.cores = Interned[Core]()
        self._own: list[tuple[Move, ...] | None] = []
        self._received: list[dict[int, tuple[Move, ...]]] = []
        self._fallen: dict[int, int] = {}

    def first(self) -> int:
        """The core of a node that has just been started for the first time."""
        return self._begun(self.protocol.initial(), Ballot())

    def without(self, core: int, timers: int) -> int:
        """The same core with these timers not armed."""
        value = self.cores.values[core]
        return self._number(value._replace(timers=value.timers & ~timers))

    def own(self, core: int) -> tuple[Move, ...]:
        """What it can do by itself: timers, crashes, requests of its user."""
        known = self._own[core]
        if known is None:
            known = self._own[core] = tuple(self._by_itself(core))
        return known

    def received(self, core: int, message: int) -> tuple[Move, ...]:
        """What it can do with the message of this number; nothing if that changes nothing."""
        known = self._received[core].get(message)
        if known is None:
            event = self.words.arrivals[self.number][message]
            known = self._received[core][message] = tuple(self._moves(core, event))
        return known

    def _number(self, core: Core) -> int:
        number = self.cores.number(core)
        if number == len(self._own):
            self._own.append(None)
            self._received.append({})
        return number

    def _begun(self, state: RaftState, durable: Ballot) -> int:
        number, effects = self.memo.step(self.memo.number(state), Start(at=0))
        timers = 0
        for effect in effects:
            if not isinstance(effect, SetTimer):
                raise TypeError(f"a start asks for more than timers: {effect!r}")
            timers |= self.words.timer(effect.name)
        return self._number(Core(number, timers, self.words.ballots.number(durable)))

    def fallen(self, disk: int) -> int:
        """The core after a crash and a restart."""
        known = self._fallen.get(disk)
        if known is None:
            durable = self.words.ballots.values[disk]
            known = self._fallen[disk] = self._begun(self.protocol.recovered(durable), durable)
        return known

    def _by_itself(self, number: int) -> Iterator[Move]:
        core = self.cores.values[number]
        for index, name in enumerate(self.words.timers.values):
            if core.timers >> index & 1:
                yield from self._moves(number, TimerFired(0, name))
        if self.scope.transfer:
            for target in range(self.scope.nodes):
                yield from self._moves(number, Transfer(0, target))
        if self.scope.restarts:
            yield Move(None, 0, self.fallen(core.disk), (), 0, -1, None)

    def _moves(self, number: int, event: Any) -> Iterator[Move]:
        """A step, and the crashes during it; nothing if it changes nothing or is out of scope."""
        core = self.cores.values[number]
        state, effects = self.memo.step(core.state, event)
        if self.memo.state(state).term > self.scope.terms:
            return
        course = _Course(self, core, self._backers(core, state, event, quiet=not effects))
        if isinstance(event, TimerFired):
            course.timers &= ~self.words.timer(event.name)
        told: set[tuple[int, Sends, int]] = set()
        if self.scope.restarts:
            told.add((self.fallen(core.disk), (), 0))  # a crash before all effects is one of `own`
        for kept, effect in enumerate(effects, start=1):
            course.carry_out(effect)
            if self.scope.restarts:
                crashed = (self.fallen(course.disk), course.sent, course.leads)
                if crashed not in told:
                    told.add(crashed)
                    yield Move(event, kept, *crashed, -1, course.broken)
        after = self._number(Core(state, course.timers, course.disk, course.backers))
        move = Move(event, None, after, course.sent, course.leads, course.sets, course.broken)
        if after != number or not move.idle:
            yield move

    def _backers(self, core: Core, after: int, event: Any, *, quiet: bool) -> int:
        """Whose votes reached us: those that changed nothing cannot have mattered."""
        term = self.memo.state(after).term
        backers = core.backers if self.memo.state(core.state).term == term else 0
        if isinstance(event, Delivered) and not (quiet and after == core.state):
            message = event.message
            if isinstance(message, Vote) and message.granted and message.term == term:
                return backers | 1 << event.source
        return backers


class _Course:
    """The effects of a step, carried out one by one."""

    def __init__(self, node: Node, core: Core, backers: int) -> None:
        self.node = node
        self.timers = core.timers
        self.disk = core.disk
        self.backers = backers
        self.sends: dict[int, int] = {}
        self.leads = self.sets = 0
        self.broken: Broken | None = None

    @property
    def sent(self) -> Sends:
        """What was sent so far, as in `Move.sends`."""
        return tuple(self.sends.items())

    def carry_out(self, effect: Any) -> None:
        """Take note of an effect, and judge it."""
        words, laws = self.node.words, self.node.laws
        durable = words.ballots.values[self.disk]
        broken = None
        match effect:
            case SetTimer(name):
                self.sets |= words.timer(name)
                self.timers |= self.sets
            case Send(to, message):
                broken = laws.sent(self.node.number, durable, to, message)
                bit = words.bit(to, self.node.number, message)
                self.sends[to] = self.sends.get(to, 0) | bit
            case Persist(ballot):
                broken = laws.persisted(durable, ballot)
                self.disk = words.ballots.number(ballot)
            case LeadTerm(term):
                broken = laws.leads(term, self.backers)
                self.leads, self.backers = term, 0
            case FollowTerm() | StepDownFrom():
                self.backers = 0
            case _:
                raise TypeError(f"no world can do this: {effect!r}")
        self.broken = self.broken or broken
