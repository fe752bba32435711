"""What the figures were measured on."""

import os
import platform
import sqlite3
import statistics
from pathlib import Path

from elector import __version__
from elector.clock import now_ns


def describe_machine(directory: Path) -> dict[str, str | int | float]:
    """The machine, and how long it takes to write to the disk that the stores are on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "elector": __version__,
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": _fsync_ms(directory),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _fsync_ms(directory: Path, rounds: int = 50) -> float:
    """Every takeover waits for at least one of these: a grant must survive a power cut."""
    took = []
    file = os.open(directory / "fsync", os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(rounds):
            os.write(file, bytes(4096))
            began = now_ns()
            os.fdatasync(file)
            took.append((now_ns() - began) / 1e6)
    finally:
        os.close(file)
    return round(statistics.median(took), 3)
