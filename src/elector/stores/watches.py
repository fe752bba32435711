"""Who in this process is to be told of an election: the book that every network store keeps."""

from collections.abc import Awaitable, Callable, Iterator

from elector.core.identity import Candidate
from elector.stores.port import Ask, Change, Notify

Left = Callable[["Watching"], Awaitable[None]]


class Watching:
    """One registration; what `Store.watch` returns.

    Attributes:
        election: its name.
        candidate: who stands, None for an observer.
        notify: is called with the news, on the event loop.
    """

    def __init__(
        self, election: str, notify: Notify, candidate: Candidate | None, left: Left
    ) -> None:
        self.election, self.notify, self.candidate = election, notify, candidate
        self._left: Left | None = left

    async def close(self) -> None:
        """See `elector.stores.port.Watch.close`."""
        left, self._left = self._left, None
        if left is not None:
            await left(self)


class Watches:
    """The registrations of one store, by election."""

    def __init__(self) -> None:
        self._by_election: dict[str, list[Watching]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_election)

    def __iter__(self) -> Iterator[str]:
        """The elections that somebody here watches."""
        return iter(tuple(self._by_election))

    def of(self, election: str) -> tuple[Watching, ...]:
        """The registrations for an election."""
        return tuple(self._by_election.get(election, ()))

    def add(self, watching: Watching) -> bool:
        """Enter a registration; True if it is the first of its election."""
        first = watching.election not in self._by_election
        self._by_election.setdefault(watching.election, []).append(watching)
        return first

    def remove(self, watching: Watching) -> bool:
        """Strike a registration out; True if it was the last of its election."""
        others = [one for one in self.of(watching.election) if one is not watching]
        if others:
            self._by_election[watching.election] = others
            return False
        return self._by_election.pop(watching.election, None) is not None

    def tell(self, change: Change) -> None:
        """Pass a change on to everybody who watches its election."""
        for watching in self.of(change.election):
            watching.notify(change)

    def pass_on(self, ask: Ask, instance: str) -> None:
        """Hand a request to the watch of the holder, if that is one of ours."""
        for watching in self.of(ask.election):
            if watching.candidate is not None and watching.candidate.instance == instance:
                watching.notify(ask)
