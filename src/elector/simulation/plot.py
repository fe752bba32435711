"""A picture of the failover distribution; needs ``elector[plot]``."""

from collections.abc import Sequence
from pathlib import Path

from elector.errors import ConfigurationError

_MS = 1e6


def draw(durations_ns: Sequence[int], path: Path, title: str) -> None:
    """Write the share of failovers that took longer than a time, to a PNG, SVG or PDF file.

    Raises:
        ConfigurationError: there is nothing to draw, or the file's name has no known ending.
    """
    if not durations_ns:
        raise ConfigurationError("there was no failover to draw: try --crash-leader")
    from matplotlib.figure import Figure

    ordered = sorted(durations_ns)
    left = [1 - rank / len(ordered) for rank in range(len(ordered))]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.step([took / _MS for took in ordered], left, where="post", color="#1f5fa8")
    axes.set_yscale("log")
    axes.set_xlabel("without a leader, ms")
    axes.set_ylabel("share of failovers that took longer")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.25)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise ConfigurationError(f"cannot draw to {path}: {error}") from error
