"""The leader's process is killed with SIGKILL: how long until the next one's work runs?

From before the signal to the first instruction of the next leader's work. Only the process of
Elector is killed: under ``elector run`` the guardian has to end the command first.
"""

import signal

from bench.contenders import Contender, ElectorPython, ElectorRun
from bench.figures import Figure, Section
from bench.plan import Plan
from bench.stage import Actor, Stage
from bench.succession import times_since

BOUND_MS = 50


def kill(stage: Stage, leader: Actor) -> None:
    """Kill the process of the implementation itself."""
    stage.note(leader.name, "killed")
    leader.signal(signal.SIGKILL)


def measure(plan: Plan) -> Section:
    """Two leases, one short and one long, for a command and in Python."""
    contenders = [kind(ttl) for kind in (ElectorRun, ElectorPython) for ttl in ("3s", "60s")]
    return Section(
        name="kill",
        title="Leader killed with SIGKILL: until the next one's work runs",
        figures=tuple(_figure(contender, plan) for contender in contenders),
        remarks=(
            "Of `elector run` the supervisor alone is killed; the guardian ends the command.",
        ),
    )


def _figure(contender: Contender, plan: Plan) -> Figure:
    rounds, label = plan.rounds_of(100, 5), contender.label
    times = times_since(("killed",), contender, plan, rounds, f"kill: {label}", kill)
    return Figure.of(label, [took for (took,) in times], bound=BOUND_MS)
