"""A tenure as the threads of one process share it."""

import os
import threading
from collections.abc import Callable
from typing import Literal

from elector.clock import now_ns
from elector.core.duration import SECOND_NS, format_duration
from elector.core.office import Deadlines, EndReason
from elector.errors import LeadershipLost, NotLeader

WorkNews = Literal["began", "stopping", "stopped"]
Note = Callable[[int, WorkNews, bool], None]
"""Told the token, what happened to the work, and whether the work had failed."""


class Holding:
    """One stay in office: who, under which token, until when, and how far it is.

    Written by the engine thread, read by all. The lock decides the one race that matters:
    whether the work began before it was told to stop. What is noted of the work is noted
    under it, in that order.
    """

    __slots__ = (
        "_lock",
        "_note",
        "_on_over",
        "aborted",
        "candidate",
        "deadlines",
        "election",
        "entered",
        "over",
        "pid",
        "stop_reason",
        "stop_work",
        "stopped",
        "token",
        "worker",
    )

    def __init__(
        self,
        election: str,
        candidate: str,
        token: int,
        deadlines: Deadlines,
        note: Note | None = None,
    ) -> None:
        self.election = election
        self.candidate = candidate
        self.token = token
        self.deadlines = deadlines
        self.pid = os.getpid()
        self.entered = False  # the work has begun
        self.stopped = False  # the work has returned, or will never begin
        self.over = False  # the office has been given back, or has run out
        self.aborted = False
        self.stop_reason: EndReason | None = None
        self.worker: object = None  # the task or thread that is at work
        self.stop_work: Callable[[], None] | None = None  # how the front end stops it
        self._note = note
        self._lock = threading.Lock()
        self._on_over: list[Callable[[], None]] | None = None

    def __repr__(self) -> str:
        return f"<tenure of {self.candidate} in {self.election!r}, token {self.token}>"

    def enter(self) -> None:
        """Begin the work.

        Raises:
            LeadershipLost: the tenure has ended, or is about to.
            NotLeader: it has been used, or given back, or belongs to the parent process.
        """
        self._check_process()  # before the lock: a fork may have copied it locked
        with self._lock:
            if self.entered:
                raise NotLeader(f"{self!r} has been used already; wait for the next one")
            if self.stop_reason is not None or now_ns() >= self.deadlines.soft_ns:
                raise self.lost("before its work began")
            if self.stopped:
                raise NotLeader(f"{self!r} has been given back unused; wait for the next one")
            self.entered = True
            self._noted("began")

    def tell_to_stop(self, reason: EndReason) -> bool:
        """Note why the work must stop; True if there is work to be told."""
        with self._lock:
            self.stop_reason = reason
            if not self.entered:
                self.stopped = True
            if not self.stopped:
                self._noted("stopping")
            return not self.stopped

    def work_stopped(self, *, failed: bool = False) -> bool:
        """Note that the work has returned; False if that was known."""
        with self._lock:
            known, self.stopped = self.stopped, True
            if self.entered and not known:
                self._noted("stopped", failed=failed)
            return not known

    def _noted(self, what: WorkNews, *, failed: bool = False) -> None:
        if self._note is not None:
            self._note(self.token, what, failed)

    def begin_abort(self) -> bool:
        """Note that the work is late; False if it has stopped, or if that was known."""
        with self._lock:
            known, self.aborted = self.aborted, True
            return not (known or self.stopped)

    def set_over(self) -> None:
        """The tenure is over: call everybody who waits for that."""
        with self._lock:
            self.over = True
            waiting, self._on_over = self._on_over, None
        for call in waiting or ():
            call()

    def when_over(self, call: Callable[[], None]) -> None:
        """Call (from any thread) once the tenure is over; at once if it is."""
        with self._lock:
            if not self.over:
                self._on_over = [*(self._on_over or ()), call]
                return
        call()

    def remaining(self) -> float:
        """Seconds until the work is told to stop; 0.0 once it is."""
        if self.stop_reason is not None or self.stopped:
            return 0.0
        return max(0, self.deadlines.soft_ns - now_ns()) / SECOND_NS

    def check(self) -> None:
        """Raise unless nobody else can lead right now.

        Raises:
            LeadershipLost: the hard deadline has passed, or the lease was lost, or the
                tenure has ended.
            NotLeader: this is a forked child; the office belongs to its parent.
        """
        self._check_process()
        if self.stopped or self.stop_reason is EndReason.LOST:
            raise self.lost("")
        late_ns = now_ns() - self.deadlines.hard_ns
        if late_ns >= 0:
            raise LeadershipLost(
                f"{self!r} ended {format_duration(late_ns)} ago: its lease could not be renewed "
                "in time; stop the work",
                EndReason.EXPIRED,
            )

    def lost(self, when: str) -> LeadershipLost:
        """The error for a tenure that ended early."""
        reason = self.stop_reason or (EndReason.COMPLETED if self.stopped else EndReason.EXPIRED)
        ended = f"{self!r} ended{' ' if when else ''}{when}"
        return LeadershipLost(f"{ended}: {_WHY[reason]}", reason)

    def _check_process(self) -> None:
        if self.pid != os.getpid():
            raise NotLeader(
                f"{self!r} belongs to process {self.pid}; after a fork the child does not lead"
            )


_WHY = {
    EndReason.COMPLETED: "its work had returned",
    EndReason.FAILED: "its work had failed",
    EndReason.RESIGNED: "it was asked to resign",
    EndReason.TRANSFERRED: "it was asked to hand over",
    EndReason.SHUTDOWN: "the candidate left the election",
    EndReason.STALLED: "the application made no progress",
    EndReason.LOST: "the store says that the lease is no longer ours",
    EndReason.EXPIRED: "the lease could not be renewed in time",
    EndReason.DIED: "the process ended",
}
