"""Bugs put into the protocol on purpose: a check is trusted only if it catches them.

Each mutant replaces some text of the source; if that text is not found any more, the test
fails and somebody has to look. What has to fail are the laws, on the transcripts of
tests/scenarios and in the simulated world, not the wording of a transcript.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import NamedTuple

import pytest

from elector.core import timing
from elector.protocols import lease
from tests.protocols.laws import CandidateLaws, LawBroken
from tests.protocols.misadventure import misadventure
from tests.protocols.transcript import CLEAN, Build, Transcript
from tests.protocols.trial import LATE, S, Trial, drawn_model, overtaking_model

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))
LIVES = 1600
OVERTAKING_LIVES = 500


class Mutant(NamedTuple):
    """A bug: where it is put, and which law has to notice."""

    old: str
    new: str
    notices: str
    module: ModuleType = lease


MUTANTS = {
    "renewal counted from the reply": Mutant(
        "deadlines = self.timing.deadlines(state.sent_at)",
        "deadlines = self.timing.deadlines(event.at)",
        "law 1",
    ),
    "acquisition counted from the reply": Mutant(
        "since = state.sent_at if state.doubt_since is None",
        "since = event.at if state.doubt_since is None",
        "law 2",
    ),
    "acquisition counted from the latest attempt": Mutant(
        "since = state.sent_at if state.doubt_since is None else state.doubt_since",
        "since = state.sent_at",
        "law 2",
    ),
    "doubt begins at the latest lost reply": Mutant(
        "if isinstance(event, OutcomeLost) and state.doubt_since is None:",
        "if isinstance(event, OutcomeLost):",
        "law 2",
    ),
    "an unknown outcome is a failure": Mutant(
        "if isinstance(event, OutcomeLost) and state.doubt_since is None:",
        "if False:",
        "law 2",
    ),
    "release before the work has stopped": Mutant(
        "return self._stop(replace(state, heir=event.heir), event.at, reason)",
        "return self._release(replace(state, heir=event.heir), reason)",
        "law 4",
    ),
    "release past the hard deadline": Mutant(
        "if reason is EndReason.LOST or event.at >= state.deadlines.hard_ns:",
        "if reason is EndReason.LOST:",
        "law 4: released late",
    ),
    "release of a lost lease": Mutant(
        "if reason is EndReason.LOST or event.at >= state.deadlines.hard_ns:",
        "if event.at >= state.deadlines.hard_ns:",
        "law 4",
    ),
    "renewal failure ignored": Mutant(
        "if state.phase is Phase.LEADING and at >= state.deadlines.soft_ns:",
        "if False:",
        "law 3",
    ),
    "renewal failure taken for success": Mutant(
        "        OutcomeLost: _unanswered,",
        "        OutcomeLost: _renewed,",
        "extended without a renewal",
    ),
    "an early timer is not set again": Mutant(
        "            return state, (SetTimer(DEADLINE, ends, ends),)",
        "            return state, ()",
        "law 3",
    ),
    "no timer for the deadline of a renewed lease": Mutant(
        "            SetTimer(DEADLINE, ends, ends),\n        )",
        "        )",
        "law 3",
    ),
    "hard deadline not looked at when an event is late": Mutant(
        "late = state.phase in _HOLDING and event.at >= state.deadlines.hard_ns",
        "late = False",
        "law 3",
    ),
    "work that overran is forgotten": Mutant(
        "replace(state, phase=Phase.OVERRUN, leave",
        "replace(state, phase=Phase.RESTING, leave",
        "asked for office while the last work still runs",
    ),
    "a grant is never too old": Mutant(
        "return EndReason.EXPIRED if at >= state.deadlines.soft_ns else None",
        "return None",
        "law 3: led past the soft deadline",
    ),
    "token that went back is led with": Mutant(
        "if event.token <= state.newest:",
        "if False:",
        "law 5",
    ),
    "tokens of others are not remembered": Mutant(
        "            state = replace(state, newest=event.token)\n",
        "            pass\n",
        "law 5",
    ),
    "a stray grant is kept": Mutant(
        "        if state.phase not in _IDLE:\n",
        "        if True:\n",
        "a late grant was kept",
    ),
    "a stray grant is led with": Mutant(
        "if state.phase is not Phase.ASKING or event.op != state.pending:\n"
        "            return self._stray_grant(state, event)",
        "if state.phase not in {Phase.ASKING, Phase.WAITING}:\n"
        "            return self._stray_grant(state, event)",
        "led without a grant",
    ),
    "health ignored when a grant comes": Mutant(
        "        if not state.healthy:\n            return EndReason.STALLED",
        "",
        "law 6: led while unhealthy",
    ),
    "health ignored while leading": Mutant(
        "            return self._stop(known, event.at, EndReason.STALLED)",
        "            return known, ()",
        "law 6",
    ),
    "health ignored when asking": Mutant(
        "ready = state.contending and state.healthy and",
        "ready = state.contending and",
        "law 6: an unhealthy candidate asked",
    ),
    "a stalled leader goes on renewing": Mutant(
        "renewing=reason not in {EndReason.LOST, EndReason.STALLED}",
        "renewing=reason is not EndReason.LOST",
        "law 6: renewed for a stalled application",
    ),
    "leads though it was told to leave": Mutant(
        "        if state.closing:\n            return EndReason.SHUTDOWN",
        "",
        "led while leaving",
    ),
    "leads though it does not stand any more": Mutant(
        "        if not state.contending:\n            return EndReason.RESIGNED",
        "",
        "led without standing",
    ),
    "Lost ignored": Mutant(
        "return self._superseded(state, event.at)",
        "return replace(state, pending=0), ()",
        "a lease that was lost",
    ),
    "renews what is lost": Mutant(
        "renewing=reason not in {EndReason.LOST, EndReason.STALLED}",
        "renewing=reason is not EndReason.STALLED",
        "renewed after the store said",
    ),
    "renews though a renewal is in flight": Mutant(
        "or not state.renewing or state.pending:",
        "or not state.renewing:",
        "a second request in flight",
    ),
    "asks though a request is in flight": Mutant(
        "if state.phase in {Phase.RESTING, Phase.WAITING} and ready:",
        "if state.phase in {Phase.RESTING, Phase.WAITING, Phase.ASKING} and ready:",
        "a second request in flight",
    ),
    "a missed vacancy is never found out": Mutant(
        "        return state, (self._retry_timer(at, retry_in_ns),)",
        "        return state, ()",
        "nobody leads, though",
    ),
    "nobody wakes a resting candidate": Mutant(
        "return resting, (*leave_queue, SetTimer(RETRY, until, until + self.timing.jitter_ns))",
        "return resting, leave_queue",
        "nobody leads, though",
    ),
    "a refused release is the end": Mutant(
        "            return failed, (SetTimer(RETRY, event.at + pause // 2, event.at + pause),)",
        "            return failed, ()",
        "nobody leads, though",
    ),
    "a lost renewal waits for the retry pause": Mutant(
        "again = max(event.at, state.sent_at + self.timing.request_timeout_ns)",
        "again = event.at + pause",
        "the budget has no time",
    ),
    "news of a later leader mean nothing in office": Mutant(
        "return self._superseded(known, event.at)",
        "return known, ()",
        "a lease that was lost",
    ),
    "superseding leaves the renewal in flight": Mutant(
        "self._doubt_own_office(replace(state, pending=0), at)",
        "self._doubt_own_office(state, at)",
        "extended a tenure that was lost",
    ),
    "tokens seen in office are not remembered": Mutant(
        "known = replace(state, newest=max(state.newest, event.token))\n            return",
        "known = state\n            return",
        "law 5: led with a token that is not new",
    ),
    "a lease that outlived its tenure is blamed on the store": Mutant(
        "if unwanted is None and event.token == state.ours:",
        "if False:",
        "blamed the store",
    ),
    "observers are not told that the lease was lost": Mutant(
        "believed = isinstance(state.seen, Led) and state.seen.token == state.token",
        "believed = False",
        "observers were left to believe",
    ),
    "observers are not told that the release is in doubt": Mutant(
        "            return self._lapsed(state, at, state.leave or EndReason.EXPIRED)",
        "            return self._after_tenure(state, at, state.leave or EndReason.EXPIRED)",
        "observers were left to believe",
    ),
    "late news turn observers back": Mutant(
        "        if event.token < state.newest:\n            return state, ()",
        "        if False:\n            return state, ()",
        "observers were shown late news",
    ),
    "a release announces a vacancy that is over": Mutant(
        "overtaken = isinstance(state.seen, Led) and state.seen.token > state.token",
        "overtaken = False",
        "observers were told of a vacancy that is over",
    ),
    "drift forgotten": Mutant(
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)",
        "return self.ttl_ns",
        "law 2",
        timing,
    ),
    "drift of one clock only": Mutant(
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)",
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // _MILLION",
        "law 2",
        timing,
    ),
    "margin forgotten": Mutant(
        "hard_ns = sent_at + self.usable_ns - self.margin_ns",
        "hard_ns = sent_at + self.usable_ns",
        "law 2",
        timing,
    ),
    "no time to stop": Mutant(
        "return Deadlines(soft_ns=hard_ns - self.stop_grace_ns, hard_ns=hard_ns)",
        "return Deadlines(soft_ns=hard_ns, hard_ns=hard_ns)",
        "law 3: no time to stop",
        timing,
    ),
}

# The same law from the other side: with these, two really lead at one instant.
TWO_LEADERS = (
    "renewal counted from the reply",
    "acquisition counted from the reply",
    "acquisition counted from the latest attempt",
    "an unknown outcome is a failure",
    "release before the work has stopped",
    "renewal failure taken for success",
    "drift forgotten",
    "drift of one clock only",
)

# What was given back is spent: the release may still be on its way, and comes late.
OVERTAKING = {
    "a stray grant is led with after it was given back": Mutant(
        "given_back = self._note_ours(replace(state, op=op), event.token)",
        "given_back = replace(state, op=op)",
        "LeaseDisjoint",
    ),
    "what outlived its tenure is led with again": Mutant(
        "if unwanted is None and event.token == state.ours:\n"
        "            unwanted = EndReason.EXPIRED"
        "  # what is left of a tenure of ours that is over\n"
        "        if unwanted is not None:\n"
        "            return self._release(held, unwanted)\n"
        "        if event.token <= state.newest:",
        "if unwanted is not None:\n"
        "            return self._release(held, unwanted)\n"
        "        if False:",
        "LeaseDisjoint",
    ),
}


def mutated(mutant: Mutant) -> Build:
    """Our code with one bug in it."""
    assert mutant.module.__file__ is not None
    source = Path(mutant.module.__file__).read_text(encoding="utf-8")
    found = source.count(mutant.old)
    assert found == 1, f"found {found} times, so this mutant is of no use: {mutant.old!r}"
    module = ModuleType(f"mutant of {mutant.module.__name__}")
    sys.modules[module.__name__] = module  # msgspec looks up annotations there
    try:
        exec(source.replace(mutant.old, mutant.new), module.__dict__)  # noqa: S102 - our own source
    finally:
        del sys.modules[module.__name__]
    return Build(
        getattr(module, "LeaseCandidate", CLEAN.candidate),
        getattr(module, "LeaseTiming", CLEAN.timing),
    )


def complaints(build: Build) -> Iterator[str]:
    """Every law that the transcripts and some lives in the simulated world see broken."""
    for path in SCENARIOS:
        try:
            obey(Transcript(path.read_text(encoding="utf-8")), build)
        except LawBroken as broken:
            yield f"{broken} (scenario {path.stem})"
    yield from complaints_of_worlds(build)


def obey(scenario: Transcript, build: Build) -> None:
    laws = CandidateLaws(scenario.timing(), "a#1")
    for happening in scenario.replay(build):
        laws.watch(happening.event, happening.effects)


def complaints_of_worlds(
    build: Build, *, judges_each: bool = True, drift_ppm: int | None = None
) -> Iterator[str]:
    for seed in range(LIVES):
        random = Random(seed)  # noqa: S311 - chance, not a secret
        kind = drawn_model(random)
        trial = Trial(
            random,
            candidates=random.choice((2, 3)),
            kind=kind,
            build=build,
            drift_ppm=drift_ppm,
            judges_each=judges_each,
        )
        try:
            misadventure(trial, random)
        except LawBroken as broken:
            yield f"{broken} (seed {seed})"


def complaints_of_overtaking(build: Build) -> Iterator[str]:
    """Lives in which late requests overtake each other all the time."""
    for seed in range(OVERTAKING_LIVES):
        random = Random(seed)  # noqa: S311 - chance, not a secret
        kind = overtaking_model(random)
        trial = Trial(random, candidates=2, kind=kind, build=build, judges_each=False)
        try:
            for node in range(2):
                trial.expose(node, link=LATE)
            trial.run(100 * S)
        except LawBroken as broken:
            yield f"{broken} (seed {seed})"


def test_the_protocol_as_it_is_breaks_no_law() -> None:
    assert next(complaints(CLEAN), None) is None


def test_requests_that_overtake_each_other_all_the_time_make_no_second_leader() -> None:
    assert next(complaints_of_overtaking(CLEAN), None) is None


@pytest.mark.parametrize("name", OVERTAKING)
def test_a_late_release_of_a_token_that_is_led_with_again_makes_two_lead(name: str) -> None:
    said = complaints_of_overtaking(mutated(OVERTAKING[name]))
    assert any("LeaseDisjoint" in each for each in said), "nobody overlapped"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_noticed(name: str) -> None:
    mutant = MUTANTS[name]
    assert any(mutant.notices in said for said in complaints(mutated(mutant))), "it survived"


@pytest.mark.parametrize("name", TWO_LEADERS)
def test_a_bug_makes_two_lead_on_true_time(name: str) -> None:
    said = complaints_of_worlds(mutated(MUTANTS[name]), judges_each=False)
    assert any("LeaseDisjoint" in each for each in said), "nobody overlapped"


def test_the_drift_bound_is_needed() -> None:
    """Break what the protocol asks of the world, and its promise breaks."""
    assert CLEAN.candidate.requires.drift_bound
    wild = complaints_of_worlds(CLEAN, drift_ppm=100_000)
    assert any("LeaseDisjoint" in each for each in wild)


def test_a_mutant_whose_text_is_gone_is_reported() -> None:
    with pytest.raises(AssertionError, match="found 0 times"):
        mutated(Mutant("no such text", "", ""))
