"""Corners of the lease protocol that make no story of their own."""

import pytest
from msgspec.structs import replace

from elector.core.effects import Acquire, CandidateEffect, Lead, Observe, Release, SetTimer
from elector.core.events import (
    CandidateEvent,
    Failed,
    Granted,
    Health,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Resign,
    Start,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.core.office import Led, Observation, Unknown
from elector.core.protocol import Protocol
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate, LeaseState, Phase
from tests.protocols.transcript import read_event, say_effect

S = 1_000_000_000

# One way into each phase.
WAYS = {
    Phase.RESTING: (),
    Phase.ASKING: ("0ms start",),
    Phase.WAITING: ("0ms start", "4ms occupied op=1 leader=b token=6 retry_in=14s"),
    Phase.LEADING: ("0ms start", "5ms granted op=1 token=7"),
    Phase.STOPPING: ("0ms start", "5ms granted op=1 token=7", "1s resign"),
    Phase.OVERRUN: ("0ms start", "5ms granted op=1 token=7", "20s timer deadline"),
    Phase.RELEASING: ("0ms start", "5ms granted op=1 token=7", "1s work-stopped token=7"),
    Phase.CLOSED: ("0ms withdraw",),
}


def all_but(*phases: Phase) -> list[Phase]:
    return [phase for phase in Phase if phase not in phases]


each_phase = pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)


class Story:
    """A candidate and what it said last."""

    def __init__(self, *lines: str, **settings: str) -> None:
        timing = LeaseTiming.of(**settings)  # type: ignore[arg-type] # only texts are given
        self.candidate = LeaseCandidate(Candidate("a", "a#1"), timing)
        self.state = self.candidate.initial()
        self.effects: tuple[CandidateEffect, ...] = ()
        self.shown: list[Observation] = []
        self.goes_on(*lines)

    def goes_on(self, *lines: str) -> "Story":
        for line in lines:
            self.hears(read_event(line, 0))
        return self

    def hears(self, event: CandidateEvent) -> None:
        self.state, self.effects = self.candidate.step(self.state, event)
        self.shown += [e.observation for e in self.effects if isinstance(e, Observe)]

    @property
    def said(self) -> list[str]:
        return [say_effect(effect) for effect in self.effects]


def test_it_is_a_protocol_and_says_what_it_needs() -> None:
    protocol: Protocol[LeaseState, CandidateEvent, CandidateEffect]
    protocol = LeaseCandidate(Candidate("a", "a#1"), LeaseTiming.of("15s"))
    needs = protocol.requires
    assert needs.drift_bound
    assert needs.linearizable_store
    assert needs.rising_tokens
    assert not needs.durable_state


@each_phase
def test_there_is_a_way_into_each_phase(phase: Phase) -> None:
    assert Story(*WAYS[phase]).state.phase is phase


@each_phase
def test_a_state_is_a_value(phase: Phase) -> None:
    one, same = Story(*WAYS[phase]).state, Story(*WAYS[phase]).state
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(AttributeError):
        one.token = 8  # type: ignore[misc] # that is the point


@each_phase
@pytest.mark.parametrize("answer", [Renewed, Lost, Released, Failed, OutcomeLost])
def test_an_answer_to_another_question_changes_nothing(
    phase: Phase, answer: type[Renewed | Lost | Released | Failed | OutcomeLost]
) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(answer(at=2 * S, op=99))
    assert story.state is before
    assert story.effects == ()


@each_phase
def test_a_refusal_of_an_old_question_tells_of_a_token_and_nothing_else(phase: Phase) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(Occupied(at=2 * S, op=99, leader="c", token=before.newest))
    assert story.state is before
    story.hears(Occupied(at=2 * S, op=99, leader="c", token=before.newest + 6))
    assert story.state == replace(before, newest=before.newest + 6)
    assert story.effects == ()


@pytest.mark.parametrize("phase", all_but(Phase.LEADING, Phase.STOPPING, Phase.OVERRUN))
def test_work_that_nobody_knows_of_cannot_stop(phase: Phase) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(WorkStopped(at=2 * S, token=before.token))
    assert story.state is before


@pytest.mark.parametrize("phase", [Phase.LEADING, Phase.STOPPING, Phase.OVERRUN])
def test_the_end_of_other_work_means_nothing(phase: Phase) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(WorkStopped(at=2 * S, token=6))
    assert story.state is before


@pytest.mark.parametrize("phase", all_but(Phase.ASKING, Phase.LEADING))
def test_who_does_not_lead_has_nothing_to_resign(phase: Phase) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(Resign(at=2 * S))
    assert story.state is before


def test_a_second_start_asks_nothing() -> None:
    story = Story("0ms start")
    before = story.state
    story.hears(Start(at=1))
    assert story.state is before


def test_who_left_does_not_start_again() -> None:
    story = Story("0ms withdraw", "1s start")
    assert story.effects == ()
    assert story.state.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("phase", "then"),
    [
        (Phase.ASKING, ["1s occupied op=1 leader=b token=6"]),
        (Phase.STOPPING, ["1.2s work-stopped token=7", "1.3s released op=2"]),
        (Phase.RELEASING, ["1.3s released op=2"]),
        (Phase.OVERRUN, ["21s work-stopped token=7"]),
    ],
    ids=lambda value: value.value if isinstance(value, Phase) else "",
)
def test_who_withdraws_leaves_when_it_holds_nothing(phase: Phase, then: list[str]) -> None:
    story = Story(*WAYS[phase])
    story.hears(Withdraw(at=1_100_000_000 if phase is not Phase.OVERRUN else 20 * S))
    assert story.state.phase is phase
    story.goes_on(*then)
    assert story.said[-1] == "withdrawn"
    assert story.state.phase is Phase.CLOSED


def test_an_unconfirmed_release_does_not_keep_it_from_leaving() -> None:
    story = Story(*WAYS[Phase.RELEASING], "1.1s withdraw", "20s unanswered op=2")
    assert story.said[-1] == "withdrawn"


def test_work_that_ends_after_the_hard_deadline_is_not_released() -> None:
    story = Story(*WAYS[Phase.LEADING], "14.5s work-stopped token=7")
    assert story.said[0] == "step-down token=7 reason=completed"
    assert not any(isinstance(effect, Release) for effect in story.effects)


def test_work_that_fails_while_it_is_stopped_ends_for_the_first_reason() -> None:
    story = Story(*WAYS[Phase.STOPPING], "1.1s work-stopped token=7 failed")
    assert story.said[0] == "step-down token=7 reason=resigned"


def test_a_stalled_application_that_is_stopping_is_not_renewed() -> None:
    story = Story(*WAYS[Phase.STOPPING], "2s health stalled", "5s timer renew")
    assert story.effects == ()


def test_health_found_again_while_stopping_does_not_revive_the_tenure() -> None:
    story = Story(*WAYS[Phase.LEADING], "1s health stalled", "2s health good", "5s timer renew")
    assert story.state.phase is Phase.STOPPING
    assert story.effects == ()


def test_good_health_during_the_rest_does_not_cut_it_short() -> None:
    story = Story(*WAYS[Phase.STOPPING], "1.1s work-stopped token=7", "1.2s released op=2")
    story.goes_on("2s health stalled", "3s health good")
    assert story.effects == ()
    story.goes_on("6.3s timer retry")
    assert story.said == ["acquire op=3"]


def test_an_unhealthy_candidate_waits_for_its_health_before_its_first_question() -> None:
    story = Story("0ms health stalled", "1s start")
    assert story.effects == ()
    story.goes_on("2s health good")
    assert story.said == ["acquire op=1"]


@pytest.mark.parametrize("name", ["renew", "deadline"])
@pytest.mark.parametrize("phase", all_but(Phase.LEADING, Phase.STOPPING))
def test_timers_of_a_tenure_that_is_over_mean_nothing(phase: Phase, name: str) -> None:
    story = Story(*WAYS[phase])
    before = story.state
    story.hears(TimerFired(at=21 * S if phase is Phase.OVERRUN else 2 * S, name=name))
    assert story.state is before


def test_the_pauses_after_failures_double_up_to_one_lease() -> None:
    story = Story("0ms start")
    pauses = []
    for op in range(1, 8):
        story.hears(Failed(at=story.state.sent_at, op=op))
        timer = next(effect for effect in story.effects if isinstance(effect, SetTimer))
        pauses.append((timer.earliest - story.state.sent_at) // S)
        story.hears(TimerFired(at=timer.latest, name="retry"))
    assert pauses == [1, 2, 4, 8, 15, 15, 15]


def test_a_candidate_with_a_doubt_asks_when_it_is_told_of_itself() -> None:
    story = Story("0ms start", "1.5s unanswered op=1", "2s changed leader=a token=7")
    assert story.effects == (Acquire(op=2),)


def test_news_of_oneself_are_no_news_while_asking() -> None:
    story = Story("0ms start", "1s changed leader=a token=7")
    assert story.effects == ()


def test_a_grant_at_the_soft_deadline_is_too_late_and_one_just_before_it_is_not() -> None:
    soft = LeaseTiming.of("15s").deadlines(sent_at=0).soft_ns
    in_time, too_late = Story("0ms start"), Story("0ms start")
    in_time.hears(Granted(at=soft - 1, op=1, token=7))
    too_late.hears(Granted(at=soft, op=1, token=7))
    assert isinstance(in_time.effects[0], Lead)
    assert isinstance(too_late.effects[0], Release)


def test_an_event_at_the_hard_deadline_is_too_late_and_one_just_before_it_is_not() -> None:
    hard = LeaseTiming.of("15s").deadlines(sent_at=0).hard_ns
    story = Story(*WAYS[Phase.STOPPING])
    story.hears(Health(at=hard - 1, healthy=True))
    assert story.effects == ()
    story.hears(Health(at=hard, healthy=True))
    assert story.state.phase is Phase.OVERRUN


# -- what once was wrong ---------------------------------------------------------------


def test_a_transfer_during_an_acquisition_keeps_the_office_for_the_heir() -> None:
    story = Story("0ms start", "1ms resign heir=b", "5ms granted op=1 token=7")
    assert story.said == ["release op=2 token=7 reason=transferred heir=b"]


def test_a_token_that_was_given_back_is_never_led_with() -> None:
    """The release of op 2 may still be on its way, and would end the tenure of op 3."""
    story = Story("0ms start", "1.5s unanswered op=1", "1.6s granted op=1 token=7")
    assert story.said == ["release op=2 token=7 reason=lost"]
    story.goes_on("2.5s timer retry", "2.6s granted op=3 token=7")
    assert not any(isinstance(effect, Lead) for effect in story.effects)


def test_the_first_failed_acquisition_after_a_tenure_is_soon_tried_again() -> None:
    story = Story(*WAYS[Phase.LEADING])
    story.goes_on("4s timer renew", "4s failed op=2", "5s timer renew", "5s failed op=3")
    story.goes_on("6s timer renew", "6s failed op=4", "20s timer deadline")
    story.goes_on("20s work-stopped token=7", "21.1s timer retry", "21.1s failed op=5")
    assert story.said[-1] == "set-timer retry 22.1s..22.15s"


def test_who_withdraws_in_doubt_asks_once_more_before_it_leaves() -> None:
    story = Story("0ms start", "1s withdraw", "1.5s unanswered op=1")
    assert story.said == ["acquire op=2"]
    held = Story("0ms start", "1s withdraw", "1.5s unanswered op=1", "1.6s granted op=2 token=7")
    assert held.said == ["release op=3 token=7 reason=shutdown"]


def test_who_withdraws_in_doubt_asks_no_more_than_once() -> None:
    story = Story("0ms start", "1s withdraw", "1.5s unanswered op=1", "3s unanswered op=2")
    assert story.said[-2:] == ["leave-queue", "withdrawn"]
    assert story.state.phase is Phase.CLOSED


def test_observers_are_not_told_of_a_vacancy_that_is_over() -> None:
    story = Story(*WAYS[Phase.RELEASING], "1.1s changed leader=b token=8", "1.2s released op=2")
    assert "observe vacant" not in story.said
    assert story.shown[-1] == Led("b", 8)


def test_news_that_come_late_do_not_turn_back_what_observers_see() -> None:
    story = Story(*WAYS[Phase.WAITING], "1s changed leader=c token=8")
    story.goes_on("1.1s changed leader=b token=7")
    assert story.effects == ()
    assert story.shown[-1] == Led("c", 8)


@pytest.mark.parametrize(
    "lines",
    [
        ("4s timer renew", "4.1s lost op=2", "4.2s work-stopped token=7"),
        ("14.5s work-stopped token=7",),
        ("1s work-stopped token=7", "14.5s unanswered op=2"),
    ],
    ids=["lost", "work ended too late", "release not confirmed"],
)
def test_observers_do_not_see_a_leader_that_has_stepped_down(lines: tuple[str, ...]) -> None:
    story = Story(*WAYS[Phase.LEADING]).goes_on(*lines)
    assert isinstance(story.shown[-1], Unknown)
    assert [type(shown) for shown in story.shown] == [Led, Unknown]


@pytest.mark.parametrize("phase", [Phase.LEADING, Phase.STOPPING])
@pytest.mark.parametrize(
    "line",
    ["4.1s lost op=2", "4.1s changed leader=b token=8", "4.1s changed leader=nobody token=7"],
    ids=["lost", "superseded", "gone"],
)
def test_observers_are_told_at_once_that_office_was_lost(phase: Phase, line: str) -> None:
    story = Story(*WAYS[phase], "4s timer renew", line)
    assert story.state.phase is Phase.STOPPING
    assert story.shown[-1] == Unknown(4_100 * S // 1000)


@pytest.mark.parametrize("line", ["4.1s changed leader=b token=8", "4.1s lost op=2"])
def test_an_answer_after_the_loss_revives_nothing(line: str) -> None:
    story = Story(*WAYS[Phase.LEADING], "4s timer renew", line, "4.2s renewed op=2")
    assert story.effects == ()
    assert story.goes_on("4.3s timer renew").effects == ()


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("4.2s unanswered op=2", "5.5s"),
        ("5.5s unanswered op=2", "5.5s"),
        ("6s unanswered op=2", "6s"),
        ("4.2s failed op=2", "4.7s..5.2s"),
        ("6s failed op=2", "6.5s..7s"),
    ],
    ids=["lost early", "lost in time", "lost late", "refused", "refused late"],
)
def test_a_lost_renewal_is_repeated_at_once_and_a_refused_one_after_a_pause(
    line: str, again: str
) -> None:
    story = Story(*WAYS[Phase.LEADING], "4s timer renew", line)
    assert story.said == [f"set-timer renew {again}"]


def test_a_token_seen_while_in_office_counts_too() -> None:
    """Law 5 says: above every token seen before."""
    story = Story(*WAYS[Phase.LEADING], "1s changed leader=b token=9", "1.1s work-stopped token=7")
    story.goes_on("2.2s timer retry", "2.3s granted op=2 token=8")
    assert not any(isinstance(effect, Lead) for effect in story.effects)
