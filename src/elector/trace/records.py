"""What can stand in a trace: one schema for production, simulation and counterexamples.

A trace is a `Header` and then records in the order in which things happened. ``t`` is true
time in ns: in a simulated world the time that no node can see, in production the clock that
all leases of the host are counted on. Nodes are numbers, positions in `Header.nodes`.

Two kinds of record stand side by side. A `Step` is what the pure protocol was told and what
it answered, whole, so that it can be taken again; all others are what the world did about it,
in words that are the same for every protocol, so that properties and pictures need to know
no protocol. ``token`` is the fencing token of a tenure: the term, where members elect among
themselves.

>>> from msgspec import json
>>> json.encode(Lead(t=5, node=1, token=7, until=20))
b'{"kind":"lead","t":5,"node":1,"token":7,"until":20}'
"""

from typing import Any, Literal

import msgspec

FORMAT = 1

Plain = dict[str, Any]
"""A protocol's own value as JSON has it, with its ``type``."""

World = Literal["production", "simulation", "verification"]


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="header", omit_defaults=True):
    """The first line: where the trace comes from, and all that is needed to run it again.

    Attributes:
        format: version of this schema.
        elector: version of the package that wrote it.
        world: who called `step`.
        protocol: ``lease`` or ``raft``.
        nodes: their names, by number.
        settings: of the protocol, as its settings are written in JSON.
        run: what the simulator or the explorer was asked to do; empty in production.
        void: assumptions that were broken on purpose, such as ``drift_bound``.
    """

    format: int
    elector: str
    world: World
    protocol: str
    nodes: tuple[str, ...]
    settings: Plain = {}
    run: Plain = {}
    void: tuple[str, ...] = ()


class _Record(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower, omit_defaults=True):
    """What all records have."""

    t: int


class Step(_Record, frozen=True):
    """The protocol took an event (its own clock is in it) and asked for effects, in order."""

    node: int
    event: Plain
    effects: tuple[Plain, ...] = ()
    after: Plain = {}


# -- messages between members ------------------------------------------------------------


class Send(_Record, frozen=True):
    """A message left its node; `number` is its own, by which its arrival refers to it."""

    node: int
    to: int
    number: int
    message: Plain = {}


class Deliver(_Record, frozen=True):
    """A message arrived at `node`; a repeated one arrives twice under one number."""

    node: int
    number: int


class Drop(_Record, frozen=True):
    """A message will not arrive at `node`: lost, cut, or its addressee was down."""

    node: int
    number: int
    why: str


class Persist(_Record, frozen=True):
    """This is durable now."""

    node: int
    durable: Plain


# -- a candidate and its store -----------------------------------------------------------


class Request(_Record, frozen=True):
    """A candidate sent a request to the store: acquire, renew or release."""

    node: int
    op: int
    what: str
    token: int = 0


class Apply(_Record, frozen=True):
    """The store carried a request out.

    Attributes:
        outcome: granted, occupied, renewed, lost, released.
        holder: who holds the office after it, None for nobody.
        token: the last token that was granted.
        until: true time at which the store lets the lease expire; None without one.
    """

    node: int
    op: int
    what: str
    outcome: str
    holder: int | None = None
    token: int = 0
    until: int | None = None


class Answer(_Record, frozen=True):
    """An outcome reached the candidate: as in `Apply`, or ``failed``, or ``unknown``."""

    node: int
    op: int
    outcome: str


class Expire(_Record, frozen=True):
    """The store let a lease expire, early, late or in time; or it lost it in a failover."""

    token: int
    why: str = "expired"


# -- what happens to nodes, clocks and links ---------------------------------------------


class Boot(_Record, frozen=True):
    """A node began to run, for the first time or again; as which instance, where that matters."""

    node: int
    instance: str = ""


class Crash(_Record, frozen=True):
    """A node's process ended without a word; what was not durable is gone."""

    node: int


class Pause(_Record, frozen=True):
    """A node stands still; its clock does not, and its messages wait."""

    node: int
    until: int


class Clock(_Record, frozen=True):
    """What a node's clock does from now on: it shows `shows`, and gains `ppm` millionths.

    Attributes:
        node: the node, -1 for the store.
    """

    node: int
    shows: int
    ppm: int
    why: str = "drift"


class Cut(_Record, frozen=True):
    """Nothing passes from `node` to `to` any more; the store is -1."""

    node: int
    to: int


class Heal(_Record, frozen=True):
    """Messages pass from `node` to `to` again."""

    node: int
    to: int


class Fault(_Record, frozen=True):
    """Anything else that was done to the world, for people: its name and until when."""

    what: str
    node: int | None = None
    until: int | None = None


class Calm(_Record, frozen=True):
    """From here on there are no faults: properties that need an end to them begin to count.

    Attributes:
        within: for how long a leader may be missing, ns.
        core: the nodes that are up and connected.
    """

    within: int
    core: tuple[int, ...]


# -- outputs: what people asked for ------------------------------------------------------


class Lead(_Record, frozen=True):
    """A node says that it leads; said again when its lease is prolonged.

    Attributes:
        until: true time before which nobody else leads; None where office has no lease.
    """

    node: int
    token: int
    until: int | None = None


class Follow(_Record, frozen=True):
    """A node says who leads; None: it does not know.

    Attributes:
        name: the leader's, if it is not one of the nodes of this trace; `leader` is None then.
    """

    node: int
    leader: int | None
    token: int
    name: str = ""


class StepDown(_Record, frozen=True):
    """A node says that it does not lead any more."""

    node: int
    token: int
    reason: str = ""


class Work(_Record, frozen=True):
    """The work of a tenure: ``began``, was told to stop (``stopping``), ``stopped``."""

    node: int
    token: int
    what: Literal["began", "stopping", "stopped"]
    failed: bool = False


class Write(_Record, frozen=True):
    """The work wrote to a guarded resource, which accepted or refused its token."""

    node: int
    token: int
    accepted: bool
    newest: int


class End(_Record, frozen=True):
    """The last record of a run that came to its end."""


Record = (
    Step
    | Send
    | Deliver
    | Drop
    | Persist
    | Request
    | Apply
    | Answer
    | Expire
    | Boot
    | Crash
    | Pause
    | Clock
    | Cut
    | Heal
    | Fault
    | Calm
    | Lead
    | Follow
    | StepDown
    | Work
    | Write
    | End
)
