"""The trial of one store: fault after fault, and after each one a judgement."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice, pairwise
from pathlib import Path
from random import Random

from msgspec.structs import replace

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from elector.demo.ledger import Entry
from elector.demo.report import Stay
from tests.faults.catalogue import Fault, Length, Scene, possible
from tests.faults.company import NAMES, Company, is_expected
from tests.faults.evidence import Evidence
from tests.faults.report import Cycle, StoreReport
from tests.faults.sites import SITES, Site
from tests.faults.waiting import Stuck, until

TTL = "3s"
_TICK_S = 0.01
# From here on a request takes as long as it pleases the others on the machine.
_TOO_BUSY = 0.5

Deal = tuple[Fault, Length]
Told = Callable[[Cycle], None]


def deck(site: Site, chance: Random) -> Iterator[Deal]:
    """Every fault that is possible here, in some order; then all of them in another one."""
    while True:
        deals = possible(site)
        chance.shuffle(deals)
        yield from deals


class Plan:
    """What is to be done to one store.

    Args:
        store: one of `SITES`.
        cycles: how many faults.
        seed: draws them.
        deals: these faults instead of those that the seed would draw.
        brief: how long a brief fault is, at least and at most, as parts of the budget.
        environment: what the candidates are to find in theirs.
    """

    def __init__(
        self,
        store: str,
        cycles: int,
        seed: int,
        *,
        deals: list[Deal] | None = None,
        brief: tuple[float, float] = (0.1, 0.75),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.store, self.cycles, self.seed = store, cycles, seed
        self.deals, self.brief, self.environment = deals, brief, environment or {}


def carry_out(plan: Plan, directory: Path, told: Told = lambda _: None) -> StoreReport:
    """Do it, in an empty directory, where the evidence is left."""
    chance = Random(f"{plan.seed} {plan.store}")  # noqa: S311 - repeatable, guards nothing
    timing = LeaseTiming.of(TTL)
    began = now_ns()
    with (
        SITES[plan.store](directory) as site,
        closing(Evidence(directory)) as evidence,
    ):
        environment = {**site.environment, **plan.environment}
        with Company(directory, TTL, site.urls, environment) as company:
            trial = Trial(site, company, evidence, timing, chance, plan.brief)
            try:
                trial.play(islice(plan.deals or deck(site, chance), plan.cycles), told)
            except Stuck as stuck:
                trial.blame(str(stuck))
                trial.notice_departures()  # which is perhaps why
        trial.blame(*evidence.problems())
        tenures = evidence.tenures()
        return StoreReport(
            store=plan.store,
            server=site.server,
            ttl_ns=timing.ttl_ns,
            budget_ns=timing.outage_budget_ns(),
            seed=plan.seed,
            took_ns=now_ns() - began,
            cycles=trial.cycles,
            tenures=len(tenures),
            writes=sum(tenure.entries for tenure in tenures),
            refused=evidence.refusals(),
            violations=trial.violations,
            doubts=trial.doubts,
            evidence=str(directory),
        )


class Trial:
    """One store under test; `cycles`, `violations` and `doubts` have what was seen so far."""

    def __init__(
        self,
        site: Site,
        company: Company,
        evidence: Evidence,
        timing: LeaseTiming,
        chance: Random,
        brief: tuple[float, float],
    ) -> None:
        self.cycles: list[Cycle] = []
        self.violations: list[str] = []
        self.doubts: list[str] = []
        self._site, self._company, self._evidence = site, company, evidence
        self._timing, self._chance, self._brief = timing, chance, brief

    def blame(self, *problems: str) -> None:
        """Note what is wrong, once, and in which cycle it was seen first."""
        known = {violation.partition(": ")[2] for violation in self.violations}
        for problem in problems:
            if problem not in known:
                self.violations.append(f"cycle {len(self.cycles) + 1}: {problem}")

    def play(self, deals: Iterable[Deal], told: Told) -> None:
        """Go through the cycles.

        Raises:
            Stuck: something that had to happen did not.
        """
        self._complete()
        leader = self._await_leader(since=0, above=0)
        for deal in deals:
            leader = self._cycle(leader, *deal)
            told(self.cycles[-1])
        self._dismiss(leader.replica)

    def _cycle(self, leader: Entry, fault: Fault, length: Length) -> Entry:
        scene = Scene(
            site=self._site,
            company=self._company,
            evidence=self._evidence,
            timing=self._timing,
            chance=self._chance,
            length=length,
            leader=leader.replica,
            brief=self._brief,
        )
        with lateness() as late:
            began, waited = now_ns(), waiting_for_cpu_ns()
            fault.act(scene)
            healed = now_ns()
            ended = leader.token if fault.costs == "office" else 0
            successor = self._await_leader(since=healed, above=ended)
        self._complete()
        self._judge(
            fault,
            Cycle(
                number=len(self.cycles) + 1,
                fault=fault.name,
                length=length,
                leader=leader.replica,
                token=leader.token,
                successor=successor.token,
                lasted_ns=healed - began,
                late_ns=max(late),
                busy=_share(waited, waiting_for_cpu_ns(), now_ns() - began),
                vacancy_ns=_longest_vacancy(self._evidence.tenures(above=leader.token - 1)),
                needless="no",
            ),
        )
        return successor

    def _judge(self, fault: Fault, cycle: Cycle) -> None:
        before = self.cycles[-1].token if self.cycles else cycle.token
        self.blame(*self._evidence.problems(above=before - 1))
        if self._is_needless(fault, cycle):
            lost = (
                f"{cycle.leader} lost its office (token {cycle.token}) without need: "
                f"{cycle.fault}, {cycle.length}, {_ms(cycle.lasted_ns)} of "
                f"{_ms(self._timing.outage_budget_ns())}"
            )
            if cycle.busy is not None and cycle.busy > _TOO_BUSY:
                cycle = replace(cycle, needless="perhaps")
                self.doubts.append(
                    f"cycle {cycle.number}: {lost}; for {cycle.busy:.0%} of that time this machine "
                    "had more to do than it could: try it on an idle one"
                )
            else:
                cycle = replace(cycle, needless="yes")
                self.blame(lost)
        self.cycles.append(cycle)

    def _is_needless(self, fault: Fault, cycle: Cycle) -> bool:
        if cycle.successor == cycle.token or fault.costs in {"office", "perhaps"}:
            return False
        if fault.costs == "if long" and cycle.length == "long":
            return False
        # While this machine kept everybody waiting, nobody could renew either.
        outage_ns = cycle.late_ns + (cycle.lasted_ns if cycle.length == "brief" else 0)
        return outage_ns < self._timing.outage_budget_ns()

    # -- waiting ---------------------------------------------------------------------------------

    def _await_leader(self, since: int, above: int) -> Entry:
        """Wait until somebody works with a lease that was granted or prolonged since then."""

        def found() -> Entry | None:
            self.notice_departures()
            last = self._evidence.last_entry()
            if last is None or last.at <= since or last.token <= above:
                return None
            return last if self._evidence.is_sound(last.token, since, self._timing) else None

        found_one = until(found, f"a leader at work with a token above {above}")
        assert found_one is not None
        return found_one

    def _complete(self) -> None:
        """See that all candidates stand."""

        def all_stand() -> bool:
            self.notice_departures()
            for name in self._company.missing:
                self._company.start(name)
            return not self._company.leaving and all(map(self._stands, NAMES))

        until(all_stand, "all candidates standing")

    def _stands(self, name: str) -> bool:
        said = self._evidence.said(self._company.pid(name))
        return any(line.did == "standing" for line in said)

    def notice_departures(self) -> None:
        """See who has ended by itself; that is a violation, unless its work was ended."""
        for name, code in self._company.departures().items():
            if not is_expected(code):
                words = self._company.last_words(name)
                self.blame(f"{name} ended by itself with exit code {code}: {words}")

    def _dismiss(self, leader: str) -> None:
        """Send everybody home, those who wait first, so that nobody succeeds anybody."""
        for name in [*(name for name in NAMES if name != leader), leader]:
            self._company.shut_down(name)
            until(lambda: name in self._company.departures(), f"{name} leaving")  # noqa: B023 - used at once


def waiting_for_cpu_ns() -> int | None:
    """For how long, in all, somebody on this machine has waited for a CPU."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return int(some.rpartition("=")[2]) * 1000


def _share(before: int | None, after: int | None, of: int) -> float | None:
    return None if before is None or after is None else (after - before) / of


@contextmanager
def lateness() -> Iterator[list[int]]:
    """Fill a list with how late a thread was that wanted to sleep for a moment, each time."""
    late, done = [0], threading.Event()

    def measure() -> None:
        while not done.is_set():
            slept_at = now_ns()
            done.wait(_TICK_S)
            late.append(now_ns() - slept_at - int(_TICK_S * SECOND_NS))

    thread = threading.Thread(target=measure, name="lateness", daemon=True)
    thread.start()
    try:
        yield late
    finally:
        done.set()
        thread.join()


def _ms(ns: int) -> str:
    return f"{ns // 1_000_000} ms"


def _longest_vacancy(tenures: Sequence[Stay]) -> int | None:
    gaps = (after.begin_ns - before.end_ns for before, after in pairwise(tenures))
    return max(gaps, default=None)
