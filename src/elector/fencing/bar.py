"""What all guards agree on: what a token and a resource are, and how a refusal reads."""

from elector.errors import ConfigurationError, StaleToken

# The widest that a BIGINT holds, and an index key of every common database.
_GREATEST_TOKEN = 2**63 - 1
_LONGEST_RESOURCE = 200


def checked_token(token: int) -> int:
    """Check that this can be a fencing token at all.

    Raises:
        ConfigurationError: it is not a whole number from 1 on; a None or a text that
            slipped in here would otherwise compare in surprising ways.

    >>> checked_token(7)
    7
    """
    if type(token) is not int or not 0 < token <= _GREATEST_TOKEN:  # a bool is no token either
        raise ConfigurationError(
            f"{token!r} is not a fencing token: pass tenure.token, a whole number from 1 on"
        )
    return token


def checked_resource(resource: str) -> str:
    """Check the name under which a resource's highest token is remembered.

    Raises:
        ConfigurationError: it is empty, too long or not printable.

    >>> checked_resource("ledger of 2031")
    'ledger of 2031'
    """
    if not (resource.isprintable() and 0 < len(resource) <= _LONGEST_RESOURCE):
        raise ConfigurationError(
            f"resource {resource!r} cannot be used: 1 to {_LONGEST_RESOURCE} printable characters"
        )
    return resource


def refusal(resource: str, token: int, newest: int) -> StaleToken:
    """The error with which every guard refuses.

    >>> refusal("ledger", 1, 2).newest
    2
    """
    return StaleToken(
        f"refused: {resource!r} has been written under token {newest}, so token {token} belongs "
        "to a leader that was replaced; stop this work and campaign again",
        token=token,
        newest=newest,
    )
