"""Work that does not stop, and applications that do not answer: real processes, real ends."""

import pytest

from tests.runtime.processes import Troupe, ended
from tests.runtime.waiting import until
from tests.runtime.witness import BEGIN, STEP, check, entries

LONG = "60s"
SHORT = "1.5s"
# It drains for ever, but is renewed only so long; half a second lies between the end that the
# holder sees and the one that the store sees, so that a busy machine does not blur them.
DRAINING = {"ttl": "2s", "renew": "200ms", "margin": "500ms", "drain": "1ms"}


@pytest.mark.parametrize("act", ["stubborn", "thread-stubborn"])
def test_work_that_ignores_its_order_is_ended_with_its_process_before_the_next_begins(
    troupe: Troupe, act: str
) -> None:
    stubborn = troupe.start(act, "stubborn", **DRAINING)
    troupe.saw("stubborn", STEP)
    troupe.start("work", "next", ttl=SHORT)
    troupe.waits("next")
    troupe.cue("stubborn", "resign")
    said = ended(stubborn, 76)
    assert "the work of <tenure of stubborn in 'nightly', token 1> has not stopped" in said
    assert "ending this process (exit code 76)" in said
    troupe.saw("next", STEP)
    check(entries(troupe.diary))


@pytest.mark.parametrize("act", ["stubborn", "thread-stubborn"])
@pytest.mark.parametrize("on_overrun", ["warn", "call"])
def test_work_that_ignores_its_order_may_go_on_where_the_user_said_so(
    troupe: Troupe, act: str, on_overrun: str
) -> None:
    stubborn = troupe.start(act, "stubborn", **DRAINING, on_overrun=on_overrun)
    troupe.saw("stubborn", STEP)
    troupe.start("work", "next", ttl=SHORT)
    troupe.waits("next")
    troupe.cue("stubborn", "resign")
    # The office goes to the next one when the lease has run out, at work or not.
    lost = troupe.saw("next", BEGIN)
    steps = len([e for e in entries(troupe.diary, STEP) if e.who == "stubborn"])
    troupe.saw("stubborn", STEP, steps + 3)
    troupe.cue("stubborn", "enough")
    said = ended(stubborn, 0)
    overruns = [e for e in entries(troupe.diary, "overrun") if e.who == "stubborn"]
    if on_overrun == "warn":
        assert said.count("has not stopped at its hard deadline") == 1
        assert not overruns
    else:
        assert said == ""
        assert [entry.token for entry in overruns] == [1]
        assert overruns[0].at < lost.at


def test_a_blocked_event_loop_does_not_cost_the_office_while_it_may_be_silent(
    troupe: Troupe,
) -> None:
    leader = troupe.start("block", "leader", ttl=SHORT, progress_limit=LONG)
    troupe.saw("leader", "blocks")
    troupe.start("work", "next", ttl=SHORT)
    troupe.waits("next")
    lease = troupe.lease_end()
    # More than a whole lease later nobody else has begun: renewals go on without the loop.
    until(lambda: troupe.lease_end() > lease + 1_600_000_000)
    troupe.cue("leader", "enough")
    troupe.saw("leader", "leads")
    assert not [entry for entry in entries(troupe.diary) if entry.who == "next"]
    assert leader.poll() is None


def test_a_blocked_event_loop_gives_the_office_up_at_its_limit(troupe: Troupe) -> None:
    leader = troupe.start("block", "leader", ttl=SHORT, progress_limit="200ms")
    troupe.saw("leader", "blocks")
    troupe.start("work", "next", ttl=SHORT)
    said = ended(leader, 76)
    assert "has not stopped at its hard deadline" in said
    troupe.saw("next", STEP)
    check(entries(troupe.diary))


def test_a_loop_that_wakes_up_in_time_is_told_that_it_stalled(troupe: Troupe) -> None:
    """Blocked beyond its limit, but not until the hard deadline."""
    leader = troupe.start("nap", "leader", ttl="6s", renew="250ms", progress_limit="100ms")
    lost = troupe.saw("leader", "lost:stalled")
    # It answers again, so it may stand again; meanwhile others had their turn.
    assert troupe.next_after(lost.token).who == "leader"
    assert leader.poll() is None
    check([entry for entry in entries(troupe.diary) if entry.what != "lost:stalled"])


def test_a_probe_that_says_no_costs_the_office(troupe: Troupe) -> None:
    sick = troupe.start("work", "sick", ttl=SHORT, probe="well", progress_limit="200ms")
    troupe.cue("sick", "well")
    troupe.saw("sick", STEP)
    troupe.start("work", "next", ttl=SHORT)
    troupe.waits("next")
    (troupe.directory / "sick.well").unlink()
    troupe.saw("next", STEP)
    assert sick.poll() is None  # it was told to stop, and it did
    check(entries(troupe.diary))
