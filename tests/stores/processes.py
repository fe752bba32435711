"""Starting `holder.py`, and being sure that it and its children end with the test."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Holder:
    """A running holder; its child, if it has one, ends with its standard input."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said = self.hear()
        self.token: int = self.said["token"]

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the holder ended without a word; its standard error is above"
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill it and wait until the kernel has closed all it had."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Freeze it."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def end_child(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextlib.contextmanager
def holder(
    url: str, election: str, name: str, mode: str = "alone", inside: Sequence[str] = ()
) -> Iterator[Holder]:
    """A holder; `inside` is a command that puts it into namespaces of its own."""
    process = subprocess.Popen(
        [*inside, sys.executable, str(HERE / "holder.py"), url, election, name, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = None
    try:
        running = Holder(process)
        child = running.said["child"]
        yield running
    finally:
        process.kill()
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None:
            if child is not None:
                process.stdout.read()  # its end: the child, too, has let go of it
            process.stdout.close()
        process.wait()
