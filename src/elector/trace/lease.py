"""A candidate's steps in the words of traces: what it was told, asked for and said.

What becomes of a request, and of the work, is not in a step: the world has to tell that.

>>> from elector.core.effects import StepDown
>>> from elector.core.office import EndReason
>>> effect_record(5, 0, StepDown(7, EndReason.LOST))
StepDown(t=5, node=0, token=7, reason='lost')
"""

from collections.abc import Callable, Mapping

from elector.core.effects import (
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    Observe,
    Release,
    Renew,
    StepDown,
)
from elector.core.events import CandidateEvent, OutcomeLost, StoreEvent
from elector.core.office import Led, Observation
from elector.trace import records

_NOBODY: Mapping[str, int] = {}


def _same(at: int) -> int:
    return at


def event_record(t: int, node: int, event: CandidateEvent) -> records.Answer | None:
    """What stands before the `Step` of an event: of an answer of the store, the `Answer`."""
    if not isinstance(event, StoreEvent):
        return None
    outcome = "unknown" if isinstance(event, OutcomeLost) else type(event).__name__.lower()
    return records.Answer(t, node, event.op, outcome)


def effect_record(
    t: int,
    node: int,
    effect: CandidateEffect,
    nodes: Mapping[str, int] = _NOBODY,
    true: Callable[[int], int] = _same,
) -> records.Record | None:
    """What an effect is to the world, if it is anything to it.

    Args:
        t: true time, ns.
        node: whose effect.
        effect: what it asks for.
        nodes: the number of each candidate of this trace, by name.
        true: the true time at which the node's clock shows something; in production they are one.
    """
    match effect:
        case Acquire(op):
            return records.Request(t, node, op, "acquire")
        case Renew(op, token) | Release(op, token):
            return records.Request(t, node, op, type(effect).__name__.lower(), token)
        case Lead(token, deadlines) | Extend(token, deadlines):
            return records.Lead(t, node, token, true(deadlines.hard_ns))
        case StepDown(token, reason):
            return records.StepDown(t, node, token, str(reason))
        case Observe(observation):
            return _follow(t, node, observation, nodes)
    return None


def _follow(
    t: int, node: int, observation: Observation, nodes: Mapping[str, int]
) -> records.Follow:
    if not isinstance(observation, Led):
        return records.Follow(t, node, None, 0)
    number = nodes.get(observation.leader)
    name = observation.leader if number is None else ""
    return records.Follow(t, node, number, observation.token, name)
