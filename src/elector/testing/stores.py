"""The conformance kit for stores: does a store keep what Elector builds upon?

Three lines in a test of your own, with any test runner or none::

    from elector.testing.stores import check_store

    def test_my_store() -> None:
        print(check_store("redis://127.0.0.1:6379"))

Each law is a coroutine function that takes a `Place` and says what it saw, or raises
`LawBroken`; `LAWS` has them all. What a store declares that it cannot do is reported as
unsupported, never left out. The elections that a run makes have names of their own
(``kit-…``) and stay behind, so give it a database, a prefix or a bucket for tests.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from elector.core.duration import parse_duration
from elector.errors import ConfigurationError
from elector.stores.port import Store
from elector.stores.registry import open_store, parse_url
from elector.testing import (
    exclusion,
    expiry,
    grants,
    handing_over,
    losses,
    reading,
    watching,
)
from elector.testing.place import (
    Advance,
    LawBroken,
    OpenStore,
    Place,
    Restart,
    Unsupported,
    Untried,
)

if TYPE_CHECKING:
    from elector.testing.machine import StoreMachine

__all__ = [
    "LAWS",
    "Law",
    "LawBroken",
    "Outcome",
    "Place",
    "Report",
    "Unsupported",
    "Untried",
    "check_store",
    "examine_store",
    "store_machine",
]

Law = Callable[[Place], Awaitable[str]]

LAWS: tuple[Law, ...] = (
    exclusion.exclusion,
    exclusion.elections_apart,
    exclusion.crowd,
    exclusion.race,
    exclusion.handover,
    grants.tokens_rise,
    grants.tokens_outlive_a_restart,
    grants.asking_again,
    grants.stale_refused,
    grants.batch,
    grants.outlives_its_store,
    expiry.never_early,
    expiry.over_at_last,
    expiry.back_in_office,
    losses.lost_acquisition,
    losses.lost_release,
    losses.lost_renewal,
    losses.replies_apart,
    losses.neighbours,
    losses.cancelled_watch,
    losses.closes_clean,
    watching.observer_told,
    watching.last_change,
    watching.woken,
    watching.call_handed_on,
    watching.found_by_asking,
    watching.closed_watch,
    handing_over.asked,
    handing_over.late_ask,
    handing_over.heir,
    handing_over.heir_that_does_not_come,
    reading.described,
    reading.listed,
    reading.remembered,
    reading.expiry_remembered,
)


class Outcome(msgspec.Struct, frozen=True):
    """What came of one law.

    Attributes:
        law: its name.
        verdict: it holds; the store declares that it cannot do that; what it takes to look
            at it was not given; or it is broken.
        seen: what was seen, or why nothing was.
    """

    law: str
    verdict: Literal["holds", "unsupported", "untried", "broken"]
    seen: str


class Report(msgspec.Struct, frozen=True):
    """What came of all laws; printed, it is a table."""

    store: str
    outcomes: tuple[Outcome, ...]

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def of(self, verdict: str) -> list[str]:
        """The names of the laws that came out so."""
        return [outcome.law for outcome in self.outcomes if outcome.verdict == verdict]

    def __str__(self) -> str:
        width = max((len(outcome.law) for outcome in self.outcomes), default=0)
        counts = ", ".join(
            f"{len(self.of(verdict))} {word}"
            for verdict, word in (
                ("holds", "hold"),
                ("unsupported", "unsupported"),
                ("untried", "untried"),
                ("broken", "broken"),
            )
        )
        lines = [f"{self.store}: {len(self.outcomes)} laws, {counts}"]
        for outcome in self.outcomes:
            mark = "" if outcome.verdict == "holds" else f"{outcome.verdict}: "
            lines.append(f"  {outcome.law:{width}}  {mark}{outcome.seen}")
        return "\n".join(lines)


def check_store(
    store: str | OpenStore,
    *,
    laws: Sequence[Law] = LAWS,
    ttl: str | None = None,
    patience: str = "30s",
    drift: float = 0.01,
    rounds: int = 20,
    advance: Advance | None = None,
    restart: Restart | None = None,
    stop: bool = True,
) -> Report:
    """Hold a store to the laws; it runs an event loop of its own.

    Args:
        store: its URL, or a coroutine function that opens a new store on the same place
            each time, as another process would.
        laws: which ones.
        ttl: the lease that is waited for, a second or the store's least if not given.
        patience: how long anything may take that must come; a healthy store never takes it.
        drift: by how much the rates of the store's clock and of ours may differ.
        rounds: how often what depends on chance is tried.
        advance: for a store on a clock that tests move: moves it by nanoseconds.
        restart: ends the server and starts it again on what it kept; may be a coroutine function.
        stop: at the first broken law raise it; otherwise it is in the report.

    Raises:
        LawBroken: what was seen of the first law that does not hold.
    """
    return asyncio.run(
        examine_store(
            store,
            laws=laws,
            ttl=ttl,
            patience=patience,
            drift=drift,
            rounds=rounds,
            advance=advance,
            restart=restart,
            stop=stop,
        )
    )


async def examine_store(
    store: str | OpenStore,
    *,
    laws: Sequence[Law] = LAWS,
    ttl: str | None = None,
    patience: str = "30s",
    drift: float = 0.01,
    rounds: int = 20,
    advance: Advance | None = None,
    restart: Restart | None = None,
    stop: bool = True,
) -> Report:
    """`check_store`, for those who have an event loop."""
    opener = opener_of(store)
    probe = await opener()
    traits = probe.traits
    await probe.close()
    outcomes = []
    for law in laws:
        place = Place(
            opener,
            traits,
            ttl_ns=parse_duration(ttl, "ttl") if ttl else 0,
            patience_s=parse_duration(patience, "patience") / 1e9,
            drift=drift,
            rounds=rounds,
            advance=advance,
            restart=restart,
        )
        outcomes.append(await _judge(law, place, stop=stop))
    name = str(parse_url(store)) if isinstance(store, str) else type(probe).__name__
    return Report(name, tuple(outcomes))


def opener_of(store: str | OpenStore) -> OpenStore:
    """How stores are opened on a place that was named by a URL, or by that very function."""
    if not isinstance(store, str):
        return store
    url = parse_url(store)

    async def opened() -> Store:
        return await open_store(url)

    return opened


async def _judge(law: Law, place: Place, *, stop: bool) -> Outcome:
    name = law.__name__
    try:
        async with place, asyncio.timeout(_longest_s(place)):
            return Outcome(name, "holds", await law(place))
    except Unsupported as why:
        return Outcome(name, "unsupported", str(why))
    except Untried as why:
        return Outcome(name, "untried", str(why))
    except (Exception, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        broken = LawBroken(_words(error, place), name)
        if stop:
            raise broken from error
        return Outcome(name, "broken", broken.seen)


def _longest_s(place: Place) -> float:
    """Beyond any law's own deadlines: reached only when a request never ends."""
    return 4 * (place.patience_s + place.ttl_ns / 1e9)


def _words(error: BaseException, place: Place) -> str:
    if isinstance(error, LawBroken):
        return error.seen
    if isinstance(error, TimeoutError):
        return f"it did not come to an end within {_longest_s(place):g} s: a request that hangs"
    if isinstance(error, asyncio.CancelledError):
        return "a request ended as cancelled that nobody had cancelled"
    return f"the store raised {type(error).__name__}: {error}"


def store_machine(
    store: str | OpenStore, *, advance: Advance | None = None
) -> "type[StoreMachine]":
    """A Hypothesis state machine that compares a store with a naive one.

    Its ``TestCase`` is a test for unittest and pytest alike::

        TestMyStore = store_machine("redis://127.0.0.1:6379").TestCase

    Args:
        store: as in `check_store`.
        advance: for a store on a clock that tests move; without it no time passes.

    Raises:
        ConfigurationError: Hypothesis is not installed.
    """
    try:
        from elector.testing.machine import StoreMachine, Subject
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise ConfigurationError(
            "the state machine needs hypothesis: pip install 'elector[testing]'"
        ) from error

    class Machine(StoreMachine):
        subject = Subject(opener_of(store), advance)

    return Machine
