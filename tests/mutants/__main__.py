"""``make mutants``: which bug is found by which engine, and after how much work."""

import sys
import time

from elector.cli.output import print_table
from tests.mutants.catalogue import ELSEWHERE, MUTANTS
from tests.mutants.engines import ENGINES, FIRST_SEEDS

_HEAD = ("", "bug", "scope", "property", *ENGINES, "seconds")


def main() -> None:
    """Print the table; exit with 1 if a bug survived."""
    rows, survivors = [], []
    for mutant in sorted(MUTANTS):
        began = time.perf_counter()
        catches = {name: find(mutant) for name, find in ENGINES.items()}
        seconds = time.perf_counter() - began
        if not any(catches.values()):
            survivors.append(mutant.number)
        rows.append(
            (
                str(mutant.number),
                mutant.what,
                mutant.scope,
                mutant.notices,
                *(str(catch.effort) if catch else "-" for catch in catches.values()),
                f"{seconds:.2f}",
            )
        )
        print(f"\r{len(rows)} of {len(MUTANTS)} bugs", end="", file=sys.stderr)  # noqa: T201 - a bar
    print("\r", end="", file=sys.stderr)  # noqa: T201 - the same
    print_table(_HEAD, rows)
    for number, why in ELSEWHERE.items():
        print(f"{number}: {why}")  # noqa: T201 - a program's output
    print(f"Simulation counts seeds from {FIRST_SEEDS} on; exploration and lassos count states.")  # noqa: T201 - the same
    if survivors:
        sys.exit(f"survived: {survivors}")


if __name__ == "__main__":
    main()
