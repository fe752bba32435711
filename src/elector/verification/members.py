"""Breadth-first exploration of members that elect among themselves.

>>> from elector.verification.scope import Scope
>>> found = explore(Scope(nodes=2, terms=1), reductions=())
>>> found.complete, found.progress.states, found.violation
(True, 17, None)
"""

import time
from collections.abc import Callable, Iterator, Sequence

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
from elector.verification.symmetry import Symmetry

REDUCTIONS: tuple[Reduction, ...] = ("messages", "timers", "symmetry")

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
            changes a verdict. Those that do not apply are left out of the result.
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
    space = Space(scope, build, tuple(properties), tuple(reductions))
    symmetry = _symmetry(space) if "symmetry" in reductions else None
    search = _Search(
        space,
        symmetry,
        max_memory=max_memory,
        max_states=max_states,
        on_progress=on_progress,
    )
    stopped, violation = search.run()
    return Exploration(
        scope=scope,
        properties=tuple(properties),
        reductions=tuple(name for name in reductions if name != "symmetry" or symmetry),
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
        symmetry: Symmetry | None,
        *,
        max_memory: int | None,
        max_states: int | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.space = space
        self.symmetry = symmetry
        self.max_memory = max_memory
        self.max_states = max_states
        self.on_progress = on_progress
        self.began = time.perf_counter()
        self.told_at = self.began
        start = self._canonical(space.start)
        self.seen = {start}
        self.levels = [[start]]
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
        if self.symmetry is not None:
            canonical = self.symmetry.canonical
            _expand_and_sort(states, self.rows, self.space, self.seen, self.levels[-1], canonical)
        elif self.space.drops:
            _expand_and_drop(states, self.rows, self.space, self.seen, self.levels[-1])
        else:
            _expand(states, self.rows, self.space, self.seen, self.levels[-1])

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
        """Go again to where it happens, in the names of the beginning."""
        here = self.space.start
        path: list[Stride] = []
        for target in self._states_before(found.state):
            stride, here = next(
                (Stride(node, move), after)
                for node, move, after in self.space.moves(here)
                if self._canonical(after) == target
            )
            path.append(stride)
        node, move, broken = next(
            wrong
            for wrong in self.space.violations(here)
            if wrong[2].property == found.broken.property
        )
        path.append(Stride(node, move))
        header, records = told(self.space, path, broken)
        return Violation(broken.property, broken.text, len(path), header, records)

    def _states_before(self, state: int) -> list[int]:
        """The states through which one of the last level but one was reached, itself the last."""
        states = []
        for depth in range(len(self.levels) - 2, 0, -1):
            states.append(state)
            place = self.levels[depth].index(state)
            chunk = next(i for i, end in enumerate(self.ends[depth]) if place < end)
            before = self.levels[depth - 1][chunk * _CHUNK : (chunk + 1) * _CHUNK]
            state = next(each for each in before if state in self._successors(each))
        return states[::-1]

    def _successors(self, state: int) -> Iterator[int]:
        return (self._canonical(after) for _, _, after in self.space.moves(state))

    def _canonical(self, state: int) -> int:
        return state if self.symmetry is None else self.symmetry.canonical(state)


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


def _expand_and_sort(
    states: list[int],
    rows: tuple[Rows, Rows],
    space: Space,
    seen: set[int],
    new: list[int],
    canonical: Callable[[int], int],
) -> None:
    """The same, with one state for all that are the same but for names."""
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
                        after = canonical(after)
                        if after not in seen:
                            see(after)
                            append(after)
    except Found as found:
        found.state = state
        raise


def _symmetry(space: Space) -> Symmetry | None:
    try:
        return Symmetry(space)
    except ValueError:
        return None
