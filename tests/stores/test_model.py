"""Every store against a naive one, by the state machine of the conformance kit.

It knows here what it cannot know of other people's stores: tokens rise by one.
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from elector.testing.stores import store_machine
from tests.stores.worlds import World

EXAMPLES = {"memory": 60, "sqlite": 25, "file": 25}


@pytest.mark.timeout(300)
def test_a_store_does_what_a_naive_one_would_do(world: World) -> None:
    class Exact(store_machine(world.open, advance=world.clock.advance)):  # type: ignore[misc]
        def check_token(self, before: int, token: int) -> None:
            assert token == before + 1

    effort = settings(max_examples=EXAMPLES[world.kind], stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Exact, settings=effort)
