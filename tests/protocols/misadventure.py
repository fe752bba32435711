"""One life in the little world, full of accidents."""

from collections.abc import Callable
from random import Random

from tests.protocols.lease_world import LINKS, MS, TIMERS, WATCHES, WORKS, Node, S, World


def misadventure(world: World, random: Random) -> None:
    """Forty accidents, drawn from `random`, and a happy end.

    Raises:
        LawBroken: as in `World`.
    """
    for _ in range(40):
        random.choice(_ACCIDENTS)(world, random, random.choice(world.nodes))
    world.must_elect()


def _time_passes(world: World, random: Random, _node: Node) -> None:
    world.run(random.choice((100 * MS, 1 * S, 5 * S, 12 * S, 40 * S)))


def _link(_world: World, random: Random, node: Node) -> None:
    node.link = random.choice([*LINKS])


def _store(world: World, random: Random, _node: Node) -> None:
    mood = random.choice(("fine", "down", "bad"))
    for node in world.nodes:
        node.link = mood


def _watch(_world: World, random: Random, node: Node) -> None:
    node.watching = random.choice([*WATCHES])


def _timers(_world: World, random: Random, node: Node) -> None:
    node.timers_mood = random.choice([*TIMERS])


def _work(_world: World, random: Random, node: Node) -> None:
    node.work_mood = random.choice([*WORKS])


def _work_ends(world: World, random: Random, node: Node) -> None:
    world.finish(node, node.work, failed=random.random() < 1 / 2)


def _pause(world: World, random: Random, node: Node) -> None:
    if random.random() < 1 / 2:  # between a request and its reply
        world.run(15 * S, lambda: bool(node.unanswered))
    world.pause(node, random.choice((1 * S, 11_500 * MS, 14 * S, 30 * S)))


def _kill(_world: World, random: Random, node: Node) -> None:
    node.fuse = random.randrange(5)


def _resign(world: World, random: Random, node: Node) -> None:
    world.resign(node, random.choice((None, "a", "b")))


def _health(world: World, random: Random, node: Node) -> None:
    world.health(node, healthy=random.random() < 1 / 2)


def _stand(world: World, random: Random, node: Node) -> None:
    world.stand(node, wanted=random.random() < 3 / 4)


def _withdraw(world: World, random: Random, node: Node) -> None:
    if random.random() < 1 / 8:
        world.withdraw(node)


Accident = Callable[[World, Random, Node], None]
_ACCIDENTS: tuple[Accident, ...] = (
    *(_time_passes, _time_passes, _time_passes, _time_passes),
    *(_link, _store, _watch, _timers, _work, _work_ends),
    *(_pause, _kill, _resign, _health, _stand, _withdraw),
)
