"""What the documents point at is there: files, headings, and functions by name."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tests").rglob("*.md")),
]
of_each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_NAMED = re.compile(r"`((?:src|tests|tools|bench|docs)/[\w./-]*\w/?)(?::([\w.]+))?`")


def prose(document: Path) -> str:
    return _BLOCK.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """The fragments under which the headings of a document can be linked to."""
    headings = _HEADING.findall(prose(document))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(prose(document)):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@of_each_document
def test_named_files_and_functions_exist(document: Path) -> None:
    """A reference is written `src/elector/clock.py:now_ns`; the name may be dotted, or missing."""
    for path, name in _NAMED.findall(prose(document)):
        assert (ROOT / path).exists(), path
        if name:
            assert name in definitions(ROOT / path), f"{path}:{name}"


def definitions(file: Path) -> set[str]:
    """Functions, classes, methods and assigned names of a file, methods as Class.method."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + name.id for name in targets if isinstance(name, ast.Name))

    visit(ast.parse(file.read_text()).body, "")
    return found


@pytest.mark.parametrize("document", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=str)
def test_a_decision_has_its_four_parts(document: Path) -> None:
    text = prose(document)
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", document.name)
    for part in ("Context", "Decision", "Consequences", "What was measured"):
        assert f"## {part}\n" in text, part
