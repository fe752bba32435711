"""Every property by name, and which are judged of which protocol.

>>> [p.name for p in properties_for("raft", ["TermUnique", "VoteOnce"])]
['TermUnique', 'VoteOnce']
"""

from collections.abc import Callable, Iterable

from elector.core.duration import SECOND_NS
from elector.errors import ConfigurationError
from elector.properties import coverage, members, once, progress, tenures, traffic
from elector.properties.verdict import Property

PROPERTIES: dict[str, type[Property]] = {
    kind.name: kind
    for kind in (
        members.TermUnique,
        members.VoteOnce,
        members.Durable,
        members.TermMonotone,
        members.Majority,
        tenures.LeaseDisjoint,
        tenures.FenceMonotone,
        tenures.FenceSafe,
        tenures.StopBeforeTakeover,
        traffic.NoHerd,
        progress.EventuallyLed,
        progress.EventuallyKnown,
        progress.Stable,
        progress.Failover,
        progress.QuorumConnected,
        traffic.CommunicationEfficient,
        once.Unique,
        once.Irrevocable,
        once.Agree,
        once.Valid,
        once.MaxValid,
        once.Terminates,
        once.Aware,
        tenures.Unfenced,
        coverage.SomebodyLed,
        coverage.LeaderReplaced,
        coverage.LeaderCrashed,
        coverage.NodeCrashed,
        coverage.NodePaused,
        coverage.LinkCut,
        coverage.LeaseExpired,
        coverage.LeaseLost,
        coverage.OutcomeLost,
        coverage.StaleWriteRefused,
    )
}
"""What there is: each is a class, for a property remembers what it has read."""

DEFAULTS: dict[str, tuple[str, ...]] = {
    "raft": (
        *("TermUnique", "VoteOnce", "Durable", "TermMonotone", "Majority", "LeaseDisjoint"),
        *("EventuallyLed", "EventuallyKnown", "Stable"),
        *("SomebodyLed", "LeaderReplaced", "LeaderCrashed", "NodeCrashed"),
        *("NodePaused", "LinkCut"),
    ),
    "lease": (
        *("TermUnique", "LeaseDisjoint", "FenceMonotone", "FenceSafe", "StopBeforeTakeover"),
        *("EventuallyLed", "EventuallyKnown", "Stable"),
        *("Unfenced", "SomebodyLed", "LeaderReplaced", "LeaderCrashed", "NodeCrashed"),
        *("NodePaused", "LeaseExpired", "LeaseLost", "OutcomeLost", "StaleWriteRefused"),
    ),
    "once": ("Unique", "Irrevocable", "Agree", "Valid", "Terminates", "Aware"),
}
"""By protocol, what is judged unless somebody chooses; ``once`` stands for all that elect once."""

_NO_LONGER_THAN = 60 * SECOND_NS


def properties_for(
    protocol: str,
    names: Iterable[str] | None = None,
    *,
    nodes: int = 0,
    bound_ns: int = _NO_LONGER_THAN,
    identities: tuple[int, ...] = (),
    every_message: bool = False,
) -> list[Property]:
    """New properties, ready to judge one run.

    Args:
        protocol: whose.
        names: which; None: all that make sense for it.
        nodes: how many there are, for those that count majorities and links.
        bound_ns: for those that wait.
        identities: of nodes, for `MaxValid`; empty: their numbers.
        every_message: look at heartbeats as well, where that makes sense: a simulation with
            it is slower.

    Raises:
        ConfigurationError: there is no property of a name, nothing is known of the protocol,
            or a property counts nodes and it is not said how many there are.
    """
    if names is None:
        if protocol not in DEFAULTS:
            raise ConfigurationError(
                f"there are no properties of {protocol!r}; there are of: {', '.join(DEFAULTS)}"
            )
        names = DEFAULTS[protocol]

    def counted(kind: Callable[..., Property], *more: int) -> Property:
        if nodes < 1:
            raise ConfigurationError("say how many nodes there are: some properties count them")
        return kind(nodes, *more)

    made: dict[str, Callable[[], Property]] = {
        "Durable": lambda: members.Durable(every_message=every_message),
        "TermMonotone": lambda: members.TermMonotone(every_message=every_message),
        "Majority": lambda: counted(members.Majority),
        "Failover": lambda: progress.Failover(bound_ns),
        "QuorumConnected": lambda: counted(progress.QuorumConnected, bound_ns),
        "CommunicationEfficient": lambda: counted(traffic.CommunicationEfficient),
        "MaxValid": lambda: once.MaxValid(identities),
    }
    return [made.get(name, property_named(name))() for name in names]


def property_named(name: str) -> type[Property]:
    """The class of a property.

    Raises:
        ConfigurationError: there is none of that name; the message lists them.

    >>> property_named("LeaseDisjoint").text
    'at no instant are two nodes inside their tenures'
    """
    if name not in PROPERTIES:
        raise ConfigurationError(
            f"there is no property {name!r}; there are: {', '.join(PROPERTIES)}"
        )
    return PROPERTIES[name]
