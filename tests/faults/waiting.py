"""Waiting for what has to happen, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The store is there again and candidates are healthy: whatever takes longer does not happen. Some
# servers answer before they work: SeaweedFS takes up to 25 s after a restart.
PATIENCE_S = 60.0
_POLL_S = 0.01


class Stuck(AssertionError):  # noqa: N818 - what the runner is then
    """Something that had to happen did not."""


def until(condition: Callable[[], T], what: str) -> T:
    """The first true value of a condition.

    Raises:
        Stuck: there was none within `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Stuck(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(_POLL_S)
    return value
