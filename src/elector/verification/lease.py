"""Everything that can happen to lease candidates and their store, in a small world.

>>> from elector.verification.lease_scope import LeaseScope
>>> found = explore_lease(LeaseScope(candidates=1, tenures=1))
>>> found.holds
True
"""

import resource
import sys
import time
from array import array
from collections.abc import Iterator

from elector.protocols.lease import LeaseCandidate
from elector.verification.lease_path import told
from elector.verification.lease_register import Register
from elector.verification.lease_scope import (
    LEASE_LIVENESS,
    LEASE_SAFETY,
    LeaseExploration,
    LeaseScope,
    MakeCandidate,
)
from elector.verification.lease_space import Space, World, Wrong
from elector.verification.scope import OnProgress, Progress, Violation

_LOOK_EVERY = 1 << 14


class _Stopped(Exception):  # noqa: N818 - it is a reason, not an error
    """Why the search ends before everything was seen."""


class _Search:
    """Breadth-first, one choice of clocks after the other."""

    def __init__(
        self,
        on_progress: OnProgress | None,
        max_states: int | None,
        max_memory: int | None,
    ) -> None:
        self.on_progress = on_progress
        self.max_states = max_states
        self.max_memory = max_memory
        self.began = time.perf_counter()
        self.before = 0  # states under the clocks that were explored before
        self.deepest = 0
        self.known: dict[World, int] = {}
        self.worlds: list[World] = []
        self.parents = array("q")
        self.expanded = 0
        self.ticked = 0

    def progress(self) -> Progress:
        """How far it is."""
        return Progress(
            states=self.before + len(self.worlds),
            depth=self.deepest,
            queue=len(self.worlds) - self.expanded,
            seconds=time.perf_counter() - self.began,
            memory=_memory(),
        )

    def explore(self, space: Space) -> tuple[Wrong, int, World] | None:
        """Go everywhere; return the first violation, from where and whereto.

        Raises:
            _Stopped: a limit was reached.
        """
        self.before += len(self.worlds)
        self.known, self.worlds, self.parents = {}, [], array("q")
        self.expanded = self.ticked = 0
        self._found(space.first(), -1)
        depth, level = 0, 1
        while self.expanded < len(self.worlds):
            if self.expanded == level:
                depth, level = depth + 1, len(self.worlds)
                self.deepest = max(self.deepest, depth)
            number = self.expanded
            self.expanded += 1
            for passed in space.next(self.worlds[number]):
                if passed.wrong is not None:
                    return passed.wrong, number, passed.world
                self._found(passed.world, number)
        return None

    def _found(self, world: World, parent: int) -> None:
        if world in self.known:
            return
        self.known[world] = len(self.worlds)
        self.worlds.append(world)
        self.parents.append(parent)
        if len(self.worlds) - self.ticked >= _LOOK_EVERY:
            self.ticked = len(self.worlds)
            self._look()

    def _look(self) -> None:
        progress = self.progress()
        if self.on_progress is not None:
            self.on_progress(progress)
        if self.max_memory is not None and progress.memory > self.max_memory:
            raise _Stopped("memory")
        if self.max_states is not None and progress.states > self.max_states:
            raise _Stopped("states")

    def hopeless(self, space: Space) -> int | None:
        """The first situation from which nobody can come to lead without anything going wrong."""
        ways_to: list[list[int]] = [[] for _ in self.worlds]
        hopeful = []
        for number, world in enumerate(self.worlds):
            if space.led(world):
                hopeful.append(number)
                continue
            left = space.left(world)
            for passed in space.next(world):
                if space.left(passed.world) == left:
                    ways_to[self.known[passed.world]].append(number)
        reached = bytearray(len(self.worlds))
        for number in hopeful:
            reached[number] = 1
        while hopeful:
            for number in ways_to[hopeful.pop()]:
                if not reached[number]:
                    reached[number] = 1
                    hopeful.append(number)
        first = reached.find(0)
        return None if first < 0 else first

    def path(self, number: int) -> Iterator[World]:
        """The way to a situation, backwards."""
        while number >= 0:
            yield self.worlds[number]
            number = self.parents[number]


def explore_lease(
    scope: LeaseScope,
    build: MakeCandidate = LeaseCandidate,
    *,
    register: Register = Register(),  # noqa: B008 - a frozen value
    on_progress: OnProgress | None = None,
    max_states: int | None = None,
    max_memory: int | None = None,
) -> LeaseExploration:
    """Try everything in a scope, under every choice of clocks, until something is violated.

    Args:
        scope: what there is, and what may go wrong.
        build: makes the candidates; other than `LeaseCandidate` to try other code.
        register: the empty store; other than `Register` to try another one.
        on_progress: told now and then how far it is.
        max_states: stop beyond so many.
        max_memory: stop when this process has so much, bytes.

    Returns:
        What came of it; a violation has the shortest way there, under its clocks. The
        exploration ends at Ctrl-C with what it has.

    >>> from elector.verification.lease_scope import Budgets
    >>> broken = LeaseScope(drift_ppm=666_667)
    >>> explore_lease(broken).violation.property
    'LeaseDisjoint'
    """
    search = _Search(on_progress, max_states, max_memory)
    properties = LEASE_SAFETY + ((LEASE_LIVENESS,) if scope.liveness else ())
    violation, stopped = None, ""
    try:
        for clocks in scope.clocks():
            space = Space(scope, clocks, build, register)
            violation = _violation(search, space)
            if violation is not None:
                stopped = "violation"
                break
    except _Stopped as reason:
        stopped = str(reason)
    except KeyboardInterrupt:
        stopped = "interrupted"
    return LeaseExploration(scope, properties, search.progress(), stopped, violation)


def _violation(search: _Search, space: Space) -> Violation | None:
    found = search.explore(space)
    if found is not None:
        wrong, number, last = found
        path = [last, *search.path(number)][::-1]
        return told(space, path, wrong)
    if space.scope.liveness:
        hopeless = search.hopeless(space)
        if hopeless is not None:
            wrong = Wrong(LEASE_LIVENESS, "nobody can come to lead, though nothing goes wrong")
            return told(space, [*search.path(hopeless)][::-1], wrong)
    return None


def _memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
