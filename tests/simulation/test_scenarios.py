"""The stories that the scenarios tell are what happens in them."""

import pytest

from elector.errors import ConfigurationError
from elector.simulation.recording import record
from elector.simulation.run import Outcome, run
from elector.simulation.scenarios import SCENARIOS, scenario
from elector.trace import records

SEEDS = range(6)


def outcomes(name: str) -> list[Outcome]:
    return [run(scenario(name).configuration, seed) for seed in SEEDS]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_property_is_violated(name: str) -> None:
    for outcome in outcomes(name):
        assert outcome.violation is None, f"seed {outcome.seed}: {outcome.violation}"


@pytest.mark.parametrize("name", ["cloudflare-2020", "livelock-mended"])
def test_pre_vote_and_check_quorum_keep_the_leader(name: str) -> None:
    assert all(outcome.tally.tenures <= 3 for outcome in outcomes(name))


@pytest.mark.parametrize("name", ["cloudflare-2020-plain", "chained", "livelock"])
def test_plain_raft_changes_leaders_for_ever(name: str) -> None:
    assert all(outcome.tally.tenures > 10 for outcome in outcomes(name))


def test_the_old_leader_without_a_quorum_steps_down_for_the_hub() -> None:
    for seed in SEEDS:
        _, told, _ = record(scenario("quorum-loss").configuration, seed)
        led = [r for r in told if isinstance(r, records.Lead)]
        assert len(led) >= 2
        assert led[1].node == (led[0].node + 1) % 5


def test_nobody_who_could_win_is_connected() -> None:
    for seed in SEEDS:
        _, told, _ = record(scenario("constrained-election").configuration, seed)
        during = [r for r in told if isinstance(r, records.Lead) and 3e9 < r.t < 20e9]
        assert not during


def test_a_pause_costs_the_office_and_the_guard_refuses() -> None:
    for outcome in outcomes("gc-pause"):
        assert outcome.tally.tenures == 2
        assert outcome.tally.refused >= 1
        verdicts = {verdict.name: verdict.outcome for verdict in outcome.verdicts}
        assert verdicts["Unfenced"] == verdicts["StaleWriteRefused"] == "holds"


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="there is no scenario 'y2k'; there are: cloud"):
        scenario("y2k")
