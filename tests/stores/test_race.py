"""Processes race for one office; a file that all append to is the witness."""

import subprocess
import sys
from pathlib import Path

import pytest

RACERS, TIMES = 4, 20


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_processes_that_race_never_lead_at_once_nor_sleep_for_ever(
    tmp_path: Path, kind: str
) -> None:
    url = {"file": f"file://{tmp_path}/x", "sqlite": f"sqlite:///{tmp_path}/x.db"}[kind]
    witness = tmp_path / "witness"
    witness.touch()
    program = [sys.executable, str(Path(__file__).with_name("racer.py")), url]
    racers = [
        subprocess.Popen([*program, f"racer{number}", str(TIMES), str(witness)])
        for number in range(RACERS)
    ]
    try:
        assert [racer.wait(timeout=90) for racer in racers] == [0] * RACERS
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    lines = [line.split() for line in witness.read_text().splitlines()]
    begins, ends = lines[::2], lines[1::2]
    assert [(word, int(token)) for word, token, _ in begins] == [
        ("begin", token) for token in range(1, RACERS * TIMES + 1)
    ]
    assert [(token, name) for _, token, name in begins] == [
        (token, name) for word, token, name in ends if word == "end"
    ]
