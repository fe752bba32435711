"""The trust gate: a bug that no engine finds fails the build, unless its line says why."""

import pytest

from elector.verification.fairness import find_lasso
from elector.verification.members import explore
from elector.verification.scope import Scope
from tests.mutants.catalogue import ELSEWHERE, MUTANTS, Mutant
from tests.mutants.engines import (
    LASSOS,
    MEMBERS,
    build,
    by_exploration,
    by_lasso,
    by_simulation,
)

SEEDS = 1000
_NOT_SAFETY = 14  # leaders change for ever, each of them rightly
CLEAN_SEEDS = 60
WORLDS = {(m.faults, m.world.store, m.world.nodes, m.notices): m for m in MUTANTS if m.module}


def test_every_mechanism_is_there() -> None:
    assert sorted([*(mutant.number for mutant in MUTANTS), *ELSEWHERE]) == list(range(1, 30))


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.number != _NOT_SAFETY], ids=lambda m: f"{m.number} {m.what}"
)
def test_the_simulator_finds_it(mutant: Mutant) -> None:
    assert by_simulation(mutant, SEEDS) is not None, f"{SEEDS} seeds found nothing"


@pytest.mark.parametrize("mutant", WORLDS.values(), ids=lambda m: f"{m.number} {m.what}")
def test_without_the_bug_its_world_shows_nothing(mutant: Mutant) -> None:
    assert by_simulation(mutant._replace(module=None), CLEAN_SEEDS) is None


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.number in MEMBERS], ids=lambda m: f"{m.number} {m.what}"
)
def test_the_explorer_finds_two_leaders_of_one_term(mutant: Mutant) -> None:
    assert by_exploration(mutant) is not None


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.number in LASSOS], ids=lambda m: f"{m.number} {m.what}"
)
def test_a_way_to_go_on_for_ever_is_found(mutant: Mutant) -> None:
    assert by_lasso(mutant) is not None
    if mutant.module is not None:
        assert find_lasso(LASSOS[mutant.number]).violation is None


@pytest.mark.parametrize("number", [6, 7, 8])
def test_with_three_nodes_nothing_is_seen_of_it(number: int) -> None:
    (mutant,) = (m for m in MUTANTS if m.number == number)
    scope = Scope(nodes=3, terms=min(2, MEMBERS[number].terms))
    found = explore(scope, build(mutant).raft, ("TermUnique",))
    assert found.holds
