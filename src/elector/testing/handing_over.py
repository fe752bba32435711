"""Laws of the conformance kit: what is asked of the holder, and heirs."""

import asyncio
from collections.abc import Awaitable

from elector.core.office import EndReason
from elector.errors import UnsupportedTrait
from elector.stores.port import Ask, Grant, Occupied, Store
from elector.testing.place import Ear, LawBroken, Place, Unsupported, require


async def asked(place: Place) -> str:
    """What is asked of the holder reaches the holder, and nobody else."""
    one, two = await place.open(), await place.open()
    election, who = place.election(), place.candidate("a")
    holder, waiter = place.ear(), place.ear()
    await one.watch(election, holder, who)
    grant = await place.lead(one, election, who)
    await place.wait_in_line(two, election, place.candidate("b"), waiter)
    if place.traits.asks == "never":
        raise Unsupported(await _refusal(two.ask(Ask(election, grant.token)), "asks"))
    await two.ask(Ask(election, grant.token + 1))  # not its token
    await two.ask(Ask(election, grant.token))
    await _hears(place, one, grant, holder, Ask(election, grant.token))
    if place.traits.transfer:
        await two.ask(Ask(election, grant.token, "b"))
        await _hears(place, one, grant, holder, Ask(election, grant.token, "b"))
    require(
        {ask.token for ask in holder.asks()} == {grant.token},
        f"the holder of token {grant.token} heard {holder.asks()}",
    )
    require(not waiter.asks(), f"one that only waits heard {waiter.asks()}")
    return place.traits.asks


async def late_ask(place: Place) -> str:
    """What is asked of a tenure that is over does not reach the next one."""
    if place.traits.asks == "never":
        raise Unsupported("nothing can be asked of the holder here")
    one, two = await place.open(), await place.open()
    election, who, ear = place.election(), place.candidate("a"), place.ear()
    await one.watch(election, ear, who)
    grant = await place.lead(one, election, who)
    await place.release(one, grant)
    await two.ask(Ask(election, grant.token))
    again = await place.lead(one, election, who)
    await two.ask(Ask(election, again.token))
    await _hears(place, one, again, ear, Ask(election, again.token))
    require(
        {ask.token for ask in ear.asks()} == {again.token},
        f"token {again.token} leads and heard what was asked of token {grant.token}",
    )
    return "the next tenure heard only its own"


async def _hears(place: Place, store: Store, grant: Grant, ear: Ear, ask: Ask) -> None:
    """Wait for an ask as this store brings it: by itself, or with a renewal."""

    async def renew_until_heard() -> None:
        while ask not in ear.asks():
            require(await store.renew([grant]) == [True], "a holder that was asked lost its lease")
            await asyncio.sleep(0.01)

    if place.traits.asks == "at renewal":
        await place.soon(f"renewing until {ask} is heard", renew_until_heard())
    await ear.until(lambda news: news == ask, f"somebody asked {ask}")


async def heir(place: Place) -> str:
    """An office is kept for the waiting candidate it was released to, and for nobody else."""
    one, two = await place.open(), await place.open()
    election = place.election()
    grant = await place.lead(one, election, place.candidate("a"))
    first, named = place.candidate("b"), place.candidate("heir")
    others_ear, heirs_ear = place.ear(), place.ear()
    await place.wait_in_line(one, election, first, others_ear)
    await place.wait_in_line(two, election, named, heirs_ear)
    if not place.traits.transfer:
        refusal = await _refusal(one.release(grant, EndReason.TRANSFERRED, "heir"), "heirs")
        require(await one.renew([grant]) == [True], "an heir was refused, and the office was lost")
        raise Unsupported(refusal)
    await place.release(one, grant, "heir")
    answer = await one.acquire(election, first, place.long_ns)
    require(
        isinstance(answer, Occupied) and answer.leader is None,
        f"the office was kept for an heir, and somebody else who asked got {answer}",
    )
    if place.traits.push:
        await heirs_ear.until_vacant(grant.token)
    successor = await place.lead(two, election, named)
    await others_ear.until_led("heir", successor.token)
    require(
        not others_ear.vacancies() or not place.traits.push,
        f"one that was not the heir was called: {others_ear.vacancies()}",
    )
    return f"kept, token {grant.token} to {successor.token}"


async def heir_that_does_not_come(place: Place) -> str:
    """An heir that does not come loses its claim, so that somebody leads."""
    if not place.traits.transfer:
        raise Unsupported("an office here cannot be kept for a named candidate")
    one, two = await place.open(), await place.open()
    election, other = place.election(), place.candidate("b")
    grant = await place.lead(one, election, place.candidate("a"), place.ttl_ns)
    await place.wait_in_line(two, election, place.candidate("heir"), place.ear())
    await place.release(one, grant, "heir")
    since = place.now_ns()
    while isinstance(answer := await one.acquire(election, other, place.long_ns), Occupied):
        require(answer.leader is None, f"nobody leads, but who asked was told {answer}")
        place.still_in_time(since, "the claim of an heir that does not come")
        await place.pass_time(place.step_ns)
    require(answer.token > grant.token, f"token {answer.token} came after {grant.token}")
    return f"kept for {(place.now_ns() - since) / 1e9:.2g} s"


async def _refusal(work: Awaitable[object], what: str) -> str:
    """What a store declares that it cannot do, it must refuse."""
    try:
        await work
    except UnsupportedTrait as error:
        return str(error)
    raise LawBroken(f"this store declares that it cannot do {what}, and yet it did not refuse")
