"""Laws of the conformance kit: at most one leads."""

import asyncio
import contextlib

from elector.core.identity import Candidate
from elector.errors import OutcomeUnknown
from elector.stores.port import Grant, Granted, News, Occupied, Store
from elector.testing.place import DONE, LawBroken, Place, require, together

_RACERS = 8
_CROWD = 100
_POLL_S = 0.02


async def exclusion(place: Place) -> str:
    """While one leads, everybody else is refused and told who leads, namesakes too."""
    one, two = await place.open(), await place.open()
    election = place.election()
    grant = await place.lead(one, election, place.candidate("a"))
    for name in ("a", "b"):
        for store in (one, two, await place.open()):
            answer = await place.occupied(store, election, place.candidate(name))
            require(
                (answer.leader, answer.token) == ("a", grant.token),
                f"a leads under token {grant.token}, but others were told {answer}",
            )
    require(await one.renew([grant]) == [True], "the holder could not renew after others had asked")
    return "6 refused, on 3 stores, by name and by instance"


async def elections_apart(place: Place) -> str:
    """What happens in one election does not touch another, however alike their names."""
    one, two = await place.open(), await place.open()
    base = place.election()
    tails = ("", "/eu", "/", "//", ".lock", ":x@y+z", "-" + base.upper(), "_", ".", "@")
    names = [f"{base}{tail}" for tail in tails]
    names += [base.upper(), base.ljust(199, "b"), base.ljust(200, "b"), base.ljust(200, "/")]
    grants = [await place.lead(one, name, place.candidate("a")) for name in names]
    known = {record.election for record in await two.elections()}
    require(known >= set(names), f"elections that are not listed: {sorted(set(names) - known)}")
    await place.release(one, grants[0])
    require((await two.describe(names[0])).leader is None, "a released office was not vacant")
    for grant in grants[1:]:
        await place.still_led(two, grant)
    require(await one.renew(grants[1:]) == [True] * len(grants[1:]), "a neighbour lost its office")
    return f"{len(names)} names that are alike"


async def crowd(place: Place) -> str:
    """Of many that ask one store at once, in several elections, one wins in each."""
    store = await place.open()
    elections = [place.election() for _ in range(5)]
    asked = [
        (election, place.candidate(f"c{number}"))
        for number in range(_CROWD // len(elections))
        for election in elections
    ]
    answers = await together(
        *(store.acquire(election, who, place.long_ns) for election, who in asked)
    )
    for election in elections:
        here = [
            (who, answer)
            for (where, who), answer in zip(asked, answers, strict=True)
            if where == election
        ]
        winner, token = _only_winner(here)
        await place.still_led(store, Grant(election, winner, token, place.long_ns))
        for _, answer in here:
            require(
                isinstance(answer, Granted) or answer.leader in {None, winner.name},
                f"{winner.name} won, and another was told {answer}",
            )
    return f"{_CROWD} asked at once, {len(elections)} won"


async def race(place: Place) -> str:
    """Of eight that ask at once through stores of their own, one wins, in every round."""
    election, last = place.election(), 0
    racers = [(await place.open(), place.candidate(f"r{number}")) for number in range(_RACERS)]
    for number in range(place.rounds):
        answers = await together(*(_settled(place, store, election, who) for store, who in racers))
        places = {who: store for store, who in racers}
        winner, token = _only_winner(list(zip(places, answers, strict=True)), number + 1)
        require(token > last, f"round {number + 1} was won under token {token}, not above {last}")
        last = token
        await place.release(places[winner], Grant(election, winner, token, place.long_ns))
    return f"{place.rounds} rounds of {_RACERS}, one winner in each"


async def _settled(place: Place, store: Store, election: str, who: Candidate) -> Granted | Occupied:
    """Who is in doubt asks again, as Elector does: a store may be slow when many ask at once."""
    for _ in range(_RACERS):
        with contextlib.suppress(OutcomeUnknown):
            return await store.acquire(election, who, place.long_ns)
    raise LawBroken(f"{who.name} asked {_RACERS} times, and what came of it was never known")


def _only_winner(
    asked: list[tuple[Candidate, Granted | Occupied]], number: int = 1
) -> tuple[Candidate, int]:
    won = [(who, answer.token) for who, answer in asked if isinstance(answer, Granted)]
    told = ", ".join(f"{who.name} under token {token}" for who, token in won) or "nobody"
    require(len(won) == 1, f"round {number}, {len(asked)} asked for one office: it went to {told}")
    return won[0]


async def handover(place: Place) -> str:
    """Those who wait come into office one after the other, and no wake-up is ever lost."""
    election, times = place.election(), max(2, place.rounds // 4)
    book: list[tuple[str, int, str]] = []
    stores = [await place.open() for _ in range(4)]
    await place.soon(
        f"4 candidates that each lead {times} times, woken by the store",
        together(
            *(
                _lead_times(place, store, election, f"r{number}", times, book)
                for number, store in enumerate(stores)
            )
        ),
    )
    begins, ends = book[::2], book[1::2]
    for (begun, token, name), end in zip(begins, ends, strict=True):
        require(
            begun == "begins" and end == ("ends", token, name),
            f"two led at once: {name} {begun} under token {token}, and the next was {end}",
        )
    tokens = [token for _, token, _ in begins]
    require(tokens == sorted(set(tokens)), f"tokens did not rise: {tokens}")
    return f"{len(tokens)} tenures on 4 stores, tokens {tokens[0]} to {tokens[-1]}"


async def _lead_times(
    place: Place,
    store: Store,
    election: str,
    name: str,
    times: int,
    book: list[tuple[str, int, str]],
) -> None:
    who, told = place.candidate(name), asyncio.Event()

    def notify(_news: News) -> None:
        told.set()

    watch = await store.watch(election, notify, who)
    while times:
        told.clear()
        answer = await _settled(place, store, election, who)
        if isinstance(answer, Occupied):
            await _wait_for_a_turn(place, answer, told)
            continue
        book.append(("begins", answer.token, name))
        await asyncio.sleep(0)
        book.append(("ends", answer.token, name))
        if not await store.release(Grant(election, who, answer.token, place.long_ns), DONE):
            raise LawBroken(f"{name} held token {answer.token} and could not release it")
        times -= 1
    await watch.close()


async def _wait_for_a_turn(place: Place, answer: Occupied, told: asyncio.Event) -> None:
    """For news; where the store does not push, or says when to come again, no longer."""
    wait_s = place.patience_s
    if answer.retry_in_ns is not None and not place.moves_time:
        wait_s = min(wait_s, answer.retry_in_ns / 1e9)
    elif not place.traits.push:
        wait_s = _POLL_S
    try:
        async with asyncio.timeout(wait_s):
            await told.wait()
    except TimeoutError:
        return
