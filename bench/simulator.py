"""How many events the simulator takes in a second, beside the same model on SimPy."""

import time

from bench.figures import Comparison, Figure, Section
from bench.plan import Plan, progress
from bench.simpy_raft import SimPyRaft
from elector.core.duration import SECOND_NS
from elector.properties.catalogue import properties_for
from elector.properties.judge import Judge
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import Faults, Weather
from elector.simulation.run import Configuration, run

TIMES_SIMPY = 6
_NODES = 5
_SETTINGS = RaftSettings.of("150ms", "300ms")
_WEATHER = Weather(loss=0.02)


def measure(plan: Plan) -> Section:
    """Rounds take turns, so that a slow moment of the machine hits all."""
    rounds = plan.rounds_of(9, 3)
    seconds = 60 if plan.quick else 300
    rates: dict[str, list[float]] = {"elector": [], "simpy": [], "memoised": []}
    for number in progress("simulator", range(rounds), rounds):
        seed = plan.seed + number
        rates["elector"].append(_elector(seed, seconds))
        rates["simpy"].append(_simpy(seed, seconds // 5, memoised=False))
        rates["memoised"].append(_simpy(seed, seconds // 5, memoised=True))
    ours = Figure.of("Elector's simulator", rates["elector"], "events/s")
    pairs = zip(rates["elector"], rates["simpy"], strict=True)
    others = (
        Figure.of("SimPy, same protocol and network", rates["simpy"], "events/s"),
        Figure.of("SimPy with our memoised steps", rates["memoised"], "events/s"),
    )
    return Section(
        name="simulator",
        title="Simulator: five members of Raft, 2 % of messages lost, properties on",
        figures=(
            Figure.of(
                "events in a second, over SimPy's",
                [our / their for our, their in pairs],
                "times",
                bound=TIMES_SIMPY,
                judged="min",
            ),
        ),
        comparisons=(
            *(Comparison.of(figure, ours) for figure in others),
            Comparison.of(ours, None),
        ),
        remarks=("Here a ratio below 1 is slower than Elector.",),
    )


def _elector(seed: int, seconds: int) -> float:
    world = Configuration(
        protocol="raft",
        nodes=_NODES,
        raft=_SETTINGS,
        duration_ns=seconds * SECOND_NS,
        faults=Faults(_WEATHER),
    )
    began = time.perf_counter()
    events = run(world, seed).tally.events
    return events / (time.perf_counter() - began)


def _simpy(seed: int, seconds: int, *, memoised: bool) -> float:
    judge = Judge(properties_for("raft", nodes=_NODES))
    began = time.perf_counter()
    model = SimPyRaft(_NODES, _SETTINGS, _WEATHER, seed, judge, memoised=memoised)
    model.run(seconds * SECOND_NS)
    return model.events / (time.perf_counter() - began)
