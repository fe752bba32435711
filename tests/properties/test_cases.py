"""What each property says of small traces, and that it says so at the right record."""

import pytest

from elector.properties.catalogue import PROPERTIES
from elector.properties.verdict import ASSUMPTIONS
from elector.trace.records import End, Record
from tests.properties.cases import CASES, UNTESTED, VIOLATED
from tests.properties.traces import Case, outcome, said


def _named(case: Case) -> str:
    return f"{case.property}: {case.shows}"


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_a_trace_gets_its_verdict_at_its_record(case: Case) -> None:
    found = said(case, case.trace)
    assert (found.outcome, found.at) == (outcome(case), case.at), found.text
    if case.at is not None:
        assert found.t == case.trace[case.at].t
        assert found.text


@pytest.mark.parametrize("case", VIOLATED, ids=_named)
def test_the_prefix_up_to_that_record_shows_it_and_no_shorter_one(case: Case) -> None:
    assert case.at is not None
    whole = said(case, case.trace)
    assert said(case, case.trace[: case.at + 1]) == whole
    assert said(case, case.trace[: case.at]).outcome != "violated"


@pytest.mark.parametrize("case", VIOLATED, ids=_named)
def test_what_follows_a_violation_changes_nothing(case: Case) -> None:
    assert said(case, (*case.trace, *case.trace, End(10**9))) == said(case, case.trace)


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_a_broken_assumption_makes_any_verdict_void(case: Case) -> None:
    before = said(case, case.trace)
    for assumption in PROPERTIES[case.property].needs:
        found = said(case, case.trace, void=(assumption,))
        assert (found.outcome, found.at) == ("assumption void", case.at)
        assert before.outcome == "holds" or found.text == before.text


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_what_it_does_not_rest_on_excuses_nothing(case: Case) -> None:
    others = {*ASSUMPTIONS, "luck"}
    void = tuple(sorted(others - PROPERTIES[case.property].needs))
    assert said(case, case.trace, void=void) == said(case, case.trace)


@pytest.mark.parametrize(("name", "trace"), [*((name, ()) for name in PROPERTIES), *UNTESTED])
def test_what_nothing_puts_to_the_test_was_never_exercised(
    name: str, trace: tuple[Record, ...]
) -> None:
    assert said(Case(name, "", trace), trace).outcome == "never exercised"


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_has_traces_for_each_verdict_it_can_give(name: str) -> None:
    given = {outcome(case) for case in CASES if case.property == name}
    sometimes = PROPERTIES[name].kind == "sometimes"
    assert given == ({"holds"} if sometimes else {"holds", "violated"})
