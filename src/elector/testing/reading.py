"""Laws of the conformance kit: what anybody can read."""

from datetime import datetime, timedelta

from elector.core.office import EndReason
from elector.errors import UnsupportedTrait
from elector.stores.port import Record
from elector.testing.place import LawBroken, Place, Unsupported, require

_HISTORY = 10


async def described(place: Place) -> str:
    """A record says who leads, since when and until when; of the unknown, that nobody does."""
    one, two = await place.open(), await place.open()
    election = place.election()
    unknown = await two.describe(election)
    require(
        unknown == Record(election, None, 0), f"nobody stood there, but the store says {unknown}"
    )
    grant = await place.lead(one, election, place.candidate("a"))
    record = await two.describe(election)
    require(
        (record.election, record.leader, record.token) == (election, "a", grant.token),
        f"a leads under token {grant.token}, but the store says {record}",
    )
    left = record.expires_in_ns
    if place.expires:
        longest = place.long_ns * (1 + place.drift)
        require(
            left is not None and 0 < left <= longest,
            f"a lease of {place.long_ns} ns was granted, and {left} ns are said to be left",
        )
    else:
        require(left is None, f"an office that never expires is said to end in {left} ns")
    if record.since is not None:
        since = datetime.fromisoformat(record.since)
        require(since.utcoffset() == timedelta(0), f"since {record.since} is not in UTC")
    await place.release(one, grant)
    vacant = await two.describe(election)
    require(
        (vacant.leader, vacant.token, vacant.expires_in_ns) == (None, grant.token, None),
        f"nobody leads after token {grant.token}, but the store says {vacant}",
    )
    return "unknown, led, vacant"


async def listed(place: Place) -> str:
    """Every election is listed, by name, with what there is to know of it."""
    one, two = await place.open(), await place.open()
    led = await place.lead(one, place.election(), place.candidate("a"))
    over = await place.lead(one, place.election(), place.candidate("b"))
    await place.release(one, over)
    records = await two.elections()
    names = [record.election for record in records]
    require(names == sorted(set(names)), "elections are not listed once each, by name")
    seen = {record.election: (record.leader, record.token) for record in records}
    require(
        (seen.get(led.election), seen.get(over.election)) == (("a", led.token), (None, over.token)),
        f"a led election and a vacant one are listed as {seen.get(led.election)} and "
        f"{seen.get(over.election)}",
    )
    return "a led one, a vacant one"


async def remembered(place: Place) -> str:
    """Past tenures are told, newest first and no more than were asked for, or refused."""
    one, two = await place.open(), await place.open()
    election = place.election()
    if not place.traits.history:
        try:
            await one.history(election, _HISTORY)
        except UnsupportedTrait as error:
            raise Unsupported(str(error)) from None
        raise LawBroken("this store declares that it keeps no history, and yet did not refuse")
    require(await one.history(election, _HISTORY) == [], "an election without tenures has a past")
    first = await place.lead(one, election, place.candidate("a"))
    await one.release(first, EndReason.RESIGNED)
    second = await place.lead(two, election, place.candidate("b"))
    past = await one.history(election, _HISTORY)
    expected = [(second.token, "b", None), (first.token, "a", EndReason.RESIGNED.value)]
    seen = [(tenure.token, tenure.holder, tenure.reason) for tenure in past]
    require(seen == expected, f"the history should be {expected} and is {seen}")
    require(past[0].ended is None, "a tenure that lasts has an end in the history")
    require(past[1].ended is not None, "a tenure that is over has no end in the history")
    newest = await two.history(election, 1)
    require([tenure.token for tenure in newest] == [second.token], f"the newest is {newest}")
    return "2 tenures, newest first"


async def expiry_remembered(place: Place) -> str:
    """The history says of a tenure that nobody ended that it expired."""
    if not (place.traits.history and place.expires):
        raise Unsupported("no history is kept here, or no lease ever expires")
    one, two = await place.open(), await place.open()
    election, rival = place.election(), place.candidate("b")
    grant = await place.lead(one, election, place.candidate("a"), place.ttl_ns)
    successor = await place.take_over(two, election, rival)
    past = await two.history(election, _HISTORY)
    seen = [(tenure.token, tenure.holder, tenure.reason) for tenure in past]
    expected = [(successor.token, "b", None), (grant.token, "a", EndReason.EXPIRED.value)]
    require(seen == expected, f"the history should be {expected} and is {seen}")
    return "expired"
