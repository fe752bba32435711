"""What comes out of a measurement: plain data, written to JSON as it stands."""

import math
import statistics
from collections.abc import Iterable
from typing import Literal

import msgspec

Judged = Literal["median", "p99", "max", "min"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table.

    Attributes:
        what: in words.
        unit: of all numbers here.
        values: every single one, in the order of measuring.
        bound: what was asked for, None if nothing was.
        judged: which of the numbers has to keep the bound; `min` must not be below it, the
            others must not be above it.
        holds: whether it does.
    """

    what: str
    unit: str
    n: int
    mean: float
    median: float
    p99: float
    min: float
    max: float
    bound: float | None
    judged: Judged
    holds: bool | None
    values: tuple[float, ...]

    @classmethod
    def of(
        cls,
        what: str,
        values: Iterable[float],
        unit: str = "ms",
        *,
        bound: float | None = None,
        judged: Judged = "p99",
    ) -> "Figure":
        """Count, order and judge.

        >>> Figure.of("x", [3, 1, 2], bound=2, judged="max").holds
        False
        """
        measured = tuple(round(value, 4) for value in values)
        ordered = sorted(measured)
        numbers: dict[Judged, float] = {
            "median": statistics.median(ordered),
            "p99": p99(ordered),
            "max": ordered[-1],
            "min": ordered[0],
        }
        return cls(
            what=what,
            unit=unit,
            n=len(ordered),
            mean=round(statistics.fmean(ordered), 4),
            **numbers,
            bound=bound,
            judged=judged,
            holds=None if bound is None else _keeps(numbers[judged], bound, judged),
            values=measured,
        )


def p99(ordered: list[float]) -> float:
    """The least value that 99 of 100 do not exceed (nearest rank).

    >>> p99([float(n) for n in range(1, 101)])
    99.0
    """
    return ordered[math.ceil(len(ordered) * 0.99) - 1]


def _keeps(number: float, bound: float, judged: Judged) -> bool:
    return number >= bound if judged == "min" else number <= bound


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of another implementation beside Elector's of the same run."""

    figure: Figure
    times_mean: float | None
    times_p99: float | None

    @classmethod
    def of(cls, figure: Figure, elector: Figure | None) -> "Comparison":
        """Compare; `elector` None is the row of Elector itself."""
        if elector is None:
            return cls(figure=figure, times_mean=None, times_p99=None)
        return cls(
            figure=figure,
            times_mean=round(figure.mean / elector.mean, 2),
            times_p99=round(figure.p99 / elector.p99, 2),
        )


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement's results.

    Attributes:
        name: as ``--only`` has it.
        title: in words.
        figures: rows that may have a bound.
        comparisons: rows beside those of others.
        remarks: what numbers cannot say.
    """

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    remarks: tuple[str, ...] = ()


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one run, with what is needed to repeat it."""

    machine: dict[str, str | int | float]
    seed: int
    began: str
    seconds: float
    sections: tuple[Section, ...]
