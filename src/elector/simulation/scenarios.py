"""What happened elsewhere, by name: incidents and counter-examples, each as a configuration.

>>> scenario("cloudflare-2020").configuration.nodes
3
"""

from collections.abc import Iterable
from typing import NamedTuple

from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.protocols.raft_settings import RaftSettings
from elector.simulation.faults import LEADER, MS, Faults, Trouble, Weather, from_leader
from elector.simulation.links import Link, all_but
from elector.simulation.run import Configuration

_STRIKES = 2 * SECOND_NS
_LASTS = 20 * SECOND_NS
_PLAIN = RaftSettings.of("150ms", "300ms", pre_vote=False, check_quorum=False)
_FULL = RaftSettings.of("150ms", "300ms")


class Scenario(NamedTuple):
    """One story.

    Attributes:
        text: what it is.
        source: where it is told.
        look_for: what to see in it.
        configuration: how it is run.
    """

    text: str
    source: str
    look_for: str
    configuration: Configuration


def _cut(links: Iterable[Link], at: int = _STRIKES, until: int = _LASTS) -> tuple[Trouble, ...]:
    """Links between nodes that are counted from the leader, 0 being it."""
    return tuple(
        Trouble(at, "cut", (from_leader(near), from_leader(far)), until) for near, far in links
    )


def _raft(nodes: int, troubles: tuple[Trouble, ...], settings: RaftSettings) -> Configuration:
    return Configuration(
        protocol="raft",
        nodes=nodes,
        raft=settings,
        duration_ns=_LASTS,
        faults=Faults(Weather(), troubles),
    )


def _lease(*troubles: Trouble) -> Configuration:
    return Configuration(
        protocol="lease",
        nodes=3,
        lease=LeaseTiming.of("15s"),
        duration_ns=120 * SECOND_NS,
        faults=Faults(Weather(), troubles),
    )


_CHAIN = all_but([(0, 2), (1, 2)], 3)
_CUT_FROM_ONE = [(0, 1), (1, 0)]
_STAR = all_but([(1, 0), (1, 2), (1, 3), (1, 4)], 5)
_LIVELOCK = all_but([(1, 2), (1, 0), (2, 0), (2, 3), (0, 4)], 5)

SCENARIOS: dict[str, Scenario] = {
    "cloudflare-2020": Scenario(
        "a switch lets some packets through: one follower cannot reach the leader, all else works",
        "Cloudflare, 'A Byzantine failure in the real world', on the outage of 2 November 2020",
        "with PreVote and CheckQuorum the leader stays",
        _raft(3, _cut(_CUT_FROM_ONE), _FULL),
    ),
    "cloudflare-2020-plain": Scenario(
        "the same without PreVote and CheckQuorum",
        "the same",
        "the cut-off follower starts term after term, and the leader changes again and again",
        _raft(3, _cut(_CUT_FROM_ONE), _PLAIN),
    ),
    "quorum-loss": Scenario(
        "every link is cut except those of one follower; the old leader lives on without a quorum",
        "Ng, Haridi, Carbone, 'Omni-Paxos', EuroSys 2023, section 2",
        "the follower that all can reach has to win: CheckQuorum makes the old leader step down",
        _raft(5, _cut(_STAR), _FULL),
    ),
    "constrained-election": Scenario(
        "the only node with a quorum of links has an old log",
        "the same",
        "nobody can win while the links are cut, for whoever could be elected lacks entries",
        _raft(
            5,
            (
                *_cut([(0, 1), (1, 0)]),
                *(Trouble(_STRIKES + 100 * MS, "append", (from_leader(n),)) for n in (0, 2, 3, 4)),
                *_cut(_STAR, _STRIKES + 200 * MS),
            ),
            _FULL,
        ),
    ),
    "chained": Scenario(
        "leader and one follower do not reach each other, and both reach the third node",
        "the same",
        "plain Raft changes leaders for as long as the link is cut",
        _raft(3, _cut(_CHAIN), _PLAIN),
    ),
    "livelock": Scenario(
        "five nodes on the links 1-2, 1-3, 2-3, 2-4, 3-5, node 3 leading",
        "the smallest topology known on which plain Raft changes leaders for ever",
        "plain Raft never comes to rest",
        _raft(5, _cut(_LIVELOCK), _PLAIN),
    ),
    "livelock-mended": Scenario(
        "the same with PreVote and CheckQuorum",
        "the same",
        "one leader stays",
        _raft(5, _cut(_LIVELOCK), _FULL),
    ),
    "gc-pause": Scenario(
        "the leader stands still for two leases, wakes up, and goes on writing",
        "Kleppmann, 'How to do distributed locking', 2016",
        "another one leads meanwhile, and the guarded resource refuses the old token",
        _lease(Trouble(20 * SECOND_NS, "pause", (LEADER,), 50 * SECOND_NS)),
    ),
    "reply-lost": Scenario(
        "the store carries out every request and its replies are lost",
        "Jepsen, etcd 3.4.3: a lock without a token cannot tell",
        "nobody leads on a guess; whoever was granted the office finds it out, or it expires",
        _lease(Trouble(20 * SECOND_NS, "silent", (), 60 * SECOND_NS)),
    ),
}


def scenario(name: str) -> Scenario:
    """A scenario.

    Raises:
        ConfigurationError: there is none of that name; the message lists them.
    """
    if name not in SCENARIOS:
        raise ConfigurationError(
            f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}"
        )
    return SCENARIOS[name]
