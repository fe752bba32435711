"""One code judges while a run happens and afterwards, whoever else is watching."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elector.errors import ConfigurationError
from elector.properties.catalogue import DEFAULTS, PROPERTIES, properties_for
from elector.properties.judge import Judge, judge
from elector.properties.verdict import ASSUMPTIONS, Property, Verdict
from elector.simulation.faults import KINDS
from elector.trace.records import (
    FORMAT,
    Answer,
    Apply,
    Boot,
    Calm,
    Crash,
    Cut,
    End,
    Expire,
    Follow,
    Header,
    Heal,
    Lead,
    Pause,
    Record,
    Request,
    Send,
    StepDown,
    Work,
    Write,
)
from tests.properties import traces
from tests.properties.traces import ALL, LIMIT, NODES

NODE = st.integers(0, NODES - 1)
TOKEN = st.integers(1, 4)
TERM = st.integers(1, 3)
GAP = st.sampled_from((0, 1, 2, 6))
UNTIL = st.sampled_from((20, 60, 200))
T = st.just(0)  # the course of time is put in afterwards

SENT = st.one_of(
    st.builds(traces.vote, T, NODE, NODE, TERM),
    st.builds(traces.refusal, T, NODE, NODE, TERM),
    st.builds(traces.asks, T, NODE, NODE, TERM),
    st.builds(traces.pre_asks, T, NODE, NODE, TERM),
    st.builds(traces.pre_vote, T, NODE, NODE, TERM, granted=st.booleans()),
    st.builds(traces.beats, T, NODE, NODE, TERM),
    st.builds(Send, T, NODE, NODE, T, st.just({"type": "Foreign", "colour": "blue"})),
)
RECORDS = st.one_of(  # some twice, so that properties meet what they read
    SENT,
    st.builds(Lead, T, NODE, TOKEN, UNTIL),
    st.builds(traces.began, T, NODE, TOKEN),
    st.builds(traces.disk, T, NODE, TERM, st.none() | NODE),
    st.builds(Lead, T, NODE, TOKEN, st.none() | UNTIL),
    st.builds(Follow, T, NODE, st.none() | NODE, TOKEN),
    st.builds(StepDown, T, NODE, TOKEN, st.sampled_from(["", "lost", "completed"])),
    st.builds(Work, T, NODE, TOKEN, st.sampled_from(["began", "stopping", "stopped"])),
    st.builds(Write, T, NODE, TOKEN, st.booleans(), TOKEN),
    st.builds(Boot, T, NODE),
    st.builds(Crash, T, NODE),
    st.builds(Pause, T, NODE, UNTIL),
    st.builds(Cut, T, NODE, NODE),
    st.builds(Heal, T, NODE, NODE),
    st.builds(Expire, T, TOKEN),
    st.builds(Request, T, NODE, T, st.sampled_from(["acquire", "renew"])),
    st.builds(Apply, T, NODE, T, st.just("release"), st.just("released")),
    st.builds(Answer, T, NODE, T, st.sampled_from(["lost", "unknown"])),
    st.builds(Calm, T, st.just(LIMIT), st.just(ALL)),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Record, ...]:
    told, now = [], 0
    for record in draw(st.lists(RECORDS, min_size=15, max_size=60)):
        now += draw(GAP)
        told.append(type(record)(**{**_fields(record), "t": now}))
    return (*told, End(now + draw(GAP)))


def _fields(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def everything(*, every_message: bool = True) -> list[Property]:
    return properties_for(
        "raft", PROPERTIES, nodes=NODES, bound_ns=LIMIT, every_message=every_message
    )


def head(protocol: str = "raft", void: tuple[str, ...] = ()) -> Header:
    return Header(FORMAT, "0.0", "simulation", protocol, ("a", "b", "c"), void=void)


def _spoken(verdict: Verdict) -> tuple[object, ...]:
    return verdict.name, verdict.outcome, verdict.text, verdict.t


@given(histories(), st.sets(st.sampled_from(sorted(ASSUMPTIONS))), st.booleans())
def test_online_and_offline_are_one_judgement(
    history: tuple[Record, ...], void: set[str], every_message: bool
) -> None:
    watching = Judge(everything(every_message=every_message), void)
    seen_enough = False
    for record in history:
        seen_enough |= not watching.watch(record)
    afterwards = judge(head(void=tuple(void)), history, everything(every_message=every_message))
    assert watching.verdicts() == afterwards
    assert seen_enough == any(v.outcome == "violated" for v in afterwards if v.at is not None)


@given(histories(), st.booleans())
def test_a_verdict_does_not_depend_on_what_others_read(
    history: tuple[Record, ...], every_message: bool
) -> None:
    for judged, all_told in zip(
        everything(every_message=every_message),
        judge(head(), history, everything(every_message=every_message)),
        strict=True,
    ):
        alone = Judge([judged])
        for record in history:
            types = alone.messages
            unread = isinstance(record, Send) and (
                types is not None and record.message["type"] not in types
            )
            if type(record) in alone.reads and not unread:
                alone.watch(record)
        assert _spoken(alone.verdicts()[0]) == _spoken(all_told)


@given(histories())
def test_the_prefix_that_is_reported_is_the_shortest(history: tuple[Record, ...]) -> None:
    for number, whole in enumerate(judge(head(), history, everything())):
        if whole.outcome == "violated":
            assert whole.at is not None
            shown = judge(head(), history[: whole.at + 1], everything())[number]
            assert shown == whole
            if whole.kind == "always":
                shorter = judge(head(), history[: whole.at], everything())[number]
                assert shorter.outcome != "violated"


@given(histories())
def test_what_is_coverage_never_complains(history: tuple[Record, ...]) -> None:
    kinds = {v.kind for v in judge(head(), history, everything()) if v.outcome == "violated"}
    assert "sometimes" not in kinds


def test_the_first_violation_stops_a_run_and_the_others_are_found_too() -> None:
    watching = Judge(properties_for("raft", ["Unique", "TermUnique"]))
    told = [watching.watch(r) for r in (Lead(0, 1, 7), Lead(3, 0, 7), Lead(4, 2, 8))]
    assert told == [True, False, False]
    assert watching.violated is not None
    assert [v.at for v in watching.verdicts()] == [1, 1]
    assert watching.verdicts() == watching.verdicts()


def test_a_void_violation_is_reported_and_stops_nothing() -> None:
    watching = Judge(properties_for("lease", ["LeaseDisjoint"]), {"drift_bound"})
    assert watching.watch(Lead(0, 0, 1, 10))
    assert watching.watch(Lead(5, 1, 2, 20))
    assert watching.violated is None
    [found] = watching.verdicts()
    assert (found.outcome, found.at) == ("assumption void", 1)
    assert "both inside" in found.text


def test_what_is_void_says_which_assumption() -> None:
    [found] = judge(head(void=("drift_bound",)), [], properties_for("lease", ["LeaseDisjoint"]))
    assert found.outcome == "assumption void"
    assert "drift_bound" in found.text


def test_coverage_is_counted() -> None:
    crashes = [Crash(0, 0), Crash(1, 1)]
    assert judge(head(), crashes, properties_for("raft", ["NodeCrashed"]))[0].text == "seen 2 times"
    assert (
        judge(head(), crashes[1:], properties_for("raft", ["NodeCrashed"]))[0].text == "seen 1 time"
    )


def test_a_whole_trace_is_judged_by_what_makes_sense_for_its_protocol() -> None:
    for protocol, names in DEFAULTS.items():
        assert [v.name for v in judge(head(protocol), [End(0)])] == list(names)


def test_a_whole_trace_is_judged_by_its_heartbeats_too() -> None:
    told = judge(head(), [traces.disk(0, 0, 3), traces.beats(1, 0, 1, 2)])
    assert {v.name for v in told if v.outcome == "violated"} == {"TermMonotone"}


@pytest.mark.parametrize(
    ("protocol", "names", "complaint"),
    [
        ("raft", ["Nice"], "there is no property 'Nice'; there are: TermUnique, VoteOnce"),
        ("paxos", None, "there are no properties of 'paxos'; there are of: raft, lease, once"),
        ("raft", ["Majority"], "say how many nodes"),
        ("raft", ["QuorumConnected"], "say how many nodes"),
    ],
)
def test_a_mistake_is_told_what_there_is(
    protocol: str, names: list[str] | None, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        properties_for(protocol, names)


def test_properties_read_what_there_is_and_rest_on_what_has_a_name() -> None:
    for kind in PROPERTIES.values():
        assert kind.reads <= set(get_args(Record))
        assert kind.needs <= set(ASSUMPTIONS)
    assert {kind.voids for kind in KINDS.values()} - {None} <= set(ASSUMPTIONS)
    assert {name for names in DEFAULTS.values() for name in names} <= set(PROPERTIES)
