"""An office as files in one directory: the blocking half of the ``file://`` store.

For an election ``x``::

    x.lock     flock(2) on it is the office; the kernel gives it back when its holder is gone
    x.epoch    the last token and who got it: JSON, replaced durably before each grant
    x.tenure   a named pipe whose writing end the holder keeps while it leads: the end of file
               is the end of the tenure. Made for each tenure, removed when it ends politely
    x.news     a named pipe that is only opened for writing to be closed again, and that end
               of file wakes everybody who listens
    x.ask      a request to the holder
    .lock      held while x.lock and x.epoch are made

Laws
    1. No token is granted before the epoch that names it is on the disk.
    2. The lock and the epoch are there both or neither. One alone, or an epoch that cannot be
       read, is an error: starting again at 1 would let a stale leader's writes through.
       The lock is marked before the first grant, so one that is alone and still empty is
       what a crash left of the making of the pair, and the making goes on.
    3. The pipes are hints. Whatever they say, only the lock decides who leads.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote

import msgspec

from elector.core.identity import Candidate
from elector.errors import StoreCorrupt
from elector.stores.port import Ask, Change
from elector.stores.presence import Life, life_behind

FORMAT = 1
EPOCH = ".epoch"
_MODE = 0o600
_LONGEST_STEM = 200
_MARK = b"elector: this lock and the epoch beside it belong together; do not delete either\n"
_DIRECTORY_LOCK = ".lock"  # names of elections begin with a letter or a digit


class Epoch(msgspec.Struct, frozen=True):
    """What is remembered of an election: the last token, and who got it."""

    election: str
    token: Annotated[int, msgspec.Meta(ge=0)] = 0
    holder: str | None = None
    instance: str | None = None
    since: str | None = None
    format: int = FORMAT


class _Format(msgspec.Struct):
    format: int


class Tenure(NamedTuple):
    """What a holder holds: descriptors of the locked file and of the pipe."""

    token: int
    lock_fd: int
    pipe_fd: int


class OfficeFiles:
    """The files of one election; every method blocks, for as long as a disk takes."""

    def __init__(self, directory: Path, election: str) -> None:
        self.directory = directory
        self.election = election
        stem = file_stem(election)
        self.lock = directory / f"{stem}.lock"
        self.epoch = directory / f"{stem}{EPOCH}"
        self._tenure = directory / f"{stem}.tenure"
        self._news = directory / f"{stem}.news"
        self._ask = directory / f"{stem}.ask"

    # -- reading -----------------------------------------------------------------------

    def read(self) -> Epoch | None:
        """The epoch; None for an election that nobody has led yet.

        Raises:
            StoreCorrupt: law 2 is broken.
        """
        # In this order, so that a pair that is being made does not look like half a pair.
        marked = _size(self.lock) > 0
        try:
            epoch = _read_epoch(self.epoch)
        except FileNotFoundError:
            if not marked:
                return None
            raise _half_missing(self.epoch, self.lock, "restore it from a copy") from None
        if _size(self.lock) < 0:
            remedy = "end every candidate, then make it anew as an empty file"
            raise _half_missing(self.lock, self.epoch, remedy)
        if epoch.election != self.election:
            raise StoreCorrupt(
                f"{self.epoch} belongs to election {epoch.election!r}, not to {self.election!r}: "
                "somebody renamed it, or the file system takes both names for one"
            )
        return epoch

    def is_led(self) -> bool:
        """Whether some process keeps the writing end of the tenure's pipe."""
        try:
            reader = os.open(self._tenure, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return life_behind(reader) is Life.ALIVE
        finally:
            os.close(reader)

    def present(self) -> tuple[Epoch, bool]:
        """The epoch and whether its holder leads, both of one moment."""
        while True:
            epoch = self.read() or Epoch(self.election)
            if not self.is_led():
                return epoch, False
            if self.read() == epoch:
                return epoch, True

    def change(self) -> Change:
        """What watches are told of the present state."""
        epoch, led = self.present()
        if not led:
            return Change(self.election, None, None, epoch.token)
        return Change(self.election, epoch.holder, epoch.instance, epoch.token)

    # -- the office ----------------------------------------------------------------------

    def take(self, candidate: Candidate) -> Tenure | None:
        """Lock, count up durably, show that we lead; None if somebody else has the lock.

        Raises:
            StoreCorrupt: law 2 is broken; the lock is given back.
            OSError: nothing was granted; the lock is given back.
        """
        if not self._founded():
            return None
        with contextlib.ExitStack() as undo:
            lock_fd = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, lock_fd)
            if not _locked(lock_fd):
                return None
            undo.callback(fcntl.flock, lock_fd, fcntl.LOCK_UN)
            last = self.read()
            if last is None or not self.anchors(lock_fd):
                return None
            if os.fstat(lock_fd).st_size == 0:
                os.write(lock_fd, _MARK)
                os.fsync(lock_fd)
            token = last.token + 1
            since = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._write(Epoch(self.election, token, candidate.name, candidate.instance, since))
            tenure = Tenure(token, lock_fd, self._new_pipe())
            undo.pop_all()
        self.spread_news()
        return tenure

    def _founded(self) -> bool:
        """Make the pair if it is not there; False while another process is making it."""
        if self.read() is not None:
            return True
        with _directory_locked(self.directory) as alone:
            if not alone:
                return False
            if self.read() is None:
                os.close(os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
                _sync_directory(self.directory)
                self._write(Epoch(self.election))
            return True

    def _new_pipe(self) -> int:
        """A fresh pipe: a child that inherited the last one says nothing about this tenure."""
        self._tenure.unlink(missing_ok=True)
        os.mkfifo(self._tenure, _MODE)
        # Both directions, so that opening does not wait for a partner.
        return os.open(self._tenure, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _write(self, epoch: Epoch) -> None:
        new = self.epoch.with_suffix(".new")
        try:
            with open(new, "wb", opener=_private) as file:
                file.write(msgspec.json.encode(epoch) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.epoch)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        _sync_directory(self.directory)

    def anchors(self, lock_fd: int) -> bool:
        """Whether the file that is locked is still the one that others would lock."""
        try:
            return os.path.samestat(os.fstat(lock_fd), self.lock.stat())
        except FileNotFoundError:
            return False

    def leave(self, tenure: Tenure) -> None:
        """Give the office back and wake those who wait, whoever inherited our descriptors."""
        with contextlib.suppress(OSError):
            self._tenure.unlink()  # before the lock is free: the next one's is not ours
        fcntl.flock(tenure.lock_fd, fcntl.LOCK_UN)
        drop(tenure)
        self.spread_news()

    # -- news ----------------------------------------------------------------------------

    def ears(self) -> Iterator[int]:
        """Open descriptors that become readable when there is news.

        A reader that is opened while nobody writes is not woken before somebody has come and
        gone (Linux); elsewhere it may wake at once, so whoever listens backs off.
        """
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._news, _MODE)
        yield os.open(self._news, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            yield os.open(self._tenure, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def spread_news(self) -> None:
        """Wake everybody who listens, through an end of file."""
        with contextlib.suppress(OSError):  # nobody listens; or law 3
            os.close(os.open(self._news, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def leave_ask(self, ask: Ask) -> None:
        """Put a request where the holder finds it; one that comes too late is dropped."""
        epoch, led = self.present()
        if not led or epoch.token != ask.token:
            return
        new = self._ask.with_suffix(".asking")
        with open(new, "wb", opener=_private) as file:
            file.write(msgspec.json.encode(ask))
        new.replace(self._ask)
        self.spread_news()

    def take_ask(self, token: int) -> Ask | None:
        """The request to the holder of this token, if there is one; it is removed."""
        # Taken away first and read then: read and removed, a newer one could be removed unread.
        taken = self._ask.with_suffix(f".taken-{os.getpid()}-{id(self):x}")
        try:
            self._ask.rename(taken)
        except FileNotFoundError:
            return None
        try:
            ask = msgspec.json.decode(taken.read_bytes(), type=Ask)
        except msgspec.DecodeError:
            return None
        finally:
            taken.unlink()
        return ask if (ask.election, ask.token) == (self.election, token) else None


def file_stem(election: str) -> str:
    """The name of an election as a file name; a hash stands for the end of a very long one.

    >>> file_stem("billing/nightly:eu")
    'billing%2Fnightly%3Aeu'
    """
    stem = quote(election, safe="")
    if len(stem) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(election.encode()).hexdigest()
    return f"{stem[: _LONGEST_STEM - len(digest)]}~{digest}"


def elections(directory: Path) -> list[str]:
    """Names of the elections that have files here.

    Raises:
        StoreCorrupt: an epoch cannot be read, so not even its election is known; or law 2 is
            broken.
    """
    for lock in directory.glob("*.lock"):
        epoch = lock.with_suffix(EPOCH)
        if _size(lock) > 0 and not epoch.exists():
            raise _half_missing(epoch, lock, "restore it from a copy")
    found = {path: _read_epoch(path).election for path in directory.glob(f"*{EPOCH}")}
    for path, election in found.items():
        if path.name != f"{file_stem(election)}{EPOCH}":
            raise StoreCorrupt(f"{path} belongs to election {election!r}: somebody renamed it")
    return sorted(found.values())


def _half_missing(missing: Path, there: Path, remedy: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{missing} is missing though {there.name} is there: {remedy}; "
        "elector does not start its tokens again"
    )


def _read_epoch(path: Path) -> Epoch:
    text = path.read_bytes()
    try:
        written = msgspec.json.decode(text, type=_Format).format
        if written > FORMAT:
            raise StoreCorrupt(
                f"{path} was written by a newer elector (format {written}, this one reads "
                f"{FORMAT}): upgrade elector, or name another directory"
            )
        return msgspec.json.decode(text, type=Epoch)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(
            f"{path} is damaged ({error}): restore it from a copy; elector does not start its "
            "tokens again"
        ) from error


def drop(tenure: Tenure) -> None:
    """Close the descriptors; the office is free once no child holds them either."""
    os.close(tenure.lock_fd)
    os.close(tenure.pipe_fd)


@contextlib.contextmanager
def _directory_locked(directory: Path) -> Iterator[bool]:
    path = directory / _DIRECTORY_LOCK
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        yield _locked(fd)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _MODE)


def _size(path: Path) -> int:
    """The size of a file, or -1 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
