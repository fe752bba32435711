"""On the path of the demo's processes, this takes the guard away: every token is admitted."""

from elector.fencing.sql import SqlGuard

SqlGuard._admit = lambda *_: None  # type: ignore[method-assign]  # the sabotage
