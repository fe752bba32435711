"""The page about the conformance kit has the laws that there are."""

from pathlib import Path

from elector.testing.stores import LAWS

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_table_of_laws_is_what_the_laws_say() -> None:
    rows = [f"| `{law.__name__}` | {_first_sentence(law.__doc__)} |" for law in LAWS]
    table = "\n".join(["| law | what it says |", "|---|---|", *rows])
    assert f"-->\n{table}\n<!-- laws:end -->" in PAGE.read_text(), f"write into it:\n{table}"


def _first_sentence(text: str | None) -> str:
    assert text
    return text.splitlines()[0]
