"""The register of stores that are broken on purpose, with the laws that each of them breaks."""

from collections.abc import Callable
from typing import TypeVar

from tests.testing.remote import Remote

Kind = TypeVar("Kind", bound=type[Remote])

BROKEN: dict[type[Remote], tuple[str, ...]] = {}


def breaks(*laws: str) -> Callable[[Kind], Kind]:
    """Enter a store, which each of these laws has to catch."""

    def entered(kind: Kind) -> Kind:
        BROKEN[kind] = laws
        return kind

    return entered
