import msgspec
import pytest

from elector.core.office import Deadlines, EndReason, Led, Observation, Unknown, Vacant


def test_the_reasons_are_words_that_logs_and_history_may_keep() -> None:
    assert [str(reason) for reason in EndReason] == [
        "completed",
        "failed",
        "resigned",
        "transferred",
        "shutdown",
        "stalled",
        "lost",
        "expired",
        "died",
    ]


def test_what_was_taken_away_was_not_given_up() -> None:
    taken = {reason for reason in EndReason if reason.involuntary}
    assert taken == {EndReason.LOST, EndReason.EXPIRED, EndReason.DIED}


@pytest.mark.parametrize("seen", [Led("web-1", 7), Vacant(), Unknown(since_ns=5)])
def test_observations_survive_json(seen: Observation) -> None:
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Led | Vacant | Unknown) == seen


def test_not_knowing_is_not_the_same_as_nobody() -> None:
    seen: list[Observation] = [Vacant(), Unknown(since_ns=0)]
    assert seen[0] != seen[1]


def test_deadlines_are_values() -> None:
    assert hash(Deadlines(1, 2)) == hash(Deadlines(1, 2))
