"""What all tests share: imports of test modules, the profile of Hypothesis, one option."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Tests are not a package, yet some share modules: `from tests.protocols import ...`.
sys.path.insert(0, str(Path(__file__).parent.parent))

# The same examples in every run: a red build is a change of ours, never bad luck. For new
# examples: pytest --hypothesis-profile=explore (prints the seed of what it finds).
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-scenarios",
        action="store_true",
        help="write what the protocols do now into tests/scenarios; review the diff",
    )
