"""The record of an election in an object store: how one follows from another, and where it is."""

import re
from itertools import pairwise

import msgspec
import pytest

from elector.core.office import EndReason
from elector.errors import ConfigurationError, StoreCorrupt
from elector.stores.objects.record import Office, read, stem_of, written
from elector.stores.objects.url import spot_of
from elector.stores.port import Ask, Grant
from elector.stores.registry import parse_url
from tests.stores.worlds import SECOND_NS, TTL_NS, candidate

A, B = candidate("a"), candidate("b")
DONE = EndReason.COMPLETED


def test_no_two_writes_are_alike_and_each_is_newer() -> None:
    first = Office(election="nightly").acquired(A, TTL_NS)
    chain = [
        first,
        first.renewed(TTL_NS),
        first.renewed(TTL_NS).with_ask(Ask("nightly", 1, "b")),
        first.renewed(TTL_NS).with_ask(Ask("nightly", 1, "b")).released(TTL_NS, DONE, "b"),
    ]
    assert len({written(office) for office in [*chain, first.renewed(TTL_NS)]}) == len(chain) + 1
    assert [office.revision for office in chain] == [1, 2, 3, 4]


def test_only_the_holder_moves_the_pulse() -> None:
    held = Office(election="nightly").acquired(A, TTL_NS)
    assert held.with_ask(Ask("nightly", 1)).pulse == held.pulse
    holders = [held, held.renewed(TTL_NS), held.released(TTL_NS, DONE, None)]
    assert len({office.pulse for office in holders}) == len(holders)


def test_tokens_rise_and_the_last_hundred_tenures_are_remembered() -> None:
    office = Office(election="nightly")
    offices = []
    for _ in range(150):
        office = office.acquired(A, TTL_NS)
        offices.append(office)
        office = office.released(TTL_NS, DONE, None)
    assert all(after.token == before.token + 1 for before, after in pairwise(offices))
    assert [past.token for past in office.history(1000)] == list(range(150, 50, -1))
    assert len(office.history(3)) == 3
    assert len(written(office)) < 16_000


def test_a_tenure_that_nobody_ended_had_expired() -> None:
    office = Office(election="nightly").acquired(A, TTL_NS).acquired(B, TTL_NS)
    newest, before = office.history(2)
    assert (newest.holder, newest.ended, newest.reason) == ("b", None, None)
    assert (before.holder, before.reason) == ("a", "expired")
    assert before.ended is not None


def test_a_holder_is_respected_for_its_own_ttl_and_an_heir_for_a_moment() -> None:
    office = Office(election="nightly")
    assert office.respected_ns(A) == 0
    held = office.acquired(A, TTL_NS)
    assert held.respected_ns(B) == held.respected_ns(None) == TTL_NS
    kept = held.released(TTL_NS, EndReason.TRANSFERRED, "b")
    assert (kept.respected_ns(A), kept.respected_ns(B)) == (5 * SECOND_NS, 0)
    short = held.released(SECOND_NS, EndReason.TRANSFERRED, "b")
    assert short.respected_ns(A) == SECOND_NS
    assert held.released(TTL_NS, DONE, None).respected_ns(A) == 0


def test_the_owner_is_the_instance_with_its_token() -> None:
    held = Office(election="nightly").acquired(A, TTL_NS)
    assert held.held_by(Grant("nightly", A, 1, TTL_NS))
    assert not held.held_by(Grant("nightly", A, 2, TTL_NS))
    assert not held.held_by(Grant("nightly", candidate("a"), 1, TTL_NS))
    vacant = held.released(TTL_NS, DONE, None)
    assert not vacant.held_by(Grant("nightly", A, 1, TTL_NS))


def test_what_is_written_is_read() -> None:
    office = Office(election="x/y").acquired(A, TTL_NS).with_ask(Ask("x/y", 1, "b"))
    assert read(written(office), "here", "x/y") == office


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a record"),
        (b"\xff\xfe", "is not a record"),
        (b"<html>", "is not a record"),
        (b"[1]", "is not a record"),
        (b'{"format": 1}', "is not a record"),
        (b'{"election": "nightly", "token": 3}', "is not a record"),
        (b'{"format": 1, "election": "nightly", "token": -1}', "is not a record"),
        (b'{"format": 2, "election": "nightly"}', "is of format 2"),
        (written(Office(election="daily")), "is the record of election 'daily'"),
    ],
)
def test_a_record_of_something_else_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(StoreCorrupt, match=says) as caught:
        read(data, "p/nightly.json", "nightly")
    assert "\n" not in str(caught.value)


def test_names_of_elections_are_kept_apart_and_short() -> None:
    names = ["a", "A", "a/b", "a%2Fb", "a/", "a.json", "b" * 200, "b" * 199, "/".join("c" * 100)]
    stems = [stem_of(name) for name in names]
    assert len(set(stems)) == len(names)
    assert all(len(stem) <= 200 and "/" not in stem for stem in stems)


@pytest.mark.parametrize(
    ("url", "spot"),
    [
        ("s3://bucket", "s3://bucket/elector"),
        ("s3://bucket/", "s3://bucket/elector"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("az://container/x?account=me", "az://container/x"),
    ],
)
def test_a_prefix_is_elector_unless_the_url_says_otherwise(url: str, spot: str) -> None:
    assert str(spot_of(parse_url(url))) == spot


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key:secret@bucket/p", "names no user"),
        ("s3://bucket/a b", "a prefix has"),
        ("s3://bucket/p?secret_access_key=hunter2", "no option secret_access_key"),
        ("gs://bucket/p?region=x", "no option region"),
        ("s3://bucket/p?endpoint=127.0.0.1:9000", "write endpoint=https"),
        ("s3://bucket/p?endpoint=https://me:hunter2@host", "without a user"),
        ("s3://bucket/p?poll=1ms", "at least 10ms"),
        ("s3://bucket/p?poll=soon", "poll"),
    ],
)
def test_a_url_that_cannot_be_used_says_which_part(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        spot_of(parse_url(url))
    assert "hunter2" not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_a_record_can_be_read_by_people_and_other_programs() -> None:
    office = msgspec.json.decode(written(Office(election="nightly").acquired(A, TTL_NS)))
    assert (office["election"], office["holder"], office["token"]) == ("nightly", "a", 1)
