"""The leader's work ends, or it is asked to resign: how long until the next one's work begins?

From the end of the work (the last instruction of a body in Python, the exit of a command as the
kernel reports it) to the first instruction of the next work. Where a request comes before,
also from the request.
"""

from bench.contenders import (
    ELECTION,
    ELECTOR,
    Contender,
    ElectorPython,
    ElectorRun,
    store_url,
)
from bench.figures import Figure, Section
from bench.plan import Plan
from bench.stage import Actor, Stage
from bench.succession import End, times_since

BOUND_MS = 20

_TTL = "3s"


def end_work(_: Stage, leader: Actor) -> None:
    """Let the work end by itself."""
    leader.cue("end")


def _resign(_: Stage, leader: Actor) -> None:
    leader.cue("resign")


def _elector_resign(stage: Stage, leader: Actor) -> Actor:
    stage.note(leader.name, "asked")
    return stage.start("resign", ELECTOR, "resign", ELECTION, "--store", store_url(stage))


def measure(plan: Plan) -> Section:
    """Work that ends and work that is asked to, in Python and for a command."""
    python, command = ElectorPython(_TTL), ElectorRun(_TTL)
    return Section(
        name="handover",
        title="Leader resigns, or its work ends: until the next one's work begins",
        figures=(
            *_figures(plan, python, "body returns", end_work, {"end": BOUND_MS}),
            *_figures(plan, python, "resign()", _resign, {"asked": BOUND_MS, "end": BOUND_MS}),
            *_figures(plan, command, "command ends", end_work, {"exit": BOUND_MS}),
            *_figures(
                plan, command, "elector resign", _elector_resign, {"asked": None, "exit": BOUND_MS}
            ),
        ),
        remarks=(
            "From the start of `elector resign` the time is mostly that of starting this command.",
        ),
    )


_FROM = {
    "asked": "from the request",
    "end": "from the work's end",
    "exit": "from the command's exit",
}


def _figures(
    plan: Plan, contender: Contender, how: str, end: End, bounds: dict[str, float | None]
) -> list[Figure]:
    rounds, label = plan.rounds_of(100, 5), f"{contender.label}: {how}"
    times = times_since(tuple(bounds), contender, plan, rounds, f"handover: {label}", end)
    return [
        Figure.of(f"{label}, {_FROM[report]}", took, bound=bound)
        for (report, bound), took in zip(bounds.items(), zip(*times, strict=True), strict=True)
    ]
