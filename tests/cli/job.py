"""A command for ``elector run``: it writes into a diary what it does, in its own words.

    python -I -S job.py ACT DIARY

Plain Python without anything of ours, so that it starts quickly and witnesses independently.
A line is ``<monotonic ns> <candidate> <token> <what>``, as in `tests.runtime.witness`. Cues are
files beside the diary: ``<diary>.<candidate>.<cue>``.
"""

import os
import signal
import sys
import time
from pathlib import Path

PAUSE = 0.003
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
HEARD = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")


class Job:
    """What all acts share."""

    def __init__(self, diary: str) -> None:
        self.diary = diary
        self.who = os.environ["ELECTOR_CANDIDATE"]
        self.token = os.environ["ELECTOR_TOKEN"]
        self._fd = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, what: str) -> None:
        line = f"{time.clock_gettime_ns(CLOCK)} {self.who} {self.token} {what}\n"
        os.write(self._fd, line.encode())

    def cued(self, cue: str) -> bool:
        return Path(f"{self.diary}.{self.who}.{cue}").exists()

    def step_until(self, cue: str) -> None:
        while not self.cued(cue):
            self.note("step")
            time.sleep(PAUSE)


def work(job: Job) -> None:
    """Until a signal ends it, or the cue ``done`` is given."""
    job.step_until("done")


def deaf(job: Job) -> None:
    """The same, but only KILL ends it."""
    for name in HEARD:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    work(job)


def listen(job: Job) -> None:
    """Write down each signal, and end when cued: slow, but polite."""
    for name in HEARD:
        signal.signal(
            signal.Signals[name], lambda n, _: job.note(f"heard:{signal.Signals(n).name}")
        )
    work(job)
    job.note("end")


def brood(job: Job) -> None:
    """Deaf, with a child at work in the same process group, which is left behind when cued."""
    for name in HEARD:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    if os.fork() == 0:
        work(job)
    job.step_until("orphan")


def daemon(job: Job) -> None:
    """Start something that leaves the process group and then works on its own account."""
    if os.fork() == 0:
        os.setsid()
        job.note(f"daemon:{os.getpid()}")
        signal.pause()
    work(job)


ACTS = {act.__name__: act for act in (work, deaf, listen, brood, daemon)}

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # die of it, as programs do; no traceback
    worker = Job(sys.argv[2])
    worker.note("begin")
    ACTS[sys.argv[1]](worker)
