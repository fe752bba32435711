"""``elector show``: a page, where it is written, and what is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR

EXAMPLES = Path(__file__).parents[1] / "trace" / "examples"


def show(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ELECTOR, "show", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return Path(shutil.copy(EXAMPLES / "two-leaders.ndjson", tmp_path / "failure.ndjson"))


def refused(*arguments: str | Path) -> str:
    ended = show(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_the_page_has_the_name_of_its_trace(trace: Path) -> None:
    ended = show(trace)
    page = trace.with_suffix(".html")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{page}\n", "")
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert '"name":"LeaseDisjoint","kind":"always","outcome":"assumption void"' in text
    assert show(trace).returncode == 0, "its own page may be written again"


def test_a_file_that_is_no_page_is_kept(trace: Path) -> None:
    other = trace.with_name("thesis.html")
    other.write_text("years of work")
    assert "is no page of elector show" in refused(trace, "-o", other)
    assert other.read_text() == "years of work"
    assert show(trace, "-o", other, "--force").returncode == 0
    assert "would overwrite its trace" in refused(trace, "-o", trace, "--force")


def test_a_part_is_chosen_from_the_first_record_on(trace: Path) -> None:
    assert show(trace, "--from", "10s", "--until", "14s").returncode == 0
    assert '"window":[10000000000,14000000000]' in trace.with_suffix(".html").read_text()
    assert "is not after" in refused(trace, "--from", "10s", "--until", "9s")
    assert "is not a duration" in refused(trace, "--from", "10")
    assert "nothing happened in this window" in refused(trace, "--from", "1h")


def test_what_is_no_trace_is_refused(trace: Path) -> None:
    assert "cannot read the trace" in refused(trace.with_name("nothing.ndjson"))
    trace.write_text('{"kind":"lead","t":1,"node":0,"token":1}\n')
    assert "is no trace of elector: line 1" in refused(trace)
    assert not trace.with_suffix(".html").exists()


def test_the_torn_line_of_a_killed_process_is_left_out(trace: Path) -> None:
    with trace.open("a") as stream:
        stream.write('{"kind":"le')
    assert show(trace).returncode == 0


def test_a_page_that_cannot_be_written_is_said(trace: Path) -> None:
    assert "No such file or directory" in refused(trace, "-o", trace.parent / "no" / "page.html")


def test_what_the_explorer_found_stands_first(trace: Path) -> None:
    lines = (EXAMPLES / "election.ndjson").read_text().splitlines()
    found = '"run":{"violates":{"property":"Sticky","text":"it never ends"}}'
    trace.write_text("\n".join([lines[0].replace('"run":{"seed":0}', found), *lines[1:], ""]))
    assert show(trace).returncode == 0
    assert '"verdicts":[{"name":"Sticky","kind":"always","outcome":"violated"' in (
        trace.with_suffix(".html").read_text()
    )
