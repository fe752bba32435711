"""What the user sets for one candidate, checked once, before anything runs."""

import os
import re
import secrets
import socket
from collections.abc import Callable
from typing import Literal

import msgspec

from elector.core.duration import parse_duration
from elector.core.identity import Candidate, candidate_name, election_name
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError
from elector.runtime.watchdog import OnOverrun
from elector.stores.registry import StoreUrl, default_url, factory_for, parse_url

OnError = Literal["campaign", "raise"]


class Settings(msgspec.Struct, frozen=True):
    """The settings of one candidate in one election.

    Attributes:
        election: the election's name.
        store: where it is held.
        candidate: the candidate's name; the instance is drawn for each campaign.
        timing: the timing budget.
        on_overrun: what to do with work that has not stopped at the hard deadline.
        progress: a probe of the user's, True while the application makes progress.
        progress_limit_ns: how long the application may leave a question unanswered.
    """

    election: str
    store: StoreUrl
    candidate: str
    timing: LeaseTiming
    on_overrun: OnOverrun = "abort"
    progress: Callable[[], bool] | None = None
    progress_limit_ns: int = 0

    @classmethod
    def of(
        cls,
        election: str,
        *,
        store: str | None = None,
        ttl: str | None = None,
        timing: LeaseTiming | None = None,
        candidate: str | None = None,
        on_overrun: OnOverrun = "abort",
        progress: Callable[[], bool] | None = None,
        progress_limit: str | None = None,
    ) -> "Settings":
        """Check and complete what the user gave; see `elector.Election`.

        Raises:
            ConfigurationError: a setting is wrong; the message says which and why.
        """
        if ttl is not None and timing is not None:
            raise ConfigurationError("give ttl or timing, not both: timing has the ttl in it")
        if not callable(on_overrun) and on_overrun not in {"abort", "warn"}:
            raise ConfigurationError(
                f"on_overrun is {on_overrun!r}; it is 'abort', 'warn' or a function"
            )
        if store is None:  # an empty one is a mistake, and not a wish for another store
            store = os.environ.get("ELECTOR_STORE") or default_url()
        url = parse_url(store)
        factory_for(url.scheme)
        budget = timing or LeaseTiming.of("15s" if ttl is None else ttl)
        limit_ns = budget.ttl_ns
        if progress_limit is not None:
            limit_ns = parse_duration(progress_limit, "progress_limit")
        return cls(
            election=election_name(election),
            store=url,
            candidate=candidate_name(default_candidate() if candidate is None else candidate),
            timing=budget,
            on_overrun=on_overrun,
            progress=progress,
            progress_limit_ns=limit_ns,
        )

    def new_candidate(self) -> Candidate:
        """A candidate of this name; unique even if the name is not."""
        return Candidate(self.candidate, secrets.token_hex(8))


def default_candidate() -> str:
    """A name that tells people where to look, and that no other candidate has."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    return f"{host.strip('._-') or 'host'}-{os.getpid()}-{secrets.token_hex(2)}"
