"""Elections for asyncio."""

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from elector.clock import now_ns
from elector.core.events import Desist, Resign, Start, Withdraw
from elector.core.office import Observation
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError, LeadershipLost, NotLeader
from elector.runtime.driver import Driver, Listener, join, withdraw_when_joined
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.runtime.progress import ask_probe
from elector.runtime.settings import OnError, Settings
from elector.runtime.tenure import Tenure
from elector.runtime.watchdog import OnOverrun

if TYPE_CHECKING:
    from elector.runtime.blocking import BlockingElection

Work = Callable[[Tenure], Awaitable[object]]
_log = logging.getLogger("elector")


class Election:
    """One candidate in one election.

    Args:
        name: the election: letters, digits and ``. _ : @ + / -``.
        store: where it is held, as a URL; ``ELECTOR_STORE`` or the user's embedded store.
        ttl: the lease duration, ``15s`` if nothing is said; all other numbers follow from it.
        timing: the whole timing budget instead.
        candidate: this candidate's name; drawn from host and process if not given.
        on_overrun: what happens to work that has not stopped at the hard deadline:
            ``"abort"`` ends the process with code 76, ``"warn"`` only says so, a function
            is called with the tenure's holding.
        progress: a probe that returns True while the application makes progress; without
            one, the event loop has to answer.
        progress_limit: how long the probe or the loop may leave a question unanswered
            before office is given up; the ttl if nothing is said.

    Raises:
        ConfigurationError: a setting is wrong or cannot be safe.

    >>> import asyncio
    >>> async def main():
    ...     async with Election("nightly", store="memory://", candidate="web-1") as election:
    ...         async for tenure in election.tenures():
    ...             async with tenure:
    ...                 return tenure.token
    >>> asyncio.run(main())
    1
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | None = None,
        ttl: str | None = None,
        timing: LeaseTiming | None = None,
        candidate: str | None = None,
        on_overrun: OnOverrun = "abort",
        progress: Callable[[], bool] | None = None,
        progress_limit: str | None = None,
    ) -> None:
        self.settings = Settings.of(
            name,
            store=store,
            ttl=ttl,
            timing=timing,
            candidate=candidate,
            on_overrun=on_overrun,
            progress=progress,
            progress_limit=progress_limit,
        )
        self._driver: Driver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tenure: Tenure | None = None
        self._wanted: asyncio.Future[Holding] | None = None
        self._left = False
        self._observers: weakref.WeakSet[_Observations] | None = None
        self._seen: Observation | None = None

    def blocking(self) -> "BlockingElection":
        """The same election for threads, to be used with ``with``."""
        from elector.runtime.blocking import BlockingElection

        return BlockingElection(self.settings)

    # -- entering and leaving --------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._driver is not None:
            raise ConfigurationError("this Election has been entered already; make one for each")
        self._loop = asyncio.get_running_loop()
        engine = Engine.current()
        listener = Listener(self._leads, self._must_stop, self._observes, self._asked)
        joining = engine.submit(join(engine, self.settings, listener))
        try:
            # Shielded: a driver that was made must reach somebody who can withdraw it.
            self._driver = await asyncio.shield(asyncio.wrap_future(joining))
        except asyncio.CancelledError:
            joining.add_done_callback(withdraw_when_joined)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        driver = self._entered()
        self._decline()
        self._leave()
        driver.post(Withdraw)
        leaving = driver.engine.submit(driver.left())
        await asyncio.shield(asyncio.wrap_future(leaving))

    def _entered(self) -> Driver:
        if self._driver is None:
            raise NotLeader("enter the election first: async with Election(...) as election")
        return self._driver

    def _standing(self) -> Driver:
        driver = self._entered()
        driver.engine.check_process()
        if self._left:
            raise self._gone()
        return driver

    def _gone(self) -> NotLeader:
        return NotLeader(
            f"{self.settings.candidate} has left the election {self.settings.election!r}; "
            "make a new Election to stand again"
        )

    def _leave(self) -> None:
        """Let those go who wait for news or a tenure: there will be none."""
        self._left = True
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_exception(self._gone())
        for observations in self._observers or ():
            observations.end()

    # -- being elected -----------------------------------------------------------------------

    def tenures(self) -> AsyncIterator[Tenure]:
        """Each time we are elected, a tenure; we stand only while the next one is awaited."""
        return _Tenures(self)

    async def next_tenure(self) -> Tenure:
        """Stand until elected. A tenure that was not used is given back first.

        Raises:
            NotLeader: the last tenure is still at work, another task waits already, or we
                have left the election.
        """
        driver = self._standing()
        await self._finish_last()
        if self._wanted is not None:
            raise NotLeader(f"the next tenure in {self.settings.election!r} is awaited already")
        self._wanted = wanted = asyncio.get_running_loop().create_future()
        driver.post(Start)
        try:
            self._tenure = Tenure(driver, await wanted)
        except BaseException:
            driver.post(Desist)
            if wanted.done() and not wanted.cancelled() and wanted.exception() is None:
                driver.work_stopped(wanted.result())  # cancelled in the moment of election
            raise
        finally:
            self._wanted = None
        return self._tenure

    async def _finish_last(self) -> None:
        tenure = self._tenure
        if tenure is None or tenure.holding.over:
            return
        if tenure.holding.entered and not tenure.holding.stopped:
            raise NotLeader(f"{tenure!r} is still at work; leave it before the next one")
        self._entered().work_stopped(tenure.holding)
        await tenure.over()

    def _decline(self) -> None:
        """Give back an office in which nobody is at work, nor going to be.

        A body that would be this very task has ended: an interrupt kept it from saying so.
        """
        holding = self._tenure.holding if self._tenure is not None else None
        if holding is not None and (
            not holding.entered or holding.worker is asyncio.current_task()
        ):
            self._entered().work_stopped(holding)

    async def run(self, work: Work, *, on_error: OnError = "campaign") -> None:
        """Campaign for ever: run ``work(tenure)`` each time we are elected.

        A tenure that is lost, or work that raises, is logged and followed by another
        campaign, after a pause that grows with failures in a row.

        Args:
            work: called with the tenure; cancelled when the tenure ends early.
            on_error: ``"raise"`` lets an exception of the work out instead.
        """
        async for tenure in self.tenures():
            try:
                async with tenure:
                    await work(tenure)
            except LeadershipLost as lost:
                _log.warning("election %s: %s", self.settings.election, lost)
            except Exception:
                if on_error == "raise":
                    raise
                _log.exception("election %s: the work raised", self.settings.election)

    async def resign(self) -> None:
        """Hand over: the work is cancelled, and the office given back when it has stopped.

        Returns at once if we do not lead; from inside the body, after asking.
        """
        await self._resign(None)

    async def transfer(self, candidate: str) -> None:
        """Hand over to a candidate that waits under this name, or else to the next in line."""
        self._entered().require_transfer()
        await self._resign(candidate)

    async def _resign(self, heir: str | None) -> None:
        driver = self._standing()
        tenure = self._tenure
        driver.post(Resign, heir)
        if tenure is None or tenure.holding.over:
            return
        if tenure.holding.worker is asyncio.current_task():
            return
        await tenure.over()

    # -- observing ---------------------------------------------------------------------------

    def observe(self) -> AsyncIterator[Observation]:
        """What is known of the office, as it changes: `Led`, `Vacant` or `Unknown`.

        A slow reader misses values in between, never the latest. It ends when we leave.
        """
        driver = self._standing()
        if self._observers is None:
            self._observers = weakref.WeakSet()
        observations = _Observations(self._seen)
        self._observers.add(observations)
        driver.observe()
        return observations

    # -- listener, on the engine thread --------------------------------------------------------

    def _leads(self, holding: Holding) -> None:
        driver = self._entered()
        driver.feed(Desist(now_ns()))
        if not self._on_loop(self._offer, holding):
            driver.work_stopped(holding)  # a closed loop begins nothing any more

    def _must_stop(self, holding: Holding) -> None:
        if not self._on_loop(self._stop_body, holding):
            self._entered().work_stopped(holding)  # a closed loop runs nothing any more

    def _observes(self, observation: Observation) -> None:
        self._seen = observation
        if self._observers is not None:  # no loop is woken for nobody
            self._on_loop(self._tell_observers, observation)

    def _asked(self, answer: Callable[[], None]) -> None:
        driver = self._entered()
        if self.settings.progress is not None:
            ask_probe(self.settings.progress, answer, driver.closed.done)
        else:
            self._on_loop(answer)

    def _on_loop(self, function: Callable[..., object], *args: object) -> bool:
        if self._loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(function, *args)
            return True
        return False

    # -- the same, on the application's loop -----------------------------------------------------

    def _offer(self, holding: Holding) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(holding)
        else:
            # Whoever waited has gone meanwhile; an office without work is given back.
            self._entered().work_stopped(holding)

    @staticmethod
    def _stop_body(holding: Holding) -> None:
        if holding.stop_work is not None:
            holding.stop_work()

    def _tell_observers(self, observation: Observation) -> None:
        for observations in self._observers or ():
            observations.put(observation)


class _Tenures:
    """The iterator of `Election.tenures`."""

    __slots__ = ("_election",)

    def __init__(self, election: Election) -> None:
        self._election = election

    def __aiter__(self) -> "_Tenures":
        return self

    async def __anext__(self) -> Tenure:
        return await self._election.next_tenure()


class _Observations:
    """The iterator of `Election.observe`: holds the latest value, and only that."""

    def __init__(self, seen: Observation | None) -> None:
        self._unread = self._latest = seen
        self._ended = False
        self._changed = asyncio.Event()
        if seen is not None:
            self._changed.set()

    def put(self, observation: Observation) -> None:
        if observation is not self._latest:
            self._unread = self._latest = observation
            self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def __aiter__(self) -> "_Observations":
        return self

    async def __anext__(self) -> Observation:
        await self._changed.wait()
        seen, self._unread = self._unread, None
        if seen is None:  # woken, but not for a value
            raise StopAsyncIteration
        if not self._ended:
            self._changed.clear()
        return seen
