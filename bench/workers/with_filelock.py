"""A candidate of filelock: ``python -m bench.workers.with_filelock FILE``.

It leads once, until a line on standard input, or its end.
"""

import sys
from importlib import import_module
from typing import Any

from bench.workers.reporting import note

# By name, since it is there for the benchmark alone, and type checkers run without it.
_filelock: Any = import_module("filelock")


def main(file: str) -> None:
    """Wait for the lock, work, leave."""
    note("standing")
    with _filelock.FileLock(file):
        note("begin")
        sys.stdin.readline()
        note("end")


if __name__ == "__main__":
    main(sys.argv[1])
