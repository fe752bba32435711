"""TLC, run on a model written from the dissertation, counts the states that we count."""

import os

import pytest

from tools.tlc import count, java, ours

# Where tests have to count, a missing java is a failure and not a test that is passed over.
needs_java = pytest.mark.skipif(
    java() is None and "CI" not in os.environ, reason="TLC needs java, and there is none"
)


@needs_java
@pytest.mark.parametrize("scope", [(2, 2, 1), (3, 1, 1), (3, 1, 2)], ids=str)
def test_tlc_counts_the_same_states(scope: tuple[int, int, int]) -> None:
    theirs = count(*scope)
    states, _ = ours(*scope)
    assert states == theirs.distinct
    assert theirs.generated > theirs.distinct
