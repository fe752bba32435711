"""Every example in the documents runs, and prints what it is said to print.

In fenced blocks, ``python`` is a program, ``pycon`` a doctest (the blocks of one document
share their names), and ``console`` shell commands behind ``$ `` with their output, in which
``...`` stands for anything. Each runs in an empty directory with a home of its own. A block
that cannot run says so in a comment above it, ``<!-- not executed: reason -->``, and is
listed as skipped; so is every ``sh`` block, which is never run.
"""

import doctest
import importlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import elector

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = ("python", "pycon", "console")
TIME_LIMIT_S = 60

_FENCE = re.compile(r"(```+)([\w+-]*)\s*")
_EXCUSE = re.compile(r"<!-- not executed: (\S.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block; `excuse` says why it is not executed, None if it is to be."""

    document: Path
    line: int
    language: str
    text: str
    excuse: str | None

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks_of(document: Path) -> Iterator[Block]:
    fence, language, first, body = "", "", 0, list[str]()
    above = ""  # the last line of prose
    for number, line in enumerate(document.read_text().splitlines(), start=1):
        mark = _FENCE.fullmatch(line)
        if fence and mark and mark[1] == fence and not mark[2]:
            excuse = _EXCUSE.fullmatch(above)
            yield Block(document, first, language, "".join(body), excuse[1] if excuse else None)
            fence, above = "", ""
        elif fence:
            body.append(f"{line}\n")
        elif mark:
            fence, language, first, body = mark[1], mark[2], number, []
        elif line.strip():
            above = line.strip()
    assert not fence, f"{document}: the block opened in line {first} is never closed"


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def written_in(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=str)


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is read or written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ELECTOR_")}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@written_in("python")
def test_program(block: Block, directory: Path, surroundings: dict[str, str]) -> None:
    if block.excuse:
        pytest.skip(block.excuse)
    program = directory / "example.py"
    program.write_text("\n" * block.line + block.text)  # so that a traceback has our line numbers
    run = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=directory,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert not run.stderr


@written_in("console")
def test_commands(block: Block, directory: Path, surroundings: dict[str, str]) -> None:
    if block.excuse:
        pytest.skip(block.excuse)
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not commands[0].strip(), "a console block begins with a command"
    for written in commands[1:]:
        command, _, expected = written.partition("\n")
        printed = shell(command, directory, surroundings)
        same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
        assert same, f"$ {command}\nexpected:\n{expected}\ngot:\n{printed}"


def shell(command: str, directory: Path, surroundings: dict[str, str]) -> str:
    """What a command prints, on both streams; nothing it started outlives a time-out."""
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=directory,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            return run.communicate(timeout=TIME_LIMIT_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            raise


@pytest.mark.parametrize(
    "document",
    sorted({block.document for block in BLOCKS if block.language == "pycon"}),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_session(document: Path) -> None:
    # Blank lines for everything else, so that a failure has the document's line numbers.
    lines = [""] * len(document.read_text().splitlines())
    for block in blocks_of(document):
        if block.language == "pycon":
            assert not block.excuse, f"{block}: a doctest is run whole or not written as one"
            body = block.text.splitlines()
            lines[block.line : block.line + len(body)] = body
    name = str(document.relative_to(ROOT))
    test = doctest.DocTestParser().get_doctest("\n".join(lines), {}, name, name, 0)
    assert test.examples
    report: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not failed, "".join(report)


@written_in("sh")
def test_shell_block_that_is_never_run(block: Block) -> None:
    assert block.excuse, f"{block}: say why it is not executed, or write it as a console block"
    pytest.skip(block.excuse)


def test_only_blocks_that_would_run_have_an_excuse() -> None:
    idle = [str(b) for b in BLOCKS if b.excuse and b.language not in {*EXECUTED, "sh"}]
    assert not idle
    assert not [str(b) for b in BLOCKS if b.language in {"bash", "shell", "py", "doctest"}]


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(elector.__path__, "elector.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["elector", *MODULES])
def test_docstrings(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed, "see the report above"
