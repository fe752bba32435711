"""What the stores that ship promise beyond the laws of the conformance kit, which `tests/testing`
holds them to: exact tokens, exact ends of leases, the order of the line.

Nothing is skipped: a store that lacks a trait must say so by `UnsupportedTrait`, and that is
asserted.
"""

import asyncio

import pytest

from elector.core.office import EndReason
from elector.errors import UnsupportedTrait
from elector.stores.port import Ask, Change, Grant, Granted, Occupied, Record, Store
from tests.stores.worlds import (
    SECOND_NS,
    TTL_NS,
    Ear,
    World,
    candidate,
    is_ask,
    lead,
    led,
    vacant,
    wait_in_line,
)

DONE = EndReason.COMPLETED


# -- exclusion and tokens ------------------------------------------------------------------


def test_the_first_token_is_one_and_each_tenure_has_a_higher_one(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        tokens = []
        for store in (one, two, two, one):
            grant = await lead(store, "nightly", candidate("a"))
            assert await store.release(grant, DONE)
            tokens.append(grant.token)
        assert tokens == [1, 2, 3, 4]

    world.run(2, play)


def test_tokens_rise_across_a_store_that_was_closed(world: World) -> None:
    async def once(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        tokens.append(grant.token)
        await store.release(grant, DONE)

    tokens: list[int] = []
    for _ in range(3):
        world.run(1, once)
    assert tokens == [1, 2, 3]


def test_elections_do_not_touch_each_other(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        names = ["billing", "billing/eu", "billing.lock", "Billing-2:x@y+z", "b" * 200, "b" * 199]
        grants = [await lead(one, name, candidate("a")) for name in names]
        assert [grant.token for grant in grants] == [1] * len(names)
        assert [record.election for record in await two.elections()] == sorted(names)
        assert await one.release(grants[0], DONE)
        assert (await two.describe("billing")).leader is None
        assert (await two.describe("billing/eu")).leader == "a"

    world.run(2, play)


def test_a_name_of_slashes_only_fits_too(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        for name in ("a" + "/" * 198 + "b", "a" + "/" * 198 + "c"):
            grant = await lead(one, name, candidate("a"))
            assert grant.token == 1
            assert (await two.describe(name)).leader == "a"

    world.run(2, play)


def test_hundreds_of_candidates_at_once_and_one_wins(world: World) -> None:
    async def play(store: Store) -> None:
        crowd = [candidate(f"c{number}") for number in range(300)]
        answers = await asyncio.gather(*(store.acquire("nightly", who, TTL_NS) for who in crowd))
        assert [answer for answer in answers if isinstance(answer, Granted)] == [Granted(1)]

    world.run(1, play)


def test_eight_racers_and_one_winner_in_every_round(world: World) -> None:
    async def play(*stores: Store) -> None:
        racers = [candidate(f"r{number}") for number in range(8)]
        for number in range(1, 31):
            answers = await asyncio.gather(
                *(
                    store.acquire("race", who, TTL_NS)
                    for store, who in zip(stores, racers, strict=True)
                )
            )
            won = [(place, a) for place, a in enumerate(answers) if isinstance(a, Granted)]
            assert [answer for _, answer in won] == [Granted(number)]
            place = won[0][0]
            assert await stores[place].release(Grant("race", racers[place], number, TTL_NS), DONE)

    world.run(8, play)


# -- whose lease it is ---------------------------------------------------------------------


# -- time ------------------------------------------------------------------------------------


def test_a_lease_never_expires_early(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        who = candidate("a")
        grant = await lead(one, "nightly", who)
        world.clock.advance(TTL_NS - 1)
        answer = await two.acquire("nightly", candidate("b"), TTL_NS)
        assert isinstance(answer, Occupied)
        if world.expires:
            assert answer.retry_in_ns == 1
        assert await one.renew([grant]) == [True]
        world.clock.advance(TTL_NS - 1)  # counted from the renewal
        assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)
        assert await one.acquire("nightly", who, TTL_NS) == Granted(grant.token)
        world.clock.advance(TTL_NS - 1)  # counted from asking again
        assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)

    world.run(2, play)


def test_a_lease_that_ran_out_is_lost_and_its_successor_has_a_higher_token(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        if not world.expires:
            await _outlives_every_ttl(world, one, two)
            return
        grant = await lead(one, "nightly", candidate("a"))
        world.clock.advance(TTL_NS)
        assert (await two.describe("nightly")).leader is None
        assert await one.renew([grant]) == [False]
        successor = await lead(two, "nightly", candidate("b"))
        assert successor.token == grant.token + 1
        assert await one.renew([grant]) == [False]
        assert not await one.release(grant, DONE)
        assert (await one.describe("nightly")).leader == "b"

    world.run(2, play)


async def _outlives_every_ttl(world: World, one: Store, two: Store) -> None:
    assert one.traits.expiry == "never"
    grant = await lead(one, "nightly", candidate("a"))
    world.clock.advance(1_000_000 * TTL_NS)
    assert isinstance(await two.acquire("nightly", candidate("b"), TTL_NS), Occupied)
    assert await one.renew([grant]) == [True]


def test_whoever_comes_back_after_its_lease_ran_out_gets_a_new_token(world: World) -> None:
    async def play(store: Store) -> None:
        who = candidate("a")
        grant = await lead(store, "nightly", who)
        world.clock.advance(TTL_NS)
        again = await lead(store, "nightly", who)
        assert again.token == grant.token + (1 if world.expires else 0)

    world.run(1, play)


# -- watching --------------------------------------------------------------------------------


def test_an_observer_is_told_the_present_state_at_once(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        early, late = Ear(), Ear()
        await two.watch("nightly", early)
        await early.until(vacant(0))
        who = candidate("a")
        await lead(one, "nightly", who)
        await two.watch("nightly", late)
        told = await late.until(led("a", 1))
        assert isinstance(told, Change)
        assert told.instance == who.instance
        if world.expires:
            assert told.retry_in_ns == TTL_NS

    world.run(2, play)


def test_everybody_hears_of_a_new_leader(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        ears = [Ear() for _ in range(4)]
        await wait_in_line(one, "nightly", candidate("b"), ears[0])
        await wait_in_line(two, "nightly", candidate("c"), ears[1])
        await one.watch("nightly", ears[2])
        await two.watch("nightly", ears[3])
        assert await one.release(grant, DONE)
        await ears[2].until(vacant(1))
        await ears[3].until(vacant(1))
        await lead(one, "nightly", candidate("d"))
        for ear in ears:
            await ear.until(led("d", 2))

    world.run(2, play)


def test_the_last_change_is_never_missed(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        near, far = Ear(), Ear()
        await one.watch("nightly", near)
        await two.watch("nightly", far)
        for number in range(1, 41):
            grant = await lead(one, "nightly", candidate("a"))
            assert grant.token == number
            if number % 2:
                await asyncio.sleep(0)  # now and then let the watches get a word in
            await one.release(grant, DONE)
        for ear in (near, far):
            await ear.until(vacant(40))
            assert vacant(40)(ear.news[-1])
        await lead(two, "nightly", candidate("z"))
        for ear in (near, far):
            await ear.until(led("z", 41))
            assert led("z", 41)(ear.news[-1])

    world.run(2, play)


def test_a_closed_watch_is_told_nothing(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        shut, open_ = Ear(), Ear()
        watch = await two.watch("nightly", shut)
        await two.watch("nightly", open_)
        await shut.until(vacant(0))
        await watch.close()
        await watch.close()
        await lead(one, "nightly", candidate("a"))
        await open_.until(led("a", 1))
        assert shut.news == [Change("nightly", None, None, 0)]

        # Nor what was on its way when it was closed.
        near = Ear()
        watch = await one.watch("daily", near)
        await near.until(vacant(0))
        await two.watch("daily", open_)
        grant = await lead(one, "daily", candidate("a"))
        await watch.close()
        heard = list(near.news)
        await one.release(grant, DONE)
        await lead(one, "daily", candidate("b"))
        await open_.until(led("b", 2))
        assert near.news == heard

    world.run(2, play)


# -- the line --------------------------------------------------------------------------------


def test_a_release_wakes_one_candidate_of_a_process_and_the_first_in_line(world: World) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        waiters = [(candidate(f"w{number}"), Ear()) for number in range(5)]
        for who, ear in waiters:
            await wait_in_line(store, "nightly", who, ear)
        heard_before = len(waiters[0][1].vacancies())
        for token, (who, ear) in enumerate(waiters, start=2):
            assert await store.release(grant, DONE)
            await ear.until(vacant(token - 1))
            grant = await lead(store, "nightly", who)
            # Behind this news there is no vacancy left on its way to anybody.
            for _, other in waiters:
                await other.until(led(who.name, token))
        assert heard_before == 0
        assert [len(ear.vacancies()) for _, ear in waiters] == [1] * 5

    world.run(1, play)


def test_a_release_wakes_one_of_all_processes_or_one_of_each(world: World) -> None:
    async def play(*stores: Store) -> None:
        grant = await lead(stores[0], "nightly", candidate("a"))
        waiters = [(candidate(f"w{number}"), Ear()) for number in range(4)]
        for store, (who, ear) in zip(stores, waiters, strict=True):
            await wait_in_line(store, "nightly", who, ear)
        assert await stores[0].release(grant, DONE)
        await waiters[0][1].until(vacant(1))
        await lead(stores[0], "nightly", waiters[0][0])
        for _, ear in waiters:
            await ear.until(led("w0", 2))
        woken = [len(ear.vacancies()) for _, ear in waiters]
        # Of the end of a file the kernel tells every process, and the docstring says so.
        assert woken == [1, 0, 0, 0] if world.kind != "file" else woken[0] == 1 >= max(woken)

    world.run(4, play)


def test_who_leaves_the_line_is_not_called(world: World) -> None:
    async def play(store: Store) -> None:
        grant = await lead(store, "nightly", candidate("a"))
        gone, next_up = Ear(), Ear()
        leaver = candidate("gone")
        watch = await store.watch("nightly", gone, leaver)
        assert isinstance(await store.acquire("nightly", leaver, TTL_NS), Occupied)
        await wait_in_line(store, "nightly", candidate("next"), next_up)
        await watch.close()
        assert await store.release(grant, DONE)
        await next_up.until(vacant(1))
        assert gone.vacancies() == []

    world.run(1, play)


def test_one_that_has_led_and_rests_is_not_called_before_those_who_wait(world: World) -> None:
    async def play(store: Store) -> None:
        resting, waiting = Ear(), Ear()
        first, second = candidate("first"), candidate("second")
        await store.watch("nightly", resting, first)
        one = await lead(store, "nightly", first)
        assert await store.release(one, DONE)
        two = await lead(store, "nightly", second)
        await wait_in_line(store, "nightly", candidate("third"), waiting)
        assert await store.release(two, DONE)
        await waiting.until(vacant(two.token))
        assert two.token not in [news.token for news in resting.vacancies()]

    world.run(1, play)


def test_the_queue_can_be_read_where_one_is_kept(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        await lead(one, "nightly", candidate("a"))
        await wait_in_line(one, "nightly", candidate("b"), Ear())
        await wait_in_line(two, "nightly", candidate("c"), Ear())
        expected = ("b", "c") if world.kind != "file" else ()
        for store in (one, two):
            record = await store.describe("nightly")
            assert (record.leader, record.waiting) == ("a", expected)

    world.run(2, play)


# -- handing over ----------------------------------------------------------------------------


def test_an_office_is_kept_for_its_heir(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        first, heir = candidate("b"), candidate("heir")
        others_ear, heirs_ear = Ear(), Ear()
        await wait_in_line(one, "nightly", first, others_ear)
        await wait_in_line(two, "nightly", heir, heirs_ear)
        if world.kind == "file":
            with pytest.raises(UnsupportedTrait, match="sqlite://"):
                await one.release(grant, EndReason.TRANSFERRED, "heir")
            assert await one.renew([grant]) == [True], "and nothing was released"
            return
        assert await one.release(grant, EndReason.TRANSFERRED, "heir")
        await heirs_ear.until(vacant(1))
        answer = await one.acquire("nightly", first, TTL_NS)
        assert isinstance(answer, Occupied)
        assert answer.leader is None
        assert answer.retry_in_ns == 5 * SECOND_NS
        assert (await lead(two, "nightly", heir)).token == 2
        await others_ear.until(led("heir", 2))
        assert others_ear.vacancies() == []

    world.run(2, play)


def test_an_heir_that_does_not_come_loses_its_claim(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        await wait_in_line(two, "nightly", candidate("heir"), Ear())
        if world.kind == "file":
            with pytest.raises(UnsupportedTrait):
                await one.release(grant, EndReason.TRANSFERRED, "heir")
            return
        assert await one.release(grant, EndReason.TRANSFERRED, "heir")
        world.clock.advance(5 * SECOND_NS - 1)
        assert isinstance(await one.acquire("nightly", candidate("b"), TTL_NS), Occupied)
        world.clock.advance(1)
        assert (await lead(one, "nightly", candidate("b"))).token == 2

    world.run(2, play)


def test_the_holder_hears_what_is_asked_of_it(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        assert one.traits.asks == "at once"
        holder, waiter = Ear(), Ear()
        who = candidate("a")
        await one.watch("nightly", holder, who)
        grant = await lead(one, "nightly", who)
        await wait_in_line(two, "nightly", candidate("b"), waiter)
        await two.ask(Ask("nightly", grant.token + 1))  # not its token
        await two.ask(Ask("nightly", grant.token))
        await holder.until(is_ask)
        if world.kind == "file":
            with pytest.raises(UnsupportedTrait, match="sqlite://"):
                await two.ask(Ask("nightly", grant.token, "b"))
        else:
            await one.ask(Ask("nightly", grant.token, "b"))
            await holder.until(lambda news: isinstance(news, Ask) and news.heir == "b")
        heard = [ask.token for ask in holder.asks()]
        assert set(heard) == {grant.token}
        assert waiter.asks() == []

    world.run(2, play)


# -- reading ---------------------------------------------------------------------------------


def test_an_election_that_nobody_stood_in_is_vacant(world: World) -> None:
    async def play(store: Store) -> None:
        assert await store.describe("never") == Record("never", None, 0)
        assert await store.elections() == []

    world.run(1, play)


def test_a_record_says_who_leads_until_when(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        grant = await lead(one, "nightly", candidate("a"))
        world.clock.advance(SECOND_NS)
        record = await two.describe("nightly")
        assert (record.leader, record.token) == ("a", 1)
        assert record.expires_in_ns == (TTL_NS - SECOND_NS if world.expires else None)
        assert record.since is not None
        assert record.since.endswith("+00:00")
        await one.release(grant, DONE)
        assert await two.elections() == [Record("nightly", None, 1)]

    world.run(2, play)


def test_history_is_kept_or_refused(world: World) -> None:
    async def play(one: Store, two: Store) -> None:
        if not one.traits.history:
            with pytest.raises(UnsupportedTrait, match="sqlite://"):
                await one.history("nightly", 10)
            return
        assert await one.history("nightly", 10) == []
        await one.release(await lead(one, "nightly", candidate("a")), EndReason.RESIGNED)
        await lead(one, "nightly", candidate("b"))
        world.clock.advance(TTL_NS)
        await lead(two, "nightly", candidate("c"))
        past = await two.history("nightly", 10)
        assert [(t.token, t.holder, t.reason) for t in past] == [
            (3, "c", None),
            (2, "b", "expired"),
            (1, "a", "resigned"),
        ]
        assert past[0].ended is None
        assert all(tenure.ended for tenure in past[1:])
        assert [tenure.token for tenure in await two.history("nightly", 2)] == [3, 2]

    world.run(2, play)
