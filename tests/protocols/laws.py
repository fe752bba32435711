"""What a candidate may never do, judged from outside: only its events and its effects.

This is the second opinion on `elector.protocols.lease`. It looks at no state of the
candidate, and works deadlines out for itself. The numbers in the messages are those of
the laws in the header of that file.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    Observe,
    Refuse,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
    Withdrawn,
)
from elector.core.events import (
    CandidateEvent,
    Changed,
    Desist,
    Granted,
    Health,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Start,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.office import Deadlines, Led, Observation
from elector.core.timing import LeaseTiming
from elector.protocols.lease import DEADLINE, RENEW


class LawBroken(AssertionError):  # noqa: N818 - reads as the sentence it is
    """A candidate, or several together, did what the laws forbid."""


class Request(msgspec.Struct):
    """A store operation that was not answered yet."""

    effect: Acquire | Renew | Release
    sent_at: int


class Tenure(msgspec.Struct):
    """A tenure as its effects describe it."""

    token: int
    deadlines: Deadlines
    told: bool = False
    aborted: bool = False
    down: bool = False
    lost: bool = False
    stalled: bool = False
    granted_again: bool = False


class CandidateLaws:
    """Watches one candidate, from its first event on."""

    def __init__(self, timing: LeaseTiming, instance: str) -> None:
        self.timing = timing
        self.instance = instance
        self.in_flight: dict[int, Request] = {}
        self.doubts: list[int] = []
        self.tenure: Tenure | None = None
        self.working = False
        self.led: list[int] = []
        self.granted: set[int] = set()
        self.given_back: set[int] = set()
        self.newest = 0
        self.standing = self.closing = self.withdrawn = False
        self.healthy = True
        self.last_op = 0
        self.deadline_timer: int | None = None
        self.answered: Request | None = None
        self.shown: Observation | None = None

    def watch(self, event: CandidateEvent, effects: tuple[CandidateEffect, ...]) -> None:
        """Judge one step.

        Raises:
            LawBroken: with the number of the law.
        """
        newest_before = self.newest
        self._hear(event)
        for effect in effects:
            judge = _JUDGES.get(type(effect))
            if judge is not None:
                judge(self, event, effect)
            if isinstance(effect, Refuse):
                self._require(effect.token <= newest_before, "refused a good token")
        if isinstance(event, Granted):
            self._grant_was_used(event, effects, newest_before)
        if isinstance(event, OutcomeLost):
            self._a_lost_renewal_is_repeated(event, effects)
        self._nothing_was_forgotten(event)
        self._observers_know_no_more_than_we_do(event)

    # -- what the candidate is told ------------------------------------------------------

    def _hear(self, event: CandidateEvent) -> None:
        op = getattr(event, "op", None)
        self.answered = None if op is None else self.in_flight.pop(op, None)
        self._hear_store(event)
        self._hear_user(event)

    def _hear_store(self, event: CandidateEvent) -> None:
        match event:
            case Granted(_, _, token):
                # One that comes late tells of an old question; it may be asked again.
                self.newest = max(self.newest, token if self.answered else 0)
                self.granted.add(token)
                if self.tenure and self.tenure.down and token == self.tenure.token:
                    self.tenure.granted_again = True
            case Occupied(_, _, _, token):
                self.newest = max(self.newest, token)
                if self.answered:
                    self.doubts.clear()
            case Changed(_, _, instance, token) if instance != self.instance:
                self.newest = max(self.newest, token)
                if self.tenure and self.working:
                    gone = event.leader is None and token == self.tenure.token
                    self.tenure.lost |= gone or token > self.tenure.token
            case OutcomeLost() if self.answered and isinstance(self.answered.effect, Acquire):
                self.doubts.append(self.answered.sent_at)
            case Lost() if self.answered and self.tenure and self.working:
                self.tenure.lost = True
            case _:
                pass

    def _hear_user(self, event: CandidateEvent) -> None:
        match event:
            case WorkStopped() if self.tenure and event.token == self.tenure.token:
                self.working = False
            case Health():
                self.healthy = event.healthy
                if self.tenure and not event.healthy:
                    self.tenure.stalled = True
            case Start():
                self.standing = True
            case Desist():
                self.standing = False
            case Withdraw():
                self.closing = True
            case TimerFired(_, name) if name == DEADLINE:
                self.deadline_timer = None
            case _:
                pass

    # -- what it does --------------------------------------------------------------------

    def _request(self, event: CandidateEvent, effect: Acquire | Renew | Release) -> None:
        self._require(effect.op > self.last_op, "a request's number was used before")
        self.last_op = effect.op
        self.in_flight[effect.op] = Request(effect, event.at)

    def _only_request(self) -> None:
        """What was asked for the sake of a tenure that is over does not count."""
        over = self.tenure is None or self.tenure.down
        for request in self.in_flight.values():
            abandoned = isinstance(request.effect, Release) or (
                isinstance(request.effect, Renew) and over
            )
            self._require(abandoned, f"a second request in flight beside {request.effect}")

    def _acquire(self, event: CandidateEvent, effect: Acquire) -> None:
        self._only_request()
        self._require(not self.working, "asked for office while the last work still runs")
        self._require(not self.withdrawn, "asked for office after leaving the election")
        if self.closing:
            self._require(bool(self.doubts), "asked for office while leaving the election")
        else:
            self._require(self.standing, "asked for office without standing for it")
            self._require(self.healthy, "law 6: an unhealthy candidate asked for office")
        self._request(event, effect)

    def _renew(self, event: CandidateEvent, effect: Renew) -> None:
        self._only_request()
        tenure = self._current(effect.token)
        self._require(self.working and not tenure.down, "renewed an office without work")
        self._require(not tenure.lost, "renewed after the store said that the lease was lost")
        self._require(not tenure.stalled, "law 6: renewed for a stalled application")
        self._require(event.at < tenure.deadlines.hard_ns, "law 3: renewed past the hard deadline")
        self._request(event, effect)

    def _release(self, event: CandidateEvent, effect: Release) -> None:
        self._require(effect.token in self.granted, "released what was never granted")
        here = self.working and self.tenure is not None and self.tenure.token == effect.token
        self._require(not here, "law 4: released before the work had stopped")
        tenure = self.tenure
        # What the store still takes for ours may be given back at any time: it compares tokens.
        known = isinstance(event, Granted) or (tenure is not None and tenure.granted_again)
        if effect.token in self.led and not known:
            tenure = self._current(effect.token)
            self._require(not tenure.lost, "law 4: released a lease that was lost")
            self._require(event.at < tenure.deadlines.hard_ns, "law 4: released late")
            self._require(tenure.down, "law 4: released before stepping down")
        self.given_back.add(effect.token)
        self._request(event, effect)

    def _lead(self, event: CandidateEvent, effect: Lead) -> None:
        is_answer = self.answered is not None and isinstance(self.answered.effect, Acquire)
        granted = isinstance(event, Granted) and is_answer and event.token == effect.token
        self._require(granted, "led without a grant that was asked for")
        self._require(not self.working, "led while the work of the last tenure still runs")
        self._require(self.tenure is None or self.tenure.down, "led twice without stepping down")
        self._require(not self.closing, "led while leaving the election")
        self._require(self.standing, "led without standing for office")
        self._require(self.healthy, "law 6: led while unhealthy")
        self._require(effect.token > max(self.led, default=0), "law 5: a token went back")
        assert self.answered is not None
        since = min([*self.doubts, self.answered.sent_at])
        self._deadlines(effect.deadlines, since, "law 2: counted from too late an attempt")
        self._require(event.at < effect.deadlines.soft_ns, "law 3: led past the soft deadline")
        self.tenure = Tenure(effect.token, effect.deadlines)
        self.deadline_timer = None
        self.working = True
        self.led.append(effect.token)

    def _extend(self, event: CandidateEvent, effect: Extend) -> None:
        tenure = self._current(effect.token)
        renewal = self.answered
        self._require(
            isinstance(event, Renewed)
            and renewal is not None
            and isinstance(renewal.effect, Renew),
            "extended without a renewal",
        )
        assert renewal is not None
        self._require(not tenure.down, "extended a tenure that was over")
        self._require(not tenure.lost, "extended a tenure that was lost")
        self._deadlines(effect.deadlines, renewal.sent_at, "law 1: counted from the reply")
        tenure.deadlines = effect.deadlines
        self.deadline_timer = None

    def _stop_work(self, _event: CandidateEvent, effect: StopWork) -> None:
        tenure = self._current(effect.token)
        self._require(self.working and not tenure.told, "told work to stop that does not run")
        tenure.told = True

    def _abort_work(self, event: CandidateEvent, effect: AbortWork) -> None:
        tenure = self._current(effect.token)
        self._require(tenure.told and not tenure.aborted, "aborted work before telling it to stop")
        self._require(event.at >= tenure.deadlines.hard_ns, "law 3: aborted before its time")
        tenure.aborted = True

    def _step_down(self, event: CandidateEvent, effect: StepDown) -> None:
        tenure = self._current(effect.token)
        self._require(not tenure.down, "stepped down twice")
        over = not self.working or event.at >= tenure.deadlines.hard_ns
        self._require(over, "law 4: stepped down while the work was running")
        tenure.down = True

    def _set_timer(self, _event: CandidateEvent, effect: SetTimer) -> None:
        self._require(effect.earliest <= effect.latest, "a window that ends before it begins")
        if effect.name == DEADLINE:
            self.deadline_timer = effect.latest

    def _withdrew(self, _event: CandidateEvent, _effect: Withdrawn) -> None:
        self._require(self.closing and not self.withdrawn, "left without having been asked to")
        self._require(not self.working, "left while the work was running")
        self.withdrawn = True

    def _observe(self, event: CandidateEvent, effect: Observe) -> None:
        told = effect.observation
        if isinstance(event, Changed) and isinstance(told, Led):
            self._require(told.token >= self.newest, "observers were shown late news")
        given_back = self.answered.effect if self.answered else None
        vacated = isinstance(event, Released) and isinstance(given_back, Release)
        if isinstance(given_back, Release) and vacated and isinstance(self.shown, Led):
            later = self.shown.token > given_back.token
            self._require(not later, "observers were told of a vacancy that is over")
        self.shown = told

    # -- what it must not omit -----------------------------------------------------------

    def _a_lost_renewal_is_repeated(
        self, event: OutcomeLost, effects: tuple[CandidateEffect, ...]
    ) -> None:
        """The timing budget has one request timeout for it, and nothing for a pause."""
        tenure, lost = self.tenure, self.answered
        if tenure is None or tenure.down or tenure.told:
            return
        if lost and isinstance(lost.effect, Renew) and lost.effect.token == tenure.token:
            latest = max(event.at, lost.sent_at + self.timing.request_timeout_ns)
            again = [e for e in effects if isinstance(e, SetTimer) and e.name == RENEW]
            in_time = any(timer.latest <= latest for timer in again)
            self._require(in_time, "the budget has no time for a pause after a lost renewal")

    def _observers_know_no_more_than_we_do(self, event: CandidateEvent) -> None:
        tenure = self.tenure
        if tenure is not None and isinstance(self.shown, Led) and self.shown.token == tenure.token:
            vouched = not tenure.lost and event.at < tenure.deadlines.hard_ns
            self._require(vouched, "observers were left to believe in a leader that is none")

    def _grant_was_used(
        self, event: Granted, effects: tuple[CandidateEffect, ...], newest_before: int
    ) -> None:
        led = any(isinstance(effect, Lead) for effect in effects)
        given_back = any(isinstance(e, Release) and e.token == event.token for e in effects)
        if self.answered is not None:
            self._require(led != given_back, "a grant was neither used nor given back")
            self.doubts.clear()
        elif not self.working and not self.in_flight and event.token > newest_before:
            known = event.token in self.led or event.token in self.given_back
            kept = not given_back and not known
            self._require(not kept, "a late grant was kept, though nobody leads with it")
        if event.token <= newest_before:
            self._require(not led, "law 5: led with a token that is not new")

    def _nothing_was_forgotten(self, event: CandidateEvent) -> None:
        tenure = self.tenure
        if tenure is None or tenure.down or not self.working:
            return
        soft, hard = tenure.deadlines.soft_ns, tenure.deadlines.hard_ns
        self._require(event.at < hard, "law 3: went on past the hard deadline")
        at_deadline = isinstance(event, TimerFired) and event.name == DEADLINE and event.at >= soft
        self._require(tenure.told or not at_deadline, "law 3: the soft deadline stopped nothing")
        self._require(tenure.told or not tenure.lost, "went on with a lease that was lost")
        self._require(tenure.told or not tenure.stalled, "law 6: went on while stalled")
        self._require(tenure.told or not self.closing, "went on though told to leave")
        due = hard if tenure.told else soft
        armed = self.deadline_timer is not None and self.deadline_timer <= due
        self._require(armed, "law 3: no timer stands before the next deadline")

    def _deadlines(self, said: Deadlines, since: int, otherwise: str) -> None:
        """Deadlines may be earlier than they could be, never later."""
        million = 1_000_000
        timing = self.timing
        drift = timing.drift_ppm
        hard = since + timing.ttl_ns * (million - drift) // (million + drift) - timing.margin_ns
        self._require(said.hard_ns <= hard, otherwise)
        self._require(said.soft_ns <= said.hard_ns - timing.stop_grace_ns, "law 3: no time to stop")

    def _current(self, token: int) -> Tenure:
        if self.tenure is None or self.tenure.token != token:
            self._broken(f"token {token} is not that of the current tenure")
        return self.tenure

    def _require(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self._broken(otherwise)

    def _broken(self, law: str) -> NoReturn:
        raise LawBroken(law)


_JUDGES: dict[type[Any], Callable[[CandidateLaws, CandidateEvent, Any], None]] = {
    Acquire: CandidateLaws._acquire,
    Renew: CandidateLaws._renew,
    Release: CandidateLaws._release,
    Lead: CandidateLaws._lead,
    Extend: CandidateLaws._extend,
    StopWork: CandidateLaws._stop_work,
    AbortWork: CandidateLaws._abort_work,
    StepDown: CandidateLaws._step_down,
    SetTimer: CandidateLaws._set_timer,
    Observe: CandidateLaws._observe,
    Withdrawn: CandidateLaws._withdrew,
}
