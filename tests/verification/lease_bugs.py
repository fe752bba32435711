"""Bugs of the lease protocol and of stores, and the smallest world known to show each.

``python -m tests.verification.lease_bugs`` prints how soon each is found.
"""

from types import ModuleType
from typing import NamedTuple

from msgspec.structs import replace

from elector.core import timing
from elector.core.timing import LeaseTiming
from elector.protocols import lease
from elector.protocols.lease import LeaseCandidate
from elector.verification import lease_register
from elector.verification.lease import explore_lease
from elector.verification.lease_register import Register, StoreKind
from elector.verification.lease_scope import (
    SMALL,
    STEADY,
    Budgets,
    LeaseExploration,
    LeaseScope,
    Wish,
)
from tests.mutants.mutation import mutated

LONGER = replace(STEADY, ttl_ns=6)
ONCE = StoreKind(prolongs=False)


class Bug(NamedTuple):
    """A bug.

    Attributes:
        number: in the list of mechanisms of real bugs; 0 if it is not there.
        old, new: the text that is replaced; both empty if the world is at fault, not the code.
        scope: where it shows.
        notices: the property that is violated first.
        module: where it is put.
    """

    number: int
    old: str
    new: str
    scope: LeaseScope
    notices: str
    module: ModuleType = lease


def small(
    timing: LeaseTiming = STEADY,
    *wishes: Wish,
    candidates: int = 2,
    tenures: int = 2,
    kind: StoreKind = StoreKind(),  # noqa: B008 - a frozen value
    drift_ppm: int | None = None,
    liveness: bool = False,
    **budgets: int,
) -> LeaseScope:
    """A scope with these budgets."""
    return LeaseScope(
        candidates=candidates,
        tenures=tenures,
        timing=timing,
        drift_ppm=drift_ppm,
        budgets=Budgets(**budgets),
        wishes=wishes or ("resign",),
        kind=kind,
        liveness=liveness,
    )


BUGS = {
    "renewal counted from the reply": Bug(
        17,
        "deadlines = self.timing.deadlines(state.sent_at)",
        "deadlines = self.timing.deadlines(event.at)",
        small(pauses=1),
        "LeaseDisjoint",
    ),
    "acquisition counted from the reply": Bug(
        17,
        "since = state.sent_at if state.doubt_since is None",
        "since = event.at if state.doubt_since is None",
        small(pauses=1),
        "LeaseDisjoint",
    ),
    "acquisition counted from the latest attempt": Bug(
        18,
        "since = state.sent_at if state.doubt_since is None else state.doubt_since",
        "since = state.sent_at",
        small(kind=ONCE, lost=1, pauses=1),
        "LeaseDisjoint",
    ),
    "doubt begins at the latest lost reply": Bug(
        18,
        "if isinstance(event, OutcomeLost) and state.doubt_since is None:",
        "if isinstance(event, OutcomeLost):",
        small(LONGER, kind=ONCE, lost=2, pauses=1),
        "LeaseDisjoint",
    ),
    "a grant that queued too long is led with": Bug(
        22,
        "return EndReason.EXPIRED if at >= state.deadlines.soft_ns else None",
        "return None",
        small(pauses=1),
        "FenceMonotone",
    ),
    "renewal failure taken for success": Bug(
        23,
        "        OutcomeLost: _unanswered,",
        "        OutcomeLost: _renewed,",
        small(lost=2),
        "LeaseDisjoint",
    ),
    "release without comparing the owner": Bug(
        24,
        "return self.holder == who and self.token == token",
        "return self.holder is not None",
        small(tenures=3, lost=1, late=1, wishes=1),
        "LeaseDisjoint",
        lease_register,
    ),
    "an unknown outcome is a failure": Bug(
        25,
        "if isinstance(event, OutcomeLost) and state.doubt_since is None:",
        "if False:",
        small(kind=ONCE, lost=1, pauses=1),
        "LeaseDisjoint",
    ),
    "a token that went back is led with": Bug(
        26,
        "if event.token <= state.newest:",
        "if False:",
        small(candidates=1, forgets=1, wishes=1),
        "FenceMonotone",
    ),
    "a missed vacancy is never found out": Bug(
        27,
        "        return state, (self._retry_timer(at, retry_in_ns),)",
        "        return state, ()",
        small(STEADY, "withdraw", liveness=True, wishes=1),
        "EventuallyLed",
    ),
    "nobody wakes a resting candidate": Bug(
        0,
        "return resting, (*leave_queue, SetTimer(RETRY, until, until + self.timing.jitter_ns))",
        "return resting, leave_queue",
        small(candidates=1, liveness=True, wishes=1),
        "EventuallyLed",
    ),
    "a refused release is the end": Bug(
        0,
        "            return failed, (SetTimer(RETRY, event.at + pause // 2, event.at + pause),)",
        "            return failed, ()",
        small(candidates=1, liveness=True, wishes=1, lost=1),
        "EventuallyLed",
    ),
    "release before the work has stopped": Bug(
        29,
        "return self._stop(replace(state, heir=event.heir), event.at, reason)",
        "return self._release(replace(state, heir=event.heir), reason)",
        small(wishes=1),
        "LeaseDisjoint",
    ),
    "work that does not stop is left alone": Bug(
        0,
        "            AbortWork(state.token),\n",
        "",
        small(STEADY, "resign", "stubborn", wishes=2),
        "StopBeforeTakeover",
    ),
    "a stray grant is led with after it was given back": Bug(
        0,
        "given_back = self._note_ours(replace(state, op=op), event.token)",
        "given_back = replace(state, op=op)",
        small(lost=2, late=2, wishes=1),
        "LeaseDisjoint",
    ),
    "drift forgotten": Bug(
        0,
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)",
        "return self.ttl_ns",
        small(SMALL, pauses=1),
        "LeaseDisjoint",
        timing,
    ),
    "drift of one clock only": Bug(
        0,
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)",
        "return self.ttl_ns * (_MILLION - self.drift_ppm) // _MILLION",
        small(SMALL, pauses=1),
        "LeaseDisjoint",
        timing,
    ),
    "clocks drift twice as much as they may": Bug(
        0, "", "", small(SMALL, drift_ppm=666_667, pauses=1), "LeaseDisjoint"
    ),
    "the candidate's clock goes back": Bug(16, "", "", small(steps=1, pauses=1), "LeaseDisjoint"),
    "the store forgets its tokens, and a process has crashed": Bug(
        26, "", "", small(candidates=1, forgets=1, crashes=1, wishes=1), "FenceMonotone"
    ),
    "the store forgets its tokens": Bug(26, "", "", small(forgets=1), "TermUnique"),
}


def hunt(bug: Bug) -> LeaseExploration:
    """Look for what the bug violates."""
    build, register, scope = LeaseCandidate, Register(), bug.scope
    if bug.old:
        module = mutated(bug.module, bug.old, bug.new)
        build = getattr(module, "LeaseCandidate", build)
        register = getattr(module, "Register", Register)()
        if bug.module is timing:
            was = scope.timing
            fields = {name: getattr(was, name) for name in was.__struct_fields__}
            scope = replace(scope, timing=module.LeaseTiming(**fields))
    return explore_lease(scope, build, register=register)


class Row(NamedTuple):
    """How a bug was found: by which property, after how many states, seconds and steps."""

    number: int
    bug: str
    property: str
    states: int
    seconds: float
    steps: int


def mutant_table() -> list[Row]:
    """A row for each bug; one that was not found has no property."""
    rows = []
    for name, bug in BUGS.items():
        found = hunt(bug)
        violation, progress = found.violation, found.progress
        rows.append(
            Row(
                bug.number,
                name,
                violation.property if violation else "",
                progress.states,
                progress.seconds,
                violation.steps if violation else 0,
            )
        )
    return rows


if __name__ == "__main__":
    for row in mutant_table():
        print(*row, sep="\t")  # noqa: T201 - a program's output
