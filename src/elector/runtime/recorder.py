"""The recorder: writes down what one candidate does, and never stands in its way.

Whoever has something to tell puts it into a queue and goes on; a thread of its own makes records
of it and writes them, each at once. A disk that is full or hangs costs the trace, not the lease.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from elector.clock import now_ns
from elector.core.effects import CandidateEffect
from elector.core.events import CandidateEvent
from elector.core.identity import Candidate
from elector.protocols.lease import LeaseState
from elector.runtime.holding import WorkNews
from elector.runtime.settings import Settings
from elector.trace import records
from elector.trace.lease import effect_record, event_record
from elector.trace.ndjson import Writer, create
from elector.trace.plain import plain
from elector.version import __version__

_NODE = 0  # the only one: what others do is in their own traces
_BACKLOG = 10_000
_log = logging.getLogger("elector")


class _Taken(msgspec.Struct, frozen=True):
    """A step, as it was taken."""

    t: int
    event: CandidateEvent
    effects: tuple[CandidateEffect, ...]
    after: LeaseState


def _warn(text: str) -> None:
    _log.warning("%s", text)


class Recorder:
    """Writes the trace of one candidate.

    Args:
        path: a file that does not exist yet or is empty.
        settings: of the candidate. Where the store is does not get into the trace.
        warn: told, at most once and from any thread, that the trace ends early.

    Raises:
        TraceError: the file cannot be made, or has something in it.
    """

    def __init__(self, path: Path, settings: Settings, warn: Callable[[str], None] = _warn) -> None:
        self._path = path
        self._stream = create(path)
        self._header = records.Header(
            format=records.FORMAT,
            elector=__version__,
            world="production",
            protocol="lease",
            nodes=(settings.candidate,),
            settings={"timing": plain(settings.timing), "election": settings.election},
        )
        self._nodes = {settings.candidate: _NODE}
        self._warn = warn
        self._queue: SimpleQueue[_Taken | records.Record | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._off = False  # nothing more is taken
        self._warned = False

    # -- from any thread -------------------------------------------------------------------

    def begin(self, candidate: Candidate, closed: Callable[[], None]) -> None:
        """Begin to write; `closed` is called, on the recorder's thread, when all is written."""
        self._put(lambda t: records.Boot(t, _NODE, candidate.instance))
        self._thread = threading.Thread(
            target=self._run, args=(self._stream, closed), name="elector-recorder", daemon=True
        )
        self._thread.start()

    def step(
        self, event: CandidateEvent, effects: tuple[CandidateEffect, ...], after: LeaseState
    ) -> None:
        """The candidate has taken a step; nothing of it has been carried out yet."""
        self._put(lambda t: _Taken(t, event, effects, after))

    def work(self, token: int, what: WorkNews, failed: bool) -> None:
        """Something happened to the work of a tenure."""
        self._put(lambda t: records.Work(t, _NODE, token, what, failed))

    def end(self) -> None:
        """The candidate has left the election: the trace is complete."""
        self._put(records.End)
        self.close()

    def close(self) -> None:
        """Write what has been told, and no more."""
        with self._lock:
            self._queue.put(None)
            self._off = True
        if self._thread is None:
            self._stream.close()

    def _put(self, dated: Callable[[int], _Taken | records.Record]) -> None:
        with self._lock:  # so that what is put is in the order of the times in it
            if self._off:
                return
            full = self._queue.qsize() >= _BACKLOG
            if not full:
                self._queue.put(dated(now_ns()))
        if full:
            self.close()
            self._complain("the disk is too slow")

    def _complain(self, why: str) -> None:
        with self._lock:
            told, self._warned, self._off = self._warned, True, True
        if not told:
            self._warn(f"the trace {self._path} ends early: {why}")

    # -- on the recorder's thread -------------------------------------------------------------

    def _run(self, stream: BinaryIO, closed: Callable[[], None]) -> None:
        try:
            with stream:
                writer = Writer(stream, self._header, flushes=True)
                while (item := self._queue.get()) is not None:
                    self._write(writer, item)
        except OSError as error:
            self._complain(str(error.strerror or error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the election goes on
            self._complain(repr(error))
        finally:
            closed()

    def _write(self, writer: Writer, item: _Taken | records.Record) -> None:
        if not isinstance(item, _Taken):
            writer.write(item)
            return
        t, event, effects = item.t, item.event, item.effects
        answer = event_record(t, _NODE, event)
        if answer is not None:
            writer.write(answer)
        asked = tuple(plain(effect) for effect in effects)
        writer.write(records.Step(t, _NODE, plain(event), asked, plain(item.after)))
        for effect in effects:
            said = effect_record(t, _NODE, effect, self._nodes)
            if said is not None:
                writer.write(said)
