"""The transcripts in tests/scenarios/raft, replayed.

After a change of the protocol: ``pytest tests/raft --rewrite-scenarios``, then review the
difference line by line.
"""

from pathlib import Path

import pytest

from tests.raft.raft_transcript import Transcript

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios" / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_node_does_what_the_transcript_says(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text(encoding="utf-8")
    replayed = Transcript(text).written()
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(replayed, encoding="utf-8")
        return
    assert replayed == text, "if this was meant: pytest --rewrite-scenarios, and review the diff"


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 8
