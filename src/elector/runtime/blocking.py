"""Elections for threads.

A thread cannot be cancelled from outside. So the work looks at ``tenure.stopping``, waits
with ``tenure.wait(...)`` or calls ``tenure.check()``; work that does none of these until the
hard deadline is ended with its process (``on_overrun``).
"""

import logging
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from elector.clock import now_ns
from elector.core.duration import SECOND_NS, parse_duration
from elector.core.events import Desist, Resign, Start, Withdraw
from elector.core.office import Observation
from elector.errors import ConfigurationError, LeadershipLost, NotLeader
from elector.runtime.driver import Driver, Listener, join, withdraw_when_joined
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.runtime.progress import ask_probe
from elector.runtime.settings import OnError, Settings

_log = logging.getLogger("elector")


class BlockingTenure:
    """One stay in office; use it with ``with``.

    If the work was told to stop and then raises or returns, the office is given back when
    the block is left; a body that ends by `check` or by `LeadershipLost` lets that out.
    """

    def __init__(self, driver: Driver, holding: Holding) -> None:
        self._driver = driver
        self._stop = threading.Event()
        self.holding = holding

    def __repr__(self) -> str:
        return repr(self.holding)

    @property
    def token(self) -> int:
        """The fencing token: give it to every resource that the work writes to."""
        return self.holding.token

    @property
    def stopping(self) -> bool:
        """Whether the work has been told to stop: return soon, and leave nothing running."""
        return self.holding.stop_reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than the tenure: True when the work must stop."""
        return self._stop.wait(seconds)

    def remaining(self) -> float:
        """Seconds until the work would be told to stop; renewals move this on."""
        return self.holding.remaining()

    def check(self) -> None:
        """Raise unless nobody else can lead right now; see `elector.Tenure.check`."""
        self.holding.check()

    def __enter__(self) -> Self:
        self.holding.stop_work = self._stop.set  # wakes the body from `wait`
        self._driver.start_work(self.holding)
        self.holding.worker = threading.current_thread()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, Exception) and not self.stopping:
            self._driver.post(Resign)  # interrupted: not a failure of the work
        failed = isinstance(error, Exception) and not isinstance(error, LeadershipLost)
        self._driver.work_stopped(self.holding, failed=failed)
        self.over()

    def over(self) -> None:
        """Wait until the office has been given back, or has run out."""
        done = threading.Event()
        self.holding.when_over(done.set)
        done.wait()


class BlockingElection:
    """One candidate in one election, for threads; made by `Election.blocking`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._driver: Driver | None = None
        self._tenure: BlockingTenure | None = None
        self._changed = threading.Condition()
        self._offered: Holding | None = None
        self._wants = False
        self._left = False
        self._seen: Observation | None = None
        self._seen_count = 0

    # -- entering and leaving --------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._driver is not None:
            raise ConfigurationError("this Election has been entered already; make one for each")
        engine = Engine.current()
        listener = Listener(self._leads, self._must_stop, self._observes, self._asked)
        joining = engine.submit(join(engine, self.settings, listener))
        try:
            self._driver = joining.result()
        except BaseException:  # interrupted, perhaps; a driver that was made must withdraw
            joining.add_done_callback(withdraw_when_joined)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        driver = self._entered()
        driver.engine.check_process()  # before any lock: a fork may have copied it locked
        holding = self._tenure.holding if self._tenure is not None else None
        # A body that would be this very thread has ended: an interrupt kept it from saying so.
        if holding is not None and (
            not holding.entered or holding.worker is threading.current_thread()
        ):
            driver.work_stopped(holding)
        with self._changed:
            self._left = True
            self._changed.notify_all()
        driver.post(Withdraw)
        driver.engine.submit(driver.left()).result()

    def _entered(self) -> Driver:
        if self._driver is None:
            raise NotLeader("enter the election first: with Election(...).blocking() as election")
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

    # -- being elected -----------------------------------------------------------------------

    def tenures(self) -> Iterator[BlockingTenure]:
        """Each time we are elected, a tenure; we stand only while the next one is awaited."""
        while True:
            yield self.next_tenure()

    def next_tenure(self, wait: str | None = None) -> BlockingTenure:
        """Stand until elected. A tenure that was not used is given back first.

        Args:
            wait: for how long at most; for ever if nothing is said.

        Raises:
            NotLeader: not elected in time, the last tenure is still at work, another thread
                waits already, or we have left the election.
        """
        driver = self._standing()
        self._finish_last()
        until = None if wait is None else now_ns() + parse_duration(wait, "wait")
        with self._changed:
            if self._wants:
                raise NotLeader(f"the next tenure in {self.settings.election!r} is awaited already")
            self._wants = True
        driver.post(Start)
        try:
            self._tenure = BlockingTenure(driver, self._await_offer(until, wait))
            self._stop_waiting()
        except BaseException:
            driver.post(Desist)
            offered = self._stop_waiting()
            if offered is not None:
                driver.work_stopped(offered)  # elected in the moment of giving up
            raise
        return self._tenure

    def _stop_waiting(self) -> Holding | None:
        """What is offered from here on is given back; what has been offered before."""
        with self._changed:
            self._wants = False
            offered, self._offered = self._offered, None
            return offered

    def _await_offer(self, until: int | None, wait: str | None) -> Holding:
        with self._changed:
            while self._offered is None:
                if self._left:
                    raise self._gone()
                left = None if until is None else (until - now_ns()) / SECOND_NS
                if left is not None and left <= 0:
                    raise NotLeader(f"not elected in {self.settings.election!r} within {wait}")
                self._changed.wait(left)
            return self._offered

    def _finish_last(self) -> None:
        tenure = self._tenure
        if tenure is None or tenure.holding.over:
            return
        if tenure.holding.entered and not tenure.holding.stopped:
            raise NotLeader(f"{tenure!r} is still at work; leave it before the next one")
        self._entered().work_stopped(tenure.holding)
        tenure.over()

    def run(
        self, work: Callable[[BlockingTenure], object], *, on_error: OnError = "campaign"
    ) -> None:
        """Campaign for ever: run ``work(tenure)`` each time we are elected.

        Args:
            work: called with the tenure; it must return when ``tenure.stopping``.
            on_error: ``"raise"`` lets an exception of the work out; otherwise it is logged
                and followed by another campaign.
        """
        for tenure in self.tenures():
            try:
                with tenure:
                    work(tenure)
            except LeadershipLost as lost:
                _log.warning("election %s: %s", self.settings.election, lost)
            except Exception:
                if on_error == "raise":
                    raise
                _log.exception("election %s: the work raised", self.settings.election)

    def resign(self) -> None:
        """Hand over; returns when the office has been given back, or at once from its work."""
        self._resign(None)

    def transfer(self, candidate: str) -> None:
        """Hand over to a candidate that waits under this name, or else to the next in line."""
        self._entered().require_transfer()
        self._resign(candidate)

    def _resign(self, heir: str | None) -> None:
        self._standing().post(Resign, heir)
        tenure = self._tenure
        if tenure is not None and tenure.holding.worker is not threading.current_thread():
            tenure.over()

    # -- observing ---------------------------------------------------------------------------

    def observe(self) -> Iterator[Observation]:
        """What is known of the office, as it changes; see `elector.Election.observe`."""
        self._standing().observe()
        told = 0
        while True:
            with self._changed:
                while self._seen_count == told and not self._left:
                    self._changed.wait()
                if self._seen is None or self._seen_count == told:
                    return
                told, seen = self._seen_count, self._seen
            yield seen

    # -- listener, on the engine thread --------------------------------------------------------

    def _leads(self, holding: Holding) -> None:
        driver = self._entered()
        driver.feed(Desist(now_ns()))
        with self._changed:
            wanted, self._offered = self._wants, holding if self._wants else None
            self._changed.notify_all()
        if not wanted:
            driver.work_stopped(holding)

    @staticmethod
    def _must_stop(holding: Holding) -> None:
        if holding.stop_work is not None:
            holding.stop_work()

    def _observes(self, observation: Observation) -> None:
        with self._changed:
            self._seen = observation
            self._seen_count += 1
            self._changed.notify_all()

    def _asked(self, answer: Callable[[], None]) -> None:
        """A thread that lives is taken at its word."""
        if self.settings.progress is not None:
            ask_probe(self.settings.progress, answer, self._entered().closed.done)
            return
        worker = self._tenure.holding.worker if self._tenure is not None else None
        if not isinstance(worker, threading.Thread) or worker.is_alive():
            answer()
