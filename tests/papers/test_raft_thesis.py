"""Ongaro's dissertation (Stanford 2014), sentence by sentence: what it says a server does.

A test for each sentence on elections that states behaviour, paraphrased in the test's name.
Where we do something else on purpose, it stands here and nowhere else:

DEVIATIONS
    D1. (3.4) AppendEntries without entries is called Heartbeat. Entries, commitment and
        membership changes are not ours; the log is a position that others move. A leader
        that hands over does not stop taking client requests: it has none (3.10).
    D2. (3.10) A leader that has told its heir to stand steps down, and does not resume if
        nothing comes of it: it cannot know that TimeoutNow will not arrive later. Until
        then, while the heir catches up, it gives up after an election timeout, as is said.
    D3. (3.4) With Pre-Vote or CheckQuorum the election timeout is in two parts, the least
        one and the random rest: after the first the leader is forgotten, so that others
        get our vote. A node that learns of a higher term while it still has a leader
        starts a whole new timeout.
    D4. (3.7) Requests for votes are repeated only if `retransmit_ns` says so; heartbeats
        are repeated by the next heartbeat.
    D5. (6.4.1) With a lease, office begins with the first majority of answers, not with
        the election; and a restarted node is loyal for an election timeout to whom it may
        have forgotten.
    D6. Not in the dissertation: candidacy by rank (`stagger_ns`), priorities.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.peers import (
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
from elector.protocols.raft import Raft, RaftEffect, RaftState, Role
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

MS = 1_000_000
T, W, H = 150 * MS, 150 * MS, 50 * MS
LOG: Position = (2, 7)
PLAIN: dict[str, Any] = {"pre_vote": False, "check_quorum": False}
NOT_SENT = -1


class Server:
    """Server 0 of `size`: feed it events, look at its state and at what it does about them."""

    def __init__(
        self, ballot: Ballot | None = None, *, size: int = 5, log: Position = LOG, **options: Any
    ) -> None:
        settings = RaftSettings(election_ns=T, spread_ns=W, heartbeat_ns=H, **(PLAIN | options))
        self.protocol = Raft(0, tuple(range(size)), settings)
        self.state: RaftState = self.protocol.recovered(ballot or Ballot(), log)
        self.at = 0
        self.effects: tuple[RaftEffect, ...] = ()
        self.feed(Start(0))

    def feed(self, event: Any) -> tuple[RaftEffect, ...]:
        self.state, self.effects = self.protocol.step(self.state, event)
        return self.effects

    def hears(self, source: int, message: RaftMessage) -> tuple[RaftEffect, ...]:
        return self.feed(Delivered(self.at, source, message))

    def fires(self, name: str) -> tuple[RaftEffect, ...]:
        return self.feed(TimerFired(self.at, name))

    def said(self) -> list[RaftEffect]:
        """All effects of the last step but timers."""
        return [effect for effect in self.effects if not isinstance(effect, SetTimer)]

    def sent(self) -> list[tuple[int, RaftMessage]]:
        return [(effect.to, effect.message) for effect in self.effects if isinstance(effect, Send)]

    def timer(self, name: str) -> tuple[int, int] | None:
        windows = [
            (effect.earliest - self.at, effect.latest - self.at)
            for effect in self.effects
            if isinstance(effect, SetTimer) and effect.name == name
        ]
        assert len(windows) <= 1, "one timer, one window"
        return windows[0] if windows else None

    def stands(self) -> "Server":
        self.at = max(self.at, self.state.until)  # with a lease it is loyal at first
        self.fires("election")
        assert self.state.role is Role.CANDIDATE
        return self

    def leads(self) -> "Server":
        self.stands()
        for voter in range(1, self.protocol.quorum):
            self.hears(voter, Vote(self.state.term, granted=True))
        assert self.state.role is Role.LEADER
        return self

    def follows(self, leader: int, term: int) -> "Server":
        self.hears(leader, beat(term))
        assert self.state.leader == leader
        return self


def beat(term: int, sent_at: int = NOT_SENT) -> Heartbeat:
    return Heartbeat(term, sent_at)


def to_all(message: RaftMessage, size: int = 5) -> list[tuple[int, RaftMessage]]:
    return [(peer, message) for peer in range(1, size)]


def kinds(effects: Iterable[RaftEffect]) -> list[type[RaftEffect]]:
    return [type(effect) for effect in effects]


# -- 3.3 basics: roles and terms -----------------------------------------------------------


def test_3_3_followers_send_nothing_of_their_own_accord() -> None:
    server = Server()
    assert server.sent() == []
    for stray in ("heartbeat", "quorum", "retransmit", "transfer", "lease"):
        assert server.fires(stray) == ()


def test_3_3_each_term_begins_with_an_election() -> None:
    server = Server(Ballot(4)).stands()
    assert server.state.term == 5


def test_3_3_a_term_may_end_without_a_leader_and_a_new_one_begins() -> None:
    server = Server().stands()
    server.fires("election")
    assert (server.state.term, server.state.role) == (2, Role.CANDIDATE)


def test_3_3_servers_exchange_current_terms_whenever_they_communicate() -> None:
    server = Server(Ballot(7))
    answers: list[tuple[RaftMessage, RaftMessage]] = [
        (RequestVote(7, (1, 1)), Vote(7, granted=False)),
        (beat(7), HeartbeatReply(7, NOT_SENT, LOG)),
        (RequestPreVote(7, (1, 1)), PreVote(7, granted=False)),
    ]
    for request, answer in answers:
        server.hears(1, request)
        assert server.sent() == [(1, answer)]


@pytest.mark.parametrize(
    "message",
    [
        RequestVote(9, LOG),
        Vote(9, granted=False),
        PreVote(9, granted=False),
        beat(9),
        HeartbeatReply(9, NOT_SENT, LOG),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_3_3_who_sees_a_larger_term_adopts_it_and_is_a_follower(
    role: str, message: RaftMessage
) -> None:
    server = Server()
    if role == "candidate":
        server.stands()
    if role == "leader":
        server.leads()
    server.hears(1, message)
    assert (server.state.term, server.state.role) == (9, Role.FOLLOWER)
    assert any(isinstance(effect, Persist) for effect in server.effects)
    if role == "leader":
        assert server.timer("election") is not None, "or it would wait for ever"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (RequestVote(6, (9, 9)), Vote(7, granted=False)),
        (beat(6), HeartbeatReply(7, NOT_SENT, LOG)),
        (RequestPreVote(6, (9, 9)), PreVote(7, granted=False)),
    ],
    ids=["vote", "heartbeat", "pre-vote"],
)
def test_3_3_a_request_with_a_stale_term_is_rejected(
    request_: RaftMessage, answer: RaftMessage
) -> None:
    server = Server(Ballot(7))
    before = server.state
    server.hears(1, request_)
    assert server.state is before
    assert server.sent() == [(1, answer)]
    assert server.timer("election") is None


@pytest.mark.parametrize(
    "message",
    [Vote(1, granted=True), PreVote(1, granted=True), TimeoutNow(1), HeartbeatReply(1, 0, LOG)],
    ids=lambda message: type(message).__name__,
)
def test_3_3_a_stale_answer_changes_nothing(message: RaftMessage) -> None:
    server = Server(Ballot(1)).stands()
    before = server.state
    assert server.hears(1, message) == ()
    assert server.state is before


# -- 3.4 leader election -------------------------------------------------------------------


def test_3_4_servers_start_as_followers() -> None:
    server = Server()
    assert server.state.role is Role.FOLLOWER
    assert server.state.leader is None


def test_3_4_a_server_stays_follower_while_it_hears_from_a_leader() -> None:
    server = Server()
    for _ in range(3):
        server.follows(3, term=1)
        assert server.timer("election") == (T, T + W)
    assert server.state.role is Role.FOLLOWER


def test_3_4_or_while_it_hears_from_a_candidate_it_votes_for() -> None:
    server = Server()
    server.hears(2, RequestVote(1, LOG))
    assert server.timer("election") == (T, T + W)
    server.hears(3, RequestVote(1, LOG))  # no vote left: its timer runs on
    assert server.timer("election") is None


def test_3_4_leaders_send_periodic_heartbeats_to_all() -> None:
    server = Server().leads()
    server.at += H
    server.fires("heartbeat")
    assert server.sent() == to_all(beat(1))
    assert server.timer("heartbeat") == (H, H)


def test_3_4_a_follower_without_word_for_the_election_timeout_begins_an_election() -> None:
    server = Server().follows(3, term=1)
    server.stands()
    assert server.state.leader is None


def test_3_4_it_increments_its_term_votes_for_itself_and_asks_all_others() -> None:
    server = Server(Ballot(4, 2)).stands()
    assert (server.state.term, server.state.voted_for) == (5, 0)
    assert server.state.votes == {0}
    assert server.said()[0] == Persist(Ballot(5, 0))
    assert server.sent() == to_all(RequestVote(5, LOG))


def test_3_4_a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster() -> None:
    server = Server().stands()
    server.hears(1, Vote(1, granted=True))
    assert server.state.role is Role.CANDIDATE
    server.hears(2, Vote(1, granted=True))
    assert server.effects[0] == LeadTerm(1)


def test_3_4_in_a_cluster_of_four_half_is_not_a_majority() -> None:
    server = Server(size=4).stands()
    server.hears(1, Vote(1, granted=True))
    assert server.state.role is Role.CANDIDATE


def test_3_4_votes_have_to_be_for_the_same_term() -> None:
    server = Server().stands()
    server.hears(1, Vote(1, granted=True))
    server.fires("election")
    server.hears(2, Vote(1, granted=True))
    server.hears(2, Vote(2, granted=True))
    assert server.state.role is Role.CANDIDATE
    server.hears(3, Vote(2, granted=True))
    assert server.effects[0] == LeadTerm(2)


def test_3_4_and_from_different_servers() -> None:
    server = Server().stands()
    for _ in range(5):
        server.hears(1, Vote(1, granted=True))
    assert server.state.role is Role.CANDIDATE


def test_3_4_refusals_do_not_count() -> None:
    server = Server().stands()
    for voter in range(1, 5):
        server.hears(voter, Vote(1, granted=False))
    assert server.state.role is Role.CANDIDATE


def test_3_4_a_server_votes_for_at_most_one_candidate_in_a_term_first_come_first_served() -> None:
    server = Server()
    server.hears(2, RequestVote(1, LOG))
    assert server.sent() == [(2, Vote(1, granted=True))]
    server.hears(3, RequestVote(1, LOG))
    assert server.sent() == [(3, Vote(1, granted=False))]


def test_3_4_a_candidate_has_given_its_vote_to_itself() -> None:
    server = Server().stands()
    server.hears(3, RequestVote(1, (9, 9)))
    assert server.sent() == [(3, Vote(1, granted=False))]


def test_3_4_in_a_new_term_it_may_vote_again() -> None:
    server = Server(Ballot(1, 2))
    server.hears(3, RequestVote(2, LOG))
    assert server.said()[0] == Persist(Ballot(2, 3))
    assert server.sent() == [(3, Vote(2, granted=True))]


def test_3_4_who_wins_sends_heartbeats_to_all_at_once() -> None:
    server = Server().leads()
    assert server.sent() == to_all(beat(1))


def test_3_4_a_lone_server_elects_itself() -> None:
    server = Server(size=1)
    server.fires("election")
    assert server.said()[:2] == [Persist(Ballot(1, 0)), LeadTerm(1)]


@pytest.mark.parametrize("term", [1, 2])
def test_3_4_a_candidate_that_hears_a_leader_of_its_term_or_a_later_one_follows(
    term: int,
) -> None:
    server = Server().stands()
    server.hears(4, beat(term))
    assert server.state.role is Role.FOLLOWER
    assert FollowTerm(term, 4) in server.effects
    assert server.state.votes == frozenset()


def test_3_4_a_candidate_rejects_a_leader_of_an_older_term_and_goes_on() -> None:
    server = Server(Ballot(3)).stands()
    server.hears(4, beat(3))
    assert server.state.role is Role.CANDIDATE
    assert server.sent() == [(4, HeartbeatReply(4, NOT_SENT, LOG))]


def test_3_4_a_candidate_that_times_out_starts_anew_with_a_higher_term_and_new_requests() -> None:
    server = Server().stands()
    server.hears(1, Vote(1, granted=True))
    server.fires("election")
    assert server.state.votes == {0}
    assert server.sent() == to_all(RequestVote(2, LOG))


def test_3_4_election_timeouts_are_drawn_from_a_fixed_interval() -> None:
    assert Server().timer("election") == (T, T + W)
    assert Server().follows(1, term=1).timer("election") == (T, T + W)


def test_3_4_a_candidate_draws_a_new_timeout_at_the_start_of_its_election() -> None:
    assert Server().stands().timer("election") == (T, T + W)


def test_3_4_a_leader_has_no_election_timeout() -> None:
    server = Server().leads()
    assert server.fires("election") == ()


def test_3_4_late_votes_do_not_disturb_a_leader_or_a_follower() -> None:
    assert Server().leads().hears(4, Vote(1, granted=True)) == ()
    assert Server().follows(1, term=1).hears(4, Vote(1, granted=True)) == ()


def test_3_4_a_leader_that_was_elected_again_is_followed_in_its_new_term() -> None:
    server = Server().follows(3, term=1)
    server.hears(3, beat(2))
    assert FollowTerm(2, 3) in server.effects
    server.hears(3, beat(2))
    assert not any(isinstance(effect, FollowTerm) for effect in server.effects), "said once"


# -- 3.6.1 election restriction ------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "granted"),
    [
        ((2, 7), True),
        ((2, 8), True),
        ((3, 1), True),
        ((2, 6), False),
        ((1, 99), False),
    ],
)
def test_3_6_1_a_voter_refuses_whose_log_is_behind_by_last_term_and_then_by_length(
    theirs: Position, granted: bool
) -> None:
    server = Server(log=(2, 7))
    server.hears(1, RequestVote(1, theirs))
    assert server.sent() == [(1, Vote(1, granted=granted))]
    assert server.state.term == 1, "the term is adopted all the same"


def test_3_6_1_the_request_says_how_far_the_candidates_log_is() -> None:
    server = Server()
    server.feed(Appended(0, (3, 9)))
    server.stands()
    assert server.sent() == to_all(RequestVote(1, (3, 9)))


def test_3_6_1_a_refused_candidate_does_not_hold_up_our_own_timeout() -> None:
    server = Server()
    server.hears(1, RequestVote(1, (1, 1)))
    assert server.timer("election") is None


# -- 3.7 crashes of followers and candidates; 3.8 persisted state ----------------------------


def test_3_7_requests_are_repeated_to_those_who_have_not_answered() -> None:
    server = Server(retransmit_ns=20 * MS).stands()
    assert server.timer("retransmit") == (20 * MS, 20 * MS)
    server.hears(1, Vote(1, granted=True))
    server.hears(3, Vote(1, granted=False))
    server.fires("retransmit")
    assert server.sent() == [(peer, RequestVote(1, LOG)) for peer in (2, 4)]
    assert server.timer("retransmit") == (20 * MS, 20 * MS)


def test_3_7_but_not_by_default_and_not_by_others() -> None:
    assert Server().stands().timer("retransmit") is None
    leader = Server(retransmit_ns=20 * MS).leads()
    assert leader.state.silent == frozenset()
    assert leader.fires("retransmit") == ()


def test_3_7_a_repeated_request_gets_the_same_answer_and_does_no_harm() -> None:
    server = Server()
    server.hears(2, RequestVote(1, LOG))
    after = server.state
    server.hears(2, RequestVote(1, LOG))
    assert server.sent() == [(2, Vote(1, granted=True))]
    assert server.state == after


def test_3_8_term_and_vote_are_durable_before_the_answer_leaves() -> None:
    server = Server()
    server.hears(2, RequestVote(1, LOG))
    assert kinds(server.effects) == [SetTimer, Persist, Send]
    assert server.said()[0] == Persist(Ballot(1, 2))


def test_3_4_the_timer_of_who_votes_does_not_wait_for_the_disk() -> None:
    """Else the old one goes off while the vote is written, and the voter becomes a rival."""
    server = Server()
    server.hears(2, RequestVote(1, LOG))
    assert kinds(server.effects).index(SetTimer) < kinds(server.effects).index(Persist)


def test_3_8_a_candidates_own_vote_is_durable_before_it_asks() -> None:
    assert kinds(Server().stands().said())[:2] == [Persist, Send]


def test_3_8_nothing_is_written_if_nothing_changed() -> None:
    server = Server(Ballot(1, 2))
    server.hears(2, RequestVote(1, LOG))
    assert kinds(server.effects) == [Send, SetTimer]
    server.hears(2, beat(1))
    assert Persist not in kinds(server.effects)


def test_3_8_a_restarted_server_does_not_vote_twice_in_a_term() -> None:
    server = Server(Ballot(5, 2))
    server.hears(3, RequestVote(5, (9, 9)))
    assert server.sent() == [(3, Vote(5, granted=False))]


def test_3_8_a_restarted_server_does_not_go_back_to_an_older_term() -> None:
    server = Server(Ballot(5))
    server.hears(3, beat(4))
    assert server.sent() == [(3, HeartbeatReply(5, NOT_SENT, LOG))]
    assert server.state.leader is None


def test_3_8_a_restarted_leader_is_a_follower() -> None:
    assert Server(Ballot(5, 0)).state.role is Role.FOLLOWER


def test_3_8_a_new_server_has_no_term_and_no_vote() -> None:
    state = Server().protocol.initial()
    assert (state.term, state.voted_for) == (0, None)


# -- 3.9 timing ----------------------------------------------------------------------------


def test_3_9_safety_does_not_rest_on_timing_so_state_holds_no_clock_value() -> None:
    early, late = Server(), Server()
    late.at = 10**15
    for server in (early, late):
        server.leads()
        server.fires("heartbeat")
        server.hears(1, HeartbeatReply(1, NOT_SENT, LOG))
    assert early.state == late.state
    assert not early.protocol.requires.drift_bound


def test_3_9_what_is_needed_is_stable_storage() -> None:
    assert Server().protocol.requires.durable_state


# -- 3.10 leadership transfer ----------------------------------------------------------------


def handing_over(**options: Any) -> Server:
    server = Server(**options).leads()
    server.feed(Transfer(server.at, 3))
    return server


def test_3_10_the_leader_brings_the_heir_up_to_date_first() -> None:
    server = handing_over()
    assert server.sent() == [(3, beat(1))]
    server.hears(3, HeartbeatReply(1, NOT_SENT, (2, 6)))
    assert server.sent() == []
    assert server.state.role is Role.LEADER


def test_3_10_then_it_tells_the_heir_to_stand() -> None:
    server = handing_over()
    server.hears(2, HeartbeatReply(1, NOT_SENT, LOG))
    assert server.sent() == []
    server.hears(3, HeartbeatReply(1, NOT_SENT, LOG))
    assert server.sent() == [(3, TimeoutNow(1))]


def test_3_10_d2_and_steps_down_before_that() -> None:
    server = handing_over()
    server.hears(3, HeartbeatReply(1, NOT_SENT, LOG))
    assert kinds(server.effects)[0] is StepDownFrom
    assert server.state.role is Role.FOLLOWER
    assert server.timer("election") == (T, T + W)


@pytest.mark.parametrize("options", [PLAIN, {"pre_vote": True, "check_quorum": True}])
def test_3_10_the_heir_stands_at_once_in_a_new_term(options: dict[str, Any]) -> None:
    heir = Server(**options).follows(3, term=1)
    heir.hears(3, TimeoutNow(1))
    assert (heir.state.term, heir.state.role) == (2, Role.CANDIDATE)
    assert heir.sent() == to_all(RequestVote(2, LOG, endorsed=True))


def test_3_10_its_next_candidacy_is_an_ordinary_one() -> None:
    heir = Server().follows(3, term=1)
    heir.hears(3, TimeoutNow(1))
    heir.fires("election")
    assert heir.sent() == to_all(RequestVote(3, LOG))


def test_3_10_the_order_to_stand_counts_once() -> None:
    heir = Server(size=1 + 2).follows(2, term=1)
    heir.hears(2, TimeoutNow(1))
    heir.hears(1, Vote(2, granted=True))
    assert heir.state.role is Role.LEADER
    assert heir.hears(2, TimeoutNow(1)) == ()


def test_3_10_a_transfer_that_is_not_done_in_an_election_timeout_is_given_up() -> None:
    server = handing_over()
    assert server.timer("transfer") == (T, T)
    server.fires("transfer")
    server.hears(3, HeartbeatReply(1, NOT_SENT, LOG))
    assert server.sent() == []
    assert server.state.role is Role.LEADER


def test_3_10_only_a_leader_can_hand_over_and_only_to_another_server_that_may_stand() -> None:
    assert Server().feed(Transfer(0, 3)) == ()
    for nobody in (0, 17, 2):
        assert Server(priorities={2: 0}).leads().feed(Transfer(0, nobody)) == ()
    witness = Server(priorities={0: 0}).follows(3, term=1)
    assert witness.hears(3, TimeoutNow(1)) == ()


# -- 4.2.3 disruptive servers ----------------------------------------------------------------

LOYAL: dict[str, Any] = {"pre_vote": False, "check_quorum": True}


def test_4_2_3_who_has_just_heard_a_leader_neither_adopts_a_candidates_term_nor_votes() -> None:
    for server in (Server(**LOYAL).follows(3, term=1), Server(**LOYAL).leads()):
        before = server.state
        assert server.hears(2, RequestVote(9, (9, 9))) == ()
        assert server.state is before


def test_4_2_3_d3_after_the_least_election_timeout_without_word_it_does_both() -> None:
    server = Server(**LOYAL).follows(3, term=1)
    assert server.timer("election") == (T, T)
    server.fires("election")
    assert server.effects == (FollowTerm(1, None), SetTimer("election", 0, W))
    assert server.state.role is Role.FOLLOWER
    server.hears(2, RequestVote(9, LOG))
    assert server.sent() == [(2, Vote(9, granted=True))]


def test_4_2_3_a_candidate_that_the_leader_asked_to_stand_is_heard_nevertheless() -> None:
    server = Server(**LOYAL).follows(3, term=1)
    server.hears(2, RequestVote(2, LOG, endorsed=True))
    assert server.sent() == [(2, Vote(2, granted=True))]


def test_4_2_3_the_leaders_own_heartbeat_of_a_higher_term_is_heard() -> None:
    server = Server(**LOYAL).follows(3, term=1)
    server.hears(2, beat(2))
    assert server.said()[:2] == [Persist(Ballot(2)), FollowTerm(2, 2)]


def test_4_2_3_a_server_that_is_ahead_of_a_leader_tells_it_so() -> None:
    """Otherwise it could neither follow nor be elected (etcd#8243)."""
    leader = Server(**LOYAL).leads()
    leader.hears(4, HeartbeatReply(6, NOT_SENT, LOG))
    assert leader.said()[:2] == [StepDownFrom(1), Persist(Ballot(6))]
    assert leader.timer("election") == (T, T + W)


def test_4_2_3_d3_who_loses_its_leader_to_a_higher_term_waits_a_whole_new_timeout() -> None:
    server = Server(pre_vote=True).follows(3, term=1)
    server.hears(2, RequestVote(2, (1, 1)))
    assert server.sent() == [(2, Vote(2, granted=False))]
    assert server.timer("election") == (T, T + W)
    server.hears(2, RequestVote(3, (1, 1)))
    assert server.timer("election") is None, "once: a candidate that cannot win must not block us"


# -- 6.2 a leader that no majority answers ---------------------------------------------------


def test_6_2_a_leader_steps_down_when_an_election_timeout_passes_without_a_majority() -> None:
    server = Server(**LOYAL).leads()
    assert server.timer("quorum") == (T, T)
    server.hears(1, HeartbeatReply(1, NOT_SENT, LOG))
    server.fires("quorum")
    assert server.effects[0] == StepDownFrom(1)
    assert server.state.role is Role.FOLLOWER
    assert server.timer("election") == (T, T + W)


def test_6_2_and_stays_while_a_majority_answers_in_each() -> None:
    server = Server(**LOYAL).leads()
    for _ in range(3):
        server.hears(1, HeartbeatReply(1, NOT_SENT, LOG))
        server.hears(1, HeartbeatReply(1, NOT_SENT, LOG))
        server.hears(4, HeartbeatReply(1, NOT_SENT, LOG))
        server.fires("quorum")
        assert server.effects == (SetTimer("quorum", T, T),)
    server.fires("quorum")
    assert server.state.role is Role.FOLLOWER


def test_6_2_without_the_option_it_stays_whatever_happens() -> None:
    server = Server().leads()
    assert server.timer("quorum") is None


# -- 6.4.1 the lease -------------------------------------------------------------------------

LEASE: dict[str, Any] = LOYAL | {"lease": True, "drift_ppm": 10_000, "margin_ns": 1 * MS}
USABLE = T * 990_000 // 1_010_000 - 1 * MS


def leased() -> Server:
    """A leader whose heartbeats of 1000 ms were answered by a majority 20 ms later."""
    server = Server(**LEASE)
    server.at = 1_000 * MS
    server.leads()
    server.at += 20 * MS
    for peer in (1, 2):
        server.hears(peer, HeartbeatReply(1, 1_000 * MS, LOG))
    return server


def test_6_4_1_d5_office_begins_when_a_majority_has_answered() -> None:
    server = Server(**LEASE).leads()
    assert LeadTerm not in kinds(server.effects)
    assert server.hears(1, HeartbeatReply(1, T, LOG)) == ()
    assert server.hears(2, HeartbeatReply(1, T, LOG)) == (
        LeadTerm(1, T + USABLE),
        SetTimer("lease", T + USABLE, T + USABLE),
    )


def test_6_4_1_the_lease_counts_from_before_the_heartbeat_was_sent_less_the_drift() -> None:
    assert leased().effects[0] == LeadTerm(1, 1_000 * MS + USABLE)


def test_6_4_1_a_majority_of_answers_extends_it_and_fewer_do_not() -> None:
    server = leased()
    server.at += 30 * MS
    server.fires("heartbeat")
    assert server.sent() == to_all(beat(1, 1_050 * MS))
    assert server.hears(1, HeartbeatReply(1, 1_050 * MS, LOG)) == ()
    server.hears(4, HeartbeatReply(1, 1_050 * MS, LOG))
    assert server.effects[0] == LeadTerm(1, 1_050 * MS + USABLE)
    assert server.hears(4, HeartbeatReply(1, 1_000 * MS, LOG)) == (), "a late answer"


def test_6_4_1_an_answer_that_came_too_late_gives_no_lease() -> None:
    server = Server(**LEASE).leads()
    server.at = T + USABLE
    for peer in (1, 2):
        assert server.hears(peer, HeartbeatReply(1, T, LOG)) == ()


def test_6_4_1_the_leader_stops_when_the_lease_is_over_whatever_it_hears_first() -> None:
    for event in (
        TimerFired(1_000 * MS + USABLE, "lease"),
        TimerFired(9_000 * MS, "heartbeat"),
        Delivered(9_000 * MS, 1, HeartbeatReply(1, 1_050 * MS, LOG)),
    ):
        server = leased()
        server.feed(event)
        assert server.effects[0] == StepDownFrom(1)
        assert server.state.role is Role.FOLLOWER


def test_6_4_1_a_lease_timer_that_is_early_is_set_again() -> None:
    server = leased()
    ends = server.state.until
    assert server.fires("lease") == (SetTimer("lease", ends, ends),)
    new = Server(**LEASE).leads()
    assert new.fires("lease") == ()


def test_6_4_1_a_follower_is_loyal_for_an_election_timeout_though_it_lost_the_leader() -> None:
    server = Server(**LEASE)
    server.at = 1_000 * MS
    server.follows(3, term=1)
    server.hears(4, Vote(2, granted=False))  # somewhere there is a higher term
    assert server.state.leader is None
    server.at += T - 1
    assert server.hears(2, RequestVote(3, LOG)) == ()
    server.at += 1
    server.hears(2, RequestVote(3, LOG))
    assert server.sent() == [(2, Vote(3, granted=True))]


def test_6_4_1_d5_so_is_a_restarted_one() -> None:
    server = Server(Ballot(1), **LEASE)
    server.at = T - 1
    assert server.hears(2, RequestVote(2, LOG)) == ()
    server.at = T
    server.hears(2, RequestVote(2, LOG))
    assert server.sent() == [(2, Vote(2, granted=True))]


def test_6_4_1_a_followers_timer_that_is_early_is_set_again() -> None:
    server = Server(**LEASE).follows(3, term=1)
    server.at = T - 1
    assert server.fires("election") == (SetTimer("election", T, T),)
    assert server.state.leader == 3


def test_6_4_1_a_lease_needs_bounded_drift() -> None:
    assert leased().protocol.requires.drift_bound


def test_6_4_1_with_a_transfer_the_lease_is_given_up_before_the_heir_is_told() -> None:
    server = leased()
    server.feed(Transfer(server.at, 3))
    server.hears(3, HeartbeatReply(1, server.at, LOG))
    assert kinds(server.effects) == [StepDownFrom, FollowTerm, SetTimer, Send]
    assert server.state.until == 0


def test_6_4_1_a_lone_server_prolongs_its_lease_by_itself() -> None:
    server = Server(size=1, **LEASE)
    server.at = T
    server.fires("election")
    assert LeadTerm(1, T + USABLE) in server.effects
    server.at += H
    server.fires("heartbeat")
    assert LeadTerm(1, T + H + USABLE) in server.effects
    server.at += T
    server.fires("election")  # after a pause: it leads again, in another term
    assert server.effects[0] == StepDownFrom(1)
    assert LeadTerm(2, 2 * T + H + USABLE) in server.effects


# -- 9.6 Pre-Vote ----------------------------------------------------------------------------

PRE: dict[str, Any] = {"pre_vote": True}


def test_9_6_a_server_asks_first_and_does_not_raise_its_term() -> None:
    server = Server(Ballot(4, 2), **PRE)
    server.fires("election")
    assert (server.state.term, server.state.voted_for) == (4, 2)
    assert server.state.role is Role.PRE_CANDIDATE
    assert server.sent() == to_all(RequestPreVote(5, LOG))
    assert server.timer("election") == (T, T + W)
    assert Persist not in kinds(server.effects)


def test_9_6_it_raises_its_term_when_a_majority_would_vote_for_it() -> None:
    server = Server(Ballot(4), **PRE)
    server.fires("election")
    server.hears(1, PreVote(5, granted=True))
    server.hears(1, PreVote(5, granted=True))
    assert server.state.role is Role.PRE_CANDIDATE
    server.hears(2, PreVote(5, granted=True))
    assert (server.state.term, server.state.role) == (5, Role.CANDIDATE)
    assert server.state.votes == {0}
    assert server.sent() == to_all(RequestVote(5, LOG))


def test_9_6_refusals_and_grants_for_other_terms_do_not_count() -> None:
    server = Server(Ballot(4), **PRE)
    server.fires("election")
    for peer in range(1, 5):
        server.hears(peer, PreVote(4, granted=False))
        server.hears(peer, PreVote(4, granted=True))
        server.hears(peer, PreVote(7, granted=True))
    assert server.state.role is Role.PRE_CANDIDATE
    assert server.state.term == 4


def test_9_6_a_pre_vote_is_refused_to_a_log_that_is_behind() -> None:
    server = Server(**PRE)
    server.hears(1, RequestPreVote(1, (2, 6)))
    assert server.sent() == [(1, PreVote(0, granted=False))]


def test_9_6_and_by_a_server_that_heard_a_leader_within_the_least_timeout() -> None:
    server = Server(**PRE).follows(3, term=1)
    server.hears(1, RequestPreVote(2, LOG))
    assert server.sent() == [(1, PreVote(1, granted=False))]
    server.fires("election")
    server.hears(1, RequestPreVote(2, LOG))
    assert server.sent() == [(1, PreVote(2, granted=True))]


def test_9_6_a_pre_vote_changes_nothing_at_the_voter() -> None:
    server = Server(**PRE)
    before = server.state
    server.hears(1, RequestPreVote(9, LOG))
    assert server.sent() == [(1, PreVote(9, granted=True))]
    assert kinds(server.effects) == [Send]
    assert server.state is before


def test_9_6_a_voter_that_has_voted_in_that_term_refuses() -> None:
    server = Server(Ballot(5, 2), **PRE)
    server.hears(1, RequestPreVote(5, LOG))
    assert server.sent() == [(1, PreVote(5, granted=False))]
    server.hears(2, RequestPreVote(5, LOG))
    assert server.sent() == [(2, PreVote(5, granted=True))]


def test_9_6_a_server_that_stands_has_forgotten_its_leader() -> None:
    """Or two that do would refuse each other for ever (etcd#8334)."""
    server = Server(**PRE).follows(3, term=1)
    server.fires("election")
    server.fires("election")
    assert server.state.role is Role.PRE_CANDIDATE
    server.hears(1, RequestPreVote(2, LOG))
    assert server.sent() == [(1, PreVote(2, granted=True))]


def test_9_6_a_refusal_that_shows_a_higher_term_is_learnt_from() -> None:
    server = Server(**PRE)
    server.fires("election")
    server.hears(1, PreVote(6, granted=False))
    assert (server.state.term, server.state.role) == (6, Role.FOLLOWER)
    assert server.effects == (Persist(Ballot(6)),)


def test_9_6_a_pre_candidate_still_has_its_vote_to_give() -> None:
    server = Server(Ballot(1), **PRE)
    server.fires("election")
    server.hears(2, RequestVote(1, LOG))
    assert server.said()[0] == Persist(Ballot(1, 2))
    assert server.state.role is Role.FOLLOWER
    assert server.hears(3, PreVote(2, granted=True)) == ()


def test_9_6_a_pre_candidate_that_hears_a_leader_follows() -> None:
    server = Server(Ballot(1), **PRE)
    server.fires("election")
    server.hears(2, beat(1))
    assert (server.state.role, server.state.leader) == (Role.FOLLOWER, 2)


def test_9_6_an_unsuccessful_pre_candidate_tries_again() -> None:
    server = Server(**PRE, retransmit_ns=20 * MS)
    server.fires("election")
    server.fires("retransmit")
    assert server.sent() == to_all(RequestPreVote(1, LOG))
    server.hears(1, PreVote(1, granted=True))
    server.fires("election")
    assert server.sent() == to_all(RequestPreVote(1, LOG))
    assert server.state.votes == {0}


def test_9_6_a_lone_server_needs_no_pre_votes() -> None:
    server = Server(size=1, **PRE)
    server.fires("election")
    assert server.state.role is Role.LEADER


# -- D6: not in the dissertation --------------------------------------------------------------


@pytest.mark.parametrize(("lost", "rank"), [(4, 1), (3, 2)])
def test_d6_after_losing_a_leader_servers_stand_in_the_order_of_priority(
    lost: int, rank: int
) -> None:
    """Before us is 1, and 4 unless it is the one that was lost; 2 never stands."""
    wait = rank * 10 * MS
    options: dict[str, Any] = {"stagger_ns": 10 * MS, "priorities": {4: 9, 2: 0, 1: 5}}
    plain = Server(**options).follows(lost, term=1)
    assert plain.timer("election") == (T + wait, T + wait)
    two_parts = Server(**options, **PRE).follows(lost, term=1)
    assert two_parts.timer("election") == (T, T)
    two_parts.fires("election")
    assert two_parts.timer("election") == (wait, wait)


def test_d6_later_candidacies_are_random_again() -> None:
    server = Server(stagger_ns=10 * MS).follows(3, term=1).stands()
    assert server.timer("election") == (T, T + W)


def test_d6_who_has_priority_0_votes_and_never_stands() -> None:
    witness = Server(stagger_ns=10 * MS, priorities={0: 0})
    witness.hears(2, RequestVote(1, LOG))
    assert witness.sent() == [(2, Vote(1, granted=True))]
    witness.follows(2, term=1)
    assert witness.timer("election") == (T, T + W)
    assert witness.fires("election") == ()
