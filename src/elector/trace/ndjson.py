"""Traces as files: one JSON object a line, the header first.

A process that is killed leaves at most one torn line, the last one.

>>> import io
>>> from elector.trace.records import Header, Lead
>>> stream = io.BytesIO()
>>> with Writer(stream, Header(1, "0.0", "simulation", "raft", ("a",))) as writer:
...     writer.write(Lead(5, 0, 1))
>>> print(stream.getvalue().decode().splitlines()[1])
{"kind":"lead","t":5,"node":0,"token":1}
"""

import hashlib
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from elector.errors import TraceError
from elector.trace.records import FORMAT, Header, Record

_encoder = msgspec.json.Encoder()
_records: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_headers = msgspec.json.Decoder(Header)

_BEGINNING = b'{"kind":"header"'


class _AnyHeader(msgspec.Struct):
    """As much of a header as every version has."""

    kind: str = ""
    format: int = 0
    elector: str = "?"


class Writer:
    """Writes one trace.

    Args:
        target: a file that does not exist yet or is empty, made for this user alone; or an
            open binary stream, which stays open.
        header: the first line.
        flushes: write every record at once, so that a killed process loses none.

    Raises:
        TraceError: the file cannot be made, or has something in it.
    """

    def __init__(self, target: Path | BinaryIO, header: Header, *, flushes: bool = False) -> None:
        self._owns = isinstance(target, Path)
        self._stream = create(target) if isinstance(target, Path) else target
        self._flushes = flushes
        self._line(header)

    def write(self, record: Record) -> None:
        """Add a record. Raises `OSError` when the disk refuses it."""
        self._line(record)

    def _line(self, value: Header | Record) -> None:
        self._stream.write(_encoder.encode(value) + b"\n")
        if self._flushes:
            self._stream.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._owns:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create(path: Path) -> BinaryIO:
    """Make the file of a trace, for this user alone.

    Raises:
        TraceError: it cannot be made, or has something in it.
    """
    try:
        stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")
    except OSError as error:
        raise TraceError(f"cannot write the trace {path}: {error.strerror}") from error
    if os.fstat(stream.fileno()).st_size:
        stream.close()
        raise TraceError(
            f"{path} is not empty: a trace is of one run alone; name another file or remove it"
        )
    return stream


class Records:
    """The records of a file, read as they are asked for.

    Attributes:
        torn: the number of the last line, if it has no end and was left out; known at the end.
    """

    def __init__(self, lines: Generator[Any, None, int | None]) -> None:
        self.torn: int | None = None
        self._lines = lines

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record:
        try:
            record: Record = next(self._lines)
        except StopIteration as end:
            self.torn = self.torn if end.value is None else end.value
            raise
        return record


def read(path: Path, *, tolerant: bool = False) -> tuple[Header, Records]:
    """Read a trace, record by record.

    Args:
        path: of the file.
        tolerant: a torn last line, as a killed process leaves it, ends the trace, and
            `Records.torn` is its number.

    Raises:
        TraceError: it cannot be read, is no trace, is of another version, or has a line that
            makes no sense; the message says which, and what to do. Of lines behind the
            header it is raised when they are reached.
    """
    lines = _lines(path, tolerant=tolerant)
    header: Header = next(lines)
    return header, Records(lines)


def _lines(path: Path, *, tolerant: bool) -> Generator[Any, None, int | None]:
    """The header, then the records; at the end, the number of a torn line.

    Whoever reads no further need not close anything: the file is this generator's.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror}") from error
    with stream:
        header = _header(path, stream.readline())
        yield header
        for number, line in enumerate(stream, start=2):
            if not line.endswith(b"\n"):
                if tolerant:
                    return number
                raise TraceError(
                    f"{path}, line {number}: the trace ends in the middle of this line, as a "
                    "killed process leaves it; remove the line to read the rest"
                )
            try:
                record = _records.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TraceError(
                    f"{path}, line {number}: this is no record of format {FORMAT}: {error}; the "
                    f"file was damaged or edited after elector {header.elector} wrote it"
                ) from error
            yield record
    return None


def _header(path: Path, line: bytes) -> Header:
    if not line:
        raise TraceError(f"{path} is empty: nothing was written into it")
    try:
        known = msgspec.json.decode(line, type=_AnyHeader)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if line.startswith(_BEGINNING) and not line.endswith(b"\n"):
            raise TraceError(
                f"{path}, line 1: the header has no end, and nothing comes after it: this trace "
                "cannot be used"
            ) from None
        known = _AnyHeader()
    if known.kind != "header":
        raise TraceError(f"{path} is no trace of elector: line 1 is not the header of one")
    if known.format != FORMAT:
        raise TraceError(
            f"{path}, line 1: this trace has format {known.format} and was written by elector "
            f"{known.elector}; this elector reads format {FORMAT}: use that version for it"
        )
    try:
        return _headers.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}, line 1: the header makes no sense: {error}") from error


def digest(records: Iterable[Record]) -> str:
    """One number for a whole trace, to compare two: SHA-256 of its lines, in hexadecimal."""
    total = hashlib.sha256()
    for record in records:
        total.update(_encoder.encode(record) + b"\n")
    return total.hexdigest()
