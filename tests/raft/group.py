"""A Raft group in the simulated world, judged while it lives: by every property, every message.

The world is `elector.simulation.members`; this chooses options, weather and troubles, and
raises `Violated` as soon as a property is. All choices are drawn from one `random.Random`:
Hypothesis brings one that it can shrink.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from elector.core.peers import Position
from elector.properties.catalogue import properties_for
from elector.properties.judge import Judge
from elector.properties.verdict import Property
from elector.protocols.raft import Raft
from elector.protocols.raft_messages import Ballot
from elector.protocols.raft_settings import RaftSettings
from elector.simulation import links
from elector.simulation.bounds import raft_bound
from elector.simulation.chance import Chance
from elector.simulation.faults import MS, Delay, Faults, Weather
from elector.simulation.members import Make, Members
from elector.trace import records
from elector.trace.records import Record

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
NEVER = 1 << 60


def settings_of(variant: str) -> RaftSettings:
    return RaftSettings.of("150ms", "300ms", "30ms", **VARIANTS[variant])


class Violated(AssertionError):  # noqa: N818 - it reads as a sentence
    """What the run showed, and which property forbids it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Remembers(Property):
    """A node that starts has the term and the vote of its disk; here we do look into it.

    Args:
        kept: what a node starts with, and what is on its disk.
    """

    name = "Remembers"
    text = "nothing that was durable is forgotten in a crash"
    reads = frozenset({records.Boot})

    def __init__(self, kept: Callable[[int], tuple[Ballot, Ballot]]) -> None:
        super().__init__()
        self._kept = kept

    def watch(self, record: Record) -> str | None:
        if not isinstance(record, records.Boot):
            return None
        self.exercised += 1
        now, durable = self._kept(record.node)
        return f"node {record.node} starts with {now}, not {durable}" if now != durable else None


class Named:
    """Whom nodes named as leader of each term."""

    reads = frozenset[type[Record]]({records.Lead, records.Follow})
    messages = frozenset[str]()

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}

    def watch(self, record: Record) -> bool:
        match record:
            case records.Lead(_, node, token):
                self.leaders[token] = node
            case records.Follow(_, _, leader, token) if leader is not None:
                self.leaders[token] = leader
            case _:
                pass
        return True


class Group(Members):
    """Members that have begun, and their judge.

    Args:
        random: where all choices come from.
        nodes: how many.
        variant: of `VARIANTS`.
        weather: all the time.
        make: other code than ours.
        logs: how far each log reaches at first.

    Attributes:
        judge: of all properties of Raft, and `Remembers`; nothing is excused.
        leaders: whom nodes named as leader of each term.
    """

    def __init__(
        self,
        random: Random,
        nodes: int,
        variant: str,
        weather: Weather,
        *,
        make: Make = Raft,
        logs: Sequence[Position] = (),
    ) -> None:
        remembers = Remembers(lambda node: (self.ballot(node), self.disks[node]))
        judged = properties_for("raft", nodes=nodes, every_message=True)
        self.judge, named = Judge([*judged, remembers]), Named()
        self.leaders = named.leaders
        self._mends: list[Callable[[], None]] = []
        chance = Chance()
        chance.random = random
        watchers = (self.judge, named)
        faults = Faults(weather)
        super().__init__(
            nodes, settings_of(variant), faults, chance, watchers, make=make, logs=logs
        )
        self.begin()
        self.check()

    # -- the course of time --------------------------------------------------------------

    def live(self, duration: int) -> None:
        """Let time pass."""
        self.run_until(self.now + duration)
        self.check()

    def wait_for(self, condition: Callable[[], bool], limit: int) -> int:
        """Let time pass until it holds; how long that took."""
        begun = self.now
        held = self.run_until(begun + limit, condition)
        self.check()
        assert held, f"not within {limit / MS}ms"
        return self.now - begun

    def recover(self) -> None:
        """Nothing fails any more: within the bound there is a leader, all know it, it stays."""
        within = raft_bound(self.settings, Weather(), self.nodes)
        self.calm_down(within)
        self.live(600 * MS)  # what is on its way arrives
        self.wait_for(self.agreed, min(within, 10_000 * MS))
        before = self.leader(), self.term()
        self.live(2_000 * MS)
        assert (self.leader(), self.term()) == before, "a stable leader was disturbed"
        self.live(2 * within)
        self.end()
        self.check()
        told = {verdict.name: verdict.outcome for verdict in self.judge.verdicts()}
        for name in ("EventuallyLed", "EventuallyKnown", "Stable"):
            assert told[name] == "holds", f"{name}: {told[name]}"

    def check(self) -> None:
        if self.judge.violated is not None:
            raise Violated(self.judge.violated.name, self.judge.violated.text)

    # -- what people look at -------------------------------------------------------------

    def ballot(self, node: int) -> Ballot:
        return Ballot(self.state(node).term, self.state(node).voted_for)

    def term(self) -> int:
        """The latest term that a node is in."""
        return max(self.state(node).term for node in range(self.nodes) if self.up[node])

    def agreed_on(self, node: int) -> Callable[[], bool]:
        return lambda: self.leader() == node and self.agreed()

    # -- troubles ------------------------------------------------------------------------

    def cut(self, *cuts: links.Link) -> None:
        """Cut links, one way each."""
        self._mends.append(self.network.cut(cuts))

    def isolate(self, node: int) -> None:
        self.cut(*links.isolated(node, self.nodes))

    def heal(self) -> None:
        for mend in self._mends:
            mend()
        self._mends.clear()

    def pick(self) -> int:
        return self.chance.random.randrange(self.nodes)

    def befall(self) -> None:
        """Some trouble."""
        match self.chance.random.choice(("cut", "isolate", "heal", "transfer", "append", "calm")):
            case "cut":
                self.cut(*links.both_ways([(self.pick(), self.pick())]))
            case "isolate":
                self.isolate(self.pick())
            case "heal":
                self.heal()
            case "transfer":
                target = self.pick()
                for node in range(self.nodes):
                    self.transfer(node, target)
            case "append":
                self.append(self.pick())
            case _:
                pass


def misadventure(
    random: Random,
    variant: str,
    *,
    nodes: int | None = None,
    make: Make = Raft,
    drift_ppm: int = 10_000,
) -> Group:
    """A group that lives through weather, cuts and transfers, drawn over orders of magnitude."""
    size = nodes or random.choice((3, 4, 5))
    logs = tuple((1, random.choice((1, 1, 1, 2))) for _ in range(size))
    weather = Weather(
        loss=random.choice((0.0, 0.02, 0.2)),
        duplicate=random.choice((0.0, 0.1, 0.5)),
        delay=Delay("uniform", 1 * MS, random.choice((3, 30, 100, 400)) * MS),
        disk=(0, random.choice((0, 2, 40)) * MS),
        crash=random.choice((0.0, 0.001, 0.01, 0.05)),
        down=(0, random.choice((10, 300)) * MS),
        late_ns=random.choice((0, 5, 100)) * MS,
        drift_ppm=drift_ppm,
    )
    group = Group(random, size, variant, weather, make=make, logs=logs)
    for _ in range(random.randint(2, 6)):
        group.live(random.randint(0, 600) * MS)
        group.befall()
    group.live(300 * MS)
    return group
