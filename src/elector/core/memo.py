"""Steps that were taken before need not be taken again: `step` is pure.

States are interned, so that a world can name one by a small number, compare two by comparing
numbers, and keep what it derives from a step under a pair of numbers. This works for protocols
that are *timeless*: their state holds no clock value, and the times in their effects are
``at`` plus constants. For them every event is taken at instant 0, and the times in the effects
are read as "from now".

>>> from elector.core.events import Start
>>> from elector.protocols.raft import Raft
>>> from elector.protocols.raft_settings import RaftSettings
>>> memo = Memo(Raft(0, (0, 1, 2), RaftSettings.of("150ms", "300ms")))
>>> first = memo.number(memo.protocol.initial())
>>> memo.step(first, Start(at=0))
(0, (SetTimer(name='election', earliest=150000000, latest=300000000),))
"""

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from elector.core.protocol import Protocol

T = TypeVar("T", bound=Hashable)


class Interned(Generic[T]):
    """Values and their numbers, in the order of their first appearance.

    >>> seen = Interned[str]()
    >>> seen.number("a"), seen.number("b"), seen.number("a"), seen.values
    (0, 1, 0, ['a', 'b'])
    """

    __slots__ = ("_numbers", "values")

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """The number of a value, a new one if it was never seen."""
        known = self._numbers.setdefault(value, len(self.values))
        if known == len(self.values):
            self.values.append(value)
        return known

    def __len__(self) -> int:
        return len(self.values)


class Memo(Generic[T]):
    """One node's states by number, and its steps by state and event.

    Raises:
        ValueError: the protocol is not timeless.
    """

    __slots__ = ("_states", "_taken", "protocol")

    def __init__(self, protocol: Protocol[T, Any, Any]) -> None:
        if not protocol.timeless:
            raise ValueError("the steps of a protocol that keeps clock values cannot be reused")
        self.protocol = protocol
        self._states = Interned[T]()
        self._taken: dict[tuple[int, Hashable], tuple[int, tuple[Any, ...]]] = {}

    def number(self, state: T) -> int:
        """The number of a state."""
        return self._states.number(state)

    def state(self, number: int) -> T:
        """The state of a number."""
        return self._states.values[number]

    def step(self, number: int, event: Any) -> tuple[int, tuple[Any, ...]]:
        """Take an event, dated 0; the effects' times are from now."""
        key = (number, event)
        taken = self._taken.get(key)
        if taken is None:
            state, effects = self.protocol.step(self._states.values[number], event)
            taken = self._taken[key] = (self._states.number(state), effects)
        return taken
