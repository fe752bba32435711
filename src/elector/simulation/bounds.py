"""How long a leader may be missing once nothing fails any more.

For a lease that is arithmetic. Raft's rounds are random: each fails with some probability q,
so the bound allows as many of them as make a miss rarer than one in a billion.
"""

import math

from elector.core.timing import LeaseTiming
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import Weather

_MISSES = 1e-9
_MOST_ROUNDS = 2000


def lease_bound(timing: LeaseTiming) -> int:
    """Since the last fault, until somebody leads, ns.

    What was under way when it ended is waited for: a lease, requests that nobody will answer,
    the pauses after failures.
    """
    return timing.failover_bound_ns() + timing.cooldown_ns + 5 * timing.ttl_ns


def split_probability(settings: RaftSettings, latency_ns: int, voters: int, quorum: int) -> float:
    """That a round of candidacies elects nobody: two or more begin within one latency.

    The estimate is C(s, j) (L/W)^j for j rivals among s voters that split the votes.
    """
    width = max(settings.spread_ns, 1)
    rivals = max(2, voters - quorum + 1)
    share = min(1.0, latency_ns / width)
    return min(0.99, math.comb(max(voters, rivals), rivals) * share**rivals)


def raft_bound(settings: RaftSettings, weather: Weather, nodes: int) -> int:
    """The same for a group of members, whose messages take as long as this weather says, ns."""
    latency = weather.delay.high_ns + weather.disk[1]
    # Whose logs are behind cannot win, but takes its turn all the same.
    split = split_probability(settings, latency, nodes, nodes // 2 + 1)
    rounds = min(_MOST_ROUNDS, 8 + math.ceil(math.log(_MISSES) / math.log(split)))
    slowest = settings.election_ns + settings.spread_ns + 6 * latency
    return rounds * (slowest + nodes * settings.stagger_ns)
