"""The stage: brings the leader down in three ways, and asks the judge."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from elector.clock import now_ns
from elector.core.duration import SECOND_NS, format_duration
from elector.demo.company import NAMES, Company, StageFailure
from elector.demo.judge import problems, stays
from elector.demo.ledger import Entry, Ledger
from elector.demo.report import Refusal, Report, Takeover
from elector.demo.show import Show
from elector.demo.witness import Deed, Line, heard
from elector.stores.sqlite import SqliteStore

LEAST_TTL_NS = SqliteStore.traits.least_ttl_ns  # of the store that the replicas stand on

# A waiting candidate asks again soon after the lease of a silent leader; the rest is for a
# busy machine, on which nothing is wrong but the speed.
_PATIENCE_NS = 20 * SECOND_NS
_POLL_S = 0.005
# So that there is something to see between two acts.
_LINGER_NS = 700_000_000
_SILENCE_NS = 100_000_000


def perform(directory: Path, ttl: str, ttl_ns: int, show: Show) -> Report:
    """Play all acts in an empty directory, and judge them.

    Args:
        directory: for the store, the ledger and the witnesses.
        ttl: the lease duration, as the replicas are told it.
        ttl_ns: the same in nanoseconds.
        show: where it is seen.

    Raises:
        KeyboardInterrupt: somebody ended it; no process of ours is left.
    """
    began = now_ns()
    failures: list[str] = []
    with closing(Ledger.create(directory)) as ledger:
        with Company(directory, ttl) as company:
            stage = Stage(directory, company, ledger, show, ttl_ns)
            try:
                stage.play()
                failures += stage.dismiss()
            except StageFailure as failure:
                failures.append(str(failure))
        lines, entries = heard(directory), ledger.entries()
    report = _judged(began, ttl_ns, stage.takeovers, lines, entries, failures)
    show.report(report, lines)
    return report


class Stage:
    """One performance; `takeovers` has what was shown so far."""

    def __init__(
        self, directory: Path, company: Company, ledger: Ledger, show: Show, ttl_ns: int
    ) -> None:
        self.takeovers: list[Takeover] = []
        self._directory = directory
        self._company = company
        self._ledger = ledger
        self._show = show
        self._patience_ns = ttl_ns + _PATIENCE_NS
        self._ttl_ns = ttl_ns
        self._began = now_ns()

    def play(self) -> None:
        """The acts.

        Raises:
            StageFailure: something that had to happen did not.
        """
        self._show.heading(
            f"three replicas, one ledger, a lease of {format_duration(self._ttl_ns)}"
        )
        for name in NAMES:
            self._company.start(name)
        for name in NAMES:
            self._await_standing(name)
        self._tell(self._await_successor(0))
        self._kill()
        self._freeze()
        self._shut_down()
        self._linger()

    def dismiss(self) -> list[str]:
        """End the performance: those who wait go first, so that nobody succeeds anybody."""
        leader = self._leader().replica
        waiting = [name for name in self._company.names if name != leader]
        wrong = []
        for name in [*waiting, leader]:
            self._company.shut_down(name)
            wrong.append(self._company.farewell(name))
        return [problem for problem in wrong if problem is not None]

    def _kill(self) -> None:
        leader = self._enter("kill the leader (SIGKILL)")
        since = now_ns()
        self._company.kill(leader.replica)
        self._taken_over("kill", leader, since)
        self._company.start(leader.replica)
        self._await_standing(leader.replica)
        self._say(f"{self._show.name(leader.replica)} started anew")

    def _freeze(self) -> None:
        leader = self._enter("freeze the leader between its check and its write (SIGSTOP)")
        self._company.freeze(leader.replica)
        self._until(lambda: self._company.is_stopped(leader.replica), "the leader stopping")
        since = self._last(leader, "paused").at
        self._say(f"{self._show.name(leader.replica)} frozen; its lease has to run out")
        self._taken_over("freeze", leader, since)
        self._linger(max(since + self._ttl_ns, now_ns() + _LINGER_NS))
        self._company.thaw(leader.replica)
        self._until(lambda: self._outcome(leader) is not None, "the woken leader's write")
        self._say(f"{self._show.name(leader.replica)} woken: {self._outcome(leader)}")

    def _shut_down(self) -> None:
        leader = self._enter("ask the leader to leave (SIGTERM)")
        since = now_ns()
        self._company.shut_down(leader.replica)
        self._taken_over("shutdown", leader, since)
        problem = self._company.farewell(leader.replica)
        if problem is not None:
            raise StageFailure(problem)

    def _enter(self, title: str) -> Entry:
        self._linger()
        self._show.heading(title)
        return self._leader()

    def _taken_over(
        self, act: Literal["kill", "freeze", "shutdown"], leader: Entry, since: int
    ) -> None:
        new = self._await_successor(leader.token)
        self.takeovers.append(
            Takeover(
                act=act,
                old=leader.replica,
                old_token=leader.token,
                new=new.replica,
                new_token=new.token,
                takeover_ns=new.at - since,
            )
        )
        self._tell(new, since)

    def _outcome(self, leader: Entry) -> str | None:
        """What became of the write that the frozen leader woke up to."""
        paused = self._last(leader, "paused")
        for line in heard(self._directory, leader.replica):
            if line.token == leader.token and line.entry == paused.entry:
                if line.did == "refused":
                    return f"its write was refused, token {line.newest} has written since"
                if line.did == "wrote":
                    return "its write was ACCEPTED"
        return None

    def _last(self, leader: Entry, did: Deed) -> Line:
        said = heard(self._directory, leader.replica)
        return [line for line in said if line.token == leader.token and line.did == did][-1]

    def _leader(self) -> Entry:
        last = self._ledger.last()
        if last is None:
            raise StageFailure("nobody has written to the ledger")
        return last

    def _await_standing(self, name: str) -> None:
        self._until(lambda: self._company.is_standing(name), f"{name} standing in the election")

    def _await_successor(self, token: int) -> Entry:
        self._until(
            lambda: self._ledger.first_above(token) is not None,
            f"a leader with a token above {token}",
        )
        successor = self._ledger.first_above(token)
        assert successor is not None  # noqa: S101 - entries are never deleted
        return successor

    def _until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = now_ns() + self._patience_ns
        while not happened():
            self._company.check()
            if now_ns() > deadline:
                raise StageFailure(f"waited {format_duration(self._patience_ns)} for {what}")
            self._watch()

    def _linger(self, until: int | None = None) -> None:
        until = until or now_ns() + _LINGER_NS
        while now_ns() < until:
            self._company.check()
            self._watch()

    def _watch(self) -> None:
        last = self._ledger.last()
        if last is not None:
            silent_ns = now_ns() - last.at
            since = f", silent for {silent_ns / SECOND_NS:.1f}s" if silent_ns > _SILENCE_NS else ""
            self._show.status(
                f"ledger: entry {last.number} by {last.replica}, token {last.token}{since}"
            )
        time.sleep(_POLL_S)

    def _tell(self, new: Entry, since: int | None = None) -> None:
        took = "" if since is None else f", {format_duration(new.at - since)} later"
        self._say(f"{self._show.name(new.replica)} leads with token {new.token}{took}")

    def _say(self, text: str) -> None:
        self._show.line(f"  {(now_ns() - self._began) / SECOND_NS:6.2f}s  {text}")


def _judged(
    began: int,
    ttl_ns: int,
    takeovers: list[Takeover],
    lines: list[Line],
    entries: list[Entry],
    failures: list[str],
) -> Report:
    wrong = [*failures, *problems(lines, entries)]
    return Report(
        ok=not wrong,
        ttl_ns=ttl_ns,
        duration_ns=now_ns() - began,
        takeovers=takeovers,
        refusals=[
            Refusal(
                replica=line.replica,
                token=line.token,
                newest=line.newest,
                at_ns=line.at - began,
            )
            for line in lines
            if line.did == "refused"
        ],
        tenures=stays(lines, entries),
        entries=len(entries),
        problems=wrong,
    )


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the stage as Ctrl-C does: with everything put away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
