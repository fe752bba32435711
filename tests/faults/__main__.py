"""``make faults``: break servers, networks and candidates, and see that nothing else breaks."""

import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from random import SystemRandom

import click
from msgspec.structs import replace

from elector.cli.output import print_json
from tests.faults.report import Cycle, Report, StoreReport, machine, show, show_together
from tests.faults.sites import SITES, why_absent
from tests.faults.trial import Plan, carry_out

_NOW_AND_THEN = 20  # where there is no bar


@click.command()
@click.option("--cycles", default=200, show_default=True, help="Faults for each store.")
@click.option("--stores", default=",".join(SITES), show_default=True, help="Which, with commas.")
@click.option("--seed", type=int, default=None, help="The same faults again; drawn if not given.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep all evidence here.")
def main(cycles: int, stores: str, seed: int | None, as_json: bool, keep: Path | None) -> None:
    """Faults, drawn by a seed, against each store in turn; exit with 1 if a promise was broken."""
    # The wheel of PostgreSQL warns of a runtime directory that it does not use here.
    warnings.filterwarnings("ignore", module="platformdirs")
    names = [name for name in stores.replace(",", " ").split() if name]
    if unknown := [name for name in names if name not in SITES]:
        raise click.UsageError(f"no store is called {unknown[0]}: there are {', '.join(SITES)}")
    seed = SystemRandom().randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}; {machine()}", err=True)
    absent = {name: why for name in names if (why := why_absent(name)) is not None}
    reports = []
    for name in names:
        if name in absent:
            click.echo(f"{name} is not there: {absent[name]}", err=True)
            continue
        reports.append(_one(Plan(name, cycles, seed), keep))
        if not as_json:
            show(reports[-1])
    ok = bool(reports) and not any(report.violations for report in reports)
    if len(reports) > 1 and not as_json:
        show_together(reports)
    if as_json:
        print_json(Report(ok=ok, machine=machine(), stores=reports, absent=absent))
    sys.exit(0 if ok else 1)


def _one(plan: Plan, keep: Path | None) -> StoreReport:
    directory = Path(tempfile.mkdtemp(prefix=f"elector-faults-{plan.store}-"))
    if keep is not None:
        directory.rmdir()
        directory = keep / plan.store
        directory.mkdir(parents=True)
    bar = click.progressbar(
        length=plan.cycles,
        label=plan.store.ljust(12),
        file=sys.stderr,
        item_show_func=lambda cycle: None if cycle is None else f"{cycle.fault}, {cycle.length}",
    )

    def told(cycle: Cycle) -> None:
        bar.update(1, cycle)
        if not sys.stderr.isatty() and cycle.number % _NOW_AND_THEN == 0:
            click.echo(f"{plan.store}: {cycle.number} of {plan.cycles}", err=True)

    kept = True
    try:
        with bar:
            report = carry_out(plan, directory, told)
        kept = keep is not None or bool(report.violations)
    except KeyboardInterrupt:
        kept = keep is not None
        raise
    except Exception:
        click.echo(f"the run broke off; what it left is in {directory}", err=True)
        raise
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    return report if kept else replace(report, evidence=None)


if __name__ == "__main__":
    main()
