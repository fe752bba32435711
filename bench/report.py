"""Tables for people: plain text, or Markdown for the README."""

import textwrap
from collections.abc import Callable, Iterator, Sequence

from bench.figures import Comparison, Figure, Results, Section

_HEAD = ("", "n", "median", "p99", "worst", "asked", "holds")
_BESIDE_HEAD = ("", "n", "mean", "p99", "mean / Elector's", "p99 / Elector's")

Rows = Sequence[Sequence[str]]


def as_text(results: Results) -> str:
    """Everything, with columns that line up."""
    parts = [_wrapped(_circumstances(results))]
    for section in results.sections:
        parts.append(f"{section.title}\n{'-' * len(section.title)}")
        parts += [_text_table(rows) for rows in _tables(section)]
        parts += [_wrapped(remark, "* ") for remark in section.remarks]
    return "\n\n".join([*parts, _wrapped(verdict(results))])


def as_markdown(results: Results) -> str:
    """The same as Markdown."""
    parts = [_circumstances(results)]
    for section in results.sections:
        parts.append(f"**{section.title}**")
        parts += [_markdown_table(rows) for rows in _tables(section)]
        parts += ["\n".join(f"- {remark}" for remark in section.remarks)] * bool(section.remarks)
    return "\n\n".join([*parts, verdict(results)])


def verdict(results: Results) -> str:
    """How many of the bounds hold, and which do not."""
    judged = [f for s in results.sections for f in s.figures if f.holds is not None]
    if not judged:
        return "Nothing here has a bound."
    missed = [figure.what for figure in judged if not figure.holds]
    if not missed:
        return f"All {len(judged)} bounds hold."
    return f"{len(missed)} of {len(judged)} bounds do not hold: {'; '.join(missed)}."


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(
        text,
        100,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_on_hyphens=False,
    )


def _circumstances(results: Results) -> str:
    about = results.machine
    return (
        f"{about['cpu']}, {about['cores']} cores; "
        f"{about['kernel']}; {about['python']}, SQLite {about['sqlite']}, "
        f"elector {about['elector']}; a write to this disk takes {about['fsync_ms']} ms; "
        f"load {about['load_before']} before and {about['load_after']} after, "
        f"{about['disturbed_rounds']} rounds began while others kept the machine busy; "
        f"seed {results.seed}; {results.began}, {results.seconds:.0f} s."
    )


def _tables(section: Section) -> Iterator[Rows]:
    if section.figures:
        yield [_HEAD, *map(_row, section.figures)]
    if section.comparisons:
        yield [_BESIDE_HEAD, *map(_row_beside, section.comparisons)]


def _row(figure: Figure) -> Sequence[str]:
    write = _writer(figure.unit)
    at_least = figure.judged == "min"
    worst = write(figure.min if at_least else figure.max)
    row = (figure.what, str(figure.n), write(figure.median), write(figure.p99), worst)
    if figure.bound is None:
        return (*row, "", "")
    judged, sign = ("worst", "≥") if at_least else (figure.judged, "≤")
    judged = "worst" if judged == "max" else judged
    return (*row, f"{judged} {sign} {write(figure.bound)}", "yes" if figure.holds else "NO")


def _row_beside(comparison: Comparison) -> Sequence[str]:
    figure = comparison.figure
    write = _writer(figure.unit)
    ratios = (comparison.times_mean, comparison.times_p99)
    written = ("" if ratio is None else f"{ratio:.3g}" for ratio in ratios)
    return (figure.what, str(figure.n), write(figure.mean), write(figure.p99), *written)


def _writer(unit: str) -> Callable[[float], str]:
    def write(number: float) -> str:
        digits = 0 if abs(number) >= 100 or number == int(number) else 1 if number >= 10 else 2
        return f"{number:,.{digits}f} {unit}".rstrip()

    return write


def _text_table(rows: Rows) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _markdown_table(rows: Rows) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---|" + "--:|" * (len(rows[0]) - 1), *body])
