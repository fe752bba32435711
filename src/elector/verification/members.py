"""Breadth-first exploration of members that elect among themselves.

>>> from elector.verification.scope import Scope
>>> found = explore(Scope(nodes=2, terms=1), reductions=())
>>> found.complete, found.progress.states, found.violation
(True, 17, None)
"""

import time
from collections.abc import Sequence

from elector.errors import ConfigurationError
from elector.protocols.raft import Raft
from elector.verification.cores import Build
from elector.verification.counterexample import Stride, told
from elector.verification.memory import resident
from elector.verification.scope import (
    SAFETY,
    Exploration,
    OnProgress,
    Progress,
    Reduction,
    Scope,
    Violation,
)
from elector.verification.space import Found, Rows, Space

REDUCTIONS: tuple[Reduction, ...] = ("messages", "timers")

_CHUNK = 1 << 13


def explore(
    scope: Scope,
    build: Build = Raft,
    properties: Sequence[str] = SAFETY,
    *,
    reductions: Sequence[Reduction] = REDUCTIONS,
    max_memory: int | None = None,
    max_states: int | None = None,
    on_progress: OnProgress | None = None,
) -> Exploration:
    """Try everything that can happen in a scope, until a property is violated.

    Args:
        scope: how large the world is.
        build: makes a member: `Raft`, or that class with a bug in it.
        properties: which are judged, of `SAFETY`.
        reductions: how states are merged that differ in nothing that matters; none of them
            changes a verdict.
        max_memory: stop when this process is larger, bytes.
        max_states: stop when this many distinct states are known.
        on_progress: told about twice a second.

    Raises:
        ConfigurationError: there is no such property.
    """
    for name in properties:
        if name not in SAFETY:
            raise ConfigurationError(
                f"the explorer judges no property {name!r}; it knows {', '.join(SAFETY)}"
            )
    search = _Search(
        Space(scope, build, tuple(properties), tuple(reductions)),
        max_memory=max_memory,
        max_states=max_states,
        on_progress=on_progress,
    )
    stopped, violation = search.run()
    return Exploration(
        scope=scope,
        properties=tuple(properties),
        reductions=tuple(reductions),
        progress=search.progress(),
        stopped=stopped,
        violation=violation,
    )


class _Search:
    """One breadth-first search: all levels found so far, in the order of discovery.

    What a chunk of a level leads to stands together in the next level, so a predecessor is
    found again by looking through one chunk; no state needs to remember where it came from.
    """

    def __init__(
        self,
        space: Space,
        *,
        max_memory: int | None,
        max_states: int | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.space = space
        self.max_memory = max_memory
        self.max_states = max_states
        self.on_progress = on_progress
        self.began = time.perf_counter()
        self.told_at = self.began
        self.seen = {space.start}
        self.levels = [[space.start]]
        self.ends: list[list[int]] = [[]]  # of each level, where each chunk's successors end
        self.expanded = 0  # of the last level but one
        self.rows = (Rows(space, crashes=False), Rows(space, crashes=True))

    def run(self) -> tuple[str, Violation | None]:
        """Go on until everything is seen or something stops it; why, and what was violated."""
        try:
            while self.levels[-1]:
                frontier = self.levels[-1]
                self.levels.append([])
                self.ends.append([])
                self.expanded = 0
                for begin in range(0, len(frontier), _CHUNK):
                    stop = self._pause()
                    if stop:
                        return stop, None
                    self._expand(frontier[begin : begin + _CHUNK])
                    self.expanded = begin + _CHUNK
                    self.ends[-1].append(len(self.levels[-1]))
        except Found as found:
            self.ends[-1].append(len(self.levels[-1]))
            return "violation", self._violation(found)
        except KeyboardInterrupt:
            return "interrupted", None
        return "", None

    def _expand(self, states: list[int]) -> None:
        expand = _expand_and_drop if self.space.drops else _expand
        expand(states, self.rows, self.space, self.seen, self.levels[-1])

    def _pause(self) -> str:
        if self.max_states is not None and len(self.seen) >= self.max_states:
            return "states"
        if self.max_memory is not None and resident() > self.max_memory:
            return "memory"
        now = time.perf_counter()
        if self.on_progress is not None and now - self.told_at > _TELL_EVERY_S:
            self.told_at = now
            self.on_progress(self.progress())
        return ""

    def progress(self) -> Progress:
        """How far we are."""
        before = self.levels[-2] if len(self.levels) > 1 else []
        return Progress(
            states=len(self.seen),
            depth=len(self.levels) - (1 if self.levels[-1] else 2),
            queue=len(self.levels[-1]) + max(0, len(before) - self.expanded),
            seconds=time.perf_counter() - self.began,
            memory=resident(),
        )

    def _violation(self, found: Found) -> Violation:
        path = [*self._path(found.state), Stride(found.node, found.move)]
        header, records = told(self.space, path, found.broken)
        return Violation(found.broken.property, found.broken.text, len(path), header, records)

    def _path(self, state: int) -> list[Stride]:
        """The moves that led to a state of the last level but one."""
        strides: list[Stride] = []
        for depth in range(len(self.levels) - 2, 0, -1):
            place = self.levels[depth].index(state)
            chunk = next(i for i, end in enumerate(self.ends[depth]) if place < end)
            before = self.levels[depth - 1][chunk * _CHUNK : (chunk + 1) * _CHUNK]
            stride, state = self._predecessor(before, state)
            strides.append(stride)
        return strides[::-1]

    def _predecessor(self, states: list[int], target: int) -> tuple[Stride, int]:
        for state in states:
            for node, move, after in self.space.moves(state):
                if after == target:
                    return Stride(node, move), state
        raise AssertionError("a state that was found cannot be found again")


_TELL_EVERY_S = 0.5


def _expand(
    states: list[int],
    rows: tuple[Rows, Rows],
    space: Space,
    seen: set[int],
    new: list[int],
) -> None:
    """Append the unseen successors of some states: the loop in which all the time goes."""
    last_crash, cores = space.last_crash, space.all_cores
    calm, troubled = rows
    see, append = seen.add, new.append
    state = 0
    try:
        for state in states:
            for mask, table, _ in (troubled if state < last_crash else calm)[state & cores]:
                for change in table[state & mask]:
                    after = state + change
                    if after not in seen:
                        see(after)
                        append(after)
    except Found as found:
        found.state = state
        raise


def _expand_and_drop(
    states: list[int],
    rows: tuple[Rows, Rows],
    space: Space,
    seen: set[int],
    new: list[int],
) -> None:
    """The same, without what is dead."""
    last_crash, cores = space.last_crash, space.all_cores
    calm, troubled = rows
    see, append = seen.add, new.append
    state = 0
    try:
        for state in states:
            for mask, table, others in (troubled if state < last_crash else calm)[state & cores]:
                for change, keeps in table[state & mask]:
                    after = state + change & (others | keeps)
                    if after not in seen:
                        see(after)
                        append(after)
    except Found as found:
        found.state = state
        raise
