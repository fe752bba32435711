"""Every property by name, and which are judged of which protocol.

>>> [p.name for p in properties_for("raft", ["TermUnique", "VoteOnce"])]
['TermUnique', 'VoteOnce']
"""

from collections.abc import Iterable

from elector.core.duration import SECOND_NS
from elector.errors import ConfigurationError
from elector.properties import coverage, members, once, progress, tenures
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
        progress.EventuallyLed,
        progress.Stable,
        progress.Failover,
        progress.QuorumConnected,
        progress.CommunicationEfficient,
        progress.NoHerd,
        once.Unique,
        once.Irrevocable,
        once.Agree,
        once.Valid,
        once.MaxValid,
        once.Terminates,
        once.Aware,
        tenures.Unfenced,
        coverage.LeaderReplaced,
        coverage.NodeCrashed,
        coverage.NodePaused,
        coverage.LinkCut,
        coverage.LeaseExpired,
        coverage.OutcomeLost,
        coverage.StaleWriteRefused,
    )
}

DEFAULTS: dict[str, tuple[str, ...]] = {
    "raft": (
        *("TermUnique", "VoteOnce", "Durable", "TermMonotone", "Majority", "LeaseDisjoint"),
        *("EventuallyLed", "Stable"),
        *("LeaderReplaced", "NodeCrashed", "NodePaused", "LinkCut"),
    ),
    "lease": (
        *("TermUnique", "LeaseDisjoint", "FenceMonotone", "FenceSafe", "StopBeforeTakeover"),
        *("EventuallyLed", "Stable"),
        *("Unfenced", "LeaderReplaced", "NodeCrashed", "NodePaused"),
        *("LeaseExpired", "OutcomeLost", "StaleWriteRefused"),
    ),
}


def properties_for(
    protocol: str,
    names: Iterable[str] | None = None,
    *,
    nodes: int = 1,
    bound_ns: int = 60 * SECOND_NS,
    identities: tuple[int, ...] = (),
) -> list[Property]:
    """New properties, ready to judge one run.

    Args:
        protocol: whose.
        names: which; None: all that make sense for it.
        nodes: how many there are, for those that count majorities.
        bound_ns: for those that wait.
        identities: of nodes, for `MaxValid`.

    Raises:
        ConfigurationError: there is no property of a name; the message lists them.
    """
    chosen = list(DEFAULTS[protocol] if names is None else names)
    unknown = [name for name in chosen if name not in PROPERTIES]
    if unknown:
        raise ConfigurationError(
            f"there is no property {unknown[0]!r}; there are: {', '.join(PROPERTIES)}"
        )
    special: dict[str, Property] = {
        "Majority": members.Majority(nodes),
        "Failover": progress.Failover(bound_ns),
        "QuorumConnected": progress.QuorumConnected(nodes, bound_ns),
        "CommunicationEfficient": progress.CommunicationEfficient(nodes),
        "MaxValid": once.MaxValid(identities),
    }
    return [special.get(name) or PROPERTIES[name]() for name in chosen]
