import io
from pathlib import Path

import pytest

from elector.demo.lanes import lane
from elector.demo.report import Report, Takeover
from elector.demo.show import Show
from elector.demo.witness import Line, Witness, heard

NAMES = ("anna", "bert")
KILL = Takeover(act="kill", old="anna", old_token=1, new="bert", new_token=2, takeover_ns=9_000_000)
GOOD = Report(
    ok=True,
    ttl_ns=3,
    duration_ns=9,
    takeovers=[KILL],
    refusals=[],
    tenures=[],
    entries=5,
    problems=[],
)
LINES = [
    Line(0, "anna", "standing"),
    Line(1, "bert", "standing"),
    Line(10, "anna", "begin", 1),
    Line(20, "anna", "paused", 1, 1),
    Line(50, "anna", "refused", 1, 1, 2),
    Line(60, "anna", "left"),
    Line(30, "bert", "begin", 2),
    Line(99, "bert", "wrote", 2, 1),
]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, report: Report = GOOD) -> str:
    show = Show(stream, NAMES)
    show.status("who leads now")
    show.line("something", "\x1b[31m")
    show.report(report, sorted(LINES, key=lambda line: line.at))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_gets_colours_and_a_live_line() -> None:
    text = shown(Terminal())
    assert "who leads now" in text
    assert "\x1b[31msomething\x1b[0m" in text


def test_no_color_leaves_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(Terminal())
    assert "who leads now" in text
    assert "\x1b[31m" not in text


def test_elsewhere_there_are_plain_lines_only() -> None:
    text = shown(io.StringIO())
    assert "\x1b" not in text
    assert "\r" not in text
    assert "who leads now" not in text
    assert "anna killed     bert at work after 9ms" in text


def test_a_poor_encoding_gets_poor_marks() -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    Show(latin, NAMES).report(GOOD, sorted(LINES, key=lambda line: line.at))
    latin.seek(0)
    assert "# working" in latin.read()


def test_machines_get_nothing_of_it() -> None:
    show = Show(None, NAMES)
    show.heading("something")
    show.status("something")
    show.report(GOOD, LINES)


def test_problems_are_told() -> None:
    bad = Report(
        ok=False,
        ttl_ns=3,
        duration_ns=9,
        takeovers=[],
        refusals=[],
        tenures=[],
        entries=5,
        problems=["two at once"],
    )
    text = shown(io.StringIO(), bad)
    assert "WRONG: two at once" in text
    assert "no two leaders" not in text


def test_lanes_show_who_worked_when() -> None:
    lines = sorted(LINES, key=lambda line: line.at)
    signs = {
        "absent": " ",
        "waiting": ".",
        "working": "#",
        "frozen": "~",
        "refused": "x",
        "killed": "+",
    }
    drawn = {name: "".join(signs[s] for s in lane(name, lines, columns=10)) for name in NAMES}
    assert drawn == {"anna": ".#~~~x.   ", "bert": "...######+"}


def test_a_witness_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    witness = Witness(tmp_path, "anna")
    witness.note("standing")
    witness.note("begin", 7)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as torn:
        torn.write(b'{"at": 12')
    assert [(line.did, line.token) for line in heard(tmp_path)] == [("standing", 0), ("begin", 7)]
    assert heard(tmp_path, "bert") == []
