"""Leader election for Python that can be trusted: many replicas, at most one at work.

>>> import asyncio
>>> from elector import Election
>>> async def main():
...     async with Election("nightly-close", store="memory://docs") as election:
...         async for tenure in election.tenures():     # each time we are elected
...             async with tenure:                      # cancelled before anyone else can lead
...                 return f"closing the books under token {tenure.token}"
>>> asyncio.run(main())
'closing the books under token 1'

Importing this package is cheap: what needs an event loop is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from elector.version import __version__

if TYPE_CHECKING:
    from elector.core.office import EndReason, Led, Observation, Unknown, Vacant
    from elector.core.timing import LeaseTiming
    from elector.errors import (
        ConfigurationError,
        ElectorError,
        InvariantViolation,
        LeadershipError,
        LeadershipLost,
        NotLeader,
        OutcomeUnknown,
        StaleToken,
        StoreCorrupt,
        StoreError,
        StoreUnavailable,
        UnsupportedTrait,
    )
    from elector.runtime.blocking import BlockingElection, BlockingTenure
    from elector.runtime.election import Election
    from elector.runtime.guarded import leader_only
    from elector.runtime.tenure import Tenure

_HOMES = {
    "elector.core.office": ("EndReason", "Led", "Observation", "Unknown", "Vacant"),
    "elector.core.timing": ("LeaseTiming",),
    "elector.errors": (
        "ConfigurationError",
        "ElectorError",
        "InvariantViolation",
        "LeadershipError",
        "LeadershipLost",
        "NotLeader",
        "OutcomeUnknown",
        "StaleToken",
        "StoreCorrupt",
        "StoreError",
        "StoreUnavailable",
        "UnsupportedTrait",
    ),
    "elector.runtime.blocking": ("BlockingElection", "BlockingTenure"),
    "elector.runtime.election": ("Election",),
    "elector.runtime.guarded": ("leader_only",),
    "elector.runtime.tenure": ("Tenure",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BlockingElection",
    "BlockingTenure",
    "ConfigurationError",
    "Election",
    "ElectorError",
    "EndReason",
    "InvariantViolation",
    "LeadershipError",
    "LeadershipLost",
    "LeaseTiming",
    "Led",
    "NotLeader",
    "Observation",
    "OutcomeUnknown",
    "StaleToken",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "Tenure",
    "Unknown",
    "UnsupportedTrait",
    "Vacant",
    "__version__",
    "leader_only",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home when it is first asked for."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'elector' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
