"""The public API is what tests/api/public.txt says; and importing it costs little."""

import difflib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).parent / "public.txt"
TOOL = ROOT / "tools" / "api_snapshot.py"


def python(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_public_api_is_the_snapshot() -> None:
    now = python(str(TOOL))
    changes = "".join(
        difflib.unified_diff(
            SNAPSHOT.read_text().splitlines(keepends=True),
            now.splitlines(keepends=True),
            "tests/api/public.txt",
            "the code",
        )
    )
    assert not changes, (
        f"the public API has changed:\n{changes}\n"
        "If that is meant: python tools/api_snapshot.py --write, and say so in CHANGELOG.md"
    )


def test_every_public_name_is_listed_once_and_found() -> None:
    code = """
import elector
assert len(set(elector.__all__)) == len(elector.__all__)
assert set(elector.__all__) <= set(dir(elector))
for name in elector.__all__:
    getattr(elector, name)
try:
    elector.nothing_of_the_kind
except AttributeError as error:
    assert "nothing_of_the_kind" in str(error)
else:
    raise AssertionError("a name that is not there was found")
"""
    python("-c", code)


def test_importing_elector_imports_nothing_heavy() -> None:
    """docs/decisions/0006-lazy-imports.md: what a name needs is imported when it is used."""
    code = (
        "import sys; before = set(sys.modules); import elector; print(*set(sys.modules) - before)"
    )
    loaded = set(python("-c", code).split())
    assert not loaded & {"asyncio", "click", "sqlite3", "ssl", "subprocess", "logging", "msgspec"}
