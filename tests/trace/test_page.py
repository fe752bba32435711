"""The page as a file: what is in it, what is not, and what is refused."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from elector.errors import TraceError
from elector.trace import records
from elector.trace.ndjson import read
from elector.trace.page.render import render
from elector.trace.records import Header, Record

EXAMPLES = Path(__file__).parent / "examples"
HOSTILE = "</script><img src=x onerror=alert(1)><!--"


def header(*nodes: str, **other: Any) -> Header:
    return Header(1, "0.1", "simulation", "raft", nodes or ("a", "b"), **other)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def example(name: str) -> str:
    head, told = read(EXAMPLES / f"{name}.ndjson")
    return render(head, told)


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_browser_may_run_what_is_written_here_and_load_nothing() -> None:
    page = example("handover")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert policy
    assert style
    assert script
    assert "default-src 'none'" in policy[1]
    assert f"script-src '{digest(script[1])}'" in policy[1]
    assert f"style-src '{digest(style[1])}'" in policy[1]
    assert "unsafe" not in policy[1]


def test_it_refers_to_nothing_else() -> None:
    page = example("election")
    assert not re.findall(r"https?:|\bsrc=|\bhref=|@import|url\(|\bon\w+=\"", page)
    assert not re.findall(r"\[\[\w+\]\]", page), "a part of the template was forgotten"


def test_a_trace_is_text_whatever_is_in_it() -> None:
    told: list[Record] = [
        records.Boot(1, 0, HOSTILE),
        records.Fault(2, f"{HOSTILE} [[script]] \u2028"),
        records.Step(3, 0, {"type": HOSTILE, HOSTILE: HOSTILE}),
    ]
    head = header(HOSTILE, "b", run={HOSTILE: HOSTILE}, settings={"x": HOSTILE}, void=(HOSTILE,))
    page = render(head, told, [{"name": HOSTILE, "outcome": "violated", "text": HOSTILE}])
    assert "<img" not in page
    assert page.count("</script>") == 2
    data = data_of(page)
    assert data["nodes"][0] == HOSTILE
    assert data["records"][1]["what"] == f"{HOSTILE} [[script]] \u2028"
    assert data["verdicts"][0]["text"] == HOSTILE


def test_a_hostile_protocol_does_not_get_into_the_title() -> None:
    page = render(Header(1, "0", "simulation", HOSTILE, ("a",)), [records.Boot(1, 0)])
    assert "<img" not in page


def test_time_begins_with_the_first_record() -> None:
    told: list[Record] = [records.Boot(100, 0), records.Lead(150, 0, 1, 300), records.End(400)]
    data = data_of(render(header(), told))
    assert [record["t"] for record in data["records"]] == [0, 50, 300]
    assert data["records"][1]["until"] == 200
    assert [(s["begin"], s["end"]) for s in data["spans"] if s["kind"] == "belief"] == [(50, 200)]
    assert (data["end"], data["window"]) == (300, [0, 300])


def test_large_values_are_written_once() -> None:
    after = {"term": 1, "votes": [0, 1]}
    told = [records.Step(t, 0, {"type": "Heard"}, (), after) for t in range(50)]
    data = data_of(render(header(), told))
    assert len(data["values"]) == 2
    assert {data["values"][record["after"]]["term"] for record in data["records"]} == {1}


def test_the_tape_of_a_run_is_left_out() -> None:
    data = data_of(render(header(run={"seed": 7, "tape": {"x": 1}}), [records.Boot(1, 0)]))
    assert data["run"] == {"seed": 7}


# -- a part of a trace -----------------------------------------------------------------------


def story() -> list[Record]:
    return [
        records.Step(0, 0, {"type": "Start"}, (), {"term": 0}),
        records.Lead(10, 0, 1),
        records.Cut(20, 0, 1),
        records.Send(29, 0, 1, 5, {"type": "Heartbeat"}),
        records.Deliver(31, 1, 5),
        records.Step(35, 0, {"type": "Tick"}, (), {"term": 1}),
        records.Send(60, 0, 1, 6, {"type": "Heartbeat"}),
        records.End(90),
    ]


def test_a_part_knows_what_was_before_it() -> None:
    data = data_of(render(header(), story(), since=30, until=50))
    assert [record["i"] for record in data["records"]] == [4, 5]
    assert data["window"] == [30, 50]
    assert data["total"] == 8
    assert data["values"][data["prior"]["0"]] == {"term": 0}
    assert {(span["kind"], span["begin"]) for span in data["spans"]} == {
        ("belief", 10),
        ("cut", 20),
    }
    assert [arrow["begin"] for arrow in data["arrows"]] == [29], "it was under way at the edge"


def test_too_much_is_refused_with_a_way_out() -> None:
    told = [records.Follow(second * 10**9, 0, None, 0) for second in range(100)]
    with pytest.raises(TraceError, match="100 records are too many for one page, which takes 10"):
        render(header(), told, limit=10)
    with pytest.raises(TraceError, match="--from and --until; from 0s it could go until 9s"):
        render(header(), told, limit=10)
    assert len(data_of(render(header(), told, until=9 * 10**9, limit=10))["records"]) == 10


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(TraceError, match="no records"):
        render(header(), [])
    with pytest.raises(TraceError, match="nothing happened in this window: the trace lasts 90ns"):
        render(header(), story(), since=1000)


def test_what_begins_at_the_very_end_is_seen() -> None:
    told: list[Record] = [records.Lead(0, 0, 7, 900), records.Lead(160, 1, 7, 900)]
    data = data_of(render(header(), told))
    assert (data["end"], data["window"]) == (160, [0, 170])
    assert [(s["begin"], s["end"]) for s in data["spans"] if s["kind"] == "overlap"] == [(160, 170)]


def test_one_record_is_enough() -> None:
    assert data_of(render(header(), [records.Boot(5, 0)]))["window"] == [0, 1]
