"""The one clock that leases are counted on.

It counts while the machine is suspended: ``CLOCK_MONOTONIC`` stops in suspend on Linux and
would stretch a lease, ``CLOCK_BOOTTIME`` does not. Wall clocks decide nothing in Elector.
"""

import time

_LEASE_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Nanoseconds on this machine's monotonic clock; comparable between its processes.

    >>> now_ns() <= now_ns()
    True
    """
    return time.clock_gettime_ns(_LEASE_CLOCK)
