from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elector.core.identity import Candidate, candidate_name, election_name
from elector.errors import ConfigurationError

each_kind = pytest.mark.parametrize(
    ("check", "what"), [(election_name, "election name"), (candidate_name, "candidate name")]
)


@each_kind
@pytest.mark.parametrize(
    "name", ["n", "nightly-close", "a/b", "web-1@host:80", "9+1_x.y", "x" * 200]
)
def test_good_names_pass(check: Callable[[str], str], what: str, name: str) -> None:
    assert what
    assert check(name) == name


@each_kind
@pytest.mark.parametrize(
    "name", ["", "x" * 201, "-x", ".x", "/x", "a b", "a\n", "a'b", "naïve", "a\\b", "a*", "\0"]
)
def test_other_names_are_refused_in_one_line(
    check: Callable[[str], str], what: str, name: str
) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        check(name)
    assert len(str(caught.value).splitlines()) == 1
    assert repr(name) in str(caught.value)


@given(st.text())
def test_a_name_that_passes_needs_no_quoting(text: str) -> None:
    try:
        name = election_name(text)
    except ConfigurationError:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set(" '\"`$\\*?;&|<>(){}[]#!~%\0\n")


def test_two_candidates_of_one_name_are_two() -> None:
    assert Candidate("web-1", "x1") != Candidate("web-1", "x2")
    assert len({Candidate("web-1", "x1"), Candidate("web-1", "x1")}) == 1
