"""The network between members: what a message's fate is, and which links are cut or slow."""

from collections import Counter
from collections.abc import Callable, Sequence

from elector.simulation.chance import Chance
from elector.simulation.faults import Weather
from elector.simulation.links import Link, both_ways
from elector.simulation.world import Deed, World
from elector.trace import records

LOST = -1
_FLAPS = 16


class Network:
    """Every link of a world, one way each.

    Attributes:
        fate: draws one message's delay in ns, or `LOST`.
        delay: draws a delay alone.
        cuts: how many troubles cut a link now.
        slowed: how much longer everything takes from or to a node, ns.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.cuts: Counter[Link] = Counter()
        self.slowed = [0] * world.nodes
        self.fate, self.delay = fates(world.weather, world.chance)

    def cut(self, links: Sequence[Link]) -> Deed:
        """Cut links; what is returned mends them, unless another trouble cuts them as well."""
        for link in links:
            self.cuts[link] += 1
            if self.cuts[link] == 1:
                self._world.tell(records.Cut(self._world.now, *link))

        def mend() -> None:
            for link in links:
                if self.cuts[link] == 1:
                    self._world.tell(records.Heal(self._world.now, *link))
                    del self.cuts[link]
                elif self.cuts[link]:
                    self.cuts[link] -= 1

        return mend

    def flap(self, link: Link, until: int) -> Deed:
        """Let a link come and go; what is returned mends it for good."""
        world, both = self._world, list(both_ways([link]))
        period = max(1, (until - world.now) // _FLAPS)
        mends: list[Deed] = []

        def turn() -> None:
            if mends:
                mends.pop()()
            else:
                mends.append(self.cut(both))
            if world.now + period < until:
                world.after(period, turn)

        turn()
        return lambda: mends.pop()() if mends else None

    def settle(self) -> None:
        """Mend every link, and let messages be quick again."""
        for link in list(self.cuts):
            self._world.tell(records.Heal(self._world.now, *link))
        self.cuts.clear()
        self.slowed = [0] * self._world.nodes
        self.fate, self.delay = fates(self._world.weather, self._world.chance)


def fates(weather: Weather, chance: Chance) -> tuple[Callable[[], int], Callable[[], int]]:
    """Two functions: a message's delay or `LOST`, and a delay alone."""
    delay = weather.delay.sampler(chance.random)
    loss, draw = weather.loss, chance.random.random
    if not loss:
        return delay, delay
    low, width = weather.delay.low_ns, weather.delay.high_ns - weather.delay.low_ns
    if weather.delay.kind == "uniform":  # the same in one call
        return lambda: LOST if draw() < loss else low + int(draw() * width), delay
    return lambda: LOST if draw() < loss else delay(), delay
