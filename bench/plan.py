"""How much to measure, with which seed, when a round may begin, and the bar on the terminal."""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

T = TypeVar("T")
Pause = Callable[[], None]

_PAUSE_S = (0.05, 0.15)
_GLANCE_S = 0.05
_CALM = 0.75
_PATIENCE_S = 1.0


class Plan:
    """What was asked for on the command line.

    Args:
        seed: of all that is drawn.
        rounds: of every measurement, None for its own number.
        quick: a few rounds will do.
    """

    def __init__(self, seed: int, rounds: int | None = None, *, quick: bool = False) -> None:
        self.seed = seed
        self.quick = quick
        self.paused = self.disturbed = 0
        self._rounds = rounds

    def rounds_of(self, full: int, quick: int) -> int:
        """How many rounds, unless their number was given."""
        return self._rounds or (quick if self.quick else full)

    def drawn(self, name: str) -> random.Random:
        """The source of what is drawn in one measurement: the same in every order of them."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - pauses, not secrets

    def pauses(self, name: str) -> Pause:
        """What comes before each round: a pause that is drawn, and a look around.

        What else runs on the machine is not to be measured. So a round waits, though not for
        ever, until three quarters of the machine are idle; how often that was in vain is counted.
        """
        drawn = self.drawn(name)

        def pause() -> None:
            time.sleep(drawn.uniform(*_PAUSE_S))
            self.paused += 1
            until = time.monotonic() + _PATIENCE_S
            while _idle_share() < _CALM:
                if time.monotonic() > until:
                    self.disturbed += 1
                    return

        return pause


def _idle_share() -> float:
    """Of all processors, over a moment."""
    before = _ticks()
    time.sleep(_GLANCE_S)
    ticks = [after - before for before, after in zip(before, _ticks(), strict=True)]
    return sum(ticks[3:5]) / max(1, sum(ticks))  # idle, and waiting for the disk


def _ticks() -> list[int]:
    line, _, _ = Path("/proc/stat").read_text().partition("\n")
    return [int(word) for word in line.split()[1:9]]


def progress(label: str, rounds: Iterable[T], length: int) -> Iterator[T]:
    """Go through the rounds with a bar on standard error; a mere line where nobody looks."""
    with click.progressbar(
        rounds, length=length, label=f"{label:<44}", file=sys.stderr, show_pos=True
    ) as bar:
        yield from bar
