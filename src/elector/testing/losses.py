"""Laws of the conformance kit: requests whose reply nobody hears.

A reply is lost without a proxy by cancelling the caller, at every turn of the event loop that
a request takes; whether the store has carried it out is then as unknown as after a time-out.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from elector.core.identity import Candidate
from elector.errors import StoreError
from elector.stores.port import Grant, Granted, Occupied, Store, Watch
from elector.testing.place import DONE, Ear, LawBroken, Place, require, together

# Every turn up to here, and from here on in steps that grow, as long as the request takes.
_EVERY_TURN = 16
_PAUSE_S = 0.05

Request = Callable[[], Coroutine[Any, Any, object]]


class _Scene(NamedTuple):
    """One election whose first candidate does not know what came of its request."""

    place: Place
    election: str
    store: Store
    who: Candidate
    other: Store
    rival: Candidate

    async def settle(self) -> Grant:
        """The candidate asks again: it leads, and nobody else can."""
        grant = await self.place.lead(self.store, self.election, self.who)
        answer = await self.place.occupied(self.other, self.election, self.rival)
        require(answer.leader in {None, "a"}, f"a asked again and leads, but b was told {answer}")
        again = await self.store.acquire(self.election, self.who, self.place.long_ns)
        require(again == Granted(grant.token), f"a leads under token {grant.token} and got {again}")
        await self.place.release(self.store, grant)
        return grant

    async def vacate(self) -> Grant | None:
        """The candidate settles it, and nobody comes after it."""
        await self.settle()
        return None

    async def succeed(self) -> Grant | None:
        """The candidate settles it, and its rival comes after it."""
        before = await self.settle()
        grant = await self.place.lead(self.other, self.election, self.rival)
        require(grant.token > before.token, f"token {grant.token} came after {before.token}")
        return grant

    async def compete(self) -> Grant | None:
        """The rival asks first; whoever of the two is granted the office, the other is not."""
        answer = await self.other.acquire(self.election, self.rival, self.place.long_ns)
        if isinstance(answer, Occupied):
            require(answer.leader in {None, "a"}, f"only a had asked, but b was told {answer}")
            return await self.succeed()
        await self.place.occupied(self.store, self.election, self.who)
        return Grant(self.election, self.rival, answer.token, self.place.long_ns)


async def lost_acquisition(place: Place) -> str:
    """After an acquisition whose reply was lost, asking again settles who leads, at once.

    An abandoned request is harmless for ever after: it takes the office from nobody, neither
    while its candidate leads nor after that has released it.
    """
    one, two = await place.open(), await place.open()
    in_office: list[Grant] = []
    vacant: list[str] = []
    cuts = 0
    for turns in _turns():
        cuts += 1
        cut = False
        for go_on in (_Scene.vacate, _Scene.succeed, _Scene.compete):
            who, rival = place.candidate("a"), place.candidate("b")
            scene = _Scene(place, place.election(), one, who, two, rival)
            cut |= await cut_off(place, turns, one.acquire, scene.election, who, place.long_ns)
            grant = await go_on(scene)
            if grant is None:
                vacant.append(scene.election)
            else:
                in_office.append(grant)
        if not cut:
            break
    await _none_came_back(place, two, in_office, vacant)
    return f"3 times cut off in {cuts} ways, each settled, and no abandoned request came back"


async def lost_release(place: Place) -> str:
    """After a release whose reply was lost, releasing again frees the office for the next.

    The abandoned release does not end the next one's tenure.
    """
    one, two = await place.open(), await place.open()
    in_office: list[Grant] = []
    for turns in _turns():
        grant = await place.lead(one, place.election(), place.candidate("a"))
        cut = await cut_off(place, turns, one.release, grant, DONE)
        await one.release(grant, DONE)
        require(await one.renew([grant]) == [False], "a grant was renewed after its release")
        in_office.append(await place.lead(two, grant.election, place.candidate("b")))
        if not cut:
            break
    await _none_came_back(place, two, in_office, [])
    return f"cut off {len(in_office)} times, the next one led each time"


async def _none_came_back(
    place: Place, store: Store, in_office: list[Grant], vacant: list[str]
) -> None:
    """Those that lead now lead still, and what is vacant is there for who asks next."""
    await asyncio.sleep(_PAUSE_S)
    renewed = await store.renew(in_office)
    for grant, ours in zip(in_office, renewed, strict=True):
        require(ours, "an abandoned request took the office away from who led after it")
        await place.still_led(store, grant)
        await place.release(store, grant)
    await asyncio.sleep(_PAUSE_S)
    for election in (*vacant, *(grant.election for grant in in_office)):
        record = await store.describe(election)
        require(record.leader is None, f"an abandoned request took a vacant office: {record}")
        await place.lead(store, election, place.candidate("c"))


async def lost_renewal(place: Place) -> str:
    """A renewal that was cancelled neither loses the lease nor spoils what is asked next."""
    one, two = await place.open(), await place.open()
    grants = [await place.lead(one, place.election(), place.candidate("a")) for _ in range(3)]
    cuts = 0
    for turns in _turns():
        cuts += 1
        cut = await cut_off(place, turns, one.renew, grants)
        answers = await one.renew(grants[:2])
        require(answers == [True, True], f"after a cancelled renewal of 3, one of 2 gave {answers}")
        if not cut:
            break
    for grant in grants:
        await place.still_led(two, grant)
    return f"cut off {cuts} times"


async def replies_apart(place: Place) -> str:
    """After a cancelled request, the next one is answered with its own reply."""
    store = await place.open()
    first = await place.lead(store, place.election(), place.candidate("a"))
    second = await place.lead(store, place.election(), place.candidate("b"))
    requests: dict[str, Request] = {
        "describe": lambda: store.describe(first.election),
        "elections": store.elections,
        "renew": lambda: store.renew([first]),
        "acquire": lambda: store.acquire(first.election, place.candidate("c"), place.long_ns),
    }
    cuts = 0
    for name, request in requests.items():
        for turns in _turns():
            cuts += 1
            cut = await cut_off(place, turns, request)
            record = await store.describe(second.election)
            require(
                (record.election, record.leader, record.token)
                == (second.election, "b", second.token),
                f"after a cancelled {name} of another election the store said {record}",
            )
            if not cut:
                break
    return f"cut off {cuts} times, in {', '.join(requests)}"


async def neighbours(place: Place) -> str:
    """Cancelling one request leaves alone those that were sent with it."""
    store = await place.open()
    cuts = 0
    for turns in _turns():
        cuts += 1
        elections = [place.election() for _ in range(4)]
        gone, *others = (place.candidate(f"c{number}") for number in range(4))
        *answers, cut = await place.soon(
            "requests sent beside a cancelled one",
            together(
                *(
                    store.acquire(election, who, place.long_ns)
                    for election, who in zip(elections[1:], others, strict=True)
                ),
                cut_off(place, turns, store.acquire, elections[0], gone, place.long_ns),
            ),
        )
        for election, who, answer in zip(elections[1:], others, answers, strict=True):
            if not isinstance(answer, Granted):
                raise LawBroken(f"beside a cancelled request {who.name} got {answer}")
            await place.still_led(store, Grant(election, who, answer.token, place.long_ns))
        if not cut:
            break
    return f"3 beside one that was cut off {cuts} times"


async def cancelled_watch(place: Place) -> str:
    """A watch cancelled while it is opened leaves nobody in the line and tells nothing."""
    one, two = await place.open(), await place.open()
    cuts = 0
    for turns in _turns():
        cuts += 1
        election = place.election()
        grant = await place.lead(one, election, place.candidate("a"))
        ghost, ear, seen = place.ear(), place.ear(), place.ear()
        watches: list[Watch] = []
        if not await cut_off(place, turns, _watch, place, two, election, ghost, watches):
            break
        for watch in watches:  # it was opened all the same
            await watch.close()
        heard = len(ghost.news)
        await two.watch(election, seen)
        who = place.candidate("b")
        await place.wait_in_line(two, election, who, ear)
        await place.release(one, grant)
        if place.traits.push:
            await ear.until_vacant(grant.token)
        successor = await place.lead(two, election, who)
        await seen.until_led("b", successor.token)
        require(len(ghost.news) == heard, f"a cancelled watch was told {ghost.news[heard:]}")
    return f"cut off {cuts} times, the next in line was woken each time"


async def _watch(place: Place, store: Store, election: str, ear: Ear, opened: list[Watch]) -> None:
    opened.append(await store.watch(election, ear, place.candidate("ghost")))


async def closes_clean(place: Place) -> str:
    """A closed store leaves no task behind, also when requests to it were cancelled."""
    before = asyncio.all_tasks()
    store = await place.open()
    election = place.election()
    grant = await place.lead(store, election, place.candidate("a"))
    for turns in range(_EVERY_TURN):
        await cut_off(place, turns, store.renew, [grant])
        await cut_off(place, turns, store.watch, election, place.ear())
        await cut_off(place, turns, store.acquire, election, place.candidate("b"), place.long_ns)
    await place.soon("closing the store", place.shut(store))
    left: set[asyncio.Task[Any]] = set()
    for _ in range(_EVERY_TURN):
        left = asyncio.all_tasks() - before
        if not left:
            return "no task is left"
        await asyncio.wait(left, timeout=place.patience_s / _EVERY_TURN)
    raise LawBroken(f"tasks that outlive the store: {', '.join(map(repr, left))}")


# -- cutting off ---------------------------------------------------------------------------


def _turns() -> "itertools.chain[int]":
    """How many turns a request is given: each number at first, then growing ones."""
    growing = itertools.accumulate(
        itertools.repeat(0), lambda last, _: last + last // 3, initial=_EVERY_TURN
    )
    return itertools.chain(range(_EVERY_TURN), growing)


async def cut_off(
    place: Place, turns: int, request: Callable[..., Coroutine[Any, Any, object]], *given: object
) -> bool:
    """Send a request and cancel its caller after so many turns of the loop.

    Returns:
        Whether it was cut off; False: it had come to its end before.
    """
    task = asyncio.ensure_future(request(*given))
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            break
    cut = task.cancel()
    await asyncio.wait({task}, timeout=place.patience_s)
    require(task.done(), f"a cancelled request did not end within {place.patience_s:g} s")
    error = None if task.cancelled() else task.exception()
    if error is not None and not (cut and isinstance(error, StoreError)):
        raise error
    return cut
