"""Every error that Elector raises, in one tree.

::

    ElectorError
      ConfigurationError      the caller's settings cannot be safe; says which number to change
      StoreError
        StoreUnavailable      the operation did not happen
        OutcomeUnknown        the operation may have happened
        StoreCorrupt          what the store holds cannot be trusted; nothing was changed
        UnsupportedTrait      this store cannot do that
      LeadershipError
        NotLeader             asked for something only the leader may do
        LeadershipLost        a tenure ended before its work did; carries the reason
        StaleToken            a guard refused an old fencing token
      TraceError              a file is no trace, or not one that can be used so
      InvariantViolation      our bug: please report it

The difference between `StoreUnavailable` and `OutcomeUnknown` is the whole safety of a
lease: an operation that *may* have happened is neither a success nor a failure.
"""


class ElectorError(Exception):
    """The root: catch it to catch everything that Elector raises."""


class ConfigurationError(ElectorError, ValueError):
    """The caller's settings are wrong or cannot be safe; the message says which to change."""


class StoreError(ElectorError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):  # noqa: N818 - the standard word
    """The store did not carry out the operation: it certainly did not happen."""


class OutcomeUnknown(StoreError):  # noqa: N818 - the standard word
    """The reply was lost: the operation may or may not have happened."""


class StoreCorrupt(StoreError):  # noqa: N818 - the standard word
    """What the store holds is damaged or not ours; Elector refuses to guess a token."""


class UnsupportedTrait(StoreError):  # noqa: N818 - the standard word
    """This kind of store cannot do what was asked; the message names one that can."""


class LeadershipError(ElectorError):
    """Something about holding, or not holding, office."""


class NotLeader(LeadershipError):  # noqa: N818 - the standard word
    """The caller asked for something that only the leader may do."""


class LeadershipLost(LeadershipError):  # noqa: N818 - the standard word
    """A tenure ended before its work did.

    Attributes:
        reason: why, one of the values of `elector.core.office.EndReason`.
    """

    def __init__(self, message: str, reason: str = "lost") -> None:
        super().__init__(message)
        self.reason = reason


class StaleToken(LeadershipError):  # noqa: N818 - the standard word
    """A guard refused a write because a later leader has already written.

    Attributes:
        token: the token that was presented.
        newest: the highest token the guarded resource has accepted.
    """

    def __init__(self, message: str, token: int, newest: int) -> None:
        super().__init__(message)
        self.token = token
        self.newest = newest


class TraceError(ElectorError, ValueError):
    """A file is no trace, is of another version, or cannot be used so; says which line."""


class InvariantViolation(ElectorError):  # noqa: N818 - the standard word
    """Elector contradicted itself: this is our bug, please report it with the log."""
