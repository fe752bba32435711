"""How much of the user's time goes into starting.

Bare and measured commands take turns (A B A B), so that a slow moment of the machine hits both;
what is judged is the median.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence

from bench.contenders import ELECTOR, database
from bench.figures import Figure, Section
from bench.plan import Plan, progress
from bench.stage import Stage
from elector.clock import now_ns

IMPORT_BOUND_MS, RUN_BOUND_MS = 80, 400


def measure(plan: Plan) -> Section:
    """The import, and a whole ``elector run x -- true`` with nobody else about."""
    rounds = plan.rounds_of(60, 5)
    with Stage() as stage:
        known, fresh = (f"sqlite:///{database(stage, name)}" for name in ("known", "fresh"))
        commands: dict[str, Sequence[str]] = {
            "bare": (sys.executable, "-c", "pass"),
            "import": (sys.executable, "-c", "import elector"),
            "asyncio": (sys.executable, "-c", "import asyncio"),
            "run": (str(ELECTOR), "run", "-q", "x", "--store", known, "--", "true"),
            "first": (str(ELECTOR), "run", "-q", "x", "--store", fresh, "--", "true"),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            _run(command)  # compiles what has to be compiled, and makes the database
        for number in progress("start", range(rounds), rounds):
            for name, command in commands.items():
                new = f"sqlite:///{database(stage, f'fresh{number}')}"
                took[name].append(_run([new if word == fresh else word for word in command]))
    bare = statistics.median(took["bare"])
    return Section(
        name="start",
        title="Starting: import and command",
        figures=(
            Figure.of(
                "import elector, over a bare interpreter",
                [one - bare for one in took["import"]],
                bound=IMPORT_BOUND_MS,
                judged="median",
            ),
            Figure.of(
                "elector run x -- true, nobody else",
                took["run"],
                bound=RUN_BOUND_MS,
                judged="median",
            ),
            Figure.of("the same, with a database to be made", took["first"]),
            Figure.of("a bare interpreter", took["bare"]),
            Figure.of("import asyncio, over that", [one - bare for one in took["asyncio"]]),
        ),
    )


def _run(command: Sequence[str]) -> float:
    began = now_ns()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (now_ns() - began) / 1e6
