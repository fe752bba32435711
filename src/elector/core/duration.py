"""Durations: ``15s`` for people, integer nanoseconds inside.

>>> parse_duration("1m30s")
90000000000
>>> format_duration(1_500_000_000)
'1.5s'
"""

import re

from elector.errors import ConfigurationError

SECOND_NS = 1_000_000_000

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str, name: str = "duration") -> int:
    """Read a duration with its unit, such as ``15s``, ``250ms`` or ``1h30m``.

    Args:
        text: one or more ``<number><unit>``; units ns, us, ms, s, m, h, d.
        name: what the setting is called, for the message.

    Returns:
        Nanoseconds.

    Raises:
        ConfigurationError: the text is not a duration. A bare number is refused,
            because a lease of 15 minutes instead of 15 seconds is an outage.

    >>> parse_duration("250ms")
    250000000
    """
    compact = str(text).strip().replace(" ", "")  # ttl=15 is told what it lacks as "15" is
    if not _WHOLE.fullmatch(compact):
        hint = f"; did you mean {compact}s?" if compact.replace(".", "", 1).isdigit() else ""
        raise ConfigurationError(
            f"{name} {text!r} is not a duration: write a number and a unit, "
            f"like 15s, 250ms or 1m30s{hint}"
        )
    parts = [float(number) * _UNITS_NS[unit] for number, unit in _PART.findall(compact)]
    if sum(parts) > _LONGEST_NS:
        raise ConfigurationError(f"{name} {compact[:20]!r} is longer than a hundred years")
    return sum(round(part) for part in parts)


def format_duration(duration_ns: int) -> str:
    """Write a duration for people, in the unit that reads best, to four digits.

    >>> [format_duration(n) for n in (0, 250_000_000, 15 * SECOND_NS, 90 * SECOND_NS)]
    ['0s', '250ms', '15s', '90s']
    """
    if duration_ns == 0:
        return "0s"
    magnitude = abs(duration_ns)
    for unit in ("s", "ms", "us"):
        if magnitude >= _UNITS_NS[unit]:
            return (
                f"{duration_ns / _UNITS_NS[unit]:.4g}{unit}"
                if magnitude < _SWITCH_NS
                else (f"{duration_ns / SECOND_NS:.0f}s")
            )
    return f"{duration_ns}ns"


_LONGEST_NS = 100 * 366 * _UNITS_NS["d"]
_SWITCH_NS = 1000 * SECOND_NS
