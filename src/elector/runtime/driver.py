"""The driver: performs what the pure lease candidate asks for, and tells it what came of it.

Everything here runs on the engine thread. The front ends (asyncio, threads, the command's
supervisor) are listeners; they are called on the engine thread and must not block it.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from elector.clock import now_ns
from elector.core.duration import SECOND_NS, format_duration
from elector.core.effects import (
    AbortWork,
    Acquire,
    CandidateEffect,
    Extend,
    Lead,
    LeaveQueue,
    Observe,
    Refuse,
    Release,
    Renew,
    SetTimer,
    StepDown,
    StopWork,
    Withdrawn,
)
from elector.core.events import (
    CandidateEvent,
    Changed,
    Failed,
    Granted,
    Health,
    Lost,
    Occupied,
    OutcomeLost,
    Released,
    Renewed,
    Resign,
    TimerFired,
    Withdraw,
    WorkStopped,
)
from elector.core.identity import Candidate
from elector.core.office import Observation, Unknown
from elector.errors import (
    ConfigurationError,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
    UnsupportedTrait,
)
from elector.protocols.lease import DEADLINE, RENEW, RETRY, LeaseCandidate, Phase
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.runtime.renewals import Outcome, Renewal, meeting_point
from elector.runtime.settings import Settings
from elector.runtime.watchdog import overrun
from elector.stores import port

if TYPE_CHECKING:
    from elector.runtime.recorder import Recorder

_LOOK = "look"
_TIMERS = (RETRY, RENEW, DEADLINE, _LOOK)
_LOOK_LATER_NS = 20_000_000
_SIGHTINGS = (Changed, Granted, Occupied)
_BYSTANDING = frozenset({Phase.RESTING, Phase.CLOSED})
_log = logging.getLogger("elector")


def _not_interested(_news: object) -> None:
    """For listeners that need not hear everything."""


class Listener(NamedTuple):
    """A front end, as the driver sees it. Called on the engine thread; must not block.

    Attributes:
        leads: a tenure began: the work may be started.
        must_stop: work that was entered must stop now; report with `Driver.work_stopped`.
        observes: what is known of the office has changed.
        asked: give a sign of progress by calling the argument from where the work is done.
        extended: the tenure's deadlines have moved.
        troubled: the store did not do what was asked; the protocol deals with it.
    """

    leads: Callable[[Holding], None]
    must_stop: Callable[[Holding], None]
    observes: Callable[[Observation], None]
    asked: Callable[[Callable[[], None]], None]
    extended: Callable[[Holding], None] = _not_interested
    troubled: Callable[[StoreError], None] = _not_interested


class Driver:
    """One candidate of one election, driven; made by `join`."""

    __slots__ = (
        "_asked_at",
        "_blind",
        "_follows",
        "_inbox",
        "_observing",
        "_outstanding",
        "_protocol",
        "_recorder",
        "_registering",
        "_state",
        "_watch",
        "candidate",
        "closed",
        "engine",
        "holding",
        "listener",
        "settings",
        "store",
    )

    def __init__(
        self,
        engine: Engine,
        store: port.Store,
        settings: Settings,
        listener: Listener,
        recorder: "Recorder | None" = None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.listener = listener
        self.candidate = settings.new_candidate()
        self.holding: Holding | None = None
        self.closed: asyncio.Future[None] = engine.loop.create_future()
        self.store = store
        self._protocol = LeaseCandidate(self.candidate, settings.timing)
        self._state = self._protocol.initial()
        self._inbox: list[CandidateEvent] | None = None
        self._watch: port.Watch | None = None
        self._follows = False
        self._observing = False
        self._blind = False
        self._registering = asyncio.Lock()
        self._outstanding: set[asyncio.Task[None]] = set()
        self._asked_at: int | None = None
        self._recorder = recorder

    # -- from other threads --------------------------------------------------------------

    def post(self, kind: Callable[..., CandidateEvent], *args: object) -> None:
        """Tell the candidate something; the event is dated on the engine thread."""
        self.engine.call(self._post, kind, args)

    def _post(self, kind: Callable[..., CandidateEvent], args: tuple[object, ...]) -> None:
        self.feed(kind(now_ns(), *args))

    def work_stopped(self, holding: Holding, *, failed: bool = False) -> None:
        """The work of a tenure has returned; from any thread."""
        self.engine.check_process()  # before any lock: a fork may have copied it locked
        if holding.work_stopped(failed=failed):
            self.engine.watchdog.forget(holding)
            self.post(WorkStopped, holding.token, failed)

    def observe(self) -> None:
        """Begin to follow the election even without standing in it; from any thread."""
        self.engine.call(self._follow)

    def require_transfer(self) -> None:
        """Refuse to hand over to somebody by name where the store cannot, before work stops."""
        if not self.store.traits.transfer:
            raise UnsupportedTrait(
                f"a {self.settings.store.scheme}:// store cannot keep an office for a named "
                "candidate; resign instead"
            )

    # -- the candidate -------------------------------------------------------------------

    def feed(self, event: CandidateEvent) -> None:
        """Take one step; what it causes here and now is taken after it, not inside it."""
        if self._inbox is not None:
            self._inbox.append(event)
            return
        self._inbox = [event]
        try:
            while self._inbox:
                taken = self._inbox.pop(0)
                self._state, effects = self._protocol.step(self._state, taken)
                if self._recorder is not None:
                    self._recorder.step(taken, effects, self._state)
                for effect in effects:
                    self._perform(effect)
        finally:
            self._inbox = None
        self._end_if_over()
        if self._blind and isinstance(event, _SIGHTINGS) and self._state.seen is not None:
            self._observed(self._state.seen)

    def _perform(self, effect: CandidateEffect) -> None:  # noqa: C901, PLR0912 - one line per kind
        match effect:
            case SetTimer():
                self._set_timer(effect)
            case Renew():
                self._renew(effect)
            case Acquire():
                self._run(self._acquire(effect.op))
            case Release():
                self._run(self._release(effect))
            case Lead():
                self._lead(effect)
            case Extend():
                if self.holding is not None:
                    self.holding.deadlines = effect.deadlines
                    self.listener.extended(self.holding)
            case StopWork():
                self._stop(effect)
            case AbortWork():
                if self.holding is not None:
                    overrun(self.holding, self.settings.on_overrun)
            case Observe():
                self._observed(effect.observation)
            case StepDown():
                self._log("stepped down (%s), token %d", effect.reason, effect.token)
            case LeaveQueue():
                self._run(self._watch_only())
            case Refuse():
                _log.error(
                    "election %s: the store granted token %d after %d had been used; nobody leads. "
                    "Has it been restored from an old copy?",
                    *(self.settings.election, effect.token, effect.newest),
                )
            case Withdrawn():
                self._run(self._withdrawn())

    def _log(self, text: str, *args: object) -> None:
        _log.info(f"election %s: %s {text}", self.settings.election, self.candidate.name, *args)

    # -- tenures -------------------------------------------------------------------------

    def _lead(self, effect: Lead) -> None:
        self._log("leads, token %d", effect.token)
        self._asked_at = None
        note = None if self._recorder is None else self._recorder.work
        self.holding = Holding(
            self.settings.election, self.candidate.name, effect.token, effect.deadlines, note
        )
        self.listener.leads(self.holding)

    def _stop(self, effect: StopWork) -> None:
        holding = self.holding
        if holding is None:
            return
        self._log("must stop (%s), token %d", effect.reason, effect.token)
        if holding.tell_to_stop(effect.reason):
            self.listener.must_stop(holding)
        else:
            self.feed(WorkStopped(now_ns(), holding.token))

    def _end_if_over(self) -> None:
        """Once the candidate holds nothing, let those go on who wait for that."""
        over = self._state.phase in {Phase.RESTING, Phase.WAITING, Phase.ASKING, Phase.CLOSED}
        if over and self.holding is not None:
            holding, self.holding = self.holding, None
            holding.set_over()
            if self._follows:
                self._run(self._watch_only())

    def start_work(self, holding: Holding) -> None:
        """Enter the tenure, under the eyes of the watchdog; from any thread.

        Raises:
            LeadershipLost: the tenure has ended, or is about to.
        """
        holding.enter()
        self.engine.watchdog.watch(holding, self.settings.on_overrun)

    # -- timers and progress ---------------------------------------------------------------

    def _set_timer(self, effect: SetTimer) -> None:
        earliest, latest = effect.earliest, effect.latest
        if effect.name == RENEW:
            period_ns = self.settings.timing.renew_period_ns
            due = meeting_point(earliest, latest, period_ns, self.engine.phase)
        else:
            due = earliest + int(random.random() * (latest - earliest))  # noqa: S311 - no secret
        self.engine.timers.set(self._on_timer, effect.name, earliest, due)

    def _on_timer(self, name: str) -> None:
        if name == _LOOK:
            self._run(self._look())
            return
        if name == RENEW:
            self._check_progress()
        self.feed(TimerFired(now_ns(), name))

    def _check_progress(self) -> None:
        """Ask the application for a sign of life; one that owes it too long is stalled."""
        now = now_ns()
        if self._asked_at is None:
            self._asked_at = now
            self.listener.asked(self._progressed)
        elif now - self._asked_at > self.settings.progress_limit_ns and self._state.healthy:
            _log.warning(
                "election %s: the application has made no progress since it was asked; "
                "it may not keep office",
                self.settings.election,
            )
            self.feed(Health(now, healthy=False))

    def _progressed(self) -> None:
        """The application answered; from any thread."""
        self.engine.call(self._note_progress)

    def _note_progress(self) -> None:
        self._asked_at = None
        if not self._state.healthy:
            self.feed(Health(now_ns(), healthy=True))

    # -- requests ------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.engine.loop.create_task(work)
        self._outstanding.add(task)
        task.add_done_callback(self._outstanding.discard)

    def grant(self, token: int) -> port.Grant:
        """What this candidate presents to the store."""
        return port.Grant(
            self.settings.election, self.candidate, token, self.settings.timing.ttl_ns
        )

    async def _request(
        self,
        op: int,
        request: Coroutine[Any, Any, Any],
        answer: Callable[[Any], CandidateEvent],
    ) -> None:
        """Send a request; report its outcome, or that it is unknown, and then what came late.

        A request that is given up is not cancelled: it may have been carried out, and the
        candidate must hear of it when the reply does come (a stray grant is given back).
        """
        patience = self.engine.loop.call_later(self._patience, self._give_up, op)
        try:
            event = answer(await request)
        except StoreError as error:
            event = self._failure(op, error)
        except Exception as error:  # noqa: BLE001 - a broken adapter is a store that does not answer
            event = self._failure(op, OutcomeUnknown(f"the store's adapter failed: {error!r}"))
        finally:
            patience.cancel()
        self.feed(event)

    def _give_up(self, op: int) -> None:
        self._trouble(OutcomeUnknown("the store did not answer in time"))
        self.feed(OutcomeLost(now_ns(), op))

    def _failure(self, op: int, error: StoreError) -> CandidateEvent:
        self._trouble(error)
        unknown = isinstance(error, OutcomeUnknown)
        return OutcomeLost(now_ns(), op) if unknown else Failed(now_ns(), op)

    def _trouble(self, error: StoreError) -> None:
        _log.warning("election %s: %s", self.settings.election, error)
        self.listener.troubled(error)

    async def _acquire(self, op: int) -> None:
        def answer(result: port.Granted | port.Occupied) -> CandidateEvent:
            if isinstance(result, port.Granted):
                return Granted(now_ns(), op, result.token)
            return Occupied(now_ns(), op, result.leader, result.token, result.retry_in_ns)

        await self._request(op, self._watched_acquire(), answer)

    async def _watched_acquire(self) -> port.Granted | port.Occupied:
        """Register before asking, so that no vacancy falls between the two."""
        async with self._registering:
            if self._watch is None or self._observing:
                await self._unwatch()
                self._watch = await self._register(self.candidate)
        return await self.store.acquire(
            self.settings.election, self.candidate, self.settings.timing.ttl_ns
        )

    async def _release(self, effect: Release) -> None:
        request = self.store.release(self.grant(effect.token), effect.reason, effect.heir)
        await self._request(effect.op, request, lambda _: Released(now_ns(), effect.op))

    def _renew(self, effect: Renew) -> None:
        timing = self.settings.timing
        self.engine.renewals.add(
            self.store,
            Renewal(self.grant(effect.token), effect.op, timing.request_timeout_ns, self._renewed),
        )

    def _renewed(self, op: int, outcome: Outcome) -> None:
        if isinstance(outcome, StoreError):
            self.feed(self._failure(op, outcome))
        else:
            self.feed(Renewed(now_ns(), op) if outcome else Lost(now_ns(), op))

    # -- news ----------------------------------------------------------------------------

    def _on_news(self, news: port.News) -> None:
        if isinstance(news, port.Ask):
            if self.holding is not None and news.token == self.holding.token:
                heir = news.heir if self.store.traits.transfer else None
                self.feed(Resign(now_ns(), heir))
            return
        self.feed(Changed(now_ns(), news.leader, news.instance, news.token, news.retry_in_ns))
        if self._observing and news.leader is not None and news.retry_in_ns is not None:
            self._look_in(news.retry_in_ns + _LOOK_LATER_NS)

    def _follow(self) -> None:
        """Somebody wants to know who leads, whether or not we stand."""
        self._follows = True
        if self._watch is None:
            self._run(self._watch_only())

    async def _watch_only(self) -> None:
        """Leave the queue; if anybody wants to know who leads, be told all the same."""
        async with self._registering:
            if self._state.phase not in _BYSTANDING:
                return  # it stands again
            wanted = self._follows and self._state.phase is not Phase.CLOSED
            if wanted and self._observing and self._watch is not None:
                return
            await self._unwatch()
            if not wanted:
                return
            self._observing = True
            try:
                self._watch = await self._register(None)
            except StoreError as error:
                self._lose_sight(error)

    def _look_in(self, delay_ns: int) -> None:
        look_at = now_ns() + delay_ns
        self.engine.timers.set(self._on_timer, _LOOK, look_at, look_at)

    async def _look(self) -> None:
        """An observer is not told that a lease ran out: it looks when one should have."""
        if not self._observing:
            return
        if self._watch is None:
            await self._watch_only()
            return
        try:
            async with asyncio.timeout(self._patience):
                record = await self.store.describe(self.settings.election)
        except StoreError as error:
            self._lose_sight(error)
            return
        except TimeoutError:
            self._lose_sight(StoreUnavailable("the store did not answer in time"))
            return
        # Of the instance only this matters here: it is not ours, since we do not stand.
        instance = None if record.leader is None else ""
        self._on_news(
            port.Change(
                record.election, record.leader, instance, record.token, record.expires_in_ns
            )
        )

    def _lose_sight(self, error: StoreError) -> None:
        """An observer cannot see who leads; a candidate's own requests tell the protocol so."""
        self._trouble(error)
        self._look_in(self.settings.timing.retry_period_ns)
        if not self._blind and not isinstance(self._state.seen, Unknown):
            self._blind = True
            self.listener.observes(Unknown(now_ns()))

    def _observed(self, observation: Observation) -> None:
        self._blind = False
        self.listener.observes(observation)

    async def _register(self, candidate: Candidate | None) -> port.Watch:
        """One that hangs is given up, for others wait behind it; it decides nothing by itself."""
        try:
            async with asyncio.timeout(self._patience):
                return await self.store.watch(self.settings.election, self._on_news, candidate)
        except TimeoutError as error:
            raise StoreUnavailable("the store did not answer in time") from error

    async def _unwatch(self) -> None:
        watch, self._watch, self._observing = self._watch, None, False
        if watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await watch.close()

    @property
    def _patience(self) -> float:
        """How long the store may take for an answer, in seconds."""
        return self.settings.timing.request_timeout_ns / SECOND_NS

    # -- leaving -------------------------------------------------------------------------

    def leave(self) -> None:
        """At the interpreter's end: withdraw, unless there is work, which ends with us."""
        if self.holding is not None and self.holding.entered and not self.holding.stopped:
            self.give_up_leaving()
        else:
            self.feed(Withdraw(now_ns()))

    def give_up_leaving(self) -> None:
        """Let the interpreter end without us; from any thread."""
        self.engine.left(self)
        if self._recorder is not None:
            self._recorder.close()

    async def left(self) -> None:
        """Wait, on the engine thread, until the candidate has left the election."""
        await asyncio.shield(self.closed)

    async def _withdrawn(self) -> None:
        """Let go of the store; whatever it does, those who wait for us are told."""
        try:
            await self._let_finish()
            async with self._registering:
                await self._unwatch()
            self.engine.timers.forget(self._on_timer, _TIMERS)
            await self.engine.release_store(self.settings.store)
        finally:
            if self._recorder is not None:
                self._recorder.end()
            self.engine.left(self)
            self.closed.set_result(None)

    async def _let_finish(self) -> None:
        """Wait for what is under way, but not for a store that never answers.

        What is given up here may still bring us an office. Nobody works in it, and it ends with
        its lease.
        """
        this, until = asyncio.current_task(), self.engine.loop.time() + self._patience
        while others := [task for task in self._outstanding if task is not this]:
            left = until - self.engine.loop.time()
            if left <= 0:
                for task in others:
                    task.cancel()
                return
            await asyncio.wait(others, timeout=left)


async def join(
    engine: Engine, settings: Settings, listener: Listener, recorder: "Recorder | None" = None
) -> Driver:
    """Open the store and make a driver; it does not stand yet. Runs on the engine thread.

    Args:
        engine: of this process.
        settings: of the candidate.
        listener: the front end.
        recorder: writes down what the candidate does; closed, too, if it comes to nothing.

    Raises:
        StoreUnavailable: the store does not answer.
        ConfigurationError: the store cannot keep so short a lease.
    """
    try:
        return await _join(engine, settings, listener, recorder)
    except BaseException:
        if recorder is not None:
            recorder.close()
        raise


async def _join(
    engine: Engine, settings: Settings, listener: Listener, recorder: "Recorder | None"
) -> Driver:
    store = await engine.store(settings.store)
    least_ns, ttl_ns = store.traits.least_ttl_ns, settings.timing.ttl_ns
    if ttl_ns < least_ns:
        await engine.release_store(settings.store)
        raise ConfigurationError(
            f"a ttl of {format_duration(ttl_ns)} is too short for a {settings.store.scheme}:// "
            f"store: it keeps leases from {format_duration(least_ns)} on; raise ttl"
        )
    driver = Driver(engine, store, settings, listener, recorder)
    engine.joined(driver, driver.leave)
    if recorder is not None:
        # It is waited for at the interpreter's end, and ends when the driver has left.
        engine.joined(recorder, lambda: None)
        recorder.begin(driver.candidate, lambda: engine.left(recorder))
    return driver


def withdraw_when_joined(joining: "concurrent.futures.Future[Driver]") -> None:
    """Whoever asked to join has gone meanwhile: leave again, if it came to joining."""
    if not joining.cancelled() and joining.exception() is None:
        joining.result().post(Withdraw)
