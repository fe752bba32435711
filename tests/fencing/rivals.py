"""One of several processes that write under tokens in no order at all.

Usage: rivals.py KIND WHERE WRITES SEED; it starts when a line comes in, and tells the tokens
that were admitted.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from elector.errors import StaleToken
from tests.fencing.writers import WRITERS


def main(kind: str, where: str, writes: int, seed: int) -> None:
    rng, admitted = random.Random(seed), list[int]()  # noqa: S311 - a test's choices are no secret
    with WRITERS[kind](where) as write:
        print("ready", flush=True)  # noqa: T201 - its answer
        sys.stdin.readline()
        for now in range(writes):
            # Rising on the whole, so that many are admitted and many are not.
            token = rng.randint(now + 1, now + 10)
            try:
                write(token)
            except StaleToken:
                continue
            admitted.append(token)
    print(*admitted)  # noqa: T201 - its answer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
