"""How a worker reports; see `bench.stage`."""

import os

from elector.clock import now_ns

_WHO = os.environ["BENCH_WHO"]
_pipe = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY)


def note(what: str, value: int = 0, who: str = _WHO) -> None:
    """Write one line, stamped here; short enough to stay in one piece."""
    at = now_ns()
    os.write(_pipe, f"{who} {what} {value} {at}\n".encode())
