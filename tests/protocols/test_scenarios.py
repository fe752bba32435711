"""The transcripts in tests/scenarios, replayed.

After a change of the protocol: ``pytest tests/protocols --rewrite-scenarios``, then review
the difference line by line; a rewritten transcript is a claim, not a proof.
"""

from pathlib import Path

import pytest

from tests.protocols.laws import CandidateLaws
from tests.protocols.transcript import Transcript

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))

each_scenario = pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)


@each_scenario
def test_the_candidate_does_what_the_transcript_says(
    path: Path, request: pytest.FixtureRequest
) -> None:
    text = path.read_text(encoding="utf-8")
    replayed = Transcript(text).written()
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(replayed, encoding="utf-8")
        return
    assert replayed == text, "if this was meant: pytest --rewrite-scenarios, and review the diff"


@each_scenario
def test_the_offset_of_the_clock_changes_nothing(path: Path) -> None:
    scenario = Transcript(path.read_text(encoding="utf-8"))
    assert scenario.written(origin=3_600_000_000_007) == scenario.written()


@each_scenario
def test_the_transcript_keeps_the_laws(path: Path) -> None:
    scenario = Transcript(path.read_text(encoding="utf-8"))
    laws = CandidateLaws(scenario.timing(), "a#1")
    for happening in scenario.replay():
        laws.watch(happening.event, happening.effects)


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 16
