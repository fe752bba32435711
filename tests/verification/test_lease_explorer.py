"""The explorer of lease candidates: what it finds, what it does not, and that it is right."""

from collections.abc import Callable

import pytest

from elector.core.effects import Extend, Lead, SetTimer
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.properties.catalogue import properties_for
from elector.properties.judge import judge
from elector.protocols.lease import LeaseCandidate
from elector.verification.divergence import first_divergence
from elector.verification.lease import explore_lease
from elector.verification.lease_local import Local
from elector.verification.lease_register import Register, StoreKind
from elector.verification.lease_scope import STEADY, Budgets, LeaseScope, coarse
from elector.verification.lease_space import Space
from elector.verification.scope import Progress
from tests.verification.lease_bugs import BUGS, hunt, small

CLEAN = {
    "clocks at both ends of the drift": LeaseScope(),
    "a request lost": small(lost=1, liveness=True),
    "a process paused": small(pauses=1, liveness=True),
    "a process crashed, between any two effects": small(crashes=1, liveness=True),
    "a message late": small(lost=1, late=1, liveness=True),
    "a resignation": small(wishes=1, liveness=True),
    "a resignation, work that does not stop": small(STEADY, "resign", "stubborn", wishes=2),
    "an office handed over": small(STEADY, "transfer", wishes=1, liveness=True),
    "an application that stalls": small(STEADY, "stall", wishes=1, liveness=True),
    "work that ends or fails": small(STEADY, "finish", "fail", wishes=1, liveness=True),
    "a candidate that leaves": small(STEADY, "withdraw", wishes=1, liveness=True),
    "news that may be missed": small(kind=StoreKind(announces=True), lost=1, liveness=True),
    "requests in order, no hints": small(
        kind=StoreKind(ordered=True, hints=False), lost=1, late=1, liveness=True
    ),
    "a store that forgets, and one who remembers": small(candidates=1, forgets=1, wishes=1),
    "three candidates": small(candidates=3, liveness=True),
    "corners of a drift of 1 %": LeaseScope(timing=coarse(10_000), instants="corners"),
}

LARGE = small(lost=1, pauses=1)
ENOUGH = 5_000


@pytest.mark.parametrize("name", CLEAN)
def test_the_protocol_as_it_is_holds(name: str) -> None:
    found = explore_lease(CLEAN[name])
    assert found.holds, found.violation
    assert found.progress.states > 100


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_and_its_trace_shows_it(name: str) -> None:
    bug = BUGS[name]
    found = hunt(bug)
    print(f"{name}: {found.progress.states} states, {found.progress.seconds:.2f} s")  # noqa: T201 - pytest -s shows how soon
    assert found.violation is not None, "it survived"
    assert found.stopped == "violation"
    assert found.violation.property == bug.notices
    header, records = found.violation.header, found.violation.records
    (verdict,) = judge(header, records, properties_for("lease", [bug.notices]))
    if header.void:
        assert verdict.outcome in {"assumption void", "violated"}
    else:
        assert verdict.outcome == "violated", verdict


@pytest.mark.parametrize(
    "name", [name for name, bug in BUGS.items() if bug.old and not bug.scope.void]
)
def test_without_the_bug_nothing_is_found_as_soon(name: str) -> None:
    """The world alone does not break the property before the bug does."""
    enough = hunt(BUGS[name]).progress.states
    found = explore_lease(BUGS[name].scope, max_states=min(enough, ENOUGH))
    assert found.violation is None


# -- what a counterexample is ---------------------------------------------------------------------


def test_a_counterexample_is_always_the_same() -> None:
    bug = BUGS["renewal counted from the reply"]
    first, second = hunt(bug).violation, hunt(bug).violation
    assert first is not None
    assert first == second


@pytest.mark.parametrize(
    "name",
    [
        "clocks drift twice as much as they may",
        "the store forgets its tokens",
        "the store forgets its tokens, and a process has crashed",
    ],
)
def test_a_counterexample_has_the_steps_of_production(name: str) -> None:
    """Absolute times and rising numbers, so that every step can be taken again."""
    violation = hunt(BUGS[name]).violation
    assert violation is not None
    assert violation.header.void
    assert first_divergence(violation.header, violation.records) is None


def test_a_crash_falls_between_two_effects() -> None:
    space = Space(small(crashes=1), (1, 1, 1), LeaseCandidate, Register())
    torn = (
        move
        for local in reached(space, 0)
        for move in space.movers[0].moves(local)
        if move.kept is not None
    )
    kinds = {tuple(type(effect) for effect in move.done()) for move in torn}
    assert (Lead,) in kinds
    assert (Extend, SetTimer) in kinds


def reached(space: Space, node: int) -> tuple[Local, ...]:
    """All that a candidate can come to be."""
    seen, queue = {space.first()}, [space.first()]
    while queue:
        for passed in space.next(queue.pop()):
            if passed.world not in seen:
                seen.add(passed.world)
                queue.append(passed.world)
    return tuple(space.locals[node].values)


# -- limits ---------------------------------------------------------------------------------------


def test_it_stops_at_a_limit_and_says_what_is_left() -> None:
    heard: list[Progress] = []
    found = explore_lease(LARGE, max_states=40_000, on_progress=heard.append)
    assert (found.stopped, found.holds, found.violation) == ("states", False, None)
    assert found.progress.queue > 0
    assert [progress.states for progress in heard] == [16384, 32768, 49152]
    assert explore_lease(LARGE, max_memory=1).stopped == "memory"


def test_ctrl_c_keeps_what_was_found() -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    found = explore_lease(LARGE, on_progress=interrupt)
    assert (found.stopped, found.progress.states) == ("interrupted", 16384)


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        (lambda: LeaseScope(candidates=4), "1 to 3"),
        (lambda: LeaseScope(tenures=0), "1 to 9"),
        (lambda: LeaseScope(budgets=Budgets(lost=10)), "lost is 10"),
        (lambda: LeaseScope(drift_ppm=1_000_000), "stands still"),
        (lambda: LeaseScope(timing=LeaseTiming.of("15s")), "corners"),
        (lambda: LeaseScope(rates=(("slow", "fast"),)), "3 clocks"),
    ],
)
def test_a_scope_that_cannot_be_explored_is_refused(
    scope: Callable[[], LeaseScope], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        scope()
