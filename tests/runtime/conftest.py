"""Stores for these tests: one in memory for each, and one that fails on demand."""

import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from elector.runtime.engine import Engine
from elector.stores.registry import ENTRY_POINT_GROUP, StoreUrl
from tests.runtime.faulty_store import FaultyStore
from tests.runtime.processes import Troupe
from tests.runtime.waiting import until

Faulty = Callable[[str], FaultyStore]


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> str:
    """The URL of a store that nobody else uses."""
    return f"memory://{request.node.nodeid}"


@pytest.fixture
def faulty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """Stores behind ``faulty://name``: one memory for all names, a wire for each."""
    stores: dict[str, FaultyStore] = {}

    def wire(name: str) -> FaultyStore:
        return stores.setdefault(name, FaultyStore(f"faulty {request.node.nodeid}"))

    async def open_store(url: StoreUrl) -> FaultyStore:
        return wire(url.rest)

    def entry_points(group: str) -> list[SimpleNamespace]:
        assert group == ENTRY_POINT_GROUP
        return [SimpleNamespace(name="faulty", load=lambda: open_store)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield wire
    for store in stores.values():
        store.mend()


@pytest.fixture
def troupe(tmp_path: Path) -> Iterator[Troupe]:
    """Starts worker processes, and leaves none behind."""
    troupe = Troupe(tmp_path)
    yield troupe
    troupe.dismiss()


@pytest.fixture(autouse=True)
def everybody_has_left() -> Iterator[None]:
    """A test leaves no candidate and no open store behind in this process's engine."""
    engine = Engine.current()
    before = [*engine._leavers, *engine._stores]
    yield
    until(lambda: all(one in before for one in [*engine._leavers, *engine._stores]), 10)
