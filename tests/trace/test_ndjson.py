"""Traces as files: what was written is read again, and whatever else is there is said to be so."""

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elector.errors import TraceError
from elector.trace import records
from elector.trace.ndjson import Writer, digest, read
from elector.trace.records import FORMAT, Header, Record

HEADER = Header(FORMAT, "0.1", "simulation", "raft", ("a", "b"))
STORY: tuple[Record, ...] = (
    records.Boot(0, 0),
    records.Step(1, 0, {"type": "Start", "at": 1}, ({"type": "Send", "to": 1},), {"term": 1}),
    records.Lead(2, 0, 1, until=9),
    records.Follow(3, 1, None, 1, "somebody else"),
    records.End(4),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ndjson"


def write(path: Path, *told: Record) -> bytes:
    with Writer(path, HEADER) as writer:
        for record in told:
            writer.write(record)
    return path.read_bytes()


def refused(path: Path, *, tolerant: bool = False) -> str:
    with pytest.raises(TraceError) as refusal:
        list(read(path, tolerant=tolerant)[1])
    text = str(refusal.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_what_is_written_is_read(path: Path) -> None:
    text = write(path, *STORY)
    head, told = read(path)
    assert head == HEADER
    assert tuple(told) == STORY
    assert told.torn is None
    assert text.count(b"\n") == len(STORY) + 1


@given(st.lists(st.sampled_from(STORY)))
def test_any_story_survives(story: list[Record]) -> None:
    stream = io.BytesIO()
    with Writer(stream, HEADER) as writer:
        for record in story:
            writer.write(record)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(story) + 1
    assert not stream.closed


def test_every_kind_of_record_has_a_name_of_its_own() -> None:
    kinds = [kind.__struct_config__.tag for kind in get_args(Record)]
    assert len(set(kinds)) == len(kinds)
    assert "header" not in kinds


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    write(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_runs_are_not_mixed(path: Path) -> None:
    before = write(path, *STORY)
    with pytest.raises(TraceError, match=r"run\.ndjson is not empty: .* of one run alone"):
        Writer(path, HEADER)
    assert path.read_bytes() == before


def test_an_empty_file_may_be_used(path: Path) -> None:
    path.touch()
    write(path, *STORY)
    assert tuple(read(path)[1]) == STORY


def test_a_line_is_in_the_file_at_once(path: Path) -> None:
    with Writer(path, HEADER, flushes=True) as writer:
        writer.write(STORY[0])
        assert list(read(path)[1]) == [STORY[0]]


@pytest.mark.parametrize("where", ["missing/run.ndjson", "."])
def test_a_file_that_cannot_be_made(tmp_path: Path, where: str) -> None:
    with pytest.raises(TraceError, match=r"cannot write the trace .*: (No such|Is a dir)"):
        Writer(tmp_path / where, HEADER)


def open_files() -> set[str]:
    links = Path("/proc/self/fd").iterdir()
    return {str(link.readlink()) for link in links if link.is_symlink()}


# -- what is no trace --------------------------------------------------------------------


def test_a_missing_file(path: Path) -> None:
    assert refused(path).endswith(": No such file or directory")


def test_a_directory(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith(": Is a directory")


def test_an_empty_file(path: Path) -> None:
    path.touch()
    assert "is empty" in refused(path)


@pytest.mark.parametrize(
    "text",
    [
        b"\x7fELF\x02\x01\x01\0\0",
        b"\xff\xfe{}\n",
        b"\n",
        b"hello\n",
        b"{}\n",
        b"[1]\n",
        b"null\n",
        b'{"kind":"step"}\n',
        b'{"format":1}\n',
    ],
)
def test_what_is_something_else(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert refused(path) == f"{path} is no trace of elector: line 1 is not the header of one"


def test_another_version(path: Path) -> None:
    path.write_bytes(b'{"kind":"header","format":7,"elector":"9.1","nodes":"of another shape"}\n')
    text = refused(path)
    assert "line 1: this trace has format 7 and was written by elector 9.1" in text
    assert text.endswith("this elector reads format 1: use that version for it")


def test_a_header_that_makes_no_sense(path: Path) -> None:
    path.write_bytes(write(path).replace(b"simulation", b"dreams"))
    assert re.search(r"line 1: the header makes no sense: .*'dreams'", refused(path))


def test_a_header_without_an_end(path: Path) -> None:
    path.write_bytes(write(path)[:-20])
    assert "line 1: the header has no end" in refused(path, tolerant=True)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"lead"', b'"rule"', "Invalid value 'rule'"),
        (b'"t":2', b'"t":"2"', "Expected `int`, got `str`"),
        (b'"token":1,"until"', b'"until"', "missing required field `token`"),
        (b'{"kind":"lead"', b'{"kind":', "invalid character"),
        (b'"kind":"lead"', b'"kind":"le\xffad"', "utf-8"),
        (b'{"kind":"lead"', b'\0\0"lead"', "malformed"),
    ],
)
def test_a_line_that_makes_no_sense(path: Path, old: bytes, new: bytes, why: str) -> None:
    text = write(path, *STORY)
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new))
    said = refused(path, tolerant=True)
    assert f"{path}, line 4: this is no record of format 1: " in said
    assert why.lower() in said.lower()
    assert "elector 0.1 wrote it" in said


def test_records_before_a_bad_line_are_read(path: Path) -> None:
    text = write(path, *STORY)
    path.write_bytes(text.replace(b'"lead"', b'"rule"'))
    told = read(path)[1]
    assert (next(told), next(told)) == STORY[:2]
    with pytest.raises(TraceError):
        next(told)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are seen in /proc")
@pytest.mark.parametrize("many", [0, 1])
def test_who_reads_no_further_leaves_nothing_open(path: Path, many: int) -> None:
    write(path, *STORY)
    told = read(path)[1]
    for _ in range(many):
        next(told)
    assert str(path) in open_files()
    del told
    assert str(path) not in open_files()


# -- what a killed process leaves --------------------------------------------------------


def test_a_torn_last_line_wherever_it_is_torn(path: Path) -> None:
    text = write(path, *STORY)
    begin = text.rindex(b"\n", 0, -1) + 1
    for end in range(begin + 1, len(text)):
        path.write_bytes(text[:end])
        said = refused(path)
        assert "line 6: the trace ends in the middle of this line" in said
        assert said.endswith("remove the line to read the rest")
        told = read(path, tolerant=True)[1]
        assert tuple(told) == STORY[:-1]
        assert told.torn == 6


def test_tolerance_is_for_the_last_line_only(path: Path) -> None:
    lines = write(path, *STORY).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:-9] + b"\n", *lines[4:]]))
    assert "line 4: this is no record" in refused(path, tolerant=True)


# -- digests -----------------------------------------------------------------------------


def test_a_digest_is_that_of_the_lines(path: Path) -> None:
    lines = write(path, *STORY).split(b"\n", 1)[1]
    assert digest(STORY) == hashlib.sha256(lines).hexdigest()
    assert digest(read(path)[1]) == digest(STORY)
    assert digest(STORY[:-1]) != digest(STORY)
