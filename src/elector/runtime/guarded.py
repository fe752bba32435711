"""A decorator for functions that only the leader may run."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from elector.core.duration import SECOND_NS, parse_duration
from elector.core.timing import LeaseTiming
from elector.errors import NotLeader
from elector.runtime.election import Election
from elector.runtime.watchdog import OnOverrun

P = ParamSpec("P")
R = TypeVar("R")


def leader_only(
    name: str,
    *,
    store: str | None = None,
    ttl: str | None = None,
    timing: LeaseTiming | None = None,
    candidate: str | None = None,
    on_overrun: OnOverrun = "abort",
    wait: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run a function, sync or async, as the leader of an election.

    Each call stands for office, runs the function within the tenure, and gives the office
    back. The settings are those of `elector.Election`.

    Args:
        name: the election.
        store: where it is held.
        ttl: the lease duration.
        timing: the whole timing budget instead.
        candidate: this candidate's name.
        on_overrun: what happens to work that has not stopped at the hard deadline.
        wait: how long a call may wait to be elected; for ever if nothing is said.

    Raises:
        NotLeader: (out of the call) not elected in time; the function did not run.
        LeadershipLost: (out of the call) the tenure ended before the function did.

    >>> @leader_only("reports", store="memory://", wait="1s")
    ... def report():
    ...     return "written"
    >>> report()
    'written'
    """

    def stand() -> Election:
        return Election(
            name,
            store=store,
            ttl=ttl,
            timing=timing,
            candidate=candidate,
            on_overrun=on_overrun,
        )

    stand()  # a wrong setting is found where the function is defined
    seconds = None if wait is None else parse_duration(wait, "wait") / SECOND_NS

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def as_leader(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with stand() as election:
                    try:
                        async with asyncio.timeout(seconds):
                            tenure = await election.next_tenure()
                    except TimeoutError as late:
                        raise NotLeader(f"not elected in {name!r} within {wait}") from late
                    async with tenure:
                        return await function(*args, **kwargs)

            return cast("Callable[P, R]", as_leader)

        @functools.wraps(function)
        def as_blocking_leader(*args: P.args, **kwargs: P.kwargs) -> R:
            with stand().blocking() as election, election.next_tenure(wait):
                return function(*args, **kwargs)

        return as_blocking_leader

    return decorate
