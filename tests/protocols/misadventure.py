"""One life in the simulated world, full of accidents."""

from collections.abc import Callable
from random import Random

from tests.protocols.trial import LINKS, MS, TIMERS, WATCHES, WORKS, S, Trial


def misadventure(trial: Trial, random: Random) -> None:
    """Forty accidents, drawn from `random`, and a happy end.

    Raises:
        LawBroken: as in `Trial`.
    """
    for _ in range(40):
        random.choice(_ACCIDENTS)(trial, random, random.randrange(trial.world.nodes))
    trial.must_elect()


def _time_passes(trial: Trial, random: Random, _node: int) -> None:
    trial.run(random.choice((100 * MS, 1 * S, 5 * S, 12 * S, 40 * S)))


def _link(trial: Trial, random: Random, node: int) -> None:
    trial.expose(node, link=LINKS[random.choice([*LINKS])])


def _store(trial: Trial, random: Random, _node: int) -> None:
    mood = random.choice(("fine", "down", "bad"))
    for node in range(trial.world.nodes):
        trial.expose(node, link=LINKS[mood])


def _watch(trial: Trial, random: Random, node: int) -> None:
    trial.expose(node, watch=WATCHES[random.choice([*WATCHES])])


def _timers(trial: Trial, random: Random, node: int) -> None:
    trial.expose(node, timers=TIMERS[random.choice([*TIMERS])])


def _work(trial: Trial, random: Random, node: int) -> None:
    trial.expose(node, work=WORKS[random.choice([*WORKS])])


def _work_ends(trial: Trial, random: Random, node: int) -> None:
    trial.finish(node, failed=random.random() < 1 / 2)


def _pause(trial: Trial, random: Random, node: int) -> None:
    if random.random() < 1 / 2:  # between a request and its reply
        trial.run_until_asked(node)
    trial.pause(node, random.choice((1 * S, 11_500 * MS, 14 * S, 30 * S)))


def _kill(trial: Trial, random: Random, node: int) -> None:
    trial.kill_after(node, random.randrange(5))


def _resign(trial: Trial, random: Random, node: int) -> None:
    trial.world.resign(node, random.choice((None, 0, 1)))


def _health(trial: Trial, random: Random, node: int) -> None:
    trial.world.health(node, healthy=random.random() < 1 / 2)


def _stand(trial: Trial, random: Random, node: int) -> None:
    trial.world.stand(node, wanted=random.random() < 3 / 4)


def _withdraw(trial: Trial, random: Random, node: int) -> None:
    if random.random() < 1 / 8:
        trial.withdraw(node)


Accident = Callable[[Trial, Random, int], None]
_ACCIDENTS: tuple[Accident, ...] = (
    *(_time_passes, _time_passes, _time_passes, _time_passes),
    *(_link, _store, _watch, _timers, _work, _work_ends),
    *(_pause, _kill, _resign, _health, _stand, _withdraw),
)
