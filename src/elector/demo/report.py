"""What the demo found; ``elector demo --json`` prints one `Report` as a JSON object."""

from typing import Literal

import msgspec


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """One act: a leader went, another came.

    Attributes:
        act: what was done to the leader: ``kill`` (SIGKILL), ``freeze`` (SIGSTOP between its
            check and its write, until after its lease) or ``shutdown`` (SIGTERM).
        old: the replica that led.
        old_token: its fencing token.
        new: the replica that took over.
        new_token: its fencing token.
        takeover_ns: from the signal to the first entry of the new leader in the ledger.
    """

    act: Literal["kill", "freeze", "shutdown"]
    old: str
    old_token: int
    new: str
    new_token: int
    takeover_ns: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A write that the guard refused.

    Attributes:
        replica: whose.
        token: the token it wrote under.
        newest: the token under which a later leader had written by then.
        at_ns: when, since the demo began.
    """

    replica: str
    token: int
    newest: int
    at_ns: int


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """One tenure as the witnesses saw it; times in ns on the monotonic clock of the host.

    Attributes:
        token: its fencing token.
        replica: who led.
        begin_ns: when its work began.
        end_ns: when its last effect was over: the end of the work, or the last accepted
            write of a leader that was killed or refused.
        entries: how many entries it has in the ledger.
    """

    token: int
    replica: str
    begin_ns: int
    end_ns: int
    entries: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo found.

    Attributes:
        ok: nothing is wrong; the exit code is 0 if so and 1 if not.
        ttl_ns: the lease duration that the replicas used.
        duration_ns: how long the demo took.
        takeovers: the three acts, in order.
        refusals: the writes that the guard refused.
        tenures: every tenure, by token.
        entries: how many entries the ledger holds.
        problems: what is wrong, in words; empty if `ok`.
    """

    ok: bool
    ttl_ns: int
    duration_ns: int
    takeovers: list[Takeover]
    refusals: list[Refusal]
    tenures: list[Stay]
    entries: int
    problems: list[str]
