"""Laws of the conformance kit: a lease is never over early, and is over at last."""

import asyncio
from collections.abc import Awaitable, Callable

from elector.core.duration import SECOND_NS, format_duration
from elector.core.identity import Candidate
from elector.stores.port import Change, Grant, Granted, News, Occupied, Store
from elector.testing.place import DONE, LawBroken, Place, Unsupported, require, together

Prolong = Callable[[Store, Grant], Awaitable[bool]]


async def never_early(place: Place) -> str:
    """Nobody else leads before the lease is over, counted from before it was last asked for."""
    _needs_expiry(place)
    if place.moves_time:  # one clock, moved by one leg at a time
        took = [await _leg(place, how, prolong) for how, prolong in _PROLONGED.items()]
    else:
        took = await together(*(_leg(place, how, prolong) for how, prolong in _PROLONGED.items()))
    seen = ", ".join(
        f"{how} {ns / place.ttl_ns:.2f}" for how, ns in zip(_PROLONGED, took, strict=True)
    )
    return f"next grant after (in leases of {format_duration(place.ttl_ns)}): {seen}"


async def _leg(place: Place, how: str, prolong: Prolong | None) -> int:
    """A contender asks all the time; how long the holder was safe from it."""
    one, two = await place.open(), await place.open()
    election, rival = place.election(), place.candidate("b")
    first = since = place.now_ns()
    grant = await place.lead(one, election, place.candidate("a"), place.ttl_ns)
    while not isinstance(await two.acquire(election, rival, place.ttl_ns), Granted):
        if prolong is not None and place.now_ns() - first >= place.ttl_ns // 2:
            asked_at = place.now_ns()
            if await prolong(one, grant):
                since = asked_at
            elif place.now_ns() < place.surely_until(since):
                raise LawBroken(f"a lease was lost before its end ({how})")
            prolong = None
        await place.pass_time(place.step_ns)
        place.still_in_time(since)
    lasted = place.now_ns() - since
    require(
        place.now_ns() >= place.surely_until(since),
        f"a lease of {format_duration(place.ttl_ns)} was over after {format_duration(lasted)} "
        f"({how}): somebody else was granted the office",
    )
    return lasted


async def _renew(store: Store, grant: Grant) -> bool:
    return (await store.renew([grant]))[0]


async def _ask_again(store: Store, grant: Grant) -> bool:
    answer = await store.acquire(grant.election, grant.candidate, grant.ttl_ns)
    return answer == Granted(grant.token)


_PROLONGED: dict[str, Prolong | None] = {
    "acquired": None,
    "renewed": _renew,
    "asked again": _ask_again,
}


async def over_at_last(place: Place) -> str:
    """A silent holder is replaced under a higher token, and its grant is worth nothing then."""
    _needs_expiry(place)
    one, two = await place.open(), await place.open()
    election, who, rival = place.election(), place.candidate("a"), place.candidate("b")
    since = place.now_ns()
    grant = await place.lead(one, election, who, place.ttl_ns)
    successor = await _succeed(place, two, election, rival, since)
    late = place.now_ns() - since
    require(
        successor.token > grant.token,
        f"token {successor.token} was granted after token {grant.token} had expired",
    )
    require(await one.renew([grant]) == [False], "a lease that somebody else has was renewed")
    require(not await one.release(grant, DONE), "a lease that somebody else has was released")
    answer = await place.occupied(one, election, who)
    require(answer.leader == "b", f"b leads, but the one it replaced was told {answer}")
    await place.still_led(two, successor)
    return (
        f"replaced after {late / place.ttl_ns:.2f} leases, token {grant.token} to {successor.token}"
    )


async def _succeed(place: Place, store: Store, election: str, who: Candidate, since: int) -> Grant:
    """Wait for an office as Elector does: for news, and no longer than the store says."""
    told = asyncio.Event()
    hint: list[int | None] = [None]

    def notify(news: News) -> None:
        if isinstance(news, Change):
            hint[0] = news.retry_in_ns
            told.set()

    watch = await store.watch(election, notify, who)
    while isinstance(answer := await store.acquire(election, who, place.long_ns), Occupied):
        place.still_in_time(since)
        wait_ns = answer.retry_in_ns if answer.retry_in_ns is not None else hint[0]
        require(
            wait_ns is None or wait_ns <= 2 * place.ttl_ns,
            f"a lease is over in {format_duration(place.ttl_ns)} at most, and who waits for that "
            f"was told to come again in {wait_ns} ns",
        )
        await _sleep(place, wait_ns, told)
    await watch.close()
    return Grant(election, who, answer.token, place.long_ns)


async def _sleep(place: Place, hint_ns: int | None, told: asyncio.Event) -> None:
    wait_ns = max(hint_ns if hint_ns is not None else place.ttl_ns // 4, 1_000_000)
    if place.moves_time:
        await place.pass_time(wait_ns)
        return
    try:
        async with asyncio.timeout(wait_ns / SECOND_NS):
            await told.wait()
    except TimeoutError:
        pass
    told.clear()


async def back_in_office(place: Place) -> str:
    """Who comes back after its lease ran out leads under a higher token than before."""
    _needs_expiry(place)
    if place.traits.expiry == "observer":
        raise Unsupported("no observer, no expiry: the holder itself cannot tell that it was over")
    store, election, who = await place.open(), place.election(), place.candidate("a")
    since = place.now_ns()
    grant = await place.lead(store, election, who, place.ttl_ns)
    while (await store.describe(election)).leader is not None:
        await place.pass_time(place.step_ns)
        place.still_in_time(since)
    require(
        place.now_ns() >= place.surely_until(since), "an office was said to be vacant too early"
    )
    require(await store.renew([grant]) == [False], "a lease that was over was renewed")
    again = await place.lead(store, election, who)
    require(again.token > grant.token, f"token {again.token} was granted again after its end")
    return f"token {grant.token} to {again.token}"


def _needs_expiry(place: Place) -> None:
    if not place.expires:
        raise Unsupported("this store never expires a lease")
