import re
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from elector.core.duration import SECOND_NS, parse_duration
from elector.core.office import Deadlines
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError

MS = 1_000_000


def test_one_number_is_enough() -> None:
    timing = LeaseTiming.of("15s")
    assert msgspec.structs.asdict(timing) == {
        "ttl_ns": 15 * SECOND_NS,
        "renew_period_ns": 5 * SECOND_NS,
        "request_timeout_ns": 1500 * MS,
        "attempts": 3,
        "stop_grace_ns": 3 * SECOND_NS,
        "margin_ns": 300 * MS,
        "drift_ppm": 10_000,
        "retry_period_ns": 1 * SECOND_NS,
        "cooldown_ns": 5 * SECOND_NS,
        "drain_limit_ns": 15 * SECOND_NS,
    }


def test_every_number_can_be_given() -> None:
    timing = LeaseTiming.of(
        "30s",
        renew_period="4s",
        request_timeout="2s",
        attempts=2,
        stop_grace="5s",
        margin="100ms",
        drift_ppm=500,
        retry_period="700ms",
        cooldown="9s",
        drain_limit="0s",
    )
    assert timing == LeaseTiming(
        ttl_ns=30 * SECOND_NS,
        renew_period_ns=4 * SECOND_NS,
        request_timeout_ns=2 * SECOND_NS,
        attempts=2,
        stop_grace_ns=5 * SECOND_NS,
        margin_ns=100 * MS,
        drift_ppm=500,
        retry_period_ns=700 * MS,
        cooldown_ns=9 * SECOND_NS,
        drain_limit_ns=0,
    )


@pytest.mark.parametrize("name", ["ttl", "renew_period", "request_timeout", "retry_period"])
def test_what_cannot_be_zero(name: str) -> None:
    settings: dict[str, Any] = {"ttl": "15s", name: "0s"}
    with pytest.raises(ConfigurationError, match=rf"^{name} must be more than 0s$"):
        LeaseTiming.of(**settings)


@pytest.mark.parametrize("name", ["stop_grace", "margin", "cooldown", "drain_limit"])
def test_what_can_be_zero_but_not_less(name: str) -> None:
    settings: dict[str, Any] = {"ttl": "15s", name: "0s"}
    timing = LeaseTiming.of(**settings)
    with pytest.raises(ConfigurationError, match=f"^{name} must not be negative$"):
        msgspec.structs.replace(timing, **{f"{name}_ns": -1})


def test_at_least_one_attempt() -> None:
    with pytest.raises(ConfigurationError, match="attempts is 0"):
        LeaseTiming.of("15s", attempts=0)


@pytest.mark.parametrize("drift_ppm", [-1, 500_000])
def test_a_drift_that_is_none(drift_ppm: int) -> None:
    with pytest.raises(ConfigurationError, match=f"drift_ppm is {drift_ppm}"):
        LeaseTiming.of("15s", drift_ppm=drift_ppm)


def test_a_bad_text_names_its_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"^stop_grace '3' is not a duration"):
        LeaseTiming.of("15s", stop_grace="3")


GREATEST: dict[str, dict[str, Any]] = {
    "renew_period": {"renew_period": "14s"},
    "request_timeout": {"request_timeout": "4s"},
    "stop_grace": {"stop_grace": "10s"},
    "margin": {"margin": "12s"},
}


@pytest.mark.parametrize("name", GREATEST)
def test_an_impossible_budget_says_which_number_to_change(name: str) -> None:
    with pytest.raises(ConfigurationError, match="the timing budget does not fit") as caught:
        LeaseTiming.of("15s", **GREATEST[name])
    advice = rf"; raise ttl or lower {name} \(a ttl of [0-9.]+s would do\)$"
    assert re.search(advice, str(caught.value))
    assert "a ttl of 15s leaves 14.7s under a drift of 1%" in str(caught.value)


@pytest.mark.parametrize("name", GREATEST)
def test_the_ttl_that_is_proposed_would_do(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LeaseTiming.of("15s", **GREATEST[name])
    proposed = proposal(caught.value)
    assert LeaseTiming.of(proposed, **GREATEST[name]).ttl_ns > 15 * SECOND_NS
    # And it is not far more than needed, nor written with more than three digits.
    with pytest.raises(ConfigurationError, match="does not fit"):
        LeaseTiming.of(f"{parse_duration(proposed) * 9 // 10}ns", **GREATEST[name])
    assert len(re.sub(r"\D", "", proposed).strip("0")) <= 3


def proposal(error: ConfigurationError) -> str:
    found = re.search(r"\(a ttl of (\S+) would do\)$", str(error))
    assert found
    return found[1]


def test_no_ttl_is_proposed_where_none_would_do() -> None:
    with pytest.raises(ConfigurationError, match=r"or lower request_timeout$"):
        LeaseTiming.of("15s", attempts=30)


def test_no_ttl_is_proposed_for_a_budget_that_was_given_whole() -> None:
    timing = LeaseTiming.of("15s")
    with pytest.raises(ConfigurationError, match=r"raise ttl or lower stop_grace$"):
        msgspec.structs.replace(timing, stop_grace_ns=10 * SECOND_NS)


def test_another_refusal_proposes_no_ttl() -> None:
    with pytest.raises(ConfigurationError, match=r"^renew_period must be more than 0s$"):
        LeaseTiming.of("15s", renew_period="0s", stop_grace="10s")


def test_a_budget_that_just_fits_is_taken() -> None:
    fits = {"renew_period": "5s", "request_timeout": "2s", "attempts": 2, "margin": "1s"}
    settings: dict[str, Any] = {"drift_ppm": 0, **fits}
    LeaseTiming.of("15s", stop_grace="5s", **settings)
    with pytest.raises(ConfigurationError, match="does not fit"):
        LeaseTiming.of("15s", stop_grace="5001ms", **settings)


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_whatever_is_proposed_would_do(ttl_ns: int, stop_grace_ns: int) -> None:
    ttl, stop_grace = f"{ttl_ns}ns", f"{stop_grace_ns}ns"
    try:
        LeaseTiming.of(ttl, stop_grace=stop_grace)
    except ConfigurationError as error:
        if "would do" in str(error):
            LeaseTiming.of(proposal(error), stop_grace=stop_grace)


seconds = st.integers(1, 3600)
drifts = st.integers(0, 499_999)


@given(seconds, drifts, st.integers(0, 10**18))
def test_a_lease_ends_for_us_before_it_ends_for_any_store(ttl: int, drift: int, sent: int) -> None:
    """The naive twin, in fractions: our clock at its slowest, the store's at its fastest."""
    timing = timing_of(ttl, drift)
    rho = Fraction(drift, 1_000_000)
    true_end = Fraction(ttl * SECOND_NS) / (1 + rho)
    ours_then = sent + true_end * (1 - rho)
    deadlines = timing.deadlines(sent)
    assert deadlines.hard_ns <= ours_then - timing.margin_ns < deadlines.hard_ns + 1
    assert deadlines.hard_ns - deadlines.soft_ns == timing.stop_grace_ns


@given(seconds, drifts)
def test_work_that_was_just_renewed_has_time_before_it_is_told_to_stop(
    ttl: int, drift: int
) -> None:
    timing = timing_of(ttl, drift)
    attempts = timing.attempts * timing.request_timeout_ns
    assert timing.deadlines(0).soft_ns >= timing.renew_period_ns + attempts


def timing_of(ttl: int, drift: int) -> LeaseTiming:
    try:
        return LeaseTiming.of(f"{ttl}s", drift_ppm=drift)
    except ConfigurationError:
        assume(condition=False)
        raise


def test_deadlines_move_with_the_request() -> None:
    timing = LeaseTiming.of("15s")
    first, later = timing.deadlines(0), timing.deadlines(7)
    assert later == Deadlines(first.soft_ns + 7, first.hard_ns + 7)


def test_contenders_spread_a_little_but_not_for_long() -> None:
    assert LeaseTiming.of("1s").jitter_ns == 20 * MS
    assert LeaseTiming.of("15s").jitter_ns == 50 * MS
    assert LeaseTiming.of("1h").jitter_ns == 50 * MS


def test_the_bound_on_a_vacancy_is_more_than_the_lease() -> None:
    timing = LeaseTiming.of("15s", drift_ppm=200_000, attempts=1, stop_grace="1s")
    assert timing.failover_bound_ns() == (22_500 + 50 + 3 * 1_500) * MS


def test_an_outage_within_the_budget_leaves_time_to_renew() -> None:
    timing = LeaseTiming.of("15s")
    renewal_due = timing.renew_period_ns
    back = renewal_due + timing.outage_budget_ns()
    next_attempt = back + max(timing.request_timeout_ns, timing.retry_period_ns)
    assert next_attempt == timing.deadlines(0).soft_ns


def test_a_budget_without_slack_survives_no_outage() -> None:
    timing = LeaseTiming.of("15s", renew_period="9s", attempts=1, retry_period="8s")
    assert timing.outage_budget_ns() == 0
