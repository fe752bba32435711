"""Where a world's choices come from: a seed, or a tape on which an earlier run wrote them.

A choice has a name, of what and for whom, and those of one name are counted. So a tape can be
cut, by hand or by `elector.simulation.shrink`, without shifting all that comes after: what is
not on it any more takes its most harmless value.

>>> first = Chance(seed=7, tape={})
>>> [first.choose("die", lambda: first.random.randint(1, 6), 1) for _ in range(4)]
[3, 2, 4, 6]
>>> again = Chance(tape={"die": {0: 3, 3: 6}}, replay=True)
>>> [again.choose("die", lambda: 0, 1) for _ in range(4)]
[3, 1, 1, 6]
"""

from collections.abc import Callable
from random import Random

Tape = dict[str, dict[int, int]]
"""For each name the choices that were not the most harmless one, by count."""


class Chance:
    """The source of all that is left to chance in one run.

    Args:
        seed: of the source; two runs of one seed are one run.
        tape: where choices are written, or read from; None: they are not remembered.
        replay: read them.
    """

    __slots__ = ("_counts", "random", "remembers", "replays", "tape")

    def __init__(self, seed: int = 0, tape: Tape | None = None, *, replay: bool = False) -> None:
        self.random = Random(seed)  # noqa: S311 - a world, not a secret
        self.tape = tape
        self.replays = replay
        self.remembers = tape is not None
        self._counts: dict[str, int] = {}

    def choose(self, name: str, draw: Callable[[], int], harmless: int) -> int:
        """One choice: drawn and noted, or what the tape says.

        Args:
            name: of what and for whom.
            draw: draws it from `random`, and from nothing else.
            harmless: what it is when the tape does not say.
        """
        if self.tape is None:
            return draw()
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        if self.replays:
            return self.tape.get(name, {}).get(count, harmless)
        value = draw()
        if value != harmless:
            self.tape.setdefault(name, {})[count] = value
        return value
