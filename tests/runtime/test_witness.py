"""The witness must be able to accuse: these diaries are made by hand."""

from pathlib import Path

import pytest

from tests.runtime.witness import Diary, Entry, check, entries, overlaps, stays


def diary(*lines: str) -> list[Entry]:
    return [
        Entry(int(at), who, int(token), what)
        for at, who, token, what in (line.split() for line in lines)
    ]


def test_stays_one_after_the_other_are_in_order() -> None:
    seen = diary("1 a 1 begin", "5 a 1 end", "6 b 2 begin", "9 b 2 step", "12 a 3 begin")
    assert overlaps(seen) == []
    check(seen)


def test_a_hand_made_overlap_is_seen() -> None:
    seen = diary("1 a 1 begin", "5 b 2 begin", "6 a 1 step", "9 b 2 end")
    ((one, other),) = overlaps(seen)
    assert (one.who, other.who) == ("a", "b")
    with pytest.raises(AssertionError):
        check(seen)


def test_a_single_late_step_of_a_former_leader_is_an_overlap() -> None:
    assert overlaps(diary("1 a 1 begin", "3 b 2 begin", "4 b 2 end", "9 a 1 step"))


def test_two_leaders_under_one_name_are_told_apart_by_their_tokens() -> None:
    assert overlaps(diary("1 a 1 begin", "3 a 2 begin", "4 a 2 end", "9 a 1 end"))


def test_two_leaders_under_one_token_are_an_overlap() -> None:
    assert overlaps(diary("1 a 1 begin", "3 b 1 begin", "4 b 1 end", "9 a 1 end"))


@pytest.mark.parametrize("later", ["1", "2"])
def test_a_token_that_does_not_rise_is_seen(later: str) -> None:
    with pytest.raises(AssertionError):
        check(diary("1 a 2 begin", "2 a 2 end", f"3 b {later} begin"))


def test_a_diary_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    one, other = Diary(path), Diary(path)
    one.note("a", 1, "begin")
    other.note("b", 2, "begin")
    one.note("a", 1, "end")
    assert [(seen.who, seen.what) for seen in entries(path)] == [
        ("a", "begin"),
        ("b", "begin"),
        ("a", "end"),
    ]
    assert [seen.who for seen in entries(path, "end")] == ["a"]
    assert len(stays(entries(path))) == 2
