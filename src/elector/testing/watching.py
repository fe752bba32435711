"""Laws of the conformance kit: those who watch are told."""

import asyncio

from elector.stores.port import Occupied
from elector.testing.place import Ear, LawBroken, Place, Unsupported, require


async def observer_told(place: Place) -> str:
    """An observer is told the present state at once, and every new leader from then on."""
    one, two = await place.open(), await place.open()
    election, who = place.election(), place.candidate("a")
    early, late = place.ear(), place.ear()
    await two.watch(election, early)
    await early.until_vacant(0)
    grant = await place.lead(one, election, who)
    await two.watch(election, late)
    for ear in (early, late):
        told = await ear.until_led("a", grant.token)
        require(
            told.instance == who.instance, f"{who.instance} leads, but observers were told {told}"
        )
    await place.release(one, grant)
    for ear in (early, late):
        await ear.until_vacant(grant.token)
    return "the present state, a leader, a vacancy, near and far"


async def last_change(place: Place) -> str:
    """The last change is never missed, however fast changes come and whenever one looks."""
    one, two = await place.open(), await place.open()
    election = place.election()
    ears = [place.ear(), place.ear()]
    await one.watch(election, ears[0])
    await two.watch(election, ears[1])
    for number in range(2 * place.rounds):
        grant = await place.lead(one, election, place.candidate("a"))
        if number % 4 == 1:
            # Registered while the office changes hands.
            ears.append(place.ear())
            await asyncio.gather(
                place.release(one, grant), two.watch(election, ears[-1]), asyncio.sleep(0)
            )
        else:
            await place.release(one, grant)
        if number % 2:
            await asyncio.sleep(0)
        await _all_know(ears if number % 8 == 1 else [], None, grant.token)
    last = await place.lead(two, election, place.candidate("z"))
    await _all_know(ears, "z", last.token)
    return f"{2 * place.rounds} tenures, {len(ears)} watches, all knew the last"


async def _all_know(ears: list[Ear], leader: str | None, token: int) -> None:
    for ear in ears:
        await (ear.until_vacant(token) if leader is None else ear.until_led(leader, token))
        last = ear.changes()[-1]
        require(
            (last.leader, last.token) == (leader, token),
            f"{leader or 'nobody'} leads, token {token}; a watch was told so and then {last}",
        )


async def woken(place: Place) -> str:
    """A release tells a waiting candidate of the vacancy, and everybody of the next leader."""
    if not place.traits.push:
        raise Unsupported("this store does not push; those who wait find a vacancy by asking")
    one, two = await place.open(), await place.open()
    election = place.election()
    grant = await place.lead(one, election, place.candidate("a"))
    ears = [place.ear() for _ in range(4)]
    who = place.candidate("b")
    await place.wait_in_line(two, election, who, ears[0])
    await place.wait_in_line(two, election, place.candidate("c"), ears[1])
    await one.watch(election, ears[2])
    await two.watch(election, ears[3])
    await place.release(one, grant)
    await _one_hears_of_a_vacancy(ears[:2], grant.token)
    for ear in ears[2:]:
        await ear.until_vacant(grant.token)
    successor = await place.lead(one, election, place.candidate("d"))
    for ear in ears:
        await ear.until_led("d", successor.token)
    return "2 that wait, 2 that look on"


async def _one_hears_of_a_vacancy(ears: list[Ear], token: int) -> None:
    """Of those that wait, a store may call one only, and whichever it likes."""
    waits = [asyncio.ensure_future(ear.until_vacant(token)) for ear in ears]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    if all(isinstance(outcome, BaseException) for outcome in outcomes):
        raise LawBroken(
            f"none of {len(ears)} that wait was told of the vacancy after token {token}"
        )


async def call_handed_on(place: Place) -> str:
    """Who leaves the line when it has been called hands the call on to the next."""
    if not place.traits.push:
        raise Unsupported("this store does not push; those who wait find a vacancy by asking")
    one, two = await place.open(), await place.open()
    election = place.election()
    grant = await place.lead(one, election, place.candidate("a"))
    called, near, far = place.ear(), place.ear(), place.ear()
    leaver = place.candidate("called")
    watch = await two.watch(election, called, leaver)
    await place.occupied(two, election, leaver)
    await place.wait_in_line(two, election, place.candidate("near"), near)
    await place.wait_in_line(one, election, place.candidate("far"), far)
    await place.release(one, grant)
    await watch.close()
    await _one_hears_of_a_vacancy([near, far], grant.token)
    return "the first in line left, another was called"


async def closed_watch(place: Place) -> str:
    """A closed watch is told nothing; it can be closed twice, and after its store."""
    one, two = await place.open(), await place.open()
    election = place.election()
    shut, open_ = place.ear(), place.ear()
    watch = await two.watch(election, shut)
    await two.watch(election, open_)
    await shut.until_vacant(0)
    await watch.close()
    await watch.close()
    heard = list(shut.news)
    grant = await place.lead(one, election, place.candidate("a"))
    await open_.until_led("a", grant.token)
    require(shut.news == heard, f"a closed watch was told {shut.news[len(heard) :]}")

    third = await place.open()
    left = [
        await third.watch(election, place.ear()),
        await third.watch(election, place.ear(), place.candidate("c")),
    ]
    await place.shut(third)
    for watch in left:
        await place.soon("closing a watch after its store", watch.close())
    return "told nothing; closed twice, and after the store"


async def found_by_asking(place: Place) -> str:
    """A vacancy can be found by asking, no later than the store says."""
    one, two = await place.open(), await place.open()
    election, who = place.election(), place.candidate("b")
    grant = await place.lead(one, election, place.candidate("a"))
    answer = await place.occupied(two, election, who)
    hint = answer.retry_in_ns
    require(hint is None or hint > 0, f"asked for a taken office, and told to come again in {hint}")
    await place.release(one, grant)
    again = await two.acquire(election, who, place.long_ns)
    if isinstance(again, Occupied):
        raise LawBroken(f"the office was released, and who asked next was told {again}")
    require(again.token > grant.token, f"token {again.token} came after {grant.token}")
    return "at once" + ("" if hint is None else f"; until then told to come in {hint / 1e9:.3g} s")
