"""Leaders as processes of their own, which can be stopped where it hurts."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@contextmanager
def started(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / script), *arguments]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with child:
        try:
            yield child
        finally:
            child.kill()  # a stopped process dies of it too


def wait_until_stopped(child: subprocess.Popen[str]) -> None:
    if not hasattr(os, "waitid"):
        pytest.skip("this system has no waitid")
    seen = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert seen is not None
    assert seen.si_code == os.CLD_STOPPED, child.communicate()


def thaw(child: subprocess.Popen[str]) -> str:
    child.send_signal(signal.SIGCONT)
    answer, complaint = child.communicate()
    assert (child.returncode, complaint) == (0, "")
    return answer.strip()


def rivals(kind: str, where: str, writes: int, count: int = 3) -> list[int]:
    """Let processes write under tokens in no order; the tokens that were admitted, unordered."""
    seeds = [random.randrange(10**6) for _ in range(count)]  # noqa: S311 - no secret
    print(f"seeds {seeds}")  # noqa: T201 - to replay a failure
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(started("rivals.py", kind, where, str(writes), str(seed)))
            for seed in seeds
        ]
        for rival in crowd:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n", rival.communicate()
        for rival in crowd:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        answers = [rival.communicate() for rival in crowd]
    assert [complaint for _, complaint in answers] == [""] * count
    return [int(token) for answer, _ in answers for token in answer.split()]
