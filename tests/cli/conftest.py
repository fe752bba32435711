"""A scene for each test; at its end no process that the test started may be left."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Starts the command, and sees that everything that came of it ends."""
    if sys.platform != "linux":
        pytest.skip("these tests find processes and their parents in /proc")
    scene = Scene(tmp_path)
    yield scene
    scene.dismiss()
