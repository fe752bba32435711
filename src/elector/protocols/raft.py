"""Raft's leader election: terms, votes that survive a crash, and a majority.

Source
    Ongaro, "Consensus: bridging theory and practice", dissertation, Stanford 2014: terms
    (3.3), election (3.4), the restriction by logs (3.6.1), persisted state (3.8), timing
    (3.9), transfer (3.10), disruptive servers (4.2.3), a leader without a quorum (6.2), the
    lease (6.4.1), Pre-Vote (9.6). Replication is left to others: a log is only a `Position`.

Theory
    A term has a leader only by the votes of a majority; two majorities share a node; a node
    votes once in a term, and remembers it through a crash. Hence one leader per term. No
    clock is needed for that: time only makes it likely that somebody wins. The lease adds
    the converse: who heard a leader stays true to it for an election timeout T, so that a
    leader acknowledged by a majority is alone for T, less what clocks may drift.

Model
    n known nodes that crash and recover with their durable state; messages may be lost,
    late, repeated and reordered. Only the lease needs a bound on clock rates. Timers fire
    late, and with a lease they may be early: the clock is looked at again.

Laws
    1. Term and vote are durable before anything that depends on them leaves the node; timers
       do not leave it, and do not wait.
    2. Terms never fall; a message of an older term is answered with ours or not at all.
    3. One vote in a term, for a log that is not behind ours, and only from a majority of
       different nodes comes an office.
    4. Leaving office is said first, before the disk is waited for.
    5. A Pre-Vote changes nothing at the node that grants it, and a node that stands for
       office has forgotten its leader (etcd#8334).
    6. A lease counts from before the heartbeat was sent, is given up before an heir is
       told to stand, and is respected through a restart.

The roles::

      FOLLOWER --- T without word from the leader, then the patience ---> PRE_CANDIDATE
       ^  ^  ^                                                              |      ^  |
       |  |  |                                          majority would vote |      +--+
       |  |  |                                                              v      again
       |  |  +-- somebody leads, or a higher term ------------ CANDIDATE <--+
       |  |                                                     |  |   ^
       |  |                                      majority votes |  +---+ TimeoutNow leads
       |  |                                                     v   here from FOLLOWER
       |  +-- majority silent, lease over, office handed on -- LEADER
       +----- a higher term ------------------------------------+

    Without Pre-Vote, PRE_CANDIDATE is passed over.

Cost
    An election without rivals: n-1 requests and as many answers, twice with Pre-Vote. Each
    heartbeat period: 2(n-1) messages. Durable writes: one per term at each node that hears
    of it, two when it hears first and votes later. State holds no clock value and counts
    nothing but terms, unless `lease` is on.

Traps
    Lower-term requests that are ignored instead of answered leave a cluster stuck
    (etcd#8243); a leader that lost its quorum blocks the others by its heartbeats
    (openraft#2080): both `check_quorum` and the answer are needed. A `PreVote` grant may be
    late, from an earlier attempt in the same term: harmless, since it decides nothing.
"""

import enum
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
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
from elector.core.protocol import Requirements
from elector.protocols.raft_messages import (
    Ballot,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    RaftMessage,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    Vote,
)
from elector.protocols.raft_settings import RaftSettings

ELECTION, HEARTBEAT, QUORUM = "election", "heartbeat", "quorum"
RETRANSMIT, TRANSFER, LEASE = "retransmit", "transfer", "lease"

_NEVER = -1
_NOBODY: frozenset[int] = frozenset()


class Role(enum.IntEnum):
    """What a node is in its term; see the picture above. An integer, to be hashed fast."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class RaftState(msgspec.Struct, frozen=True):
    """Everything a node remembers; fields that a role or an option does not need are empty.

    Attributes:
        term: the latest term seen (durable).
        voted_for: whom we voted for in it (durable).
        role: what we are in it.
        leader: who leads it, as long as we have word from it; ourselves if we do.
        votes: who voted, or would vote, for us.
        silent: who has not answered our candidacy; kept for retransmission only.
        endorsed: our candidacy was ordered by the leader.
        heard: who answered since the last check of the quorum; for `check_quorum` only.
        heir: to whom a leader hands over as soon as that one's log has caught up.
        acks: when the latest heartbeat that a peer answered was sent, in the order of
            peers; for `lease` only.
        until: for `lease` only: the end of a leader's lease, 0 before there is one; for
            others, until when no vote may be given.
        log: where our log ends.
    """

    term: int = 0
    voted_for: int | None = None
    role: Role = Role.FOLLOWER
    leader: int | None = None
    votes: frozenset[int] = _NOBODY
    silent: frozenset[int] = _NOBODY
    endorsed: bool = False
    heard: frozenset[int] = _NOBODY
    heir: int | None = None
    acks: tuple[int, ...] = ()
    until: int = 0
    log: Position = NO_LOG


RaftEvent = Start | TimerFired | Delivered[RaftMessage] | Appended | Transfer
RaftEffect = SetTimer | Send[RaftMessage] | Persist[Ballot] | LeadTerm | FollowTerm | StepDownFrom
Step = tuple[RaftState, tuple[RaftEffect, ...]]


class Raft:
    """One node of a Raft group, as a pure state machine.

    Args:
        node: our number.
        members: the numbers of all voters, ours among them.
        settings: times and options; the same at all nodes, except for experiments.

    >>> alone = Raft(0, (0,), RaftSettings.of("150ms", "300ms"))
    >>> for effect in alone.step(alone.initial(), TimerFired(at=0, name="election"))[1][-2:]:
    ...     print(effect)
    Persist(durable=Ballot(term=1, voted_for=0))
    LeadTerm(term=1, until=None)
    """

    def __init__(self, node: int, members: tuple[int, ...], settings: RaftSettings) -> None:
        self.node = node
        self.peers = tuple(member for member in members if member != node)
        self.quorum = len(members) // 2 + 1
        self.settings = settings
        self.requires = Requirements(
            durable_state=True, known_members=True, drift_bound=settings.lease
        )
        self.timeless = not settings.lease
        # The order in which nodes try for a lost leader's office; some never do.
        order = sorted(members, key=lambda member: (-settings.priority(member), member))
        self._order = [member for member in order if settings.priority(member)]

    def initial(self) -> RaftState:
        """The state of a node that has never run."""
        return self.recovered(Ballot())

    def recovered(self, durable: Ballot, log: Position = NO_LOG) -> RaftState:
        """The state after a restart: what was persisted, and nothing else.

        `Start` has to come before any other event: it sets the clock, and with a lease it
        makes us respect what we may have promised to a leader and do not remember.
        """
        return RaftState(term=durable.term, voted_for=durable.voted_for, log=log)

    def step(self, state: RaftState, event: RaftEvent) -> Step:
        """Take one event; see `elector.core.protocol.Protocol`.

        A leader with a lease looks at the clock first, whatever the event is.
        """
        before = state
        lapsed: tuple[RaftEffect, ...] = ()
        if state.role is Role.LEADER and 0 < state.until <= event.at:
            state, lapsed = self._step_down(state, event.at)
        after, effects = self._EVENTS[type(event)](self, state, event)
        return after, self._in_order(before, after, lapsed + effects)

    def _in_order(
        self, before: RaftState, after: RaftState, effects: tuple[RaftEffect, ...]
    ) -> tuple[RaftEffect, ...]:
        """Laws 1 and 4: leave office, set timers, persist, then everything that waits for that."""
        if after is before:
            return effects
        left: tuple[RaftEffect, ...] = ()
        kept: tuple[RaftEffect, ...] = ()
        renewed = after.term != before.term
        if self._in_office(before) and (renewed or not self._in_office(after)):
            left = (StepDownFrom(before.term),)
        if renewed or after.voted_for != before.voted_for:
            kept = (Persist(Ballot(after.term, after.voted_for)),)
            # A timer that was reset would otherwise go off while the disk writes.
            left += tuple(effect for effect in effects if isinstance(effect, SetTimer))
            effects = tuple(effect for effect in effects if not isinstance(effect, SetTimer))
        return left + kept + self._outputs(before, after) + effects

    def _outputs(self, before: RaftState, after: RaftState) -> tuple[RaftEffect, ...]:
        if after.role is Role.LEADER:
            news = not self._in_office(before) or after.until != before.until
            until = after.until if self.settings.lease else None
            return (LeadTerm(after.term, until),) if self._in_office(after) and news else ()
        known = after.leader != before.leader
        renewed = after.leader is not None and after.term != before.term
        return (FollowTerm(after.term, after.leader),) if known or renewed else ()

    def _in_office(self, state: RaftState) -> bool:
        """A leader that works with a lease is in office once it has one."""
        return state.role is Role.LEADER and (not self.settings.lease or state.until > 0)

    # -- messages ----------------------------------------------------------------------

    def _delivered(self, state: RaftState, event: Delivered[RaftMessage]) -> Step:
        message, at = event.message, event.at
        if message.term < state.term:
            return state, self._contradict(state, event)
        if self._disrupts(state, message, at):
            return state, ()
        orphaned = False
        if message.term > state.term and not _hypothetical(message):
            orphaned = state.role is Role.LEADER or (
                self.settings.sticky and state.leader is not None
            )
            state = replace(self._following(state), term=message.term, voted_for=None)
        after, effects = self._MESSAGES[type(message)](self, state, event.source, message, at)
        if orphaned and not any(isinstance(effect, SetTimer) for effect in effects):
            effects += (self._election_timer(at),)
        return after, effects

    @staticmethod
    def _contradict(state: RaftState, event: Delivered[RaftMessage]) -> tuple[RaftEffect, ...]:
        """Tell the sender of an old term's request which term it is; drop the rest (law 2)."""
        answer: RaftMessage
        match event.message:
            case RequestVote():
                answer = Vote(state.term, granted=False)
            case RequestPreVote():
                answer = PreVote(state.term, granted=False)
            case Heartbeat():
                answer = HeartbeatReply(state.term, _NEVER, state.log)
            case _:
                return ()
        return (Send(event.source, answer),)

    def _disrupts(self, state: RaftState, message: RaftMessage, at: int) -> bool:
        """Whether this is a candidate whom nobody needs (section 4.2.3)."""
        return (
            self.settings.check_quorum
            and isinstance(message, RequestVote)
            and not message.endorsed
            and self._in_touch(state, at)
        )

    def _in_touch(self, state: RaftState, at: int) -> bool:
        """Whether a leader was heard within the least election timeout."""
        promised = self.settings.lease and at < state.until
        return self.settings.sticky and (state.leader is not None or promised)

    @staticmethod
    def _following(state: RaftState) -> RaftState:
        """A follower of this term that knows of no leader."""
        return replace(
            state,
            role=Role.FOLLOWER,
            leader=None,
            votes=_NOBODY,
            silent=_NOBODY,
            endorsed=False,
            heard=_NOBODY,
            heir=None,
            acks=(),
            until=0 if state.role is Role.LEADER else state.until,
        )

    def _request_vote(self, state: RaftState, source: int, message: RequestVote, at: int) -> Step:
        """Section 3.4: first come, first served; 3.6.1: if its log is not behind ours."""
        if state.voted_for not in {None, source} or message.log < state.log:
            return state, (Send(source, Vote(state.term, granted=False)),)
        voter = replace(state, voted_for=source)
        if state.role is Role.PRE_CANDIDATE:
            voter = self._following(voter)
        return voter, (Send(source, Vote(state.term, granted=True)), self._election_timer(at))

    def _request_pre_vote(
        self, state: RaftState, source: int, message: RequestPreVote, at: int
    ) -> Step:
        """Section 9.6: would we vote for it? Nothing changes here (law 5)."""
        free = message.term > state.term or state.voted_for in {None, source}
        granted = free and message.log >= state.log and not self._in_touch(state, at)
        answer = PreVote(message.term if granted else state.term, granted)
        return state, (Send(source, answer),)

    def _vote(self, state: RaftState, source: int, message: Vote, at: int) -> Step:
        if state.role is not Role.CANDIDATE:
            return state, ()
        return self._counted(state, source, message.granted, at)

    def _pre_vote(self, state: RaftState, source: int, message: PreVote, at: int) -> Step:
        if state.role is not Role.PRE_CANDIDATE:
            return state, ()
        granted = message.granted and message.term == state.term + 1
        return self._counted(state, source, granted, at)

    def _counted(self, state: RaftState, source: int, granted: bool, at: int) -> Step:
        state = replace(state, silent=state.silent - {source})
        if not granted:
            return state, ()
        state = replace(state, votes=state.votes | {source})
        return self._won(state, at) if len(state.votes) >= self.quorum else (state, ())

    def _heartbeat(self, state: RaftState, source: int, message: Heartbeat, at: int) -> Step:
        follower = state
        if state.leader != source:
            follower = replace(self._following(state), leader=source)
        if self.settings.lease:
            follower = replace(follower, until=at + self.settings.election_ns)
        answer = HeartbeatReply(state.term, message.sent_at, state.log)
        return follower, (Send(source, answer), self._contact_timer(source, at))

    def _heartbeat_reply(
        self, state: RaftState, source: int, message: HeartbeatReply, at: int
    ) -> Step:
        if state.role is not Role.LEADER:
            return state, ()
        if self.settings.check_quorum and source not in state.heard:
            state = replace(state, heard=state.heard | {source})
        if source == state.heir and message.log >= state.log:
            after, effects = self._step_down(state, at)  # law 6: before the heir is told
            return after, (*effects, Send(source, TimeoutNow(state.term)))
        if not self.settings.lease:
            return state, ()
        acks = zip(self.peers, state.acks, strict=True)
        latest = tuple(max(ack, message.sent_at) if peer == source else ack for peer, ack in acks)
        return self._prolong(replace(state, acks=latest), at)

    def _timeout_now(self, state: RaftState, _source: int, _message: TimeoutNow, at: int) -> Step:
        if self.node not in self._order:
            return state, ()
        return self._campaign(state, at, Role.CANDIDATE, endorsed=True)

    # -- standing for office -----------------------------------------------------------

    def _start(self, state: RaftState, event: Start) -> Step:
        """Begin as a follower (3.4); with a lease, as one that may have heard a leader."""
        if self.settings.lease:
            state = replace(state, until=event.at + self.settings.election_ns)
        return state, (self._election_timer(event.at),)

    def _election_timer(self, at: int) -> SetTimer:
        earliest = at + self.settings.election_ns
        return SetTimer(ELECTION, earliest, earliest + self.settings.spread_ns)

    def _contact_timer(self, leader: int, at: int) -> SetTimer:
        """From word of a leader to our candidacy; in two stages, if others may ask before."""
        silence = at + self.settings.election_ns
        if self.settings.sticky:
            return SetTimer(ELECTION, silence, silence)
        return self._patience(leader, silence)

    def _patience(self, leader: int, at: int) -> SetTimer:
        """How much longer than the least timeout we wait: by rank, or else by chance."""
        if self.settings.stagger_ns and self.node in self._order:
            rank = [node for node in self._order if node != leader].index(self.node)
            earliest = at + rank * self.settings.stagger_ns
            return SetTimer(ELECTION, earliest, earliest)
        return SetTimer(ELECTION, at, at + self.settings.spread_ns)

    def _election_due(self, state: RaftState, at: int) -> Step:
        if state.role is Role.LEADER:
            return state, ()
        if state.role is Role.FOLLOWER and at < state.until:
            return state, (SetTimer(ELECTION, state.until, state.until),)  # it was early
        if self.settings.sticky and state.leader is not None:
            return replace(state, leader=None), (self._patience(state.leader, at),)
        if self.node not in self._order:
            return state, ()
        return self._campaign(
            state, at, Role.PRE_CANDIDATE if self.settings.pre_vote else Role.CANDIDATE
        )

    def _campaign(self, state: RaftState, at: int, role: Role, *, endorsed: bool = False) -> Step:
        """Stand for the next term, or ask whether it would be any use (9.6)."""
        standing = replace(
            state,
            role=role,
            leader=None,
            votes=frozenset({self.node}),
            silent=frozenset(self.peers) if self.settings.retransmit_ns else _NOBODY,
            endorsed=endorsed,
        )
        if role is Role.CANDIDATE:
            standing = replace(standing, term=state.term + 1, voted_for=self.node)
        if self.quorum == 1:
            return self._won(standing, at)
        asked = tuple(Send(peer, self._request(standing)) for peer in self.peers)
        return standing, (*asked, self._election_timer(at), *self._retransmit_timer(at))

    def _retransmit_timer(self, at: int) -> tuple[SetTimer, ...]:
        due = at + self.settings.retransmit_ns
        return (SetTimer(RETRANSMIT, due, due),) if self.settings.retransmit_ns else ()

    @staticmethod
    def _request(state: RaftState) -> RequestVote | RequestPreVote:
        if state.role is Role.CANDIDATE:
            return RequestVote(state.term, state.log, state.endorsed)
        return RequestPreVote(state.term + 1, state.log)

    def _retransmit(self, state: RaftState, at: int) -> Step:
        """Ask those again who have not answered; `silent` is empty for all but candidates."""
        if not state.silent:
            return state, ()
        request = self._request(state)
        asked = tuple(Send(peer, request) for peer in self.peers if peer in state.silent)
        return state, (*asked, *self._retransmit_timer(at))

    def _won(self, state: RaftState, at: int) -> Step:
        if state.role is Role.PRE_CANDIDATE:
            return self._campaign(state, at, Role.CANDIDATE)
        leading = replace(
            self._following(state),
            role=Role.LEADER,
            leader=self.node,
            until=0,
            acks=(_NEVER,) * len(self.peers) if self.settings.lease else (),
        )
        after, effects = self._beat(leading, at)
        return after, effects + self._quorum_timer(at)

    # -- holding office ----------------------------------------------------------------

    def _beat(self, state: RaftState, at: int) -> Step:
        """Word to all followers; the clock read here is the one that a lease counts from."""
        if state.role is not Role.LEADER:
            return state, ()
        due = at + self.settings.heartbeat_ns
        beats = tuple(Send(peer, self._word(state, at)) for peer in self.peers)
        after, prolonged = self._prolong(state, at)
        return after, (*beats, SetTimer(HEARTBEAT, due, due), *prolonged)

    def _word(self, state: RaftState, at: int) -> Heartbeat:
        return Heartbeat(state.term, at if self.settings.lease else _NEVER)

    def _quorum_timer(self, at: int) -> tuple[SetTimer, ...]:
        due = at + self.settings.election_ns
        return (SetTimer(QUORUM, due, due),) if self.settings.check_quorum else ()

    def _quorum_due(self, state: RaftState, at: int) -> Step:
        """Section 6.2: a leader that no majority answers is none."""
        if state.role is not Role.LEADER:
            return state, ()
        if len(state.heard) + 1 < self.quorum:
            return self._step_down(state, at)
        return replace(state, heard=_NOBODY), self._quorum_timer(at)

    def _step_down(self, state: RaftState, at: int) -> Step:
        return self._following(state), (self._election_timer(at),)

    def _prolong(self, state: RaftState, at: int) -> Step:
        """The lease runs from the latest instant that a majority has answered for (6.4.1)."""
        if not self.settings.lease:
            return state, ()
        since = sorted((*state.acks, at))[-self.quorum]
        until = since + self.settings.lease_ns
        if since == _NEVER or until <= max(at, state.until):
            return state, ()
        return replace(state, until=until), (SetTimer(LEASE, until, until),)

    def _lease_due(self, state: RaftState, _at: int) -> Step:
        """A lease that is over was seen by `step`; this timer was early, or is a stray."""
        if state.role is not Role.LEADER or not state.until:
            return state, ()
        return state, (SetTimer(LEASE, state.until, state.until),)

    def _transfer(self, state: RaftState, event: Transfer) -> Step:
        """Section 3.10: ask the heir how far its log is; it stands when it has all of ours."""
        if (
            state.role is not Role.LEADER
            or event.target == self.node
            or event.target not in self._order
        ):
            return state, ()
        due = event.at + self.settings.election_ns
        ask = Send(event.target, self._word(state, event.at))
        return replace(state, heir=event.target), (ask, SetTimer(TRANSFER, due, due))

    @staticmethod
    def _transfer_due(state: RaftState, _at: int) -> Step:
        """The heir did not catch up within an election timeout: go on as if never asked."""
        return (state if state.heir is None else replace(state, heir=None)), ()

    @staticmethod
    def _appended(state: RaftState, event: Appended) -> Step:
        return replace(state, log=event.position), ()

    def _timer(self, state: RaftState, event: TimerFired) -> Step:
        return self._TIMERS[event.name](self, state, event.at)

    _TIMERS: ClassVar[dict[str, Callable[["Raft", RaftState, int], Step]]] = {
        ELECTION: _election_due,
        HEARTBEAT: _beat,
        QUORUM: _quorum_due,
        RETRANSMIT: _retransmit,
        TRANSFER: lambda _, state, at: Raft._transfer_due(state, at),
        LEASE: _lease_due,
    }
    _EVENTS: ClassVar[dict[type[Any], Callable[["Raft", RaftState, Any], Step]]] = {
        Start: _start,
        TimerFired: _timer,
        Delivered: _delivered,
        Appended: lambda _, state, event: Raft._appended(state, event),
        Transfer: _transfer,
    }
    _MESSAGES: ClassVar[
        dict[type[RaftMessage], Callable[["Raft", RaftState, int, Any, int], Step]]
    ] = {
        RequestVote: _request_vote,
        RequestPreVote: _request_pre_vote,
        Vote: _vote,
        PreVote: _pre_vote,
        Heartbeat: _heartbeat,
        HeartbeatReply: _heartbeat_reply,
        TimeoutNow: _timeout_now,
    }


def _hypothetical(message: RaftMessage) -> bool:
    """Whether the term in it is one that nobody has begun: it is not to be adopted (9.6)."""
    return isinstance(message, RequestPreVote) or (isinstance(message, PreVote) and message.granted)
