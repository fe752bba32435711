"""The times and options of `elector.protocols.raft`.

>>> RaftSettings.of("150ms", "300ms").heartbeat_ns
75000000
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from elector.core.duration import format_duration, parse_duration
from elector.errors import ConfigurationError

_MILLION = 1_000_000


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers in nanoseconds; sections are those of Ongaro's dissertation.

    Attributes:
        election_ns: T, the least election timeout.
        spread_ns: W, how much longer it may be by chance (3.4).
        heartbeat_ns: from one heartbeat to the next.
        retransmit_ns: candidates ask silent voters again after this; 0: they do not.
        stagger_ns: after losing a leader, the first candidacies follow each other at this
            distance, by priority; all later ones are random. 0: all are random.
        pre_vote: ask whether a candidacy is of use before beginning a term (9.6).
        check_quorum: a leader steps down when no majority answers (6.2), and nobody votes
            who has just heard a leader (4.2.3).
        lease: office only while a majority is known to be loyal (6.4.1).
        drift_ppm: with a lease, the bound on the error of clock rates, in millionths.
        margin_ns: with a lease, for what the arithmetic does not model.
        priorities: of nodes, 1 if not given; higher ones stand first when staggered, and a
            node with priority 0 votes but never stands.
    """

    election_ns: int
    spread_ns: int
    heartbeat_ns: int
    retransmit_ns: int = 0
    stagger_ns: int = 0
    pre_vote: bool = True
    check_quorum: bool = True
    lease: bool = False
    drift_ppm: int = 10_000
    margin_ns: int = 0
    priorities: Mapping[int, int] = msgspec.field(default_factory=dict)

    @classmethod
    def of(
        cls, least: str = "1s", greatest: str = "2s", heartbeat: str | None = None, **options: Any
    ) -> "RaftSettings":
        """Settings for an election timeout between `least` and `greatest`.

        Raises:
            ConfigurationError: they cannot work; the message says which number to change.
        """
        election_ns = parse_duration(least, "election timeout")
        return cls(
            election_ns=election_ns,
            spread_ns=parse_duration(greatest, "election timeout") - election_ns,
            heartbeat_ns=(
                election_ns // 2 if heartbeat is None else parse_duration(heartbeat, "heartbeat")
            ),
            **options,
        )

    def __post_init__(self) -> None:
        if self.spread_ns < 0:
            raise ConfigurationError("the greatest election timeout is less than the least one")
        if min(self.retransmit_ns, self.stagger_ns, self.margin_ns) < 0:
            raise ConfigurationError("retransmit, stagger and margin must not be negative")
        if not 0 < self.heartbeat_ns < self.election_ns:
            raise ConfigurationError(
                f"a heartbeat every {format_duration(self.heartbeat_ns)} does not keep followers "
                f"quiet for {format_duration(self.election_ns)}: it must be less, and more than 0s"
            )
        if not 0 <= self.drift_ppm < _MILLION // 2:
            raise ConfigurationError(
                f"drift_ppm is {self.drift_ppm}; a bound on clock drift lies between 0 and "
                f"{_MILLION // 2}"
            )
        if self.lease and not self.check_quorum:
            raise ConfigurationError("a lease rests on check_quorum: turn that on, too")
        if self.lease and self.lease_ns <= self.heartbeat_ns:
            raise ConfigurationError(
                f"a lease of {format_duration(self.lease_ns)} ends before the next heartbeat, "
                f"{format_duration(self.heartbeat_ns)} later: lower heartbeat or margin"
            )

    @property
    def lease_ns(self) -> int:
        """What a leader may count on when its clock is slow and a follower's is fast."""
        slowed = self.election_ns * (_MILLION - self.drift_ppm) // (_MILLION + self.drift_ppm)
        return slowed - self.margin_ns

    @property
    def sticky(self) -> bool:
        """Whether nodes are loyal to a leader that they have just heard."""
        return self.pre_vote or self.check_quorum

    def priority(self, node: int) -> int:
        """A node's priority; 0 means that it never stands."""
        return self.priorities.get(node, 1)
