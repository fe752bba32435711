"""A guard in memory: for tests, and for resources that live in one process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from elector.fencing.bar import checked_resource, checked_token, refusal


class MemoryGuard:
    """Remembers the highest token of each resource; safe to share between threads.

    >>> guard = MemoryGuard()
    >>> guard.admit("ledger", 3)
    >>> guard.newest("ledger")
    3
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._newest: dict[str, int] = {}

    def newest(self, resource: str) -> int:
        """The highest token that was let in, 0 before the first."""
        with self._lock:
            return self._newest.get(resource, 0)

    def admit(self, resource: str, token: int) -> None:
        """Let a token in, or refuse it.

        A write that follows is not protected from a newer leader that comes in between;
        `writing` holds check and write together.

        Raises:
            StaleToken: a higher token was let in before.
            ConfigurationError: this is no token, or no name of a resource.
        """
        checked_resource(resource)
        checked_token(token)
        with self._lock:
            newest = self.newest(resource)
            if token < newest:
                raise refusal(resource, token, newest)
            self._newest[resource] = token

    @contextmanager
    def writing(self, resource: str, token: int) -> Iterator[None]:
        """Let a token in and keep everybody else out until the body is done.

        Raises:
            StaleToken: a higher token was let in before; the body is not entered.
            ConfigurationError: this is no token, or no name of a resource.
        """
        with self._lock:
            self.admit(resource, token)
            yield
