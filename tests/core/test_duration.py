from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elector.core.duration import SECOND_NS, format_duration, parse_duration
from elector.errors import ConfigurationError, ElectorError

READ = {
    "15s": 15 * SECOND_NS,
    "250ms": 250_000_000,
    "7us": 7_000,
    "7µs": 7_000,
    "42ns": 42,
    "1m30s": 90 * SECOND_NS,
    "1h 30m": 5400 * SECOND_NS,
    "2d": 172_800 * SECOND_NS,
    " 1.5s ": 1_500_000_000,
    "0.1ms": 100_000,
    "0s": 0,
}


@pytest.mark.parametrize("text", READ)
def test_durations_are_read(text: str) -> None:
    assert parse_duration(text) == READ[text]


@pytest.mark.parametrize(
    "text", ["", "s", "-5s", "15 seconds", "1e3s", "15S", ".5s", "1h30", "fast", "15s,", "5s-"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a duration") as caught:
        parse_duration(text, "ttl")
    assert str(caught.value).startswith(f"ttl {text!r}")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("text", ["15", "1.5", " 15 ", 15, 1.5])
def test_a_bare_number_is_refused_with_a_guess(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean {str(text).strip()}s?"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ElectorError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right


def test_a_hundred_years_are_enough() -> None:
    assert parse_duration("36600d") == 36_600 * 86_400 * SECOND_NS
    for text in ("36600d1s", "9" * 30 + "s", "9" * 400 + "s"):
        with pytest.raises(ConfigurationError, match=r"^ttl '.{1,20}' is longer than a hundred"):
            parse_duration(text, "ttl")


WRITTEN = {
    0: "0s",
    1: "1ns",
    999: "999ns",
    1_000: "1us",
    1_500: "1.5us",
    250_000_000: "250ms",
    999_999_999: "1000ms",
    SECOND_NS: "1s",
    11_402_970_297: "11.4s",
    90 * SECOND_NS: "90s",
    86_400 * SECOND_NS: "86400s",
    -2 * SECOND_NS: "-2s",
}


@pytest.mark.parametrize("duration_ns", WRITTEN)
def test_durations_are_written(duration_ns: int) -> None:
    assert format_duration(duration_ns) == WRITTEN[duration_ns]


@given(st.integers(0, 10 * 86_400 * SECOND_NS))
def test_what_is_written_can_be_read_to_four_digits(duration_ns: int) -> None:
    again = parse_duration(format_duration(duration_ns))
    assert again == pytest.approx(duration_ns, rel=1e-3)
