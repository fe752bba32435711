"""How soon the kernel tells of a killed process, by four witnesses: pipe, socket, lock, pidfd.

::

    python tools/witness_latency.py [rounds]

A child holds the thing and is killed; the clock runs from before the signal until the waiting
parent has been woken. docs/decisions/0004-kernel-witness.md has the figures and what they
decided. Linux only, for `os.pidfd_open`.
"""

import fcntl
import os
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Wait = Callable[[], None]
Hold = Callable[[], object]


def pipe(path: Path) -> tuple[Hold, Callable[[int], Wait]]:
    """A named pipe: the child has the writing end, the parent reads the end of file."""
    os.mkfifo(path)

    def watch(_: int) -> Wait:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return lambda: _until_readable(reader)

    return lambda: os.open(path, os.O_RDWR), watch


def unix_socket(path: Path) -> tuple[Hold, Callable[[int], Wait]]:
    """A local socket: the child listens, the parent's connection ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def hold() -> object:
        return listener

    def watch(_: int) -> Wait:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        listener.close()
        return lambda: _until_readable(client.detach())

    return hold, watch


def lock(path: Path) -> tuple[Hold, Callable[[int], Wait]]:
    """A flock: the child has it, the parent blocks in the call (so: a thread per waiter)."""

    def hold() -> object:
        held = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
        return held

    def watch(_: int) -> Wait:
        wanted = os.open(path, os.O_RDWR | os.O_CREAT)

        def wait() -> None:
            fcntl.flock(wanted, fcntl.LOCK_EX)
            os.close(wanted)

        return wait

    return hold, watch


def pidfd(_: Path) -> tuple[Hold, Callable[[int], Wait]]:
    """A descriptor of the process itself."""

    def watch(pid: int) -> Wait:
        descriptor = os.pidfd_open(pid)
        return lambda: _until_readable(descriptor)

    return lambda: None, watch


def _until_readable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.close(descriptor)


def kill_once(witness: Callable[[Path], tuple[Hold, Callable[[int], Wait]]], path: Path) -> int:
    """Nanoseconds from before the signal to after the wake-up."""
    hold, watch = witness(path)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        held = hold()
        os.write(tell, b"!")
        signal.pause()
        os._exit(0 if held else 1)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    wait = watch(child)
    began = time.monotonic_ns()
    os.kill(child, signal.SIGKILL)
    wait()
    took = time.monotonic_ns() - began
    os.waitpid(child, 0)
    return took


def main() -> None:
    """Measure all four and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"| witness | median us | p99 us |   ({rounds} kills each)")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for witness in (pipe, unix_socket, lock, pidfd):
            took = sorted(
                kill_once(witness, Path(directory, f"{witness.__name__}{n}")) for n in range(rounds)
            )
            median, p99 = statistics.median(took), took[int(len(took) * 0.99)]
            print(f"| {witness.__name__} | {median / 1e3:.0f} | {p99 / 1e3:.0f} |")


if __name__ == "__main__":
    main()
