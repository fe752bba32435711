"""``make bench``: measure what Elector promises to be fast at, and print tables.

::

    python bench/run.py                     everything, in half an hour at most
    python bench/run.py --only kill         one measurement (may be repeated)
    python bench/run.py --quick             a few rounds of everything, to see that it works
    python bench/run.py --again --markdown  the latest figures once more, for the README
"""

import sys
from pathlib import Path


def main() -> None:
    """Find the other files as ``bench.*``, then do what was asked."""
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from bench.program import program

    program()


if __name__ == "__main__":
    main()
