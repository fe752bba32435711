"""Laws of the conformance kit: tokens rise, and only the very grant that holds is obeyed."""

import contextlib

from msgspec.structs import replace

from elector.core.duration import SECOND_NS
from elector.core.identity import Candidate
from elector.errors import OutcomeUnknown, StoreUnavailable
from elector.stores.port import Grant, Granted, Store
from elector.testing.place import DONE, Place, Unsupported, Untried, require


async def tokens_rise(place: Place) -> str:
    """Each tenure has a higher token, whoever leads, also after the store was closed."""
    election, tokens = place.election(), [0]
    store = await place.open()
    for number in range(place.rounds):
        if number % 3 == 2:  # noqa: PLR2004 - now and then
            await place.shut(store)
            store = await place.open()
        grant = await place.lead(store, election, place.candidate("ab"[number % 2]))
        require(
            grant.token > tokens[-1],
            f"token {grant.token} was granted after token {tokens[-1]} had been",
        )
        tokens.append(grant.token)
        await place.release(store, grant)
        told = await store.describe(election)
        require(
            (told.leader, told.token) == (None, grant.token),
            f"after the release of token {grant.token} the store says {told}",
        )
    return f"{len(tokens) - 1} tenures, tokens {tokens[1]} to {tokens[-1]}"


async def tokens_outlive_a_restart(place: Place) -> str:
    """After the server was started again tokens go on above all before, and watches are told."""
    if place.restart is None:
        raise Untried("no way to restart the server was given")
    one, two = await place.open(), await place.open()
    election, ear = place.election(), place.ear()
    over = await place.lead(one, election, place.candidate("a"))
    await place.release(one, over)
    held = await place.lead(one, election, place.candidate("a"), place.ttl_ns)
    await two.watch(election, ear)
    await ear.until_led("a", held.token)
    await place.restarted()
    started = place.now_ns()
    successor = await place.soon(
        "leading again after a restart", _lead_at_last(place, two, election, place.candidate("b"))
    )
    require(
        successor.token > held.token,
        f"token {successor.token} was granted after a restart, and {held.token} before it",
    )
    await ear.until_led("b", successor.token)
    renewed = await place.soon("renewing after a restart", _renewed_at_last(place, one, held))
    require(not renewed, "a grant of before the restart was renewed")
    waited = (place.now_ns() - started) / SECOND_NS
    return f"token {held.token} to {successor.token}, {waited:.2g} s after the restart"


async def _renewed_at_last(place: Place, store: Store, grant: Grant) -> bool:
    while True:
        with contextlib.suppress(StoreUnavailable, OutcomeUnknown):
            return (await store.renew([grant]))[0]
        await place.pass_time(place.step_ns)


async def _lead_at_last(place: Place, store: Store, election: str, who: Candidate) -> Grant:
    while True:
        with contextlib.suppress(StoreUnavailable, OutcomeUnknown):
            answer = await store.acquire(election, who, place.long_ns)
            if isinstance(answer, Granted):
                return Grant(election, who, answer.token, place.long_ns)
        await place.pass_time(place.step_ns)


async def asking_again(place: Place) -> str:
    """Who asks again while it leads is granted the same token."""
    store, election, who = await place.open(), place.election(), place.candidate("a")
    grant = await place.lead(store, election, who)
    for _ in range(3):
        again = await store.acquire(election, who, place.long_ns)
        require(
            again == Granted(grant.token),
            f"the holder of token {grant.token} asked again and got {again}",
        )
    require(await store.renew([grant]) == [True], "after asking again the grant was lost")
    return f"token {grant.token}, 4 times"


async def stale_refused(place: Place) -> str:
    """A grant that is over, of a namesake or invented neither renews nor releases."""
    one, two = await place.open(), await place.open()
    election, who = place.election(), place.candidate("a")
    stale = await place.lead(one, election, who)
    await place.release(one, stale)
    await _refused(one, stale, "of a tenure that was released")

    other = await place.lead(two, election, place.candidate("b"))
    await _refused(one, stale, "of an earlier tenure of somebody else")
    await place.still_led(one, other)
    await place.release(two, other)

    # The same instance in office again: only the token tells its tenures apart.
    again = await place.lead(one, election, who)
    for store in (one, two):
        await _refused(store, stale, "of the holder's own earlier tenure")
        for token in (again.token - 1, again.token + 1):
            await _refused(store, replace(again, token=token), "with another token than granted")
        namesake = replace(again, candidate=place.candidate("a"))
        await _refused(store, namesake, "of a namesake with the holder's token")
        unheard_of = replace(again, election=place.election())
        await _refused(store, unheard_of, "of an election that nobody stood in")
    require(await one.renew([again]) == [True], "the true grant was not renewed after false ones")
    await place.still_led(two, again)
    return "6 kinds of false grants, on 2 stores"


async def _refused(store: Store, grant: Grant, kind: str) -> None:
    require(await store.renew([grant]) == [False], f"a grant {kind} was renewed")
    require(not await store.release(grant, DONE), f"a grant {kind} was released")


async def batch(place: Place) -> str:
    """Renewals sent together are judged one by one, in their order."""
    store = await place.open()
    grants = [
        await place.lead(store, place.election(), place.candidate(f"c{number}"))
        for number in range(9)
    ]
    for grant in grants[::3]:
        await place.release(store, grant)
    strange = Grant(place.election(), place.candidate("a"), 1, place.long_ns)
    answers = await store.renew([*grants, strange])
    expected = [bool(number % 3) for number in range(len(grants))] + [False]
    require(answers == expected, f"renewals that should give {expected} gave {answers}")
    require(await store.renew([]) == [], "an empty batch of renewals did not give an empty list")
    return "10 in a batch, 6 of them renewed"


async def outlives_its_store(place: Place) -> str:
    """A lease that is held stays as it is when the store is closed, and can be found again."""
    if not place.expires:
        raise Unsupported("an office here ends with the process, or the store, that holds it")
    one, two = await place.open(), await place.open()
    election, who = place.election(), place.candidate("a")
    grant = await place.lead(one, election, who)
    await place.shut(one)
    answer = await place.occupied(two, election, place.candidate("b"))
    require(answer.leader == "a", f"the store of the holder was closed; others were told {answer}")
    again = await (await place.open()).acquire(election, who, place.long_ns)
    require(
        again == Granted(grant.token),
        f"the holder of token {grant.token} came back through a new store and got {again}",
    )
    await place.release(two, grant)
    return "found again through a new store, released through another"
