"""Runs whose nodes, options and faults are drawn from the seed, over orders of magnitude."""

from random import Random
from types import ModuleType
from typing import Any

from elector.protocols import raft
from elector.protocols.raft_settings import RaftSettings
from tests.raft.raft_world import MS, Faults, World

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"pre_vote": False, "check_quorum": False},
    "pre-vote": {"check_quorum": False},
    "check-quorum": {"pre_vote": False},
    "both": {},
    "staggered": {"stagger_ns": 15 * MS, "retransmit_ns": 30 * MS},
    "staggered, plain": {
        "stagger_ns": 15 * MS,
        "retransmit_ns": 30 * MS,
        "pre_vote": False,
        "check_quorum": False,
    },
    "lease": {"lease": True, "margin_ns": 1 * MS},
    "lease, no pre-vote": {"lease": True, "margin_ns": 1 * MS, "pre_vote": False},
    "everything": {
        "lease": True,
        "margin_ns": 1 * MS,
        "stagger_ns": 15 * MS,
        "retransmit_ns": 30 * MS,
        "priorities": {0: 0, 2: 5},
    },
}


def settings_of(variant: str) -> RaftSettings:
    return RaftSettings.of("150ms", "300ms", "30ms", **VARIANTS[variant])


def drawn_faults(random: Random, drift_ppm: int = 10_000) -> Faults:
    return Faults(
        loss=random.choice((0.0, 0.02, 0.2)),
        duplicate=random.choice((0.0, 0.1, 0.5)),
        delay_ns=(1 * MS, random.choice((3, 30, 100, 400)) * MS),
        disk_ns=(0, random.choice((0, 2, 40)) * MS),
        crash=random.choice((0.0, 0.001, 0.01, 0.05)),
        down_ns=(0, random.choice((10, 300)) * MS),
        late_ns=random.choice((0, 5, 100)) * MS,
        drift_ppm=drift_ppm,
    )


def misadventure(
    random: Random,
    variant: str,
    *,
    nodes: int | None = None,
    build: ModuleType = raft,
    only_leaders: bool = False,
    drift_ppm: int = 10_000,
) -> World:
    """A group that lives through faults, cuts and transfers; raises `LawBroken`."""
    size = nodes or random.choice((3, 4, 5))
    logs = tuple((1, random.choice((1, 1, 1, 2))) for _ in range(size))
    world = World(
        random,
        size,
        settings_of(variant),
        drawn_faults(random, drift_ppm),
        build=build,
        logs=logs,
        only_leaders=only_leaders,
    )
    for _ in range(random.randint(2, 6)):
        world.run(random.randint(0, 600) * MS)
        trouble(world, random)
    world.run(300 * MS)
    return world


def trouble(world: World, random: Random) -> None:
    size = len(world.nodes)
    match random.choice(("cut", "isolate", "heal", "transfer", "append", "calm")):
        case "cut":
            world.cut((random.randrange(size), random.randrange(size)))
        case "isolate":
            world.isolate(random.randrange(size))
        case "heal":
            world.heal()
        case "transfer":
            target = random.randrange(size)
            for node in range(size):
                world.transfer(node, target)
        case "append":
            world.append(random.randrange(size), (1, 2))
        case _:
            pass
