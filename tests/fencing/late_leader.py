"""A leader that has all in hand, is paused before it writes, wakes up and writes.

Usage: late_leader.py KIND WHERE TOKEN
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from elector.errors import StaleToken
from tests.fencing.writers import WRITERS


def main(kind: str, where: str, token: int) -> str:
    with WRITERS[kind](where) as write:
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            write(token)
        except StaleToken as refused:
            return f"refused {refused.token} < {refused.newest}"
        return "written"


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))  # noqa: T201 - its answer
