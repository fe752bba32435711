"""Who stands for what: names of elections and candidates.

>>> election_name("nightly-close")
'nightly-close'
"""

import re

import msgspec

from elector.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,199}")


def election_name(text: str) -> str:
    """Check the name of an election.

    The alphabet is the one that every store can carry unquoted, so that an election can
    move from one store to another without being renamed.

    Raises:
        ConfigurationError: the name has a character outside the alphabet.
    """
    return _checked(text, "election name")


def candidate_name(text: str) -> str:
    """Check the name of a candidate; the alphabet is that of elections."""
    return _checked(text, "candidate name")


def _checked(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise ConfigurationError(
            f"{what} {text!r} cannot be used: 1 to 200 letters, digits and . _ : @ + / -, "
            "beginning with a letter or a digit"
        )
    return text


class Candidate(msgspec.Struct, frozen=True):
    """One candidate in one election.

    Attributes:
        name: what people see, unique by the user's choice.
        instance: unique by construction, drawn anew for each candidate object. Two
            candidates that were given one name are still two: stores compare this.
    """

    name: str
    instance: str
