"""The conformance kit: sound stores pass, and each law catches the bugs that it is there for."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from elector.errors import StoreUnavailable
from elector.stores.memory import MemoryStore
from elector.stores.port import Record, Store
from elector.testing.stores import LAWS, Law, LawBroken, check_store
from tests.stores.worlds import Clock
from tests.testing import broken_news, broken_offices, broken_replies
from tests.testing.breaking import BROKEN
from tests.testing.remote import Remote

BY_NAME: dict[str, Law] = {law.__name__: law for law in LAWS}
BUGS = (broken_offices, broken_replies, broken_news)
CASES = [(kind, law) for kind, laws in BROKEN.items() for law in laws]


def opener(kind: type[Remote], name: object, clock: Clock) -> Callable[[], Awaitable[Store]]:
    async def opened() -> Store:
        return kind(str(name), clock)

    return opened


@pytest.mark.parametrize(
    ("kind", "law"), CASES, ids=[f"{kind.__name__}-{law}" for kind, law in CASES]
)
def test_a_broken_store_is_caught_by_the_law_it_breaks(
    tmp_path: Path, kind: type[Remote], law: str
) -> None:
    clock = Clock()
    with pytest.raises(LawBroken) as caught:
        check_store(
            opener(kind, tmp_path, clock),
            laws=[BY_NAME[law]],
            patience="300ms",
            advance=clock.advance,
            restart=lambda: kind(str(tmp_path), clock).restart(),
        )
    assert caught.value.law == law
    assert str(caught.value) == f"{law}: {caught.value.seen}"


def test_every_law_has_caught_somebody() -> None:
    caught = {law for laws in BROKEN.values() for law in laws}
    assert caught == set(BY_NAME)
    assert {kind.__module__ for kind in BROKEN} == {module.__name__ for module in BUGS}


def test_the_store_that_the_broken_ones_are_made_of_is_sound(tmp_path: Path) -> None:
    clock = Clock()
    report = check_store(
        opener(Remote, tmp_path, clock), advance=clock.advance, restart=lambda: None
    )
    assert report.of("holds") == list(BY_NAME)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "file"])
def test_the_stores_that_ship_keep_every_law(tmp_path: Path, kind: str) -> None:
    url = {
        "memory": f"memory://{tmp_path}",
        "sqlite": f"sqlite:///{tmp_path}/elections.db",
        "file": f"file://{tmp_path}/offices",
    }[kind]
    report = check_store(url)
    lacking = {
        "outlives_its_store",
        "never_early",
        "over_at_last",
        "back_in_office",
        "heir",
        "heir_that_does_not_come",
        "remembered",
        "expiry_remembered",
    }
    assert set(report.of("unsupported")) == (lacking if kind == "file" else set())
    assert report.of("untried") == ["tokens_outlive_a_restart"], "it takes a server"
    assert report.of("broken") == []
    assert [outcome.law for outcome in report] == list(BY_NAME), "none is left out"


def test_the_report_is_a_table_that_says_what_is_unsupported(tmp_path: Path) -> None:
    laws = [BY_NAME[name] for name in ("exclusion", "never_early", "tokens_outlive_a_restart")]
    printed = str(check_store(f"file://{tmp_path}/x", laws=laws)).splitlines()
    assert printed == [
        f"file://{tmp_path}/x: 3 laws, 1 hold, 1 unsupported, 1 untried, 0 broken",
        "  exclusion                 6 refused, on 3 stores, by name and by instance",
        "  never_early               unsupported: this store never expires a lease",
        "  tokens_outlive_a_restart  untried: no way to restart the server was given",
    ]


def test_no_secret_is_in_the_report() -> None:
    async def opened() -> Store:
        return MemoryStore("secret")

    assert "MemoryStore: 0 laws" in str(check_store(opened, laws=[]))
    assert "hunter2" not in str(check_store("memory://app:hunter2@db/0", laws=[]))


def test_all_broken_laws_are_in_the_report_if_one_asks_for_it(tmp_path: Path) -> None:
    clock = Clock()
    laws = [BY_NAME[name] for name in ("exclusion", "batch", "race")]
    opened = opener(broken_offices.EachHasItsOwn, tmp_path, clock)
    report = check_store(opened, laws=laws, advance=clock.advance, stop=False)
    assert (report.of("broken"), report.of("holds")) == (["exclusion", "race"], ["batch"])
    assert "  exclusion  broken: a was granted token 1 while somebody else led" in str(report)


def test_a_request_that_hangs_breaks_the_law(tmp_path: Path) -> None:
    class Hangs(Remote):
        async def do_describe(self, election: str) -> Record:
            await asyncio.sleep(3600)
            return await super().do_describe(election)

    with pytest.raises(LawBroken, match="described: it did not come to an end within 6 s"):
        check_store(opener(Hangs, tmp_path, Clock()), laws=[BY_NAME["described"]], patience="500ms")


def test_what_an_adapter_lets_through_breaks_the_law(tmp_path: Path) -> None:
    class Leaks(Remote):
        async def do_describe(self, election: str) -> Record:
            raise OSError(f"no route to {election[:3]}")

    with pytest.raises(LawBroken, match="described: the store raised OSError: no route to kit"):
        check_store(opener(Leaks, tmp_path, Clock()), laws=[BY_NAME["described"]])


def test_a_store_that_is_not_there_is_no_broken_law() -> None:
    async def opened() -> Store:
        raise StoreUnavailable("it is down")

    with pytest.raises(StoreUnavailable, match="it is down"):
        check_store(opened)


def test_the_kit_is_used_in_three_lines_without_a_test_runner() -> None:
    code = """
import sys
from elector.testing.stores import check_store
print(check_store("memory://kit").of("broken"))
assert not {"pytest", "hypothesis"} & set(sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr


def test_without_hypothesis_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
from elector.testing.stores import store_machine
store_machine("memory://")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    last = run.stderr.splitlines()[-1]
    assert last.endswith("the state machine needs hypothesis: pip install 'elector[testing]'")
