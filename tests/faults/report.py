"""What a run found, for people and as JSON."""

import os
import platform
from collections.abc import Callable, Sequence
from statistics import median
from typing import Literal

import click
import msgspec

from elector.cli.output import print_table
from elector.core.duration import SECOND_NS, format_duration
from tests.faults.catalogue import Length


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """One fault and what followed.

    Attributes:
        number: from 1 on.
        fault: its name in the catalogue.
        length: blow, brief or long.
        leader: who led when it came.
        token: under which token.
        successor: the token at the end; the same if the leader kept its office.
        lasted_ns: from the first moment of the fault to its end.
        late_ns: the longest for which this machine kept the runner waiting meanwhile.
        busy: the part of that time in which somebody waited for a CPU, None if the kernel does
            not tell.
        vacancy_ns: from the last work of a leader to the first of the next one, the longest.
        needless: whether an office was lost that should not have been; perhaps, if the machine
            was too busy to tell.
    """

    number: int
    fault: str
    length: Length
    leader: str
    token: int
    successor: int
    lasted_ns: int
    late_ns: int
    busy: float | None
    vacancy_ns: int | None
    needless: Literal["no", "perhaps", "yes"]


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on one store.

    Attributes:
        store: its name.
        server: what ran, with its version.
        ttl_ns: the lease duration.
        budget_ns: how long an outage must not cost an office.
        seed: gives the same faults again.
        took_ns: how long all cycles took.
        cycles: each of them.
        tenures: how many there were.
        writes: how many the guard accepted.
        refused: how many late writes it refused.
        violations: what is wrong, in words: overlaps, stale writes that were accepted, offices
            lost without need, candidates that ended by themselves, vacancies without an end.
        doubts: offices lost without need on a machine that was too busy to tell why.
        evidence: the directory with the witness files, the ledger and the logs, if it was kept.
    """

    store: str
    server: str
    ttl_ns: int
    budget_ns: int
    seed: int
    took_ns: int
    cycles: list[Cycle]
    tenures: int
    writes: int
    refused: int
    violations: list[str]
    doubts: list[str] = []
    evidence: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run.

    Attributes:
        ok: nothing is wrong.
        machine: where it ran.
        stores: what was found on each.
        absent: stores that are not there, and why.
    """

    ok: bool
    machine: str
    stores: list[StoreReport]
    absent: dict[str, str]


def machine() -> str:
    """Where this runs."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs"


def show(report: StoreReport) -> None:
    """Print what was found on one store."""
    click.echo()
    click.secho(f"{report.store}: {report.server}", bold=True)
    click.echo(
        f"{len(report.cycles)} cycles in {_duration(report.took_ns)}, seed {report.seed}, "
        f"ttl {format_duration(report.ttl_ns)}, outages up to {_duration(report.budget_ns)} "
        "must not cost an office"
    )
    head = ("fault", "length", "p50", "cycles", "demotions", "needless", "vacancy p50", "max")
    kinds = list(dict.fromkeys(sorted((cycle.fault, cycle.length) for cycle in report.cycles)))
    rows = [
        _row(*kind, [cycle for cycle in report.cycles if (cycle.fault, cycle.length) == kind])
        for kind in kinds
    ]
    print_table(head, [*rows, _row("all", "", report.cycles)])
    click.echo(
        f"{report.tenures} tenures, {report.writes} writes accepted, "
        f"{report.refused} late writes refused"
    )
    if not report.violations:
        click.secho(
            "no overlap of work, no stale write accepted, no office lost without need", fg="green"
        )
    for doubt in report.doubts:
        click.secho(f"DOUBT {doubt}", fg="yellow")
    for violation in report.violations:
        click.secho(f"VIOLATION {violation}", fg="red")
    if report.evidence is not None:
        click.echo(f"the evidence is kept in {report.evidence}")


def show_together(reports: Sequence[StoreReport]) -> None:
    """Print one line for each store."""
    click.echo()
    head = ("store", "server", "cycles", "demotions", "late writes refused", "doubts", "violations")
    print_table(
        head,
        [
            (
                report.store,
                report.server,
                str(len(report.cycles)),
                str(sum(cycle.successor > cycle.token for cycle in report.cycles)),
                str(report.refused),
                str(len(report.doubts)),
                str(len(report.violations)),
            )
            for report in reports
        ],
    )


def _row(fault: str, length: str, cycles: Sequence[Cycle]) -> tuple[str, ...]:
    vacancies = [cycle.vacancy_ns for cycle in cycles if cycle.vacancy_ns is not None]
    return (
        fault,
        length,
        _of([cycle.lasted_ns for cycle in cycles], median),
        str(len(cycles)),
        str(sum(cycle.successor > cycle.token for cycle in cycles)),
        str(sum(cycle.needless == "yes" for cycle in cycles)),
        _of(vacancies, median),
        _of(vacancies, max),
    )


def _of(values: Sequence[int], measure: Callable[[Sequence[int]], float]) -> str:
    return _duration(int(measure(values))) if values else "-"


def _duration(ns: int) -> str:
    return f"{ns / SECOND_NS:.2f}s" if ns < 60 * SECOND_NS else f"{ns / SECOND_NS / 60:.1f}min"
