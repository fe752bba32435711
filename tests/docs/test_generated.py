"""What the documents say by enumeration is what the code says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORES = (ROOT / "docs" / "stores.md").read_text()


def test_the_tables_of_stores_are_what_was_declared_and_measured() -> None:
    tool = ROOT / "tools" / "store_table.py"
    run = subprocess.run(
        [sys.executable, tool], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout in STORES, "python tools/store_table.py --write"


def test_the_tables_of_properties_are_what_the_catalogue_has() -> None:
    tool = ROOT / "tools" / "property_table.py"
    run = subprocess.run(
        [sys.executable, tool], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    document = (ROOT / "docs" / "properties.md").read_text()
    assert run.stdout in document, "python tools/property_table.py --write"


def test_every_room_and_every_decision_is_in_the_reading_guide() -> None:
    guide = (ROOT / "docs" / "internals" / "README.md").read_text()
    rooms = [p for p in (ROOT / "src" / "elector").iterdir() if (p / "__init__.py").exists()]
    assert not [room.name for room in rooms if f"`src/elector/{room.name}/`" not in guide]
    decisions = (ROOT / "docs" / "decisions").glob("*.md")
    assert not [d.name for d in decisions if f"(../decisions/{d.name})" not in guide]


def test_every_room_of_tests_is_in_their_map() -> None:
    map_of_tests = (ROOT / "tests" / "README.md").read_text()
    rooms = [p for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert not [room.name for room in rooms if f"`{room.name}/`" not in map_of_tests]


def test_the_changelog_knows_this_version() -> None:
    from elector.version import __version__

    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(__version__)}\b", changelog, re.MULTILINE)
