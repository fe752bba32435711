"""The models of the simulator beside the real servers: one history, one outcome.

Time passes really here, and is given some slack where a lease has to run out. Tokens are compared
by their order, since not every server counts from one. The histories of a server run side by side.
"""

import asyncio
import re
from collections.abc import Sequence

import pytest

from elector.core.office import EndReason
from elector.simulation.faults import SECOND_NS
from elector.simulation.store import Register, model_named
from elector.stores import port
from elector.stores.registry import open_store, parse_url
from tests.servers.places import SERVERS, place_of
from tests.simulation.test_store_models import (
    A2,
    HISTORIES,
    TTL,
    A,
    Ask,
    B,
    C,
    occupied,
)

EVERYBODY = (A, B, C, A2)
# Beyond the lateness of any server's expiry, and short of all that these histories distinguish.
SLACK_NS = 900_000_000
TOLERANCE_NS = 1_200_000_000
_POLL_NS = SECOND_NS


def times(history: Sequence[Ask]) -> list[int]:
    """When each question is asked: what waits for the end of something waits a little longer."""
    now, at = 0, []
    for ask in history:
        now += ask.after + (SLACK_NS if ask.after and not ask.answer.startswith("occ") else 0)
        at.append(now)
    return at


def on_the_model(name: str, history: Sequence[Ask]) -> list[str]:
    """The same questions at the same times; where observers expire a lease, they look on."""
    register, answers, seen = Register(model_named(name), TTL), [], 0
    for ask, now in zip(history, times(history), strict=True):
        while seen <= now:
            for who in EVERYBODY:
                register.read(who, seen)
            seen += _POLL_NS
        if ask.what == "renew":
            answers.append("renewed" if register.renew(ask.who, ask.token, now) else "lost")
        elif ask.what == "release":
            ours = register.release(ask.who, ask.token, ask.heir, now)
            answers.append("released" if ours else "nothing to release")
        else:
            found = register.acquire(ask.who, now, now, register.read(ask.who, now))
            if isinstance(found, int):
                answers.append(f"granted {found}")
            else:
                # How often those look who expire a lease is a setting, here and there.
                hint_ns = None if register.model.observed else found.retry_in_ns
                answers.append(occupied(found.leader, register.token, hint_ns))
    return answers


class Played:
    """One history on a real store."""

    def __init__(self, store: port.Store, election: str) -> None:
        self.store, self.election = store, election
        self.tokens: list[int] = []

    async def play(self, history: Sequence[Ask]) -> list[str]:
        watches = [await self.store.watch(self.election, _deaf, who) for who in EVERYBODY]
        loop = asyncio.get_running_loop()
        began, answers = loop.time(), []
        for ask, at in zip(history, times(history), strict=True):
            await asyncio.sleep(max(0.0, began + at / SECOND_NS - loop.time()))
            answers.append(await self._answer(ask))
        for watch in watches:
            await watch.close()
        return answers

    async def _answer(self, ask: Ask) -> str:
        if ask.what == "acquire":
            found = await self.store.acquire(self.election, ask.who, TTL)
            if isinstance(found, port.Granted):
                return f"granted {self._ordinal(found.token)}"
            return occupied(found.leader, self._ordinal(found.token), found.retry_in_ns)
        grant = port.Grant(self.election, ask.who, self.tokens[ask.token - 1], TTL)
        if ask.what == "renew":
            return "renewed" if (await self.store.renew([grant]))[0] else "lost"
        ours = await self.store.release(grant, EndReason.RESIGNED, ask.heir)
        return "released" if ours else "nothing to release"

    def _ordinal(self, token: int) -> int:
        if token not in self.tokens:
            assert not self.tokens or token > self.tokens[-1]
            self.tokens.append(token)
        return self.tokens.index(token) + 1


def _deaf(_: port.News) -> None:
    """These candidates ask by themselves."""


def same(real: str, model: str, *, hints: bool = True) -> bool:
    """Whether two answers are one; a hint need not be given, nor be exact."""
    (real_words, real_hint), (words, hint) = _parts(real), _parts(model)
    if not hints or real_hint is None or hint is None:
        return real_words == words
    return real_words == words and abs(real_hint - hint) * SECOND_NS <= TOLERANCE_NS


def _parts(answer: str) -> tuple[str, float | None]:
    words, _, hint = answer.partition(", retry in ")
    found = re.fullmatch(r"([\d.]+)s", hint)
    return words, float(found[1]) if found else None


@pytest.mark.parametrize("name", SERVERS)
def test_the_server_answers_as_its_model_does(name: str) -> None:
    async def play(url: str) -> list[list[str]]:
        store = await open_store(parse_url(url))
        try:
            played = (
                Played(store, f"history-{number}").play(history)
                for number, history in enumerate(HISTORIES.values())
            )
            return await asyncio.gather(*played)
        finally:
            await store.close()

    with place_of(name) as place:
        outcomes = asyncio.run(play(place.url))
    for (what, history), real in zip(HISTORIES.items(), outcomes, strict=True):
        model = on_the_model(name, history)
        # Whoever looks by itself, or is told of every end, may be given a bound for a hint.
        hints = not (model_named(name).observed or model_named(name).announces)
        pairs = zip(real, model, strict=True)
        differ = [pair for pair in pairs if not same(*pair, hints=hints)]
        assert not differ, f"{what}: (real, model) {differ}"


def test_a_model_that_is_wrong_would_be_found() -> None:
    assert not same("granted 2", "occupied by a, 1, retry in 5s")
    assert not same("occupied by a, 1, retry in 9s", "occupied by a, 1, retry in 5s")
    assert same("occupied by a, 1, retry in ?", "occupied by a, 1, retry in 5s")
