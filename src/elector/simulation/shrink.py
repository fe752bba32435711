"""Make a failing run small enough for a person to read.

Faults are dropped first, then nodes, then deliveries and other choices, then time: whatever
the failure does not need. The method is delta debugging (Zeller and Hildebrandt, "Simplifying
and isolating failure-inducing input", 2002), on values that mean something: a run is its
explicit faults and the tape of its choices, and a choice that is not on the tape any more
takes its most harmless value.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from elector.simulation.chance import Tape
from elector.simulation.faults import Faults, Weather
from elector.simulation.run import Build, Configuration, Outcome, run

T = TypeVar("T")


class Failure(NamedTuple):
    """A run that violates a property: all that is needed to see it again.

    Attributes:
        configuration: with explicit faults.
        tape: its choices.
        violated: the name of the property.
        outcome: of the run.
    """

    configuration: Configuration
    tape: Tape
    violated: str
    outcome: Outcome


def recorded(configuration: Configuration, seed: int, build: Build = Build()) -> Failure | None:  # noqa: B008 - frozen
    """Run a seed again, writing down its choices; None if it violates nothing."""
    faults = configuration.faults_of(seed)
    explicit = replace(configuration, faults=faults)
    tape: Tape = {}
    outcome = run(explicit, seed, tape=tape, build=build)
    if outcome.violation is None:
        return None
    return Failure(explicit, tape, outcome.violation.name, outcome)


class Shrinker:
    """Tries smaller runs as long as it may.

    Args:
        failure: what to begin with.
        build: the code that runs.
        tries: how many runs at most.
        on_try: told after each run how many there were, and the smallest failure so far.
    """

    def __init__(
        self,
        failure: Failure,
        build: Build = Build(),  # noqa: B008 - frozen
        tries: int = 400,
        on_try: Callable[[int, Failure], None] = lambda _tries, _failure: None,
    ) -> None:
        self.best = failure
        self.tries = 0
        self._build = build
        self._limit = tries
        self._on_try = on_try

    def shrink(self) -> Failure:
        """The smallest failure that was found; it violates the same property."""
        smaller = True
        while smaller and self.tries < self._limit:
            before = self.best
            self._shorten()
            self._drop_troubles()
            self._calm_weather()
            self._drop_nodes()
            self._drop_choices()
            self._shorten()
            smaller = self.best != before
        return self.best

    def _fails(self, configuration: Configuration, tape: Tape) -> bool:
        """Whether this still violates the property; if so it is the best so far."""
        if self.tries >= self._limit:
            return False
        self.tries += 1
        outcome = run(configuration, tape=tape, replay=True, build=self._build)
        violation = outcome.violation
        fails = violation is not None and violation.name == self.best.violated
        if fails:
            self.best = Failure(configuration, tape, self.best.violated, outcome)
        self._on_try(self.tries, self.best)
        return fails

    # -- faults --------------------------------------------------------------------------

    @property
    def _faults(self) -> Faults:
        return self.best.configuration.faults or Faults()

    def _drop_troubles(self) -> None:
        def without(kept: Sequence[Any]) -> bool:
            faults = Faults(self._faults.weather, tuple(kept))
            return self._fails(replace(self.best.configuration, faults=faults), self.best.tape)

        _least(self._faults.troubles, without)

    def _calm_weather(self) -> None:
        """Each part of the weather as it is on a quiet day, one at a time."""
        calm = Weather()
        for name in Weather.__struct_fields__:
            weather = self._faults.weather
            if getattr(weather, name) != getattr(calm, name):
                calmer = replace(weather, **{name: getattr(calm, name)})
                faults = Faults(calmer, self._faults.troubles)
                self._fails(replace(self.best.configuration, faults=faults), self.best.tape)

    # -- nodes, choices, time --------------------------------------------------------------

    def _drop_nodes(self) -> None:
        while self.best.configuration.nodes > 1:
            configuration = self.best.configuration
            fewer = configuration.nodes - 1
            smaller = replace(configuration, nodes=fewer, logs=configuration.logs[:fewer])
            if not self._fails(smaller, self.best.tape):
                return

    def _drop_choices(self) -> None:
        """First all choices of a name, then single ones: half of them, a quarter, and so on."""

        def named(kept: Sequence[str]) -> bool:
            tape = {name: self.best.tape[name] for name in kept}
            return self._fails(self.best.configuration, tape)

        _least(sorted(self.best.tape), named)
        single = [(name, count) for name, counts in self.best.tape.items() for count in counts]

        def chosen(kept: Sequence[tuple[str, int]]) -> bool:
            tape: Tape = {}
            for name, count in kept:
                tape.setdefault(name, {})[count] = self.best.tape[name][count]
            return self._fails(self.best.configuration, tape)

        _least(single, chosen)

    def _shorten(self) -> None:
        """End the phase with faults sooner: where the violation was, or by halves."""
        violation = self.best.outcome.violation
        configuration = self.best.configuration
        seen_at = violation.t if violation is not None else None
        if seen_at is not None and seen_at + 1 < configuration.duration_ns:
            self._fails(replace(configuration, duration_ns=seen_at + 1), self.best.tape)
        while self.best.configuration.duration_ns > 1:
            configuration = self.best.configuration
            half = configuration.duration_ns // 2
            if not self._fails(replace(configuration, duration_ns=half), self.best.tape):
                return


def _least(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Delta debugging: drop chunks, ever smaller, for as long as what is left still fails."""
    kept = list(items)
    size = len(kept)
    while size >= 1 and kept:
        for start in _starts(kept, size):
            rest = kept[:start] + kept[start + size :]
            if len(rest) < len(kept) and fails(rest):
                kept = rest
        size //= 2
    return kept


def _starts(kept: Sequence[object], size: int) -> Iterator[int]:
    """From the end, so that what was dropped does not move what is still to be tried."""
    last = (len(kept) - 1) // size * size
    yield from range(last, -1, -size)
