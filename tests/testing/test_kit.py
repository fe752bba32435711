"""The conformance kit: sound stores pass, and each law catches the bugs that it is there for."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from elector.stores.port import Store
from elector.testing.stores import LAWS, Law, LawBroken, check_store
from tests.testing.broken import BROKEN
from tests.testing.remote import Clock, Remote

BY_NAME: dict[str, Law] = {law.__name__: law for law in LAWS}
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
        )
    assert caught.value.law == law
    assert str(caught.value) == f"{law}: {caught.value.seen}"


def test_every_law_has_caught_somebody() -> None:
    caught = {law for laws in BROKEN.values() for law in laws}
    assert caught == set(BY_NAME)


def test_the_store_that_the_broken_ones_are_made_of_is_sound(tmp_path: Path) -> None:
    clock = Clock()
    report = check_store(opener(Remote, tmp_path, clock), advance=clock.advance)
    assert report.of("holds") == list(BY_NAME)


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
    assert len(report.of("holds")) + len(report.of("unsupported")) == len(LAWS)
