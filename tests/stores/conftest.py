"""One world for each kind of store."""

from pathlib import Path

import pytest

from tests.stores.worlds import KINDS, World


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(request.param, tmp_path, monkeypatch)
