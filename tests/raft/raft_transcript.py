"""One node's life as text: events, what it did about each, and what it then was.

A transcript begins with a sentence and the node's settings. Each event is a line that
begins with ``>``; what follows indented is written by the replay: the effects in order, and
role and term at the end. Lines that begin with ``#`` say why. Times are the node's clock.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from elector.core.duration import format_duration, parse_duration
from elector.core.effects import SetTimer
from elector.core.events import Start, TimerFired
from elector.core.peers import Appended, Delivered, Send, Transfer
from elector.protocols.raft import Raft, RaftEffect, RaftEvent, RaftState
from elector.protocols.raft_messages import (
    Ballot,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    RaftMessage,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
    Vote,
)
from elector.protocols.raft_settings import RaftSettings

_MESSAGES: dict[str, type[RaftMessage]] = {
    "request-vote": RequestVote,
    "vote": Vote,
    "request-pre-vote": RequestPreVote,
    "pre-vote": PreVote,
    "heartbeat": Heartbeat,
    "heartbeat-reply": HeartbeatReply,
    "timeout-now": TimeoutNow,
}
_WORDS: dict[type[Any], str] = {kind: word for word, kind in _MESSAGES.items()}
_TIMES = {"sent_at", "until"}


class Transcript:
    """The text of a scenario, ready to be replayed; node 0 is the one it is about."""

    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.splitlines() if not line.startswith("  ")]
        settings = next(line for line in self.lines if line.startswith("node "))
        facts = dict(pair.split("=") for pair in settings.split()[1:])
        self.nodes = int(facts.pop("nodes"))
        least, greatest = facts.pop("timeout").split("..")
        heartbeat = facts.pop("heartbeat", None)
        options: dict[str, Any] = {
            name: value == "on" if value in {"on", "off"} else parse_duration(value)
            for name, value in facts.items()
        }
        self.settings = RaftSettings.of(least, greatest, heartbeat, **options)

    def written(self) -> str:
        """The whole text, with what the node does now."""
        node = Raft(0, tuple(range(self.nodes)), self.settings)
        state, ballot = node.initial(), Ballot()
        text = []
        for line in self.lines:
            text.append(line)
            if not line.startswith("> "):
                continue
            if line.endswith(" restart"):
                state = node.recovered(ballot, state.log)
            state, effects = node.step(state, read_event(line[2:]))
            ballot = Ballot(state.term, state.voted_for)
            text.extend(f"  {said}" for said in _say_all(effects))
            text.append(f"  = {_say_state(state)}")
        return "\n".join(text) + "\n"


def read_event(line: str) -> RaftEvent:
    """Read ``5ms 2 request-vote term=1 log=0.0``, ``5ms timer election`` and the like."""
    time, word, *rest = line.split()
    at = parse_duration(time)
    match word:
        case "start" | "restart":
            return Start(at)
        case "timer":
            return TimerFired(at, rest[0])
        case "transfer":
            return Transfer(at, int(rest[0]))
        case "appended":
            return Appended(at, _position(rest[0]))
        case _:
            return Delivered(at, int(word), _read_message(rest))


def _read_message(words: list[str]) -> RaftMessage:
    kind = _MESSAGES[words[0]]
    facts: dict[str, Any] = {"granted": False} if "refused" in words else {}
    if kind in {Heartbeat, HeartbeatReply}:
        facts |= {"sent_at": -1}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if name == "log":
            facts[name] = _position(value)
        elif name in _TIMES:
            facts[name] = parse_duration(value)
        elif name != "refused":
            facts[name] = value if equals else True
    return msgspec.convert(facts, kind, strict=False)


def _position(text: str) -> tuple[int, int]:
    term, index = text.split(".")
    return int(term), int(index)


def _say_all(effects: tuple[RaftEffect, ...]) -> Iterator[str]:
    """One line for each effect; one message to several peers in a row is one line."""
    waiting: list[str] = []
    for place, effect in enumerate(effects):
        if not isinstance(effect, Send):
            yield _say_effect(effect)
            continue
        waiting.append(str(effect.to))
        after = effects[place + 1] if place + 1 < len(effects) else None
        if not (isinstance(after, Send) and after.message == effect.message):
            word = _WORDS[type(effect.message)]
            yield " ".join(["send", ",".join(waiting), word, *_facts(effect.message)])
            waiting = []


def _say_effect(effect: RaftEffect) -> str:
    word = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(effect).__name__).lstrip("-")
    if isinstance(effect, SetTimer):
        first, last = format_duration(effect.earliest), format_duration(effect.latest)
        return f"{word} {effect.name} {first if first == last else f'{first}..{last}'}"
    return " ".join([word, *_facts(getattr(effect, "durable", effect))])


def _facts(thing: Any) -> Iterator[str]:
    for name in thing.__struct_fields__:
        value = getattr(thing, name)
        if name == "granted":
            yield "granted" if value else "refused"
        elif value is True:
            yield name
        elif name == "log":
            yield f"log={value[0]}.{value[1]}"
        elif name in _TIMES and value is not None and value >= 0:
            yield f"{name}={format_duration(value)}"
        elif name not in _TIMES and value is not False:
            yield f"{name}={'nobody' if value is None else value}"


def _say_state(state: RaftState) -> str:
    return f"{state.role.name.lower().replace('_', '-')} of term {state.term}"
