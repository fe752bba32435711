"""What may go wrong in a simulated world, as data: the weather, and single troubles.

The **weather** is what every message, write and timer is exposed to: delays and
probabilities. A **trouble** strikes at one instant and may last: a crash, a pause, a cut
link, a store that does not answer. Both are plain values, so that a run can be written down,
played again and made smaller.

>>> parse_delay("uniform:1ms..5ms")
Delay(kind='uniform', low_ns=1000000, high_ns=5000000)
"""

from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

import msgspec

from elector.core.duration import SECOND_NS, parse_duration
from elector.errors import ConfigurationError

MS = 1_000_000
Shape = Literal["constant", "uniform", "normal", "exponential", "pareto"]
_TAIL = 1.5  # Pareto's exponent: a mean, and no variance


class Delay(msgspec.Struct, frozen=True):
    """How long a message takes.

    Attributes:
        kind: its distribution.
        low_ns: the least delay; the only one, if it is constant.
        high_ns: the greatest, if uniform; otherwise where about two thirds of all lie below.
    """

    kind: Shape = "uniform"
    low_ns: int = 1 * MS
    high_ns: int = 3 * MS

    def sampler(self, random: Random) -> Callable[[], int]:
        """A function that draws one delay after another, ns."""
        low, width = self.low_ns, self.high_ns - self.low_ns
        draw = random.random
        if self.kind == "constant" or width <= 0:
            return lambda: low
        if self.kind == "uniform":
            return lambda: low + int(draw() * width)
        if self.kind == "exponential":
            return lambda: low + int(random.expovariate(1.0) * width)
        if self.kind == "normal":
            return lambda: low + int(abs(random.gauss(0.0, 1.0)) * width)
        return lambda: low + int((random.paretovariate(_TAIL) - 1.0) * width)


def parse_delay(text: str) -> Delay:
    """Read ``5ms``, ``1ms..5ms`` or ``SHAPE:1ms..5ms``.

    Raises:
        ConfigurationError: the text says something else; the message lists the shapes.
    """
    shape, colon, window = text.rpartition(":")
    low, dots, high = window.partition("..")
    kind = shape if colon else ("uniform" if dots else "constant")
    known = ("constant", "uniform", "normal", "exponential", "pareto")
    if kind not in known or (kind != "constant" and not dots):
        raise ConfigurationError(
            f"delay {text!r} is not one: write 5ms, 1ms..5ms, or a shape before the two "
            f"({', '.join(known[1:])}), like pareto:1ms..5ms"
        )
    low_ns = parse_duration(low, "delay")
    high_ns = parse_duration(high, "delay") if dots else low_ns
    if high_ns < low_ns:
        raise ConfigurationError(f"delay {text!r} ends before it begins")
    return Delay(kind, low_ns, high_ns)  # type: ignore[arg-type] # checked above


class Weather(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Delays, and the probabilities of small faults; durations are drawn evenly, ns.

    Attributes:
        delay: of a message, one way.
        loss, duplicate: of a message between members.
        disk: how long a durable write takes.
        votes_only: nothing but a vote for another node waits for the disk.
        late_ns, early_ns: how late or early a timer may be; only candidates have early ones.
        crash: that a process is killed, at each effect.
        down: how long a killed process is down.
        drift_ppm: clock rates are drawn within this.
        lost_request, lost_reply, refused: of a request to the store.
        late_request, late_reply: that it takes longer than anybody waits.
        repeated: that the reply arrives twice.
        blind, late_news: that a store's announcement is lost or late.
        stop: how long work takes to stop when it is told to.
        stubborn: that it takes longer than it is given.
        failing: that a work which returns has failed.
        work: how long work goes on by itself; the greatest is 0 for ever.
    """

    delay: Delay = Delay()
    loss: float = 0.0
    duplicate: float = 0.0
    disk: tuple[int, int] = (0, 2 * MS)
    votes_only: bool = False
    late_ns: int = 0
    early_ns: int = 0
    crash: float = 0.0
    down: tuple[int, int] = (0, 500 * MS)
    drift_ppm: int = 0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    refused: float = 0.0
    late_request: float = 0.0
    late_reply: float = 0.0
    repeated: float = 0.0
    blind: float = 0.0
    late_news: float = 0.0
    stop: tuple[int, int] = (0, 50 * MS)
    stubborn: float = 0.0
    failing: float = 0.0
    work: tuple[int, int] = (0, 0)


STORE = -1
LEADER = -2


def from_leader(steps: int) -> int:
    """The node so many numbers behind whoever leads when a trouble strikes."""
    return LEADER - steps


class Trouble(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault.

    Attributes:
        at: when it strikes, true time, ns.
        what: one of `KINDS`.
        nodes: whom; `LEADER` is whoever leads then, `from_leader` its neighbours.
        until: when it is over; 0 for what has no duration.
        value: how much, where that makes sense.
    """

    at: int
    what: str
    nodes: tuple[int, ...] = ()
    until: int = 0
    value: int = 0


class Kind(NamedTuple):
    """A kind of trouble: where it exists, and which assumption it breaks."""

    worlds: frozenset[str]
    text: str
    voids: str | None = None


_BOTH = frozenset({"raft", "lease"})
_MEMBERS = frozenset({"raft"})
_STORE = frozenset({"lease"})

KINDS: dict[str, Kind] = {
    "crash": Kind(_BOTH, "a process is killed, and started again later"),
    "pause": Kind(_BOTH, "a process stands still"),
    "slow": Kind(_BOTH, "everything takes a node longer"),
    "drift": Kind(_BOTH, "a clock changes its rate, within the bound"),
    "storm": Kind(_BOTH, "all processes are killed within a short time"),
    "cut": Kind(_MEMBERS, "nothing passes from one node to another"),
    "isolate": Kind(_MEMBERS, "a node is cut off from all others"),
    "deaf": Kind(_MEMBERS, "a node is heard, and hears nothing"),
    "halves": Kind(_MEMBERS, "two halves do not hear each other"),
    "minority": Kind(_MEMBERS, "a minority is cut off"),
    "ring": Kind(_MEMBERS, "every node hears a majority, and each another one"),
    "bridge": Kind(_MEMBERS, "two halves with one node between them"),
    "flap": Kind(_MEMBERS, "a link comes and goes"),
    "stall": Kind(_BOTH, "a disk or an application does not get on"),
    "transfer": Kind(_BOTH, "the leader is asked to hand over to a certain node"),
    "append": Kind(_MEMBERS, "a node's log grows"),
    "resign": Kind(_STORE, "the leader is asked to hand over"),
    "withdraw": Kind(_STORE, "a candidate leaves the election, and another one joins"),
    "desist": Kind(_STORE, "a candidate does not stand for a while"),
    "mute": Kind(_STORE, "a candidate's requests do not reach the store"),
    "numb": Kind(_STORE, "the store's replies do not reach a candidate"),
    "down": Kind(_STORE, "the store refuses every request"),
    "silent": Kind(_STORE, "the store carries out every request and answers none"),
    "expire-late": Kind(_STORE, "the store lets a lease live longer than it promised"),
    "expire-early": Kind(_STORE, "the store ends a lease before its time", "linearizable_store"),
    "failover": Kind(_STORE, "the store forgets its last writes", "rising_tokens"),
    "freeze": Kind(_BOTH, "a clock stands still", "drift_bound"),
    "step": Kind(_BOTH, "a clock jumps", "drift_bound"),
    "amnesia": Kind(
        _MEMBERS, "a disk loses its last write, and the node restarts", "durable_state"
    ),
}


class Faults(msgspec.Struct, frozen=True):
    """All that befalls one run."""

    weather: Weather = Weather()
    troubles: tuple[Trouble, ...] = ()

    def void(self, drift_bound_ppm: int) -> tuple[str, ...]:
        """The assumptions that these faults break."""
        broken = {KINDS[trouble.what].voids for trouble in self.troubles} - {None}
        drifts = [t.value for t in self.troubles if t.what == "drift"]
        if max([self.weather.drift_ppm, *map(abs, drifts)]) > drift_bound_ppm:
            broken.add("drift_bound")
        return tuple(sorted(name for name in broken if name))


# -- plans by name -------------------------------------------------------------------------


class Plan(NamedTuple):
    """A kind of world: its weather, and which troubles come how densely.

    Attributes:
        text: for people.
        weather: as it always is.
        kinds: what strikes, drawn again and again.
        swarm: the set and all rates are drawn anew for each seed.
    """

    text: str
    weather: Weather
    kinds: tuple[str, ...] = ()
    swarm: bool = False


_LAN = Delay("uniform", MS // 10, 1 * MS)
_WAN = Delay("normal", 20 * MS, 45 * MS)
_TAILED = Delay("pareto", 1 * MS, 4 * MS)

PLANS: dict[str, Plan] = {
    "none": Plan("nothing fails; messages take 1 to 3 ms", Weather()),
    "calm": Plan("a quiet network, and now and then a crash", Weather(), ("crash",)),
    "lan": Plan(
        "messages take 0.1 to 1 ms; crashes",
        Weather(delay=_LAN, disk=(MS // 2, 3 * MS)),
        ("crash",),
    ),
    "wan": Plan(
        "messages take 20 to 100 ms, one in a thousand is lost; crashes",
        Weather(delay=_WAN, loss=0.001, lost_reply=0.001, lost_request=0.001),
        ("crash", "slow"),
    ),
    "lossy": Plan(
        "a fifth of all messages is lost, some come twice or very late",
        Weather(
            delay=_TAILED,
            loss=0.2,
            duplicate=0.05,
            lost_request=0.1,
            lost_reply=0.1,
            late_reply=0.02,
            late_request=0.02,
            repeated=0.05,
            blind=0.2,
        ),
        ("crash",),
    ),
    "partitions": Plan(
        "links are cut in every way, and mended",
        Weather(),
        ("cut", "isolate", "deaf", "halves", "minority", "ring", "bridge", "flap", "mute", "numb"),
    ),
    "clocks": Plan("clocks drift to both ends of the bound", Weather(), ("drift", "crash")),
    "pauses": Plan(
        "processes stand still, disks and applications stall",
        Weather(late_ns=20 * MS, stubborn=0.1),
        ("pause", "stall", "slow"),
    ),
    "store": Plan(
        "the store is down, mute, slow; replies are lost",
        Weather(lost_reply=0.05, lost_request=0.05, late_request=0.02, late_reply=0.02, blind=0.2),
        ("down", "silent", "mute", "numb", "expire-late", "crash", "resign"),
    ),
    "chaos": Plan("everything at once, with rates drawn anew for each seed", Weather(), (), True),
}


def plan_named(name: str) -> Plan:
    """A plan.

    Raises:
        ConfigurationError: there is none of that name; the message lists them.
    """
    if name not in PLANS:
        raise ConfigurationError(f"there are no faults {name!r}; there are: {', '.join(PLANS)}")
    return PLANS[name]


def draw_faults(
    plan: Plan,
    random: Random,
    world: str,
    nodes: int,
    duration_ns: int,
    unit_ns: int,
    drift_ppm: int,
) -> Faults:
    """The faults of one run.

    Args:
        plan: which.
        random: the seed's source.
        world: ``raft`` or ``lease``.
        nodes: how many there are.
        duration_ns: when the last trouble has to be over.
        unit_ns: the time scale of the protocol: an election timeout, a ttl.
        drift_ppm: the bound that clocks keep.
    """
    weather = plan.weather
    if plan.swarm:
        weather = _swarm_weather(random, unit_ns, drift_ppm)
        if world == "lease" and weather.late_ns:
            weather = msgspec.structs.replace(weather, early_ns=MS)
        kinds = tuple(
            name
            for name, kind in KINDS.items()
            if world in kind.worlds and kind.voids is None and random.random() < 1 / 3
        )
    else:
        kinds = tuple(name for name in plan.kinds if world in KINDS[name].worlds)
        if "drift" in kinds:
            weather = msgspec.structs.replace(weather, drift_ppm=drift_ppm)
    gap = _log_uniform(random, unit_ns // 2, 20 * unit_ns) if plan.swarm else 8 * unit_ns
    troubles = []
    at = random.randint(0, 2 * unit_ns)
    while kinds and at < duration_ns:
        trouble = _trouble(random, random.choice(kinds), at, nodes, unit_ns, drift_ppm)
        if world == "lease" and trouble.what == "drift" and random.random() < 1 / 4:
            trouble = msgspec.structs.replace(trouble, nodes=(STORE,))
        troubles.append(trouble)
        at += 1 + int(random.expovariate(1.0) * gap)
    return Faults(weather, tuple(_over_by(trouble, duration_ns) for trouble in troubles))


def _trouble(
    random: Random, what: str, at: int, nodes: int, unit_ns: int, drift_ppm: int
) -> Trouble:
    lasts = _log_uniform(random, unit_ns // 100, 6 * unit_ns)
    whom: tuple[int, ...] = (LEADER if random.random() < 1 / 2 else random.randrange(nodes),)
    value = 0
    match what:
        case "cut" | "flap":
            whom = tuple(random.sample(range(nodes), 2)) if nodes > 1 else (0, 0)
        case "halves" | "ring" | "bridge" | "minority":
            whom = tuple(random.sample(range(nodes), nodes))
        case "drift":
            value = random.choice((-drift_ppm, drift_ppm, 0, random.randint(-drift_ppm, drift_ppm)))
        case "transfer":
            whom = (LEADER, random.randrange(nodes))
        case "slow":
            value = _log_uniform(random, unit_ns // 100, unit_ns)
        case _:
            pass
    return Trouble(at, what, whom, at + lasts, value)


def _over_by(trouble: Trouble, end_ns: int) -> Trouble:
    return msgspec.structs.replace(trouble, until=min(trouble.until, end_ns))


def _swarm_weather(random: Random, unit_ns: int, drift_ppm: int) -> Weather:
    """Each rate is off, or drawn over orders of magnitude: a fixed one finds almost nothing."""

    def rate(most: float = 0.3) -> float:
        return 0.0 if random.random() < 1 / 2 else 10 ** random.uniform(-3, 0) * most

    slowest = _log_uniform(random, unit_ns // 200, unit_ns)
    shape: Shape = random.choice(("constant", "uniform", "normal", "exponential", "pareto"))
    return Weather(
        delay=Delay(shape, unit_ns // 200, slowest),
        loss=rate(),
        duplicate=rate(),
        disk=(0, _log_uniform(random, unit_ns // 1000 + 1, unit_ns // 3)),
        late_ns=random.choice((0, _log_uniform(random, unit_ns // 1000 + 1, unit_ns // 3))),
        crash=rate(0.02),
        down=(0, 2 * unit_ns),
        drift_ppm=random.choice((0, drift_ppm)),
        lost_request=rate(),
        lost_reply=rate(),
        refused=rate(),
        late_request=rate(),
        late_reply=rate(),
        repeated=rate(),
        blind=rate(1.0),
        late_news=rate(),
        stop=(0, _log_uniform(random, unit_ns // 100 + 1, unit_ns // 5)),
        stubborn=rate(),
        failing=rate(),
        work=random.choice(((0, 0), (0, 4 * unit_ns))),
    )


def _log_uniform(random: Random, low: int, high: int) -> int:
    low, high = max(low, 1), max(high, 1)
    return int(low * (high / low) ** random.random())


__all__ = [
    "KINDS",
    "LEADER",
    "MS",
    "PLANS",
    "SECOND_NS",
    "STORE",
    "Delay",
    "Faults",
    "Kind",
    "Plan",
    "Trouble",
    "Weather",
    "draw_faults",
    "from_leader",
    "parse_delay",
    "plan_named",
]
