"""Events and effects as lines that people read, and the replay of a transcript.

A transcript begins with a sentence and the candidate's settings. Then each event, a line
that begins with ``>``, is followed by what the candidate did about it: one indented line
for each effect, in order, and the phase in which it ended. Lines that begin with ``#`` say
why. All times are on one scale, the candidate's own clock since the transcript began.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from elector.core.duration import parse_duration
from elector.core.effects import CandidateEffect, Extend, Lead, Observe, SetTimer
from elector.core.events import (
    CandidateEvent,
    Changed,
    Desist,
    Failed,
    Granted,
    Health,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Resign,
    Start,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.core.office import Led, Unknown, Vacant
from elector.core.timing import LeaseTiming
from elector.protocols.lease import LeaseCandidate

SECOND_NS = 1_000_000_000

_EVENTS: dict[str, type[CandidateEvent]] = {
    "start": Start,
    "desist": Desist,
    "withdraw": Withdraw,
    "resign": Resign,
    "timer": TimerFired,
    "granted": Granted,
    "occupied": Occupied,
    "renewed": Renewed,
    "lost": Lost,
    "released": Released,
    "failed": Failed,
    "unanswered": OutcomeLost,
    "changed": Changed,
    "work-stopped": WorkStopped,
    "health": Health,
}
_WORDS: dict[type[Any], str] = {kind: word for word, kind in _EVENTS.items()}

# What a bare word behind the event's name means.
_BARE: dict[str, Callable[[str], dict[str, Any]]] = {
    "timer": lambda word: {"name": word},
    "health": lambda word: {"healthy": {"good": True, "stalled": False}[word]},
    "work-stopped": lambda word: {"failed": {"failed": True}[word]},
}


class Build(NamedTuple):
    """Which code is replayed: ours, or ours with a bug put into it on purpose."""

    candidate: type[LeaseCandidate]
    timing: type[LeaseTiming]


CLEAN = Build(LeaseCandidate, LeaseTiming)


class Happening(NamedTuple):
    """One event of a replay and what came of it."""

    event: CandidateEvent
    effects: tuple[CandidateEffect, ...]
    phase: str


class Transcript:
    """The text of a scenario, ready to be replayed."""

    def __init__(self, text: str) -> None:
        # What the candidate did is not read: it is what the replay has to find again.
        self.lines = [line for line in text.splitlines() if not line.startswith("  ")]
        settings = next(line for line in self.lines if line.startswith("candidate "))
        self.settings: dict[str, Any] = dict(pair.split("=") for pair in settings.split()[2:])

    def timing(self, build: Build = CLEAN) -> LeaseTiming:
        """The timing that the scenario asks for."""
        return build.timing.of(**self.settings)

    def replay(self, build: Build = CLEAN, origin: int = 0) -> Iterator[Happening]:
        """Step through the events; `origin` is what the candidate's clock shows at 0s."""
        candidate = build.candidate(Candidate("a", "a#1"), self.timing(build))
        state = candidate.initial()
        for line in self.lines:
            if line.startswith("> "):
                event = read_event(line[2:], origin)
                state, effects = candidate.step(state, event)
                yield Happening(event, effects, state.phase.value)

    def written(self, origin: int = 0) -> str:
        """The whole text, with what the candidate does now."""
        happenings = self.replay(origin=origin)
        text = []
        for line in self.lines:
            text.append(line)
            if line.startswith("> "):
                happening = next(happenings)
                text.extend(f"  {say_effect(effect, origin)}" for effect in happening.effects)
                text.append(f"  = {happening.phase}")
        return "\n".join(text) + "\n"


def read_event(line: str, origin: int) -> CandidateEvent:
    """Read ``5ms granted op=1 token=7``."""
    time, word, *rest = line.split()
    facts: dict[str, Any] = {"at": origin + parse_duration(time), "leader": None, "instance": None}
    for part in rest:
        name, equals, value = part.partition("=")
        facts |= {name: value} if equals else _BARE[word](part)
    if facts["leader"] == "nobody":
        facts["leader"] = None
    if facts["leader"] is not None:
        facts["instance"] = facts["leader"] + "#1"
    if "retry_in" in facts:
        facts["retry_in_ns"] = parse_duration(facts.pop("retry_in"))
    return msgspec.convert(facts, _EVENTS[word], strict=False)


def say_event(event: CandidateEvent, origin: int = 0) -> str:
    """Write an event as `read_event` reads it."""
    words = [say_time(event.at - origin), _WORDS[type(event)]]
    match event:
        case TimerFired():
            words.append(event.name)
        case Health():
            words.append("good" if event.healthy else "stalled")
        case _:
            words.extend(_facts(event))
    return " ".join(words)


def say_effect(effect: CandidateEffect, origin: int = 0) -> str:
    """Write an effect."""
    word = _kebab(type(effect).__name__)
    match effect:
        case SetTimer(name, earliest, latest):
            first, last = say_time(earliest - origin), say_time(latest - origin)
            return f"{word} {name} {first if first == last else f'{first}..{last}'}"
        case Observe(Led(leader, token)):
            return f"{word} led leader={leader} token={token}"
        case Observe(Unknown(since)):
            return f"{word} unknown since={say_time(since - origin)}"
        case Observe(Vacant()):
            return f"{word} vacant"
        case Lead(token, ends) | Extend(token, ends):
            soft, hard = say_time(ends.soft_ns - origin), say_time(ends.hard_ns - origin)
            return f"{word} token={token} soft={soft} hard={hard}"
        case _:
            return " ".join([word, *_facts(effect)])


def say_time(time_ns: int) -> str:
    """Write a time for people, to the millisecond.

    >>> [say_time(n) for n in (0, 5_000_000, 11_402_970_297, 60 * SECOND_NS)]
    ['0ms', '5ms', '11.403s', '60s']
    """
    if abs(time_ns) < SECOND_NS:
        return f"{round(time_ns / 1e6)}ms"
    return f"{time_ns / SECOND_NS:.3f}".rstrip("0").rstrip(".") + "s"


def _facts(thing: msgspec.Struct) -> Iterator[str]:
    for name in thing.__struct_fields__:
        value = getattr(thing, name)
        if name == "leader":
            yield f"leader={value or 'nobody'}"
        elif name == "retry_in_ns" and value is not None:
            yield f"retry_in={say_time(value)}"
        elif value is True:
            yield name
        elif name not in {"at", "instance"} and value is not None and value is not False:
            yield f"{name}={value}"


def _kebab(name: str) -> str:
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name).lstrip("-")
