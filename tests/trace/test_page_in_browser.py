"""The page in a real browser: what is drawn, and what pointer and keys do.

The pictures are canvases. What they show is asked of the page itself (``window.elector``, which
tells what the last frame drew and where) and of their pixels.
"""

import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elector.trace import records
from elector.trace.ndjson import read
from elector.trace.page.render import render
from elector.trace.records import Header, Record

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Error, Page, Request

EXAMPLES = Path(__file__).parent / "examples"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and (CHROMIUM is None or find_spec("playwright") is None),
    reason="THE PAGE WAS NOT TESTED: this needs chromium (apt-get install chromium) and playwright",
)


@pytest.fixture(scope="module")
def tab() -> Iterator["Page"]:
    """One for all tests: to open one takes longer than to draw a page in it."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "there is no chromium: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        tab = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
        tab.set_default_timeout(20_000)
        yield tab
        browser.close()


class Seen:
    """A page that was opened, and what its browser said and asked for."""

    def __init__(self, tab: "Page", path: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = tab
        tab.on("console", self._console)
        tab.on("pageerror", self._error)
        tab.on("request", self._request)
        tab.goto(path.as_uri())
        self.settle()

    def _console(self, message: "ConsoleMessage") -> None:
        self.complaints.append(message.text)

    def _error(self, error: "Error") -> None:
        self.complaints.append(str(error))

    def _request(self, request: "Request") -> None:
        self.requests.append(request.url)

    def leave(self) -> None:
        self.page.remove_listener("console", self._console)
        self.page.remove_listener("pageerror", self._error)
        self.page.remove_listener("request", self._request)

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def settle(self) -> None:
        """Let the page draw what it was asked to."""
        frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(f"async () => {{ await {frame}; }}")

    def point(self, canvas: str, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(canvas).bounding_box()
        assert box
        return box["x"] + x, box["y"] + y

    def click(self, canvas: str, x: float, y: float) -> None:
        self.page.mouse.click(*self.point(canvas, x, y))
        self.settle()

    def colours(self, canvas: str, colour: str) -> int:
        """How many pixels have exactly this colour of the style sheet."""
        count: int = self.page.evaluate(
            """([id, name]) => {
                const text = getComputedStyle(document.documentElement).getPropertyValue(name);
                const wanted = [1, 3, 5].map((at) => parseInt(text.trim().slice(at, at + 2), 16));
                const canvas = document.querySelector(id);
                const { data } = canvas.getContext("2d")
                    .getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let at = 0; at < data.length; at += 4) {
                    if (data[at + 3] === 255 && wanted.every((c, i) => c === data[at + i])) count++;
                }
                return count;
            }""",
            [canvas, colour],
        )
        return count


@pytest.fixture
def show(tab: "Page", tmp_path: Path) -> Iterator[Any]:
    opened: list[Seen] = []

    def shown(name: str = "", head: Header | None = None, told: Any = (), **options: Any) -> Seen:
        if name:
            head, told = read(EXAMPLES / f"{name}.ndjson")
        assert head is not None
        path = tmp_path / f"{name or 'page'}.html"
        path.write_text(render(head, told, **options), encoding="utf-8")
        opened.append(Seen(tab, path))
        return opened[-1]

    yield shown
    for seen in opened:
        seen.leave()


LANES, OFFICE = "#lane-canvas", "#office-canvas"


@pytest.mark.parametrize("name", ["handover", "paused-holder", "two-leaders", "election"])
def test_it_asks_for_nothing_and_complains_of_nothing(show: Any, name: str) -> None:
    seen = show(name)
    seen.page.mouse.move(*seen.point(LANES, 300, 80))
    seen.page.locator("#legend summary").click()
    seen.page.locator("#theme").click()
    seen.settle()
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []
    assert len(seen.requests) == 1
    assert seen.ask("elector.lanes.drawn.glyphCount") > 20


def test_the_browser_refuses_to_load_anything(show: Any) -> None:
    seen = show("handover")
    tried = "fetch('https://example.com/').then(() => 'loaded', () => 'refused')"
    assert seen.ask(tried) == "refused"
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_there_is_a_lane_for_each_node_and_for_the_store(show: Any) -> None:
    assert show("handover").page.locator("#lane-labels .name").all_inner_texts() == [
        "web-1",
        "web-2",
        "store",
    ]
    assert show("election").page.locator("#lane-labels .name").all_inner_texts() == [
        "n0",
        "n1",
        "n2",
    ]


def test_names_are_text(show: Any) -> None:
    name = "</script><img src=x onerror='window.hacked=1'>"
    told: list[Record] = [records.Boot(0, 0, name), records.Fault(5, name, 0), records.Boot(9, 1)]
    seen = show(head=Header(1, name, "simulation", name, (name, "b"), void=(name,)), told=told)
    seen.ask("elector.select(1)")
    seen.settle()
    assert seen.page.locator("#lane-labels .name").first.inner_text() == name
    assert name in seen.page.locator("#detail h2").inner_text()
    assert seen.page.locator("img").count() == 0
    assert seen.ask("window.hacked") is None
    assert seen.complaints == []


# -- the pictures ----------------------------------------------------------------------------


def test_two_leaders_are_red(show: Any) -> None:
    seen = show("two-leaders")
    assert seen.ask("elector.office.drawn.overlaps") == 2, "of belief, and of work"
    assert seen.colours(OFFICE, "--bad") > 1000
    assert seen.page.locator("#tally").inner_text().startswith("1 time two lead, 1 time two work")


def test_without_an_overlap_nothing_is_red(show: Any) -> None:
    seen = show("handover")
    assert seen.ask("elector.office.drawn.overlaps + elector.office.drawn.outlived") == 0
    assert seen.colours(OFFICE, "--bad") == seen.colours(LANES, "--bad") == 0


def test_a_pause_is_hatched_and_the_refused_write_is_marked(show: Any) -> None:
    seen = show("paused-holder")
    assert seen.ask("elector.lanes.drawn.hatched") == 1
    assert seen.ask("elector.office.drawn.refused") == 1
    assert seen.ask("elector.office.drawn.outlived") == 2
    assert "1 write refused" in seen.page.locator("#tally").inner_text()


def test_what_did_not_arrive_is_crossed(show: Any) -> None:
    seen = show("election")
    dropped = seen.ask("elector.data.arrows.filter(a => a.fate === 'dropped').length")
    assert dropped == 9
    assert seen.ask("elector.lanes.drawn.crosses") == dropped
    assert seen.colours(LANES, "--bad") > 20
    seen.page.locator("#filters button", has_text="Heartbeat").first.click()
    seen.settle()
    assert seen.ask("elector.lanes.drawn.crosses") == 2, "a vote, and a request for one"


def test_a_partition_is_a_band_on_each_lane(show: Any) -> None:
    assert show("election").ask("elector.lanes.drawn.bands") == 3


# -- looking closer --------------------------------------------------------------------------


def test_a_click_shows_the_state_before_and_after(show: Any) -> None:
    seen = show("election")
    place = "elector.lanes.drawn.glyphs.find(([, , p]) => elector.model.records[p].i === %d)"
    number = seen.ask(
        "elector.model.records.findIndex(r => r.kind === 'lead' && r.token === 1) - 1"
    )
    seen.ask("elector.view.show(200e6, 230e6)")
    seen.settle()
    x, y, _ = seen.ask(place % number)
    seen.click(LANES, x, y)
    rows = seen.page.locator("#detail table.diff tbody tr").all_inner_texts()
    assert "role\tcandidate\tleader" in rows
    assert "votes\t[0]\t[0, 2]" in rows
    assert "n0 takes Vote(term=1, granted=true) from n2" in seen.page.locator("h2").inner_text()
    assert "214" in seen.page.locator("#detail .when").inner_text()


def test_a_click_on_an_arrow_tells_its_way(show: Any) -> None:
    seen = show("election")
    x0, y0, x1, y1, _ = seen.ask(
        "elector.lanes.drawn.arrows.find((a) => a[4].fate === 'dropped' && a[4].label === 'Vote')"
    )
    seen.click(LANES, (x0 + x1) / 2, (y0 + y1) / 2)
    text = seen.page.locator("#detail").inner_text()
    assert "Vote, n1 → n0" in text
    assert "did not arrive" in text
    seen.page.get_by_role("button", name="Go to").click()
    seen.settle()
    assert seen.ask("elector.model.records[elector.view.selected].kind") in {"send", "drop"}


@pytest.mark.parametrize("name", ["handover", "paused-holder", "two-leaders", "election"])
def test_every_event_can_be_told(show: Any, name: str) -> None:
    seen = show(name)
    texts = seen.ask(
        """async () => {
            const texts = [];
            for (const position of elector.model.records.keys()) {
                elector.select(position);
                await new Promise((done) => requestAnimationFrame(() => done()));
                texts.push(document.getElementById("detail").innerText);
            }
            return texts;
        }"""
    )
    assert seen.complaints == []
    assert len(set(texts)) == len(texts) > 30
    assert not [
        text for text in texts if re.search(r"undefined|NaN|\[object|^null$", text, re.MULTILINE)
    ]


def test_the_slider_moves_with_pointer_and_keys(show: Any) -> None:
    seen = show("handover")
    ends = "[elector.view.from, elector.view.to]"
    before = seen.ask(ends)
    box = seen.page.locator("#brush-left").bounding_box()
    seen.page.mouse.move(box["x"] + 4, box["y"] + 25)
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 304, box["y"] + 25, steps=6)
    seen.page.mouse.up()
    seen.settle()
    dragged = seen.ask(ends)
    assert dragged[0] > before[0] + 1e9
    assert dragged[1] == pytest.approx(before[1])
    seen.page.locator("#brush-body").focus()
    seen.page.keyboard.press("ArrowLeft")
    seen.settle()
    moved = seen.ask(ends)
    assert moved[0] < dragged[0]
    assert moved[1] - moved[0] == pytest.approx(dragged[1] - dragged[0])
    seen.page.locator("#brush-right").focus()
    seen.page.keyboard.press("ArrowLeft")
    seen.settle()
    assert seen.ask(ends)[1] < moved[1]
    assert " s" in seen.page.locator("#brush-right").get_attribute("aria-valuetext").replace(
        "\u2009", " "
    )


def test_the_wheel_zooms_where_the_pointer_is_and_dragging_moves(show: Any) -> None:
    seen = show("handover")
    seen.page.mouse.move(*seen.point(LANES, 400, 60))
    held = seen.ask("elector.view.t(400)")
    width = seen.ask("elector.view.to - elector.view.from")
    seen.page.mouse.wheel(0, -400)
    seen.page.wait_for_function(f"elector.view.to - elector.view.from < {width / 1.5}")
    assert seen.ask("elector.view.t(400)") == pytest.approx(held, rel=0.01)
    begin = seen.ask("elector.view.from")
    seen.page.mouse.down()
    seen.page.mouse.move(*seen.point(LANES, 500, 60), steps=5)
    seen.page.mouse.up()
    assert seen.ask("elector.view.from") < begin
    assert seen.ask("elector.view.selected") is None, "a drag is no click"


def test_keys_go_from_event_to_event_and_it_is_said(show: Any) -> None:
    seen = show("handover")
    seen.page.locator(LANES).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
        seen.page.keyboard.press(key)
    assert seen.ask("elector.view.selected") == 2
    seen.page.keyboard.press("ArrowLeft")
    assert seen.ask("elector.view.selected") == 1
    assert seen.page.locator("#said").inner_text().startswith("web-2 starts")
    seen.page.keyboard.press("ArrowDown")
    assert seen.ask("elector.model.records[elector.view.selected].kind") == "apply"
    width = seen.ask("elector.view.to - elector.view.from")
    seen.page.keyboard.press("+")
    assert seen.ask("elector.view.to - elector.view.from") < width
    seen.page.keyboard.press("0")
    assert seen.ask("elector.view.to - elector.view.from") == pytest.approx(width)
    seen.page.keyboard.press("Escape")
    assert seen.ask("elector.view.selected") is None


def test_a_lane_can_be_switched_off(show: Any) -> None:
    seen = show("election")
    arrows = seen.ask("elector.lanes.drawn.arrowCount")
    button = seen.page.locator("#lane-labels button").nth(1)
    button.click()
    seen.settle()
    assert button.get_attribute("aria-pressed") == "false"
    assert 0 < seen.ask("elector.lanes.drawn.arrowCount") < arrows


def test_a_violated_property_leads_to_its_moment(show: Any) -> None:
    verdicts = [
        {"name": "TermUnique", "kind": "always", "outcome": "holds"},
        {"name": "LeaseDisjoint", "kind": "always", "outcome": "violated", "text": "1", "at": 30},
        {"name": "StopBeforeTakeover", "outcome": "assumption void", "text": "2", "at": 31},
        {"name": "FenceMonotone", "outcome": "assumption void", "text": "nothing came of it"},
    ]
    seen = show("two-leaders", verdicts=verdicts)
    seen.page.get_by_role("button", name="LeaseDisjoint").click()
    seen.settle()
    assert seen.ask("elector.model.records[elector.view.selected].i") == 30
    void = seen.page.locator(".verdict.breached").inner_text()
    assert "StopBeforeTakeover" in void
    assert "its assumption was broken on purpose" in void
    assert "1 property holds" in seen.page.locator("#verdicts-summary").inner_text()


def test_light_and_dark(show: Any) -> None:
    seen = show("handover")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert seen.ask(ground) == "rgb(255, 255, 255)"
    assert seen.colours(OFFICE, "--belief") > 500
    seen.page.locator("#theme").click()
    seen.settle()
    assert seen.ask(ground) == "rgb(18, 21, 28)"
    assert seen.colours(OFFICE, "--belief") > 500, "the pictures change with the page"


# -- much, and little ------------------------------------------------------------------------


def crowd(count: int) -> list[Record]:
    told: list[Record] = [records.Lead(0, 0, 1)]
    for number in range(count // 3):
        t, to = 1_000_000 * number, 1 + number % 4
        told.append(records.Send(t, 0, to, number, {"type": "Heartbeat", "term": 1}))
        told.append(records.Deliver(t + 400_000, to, number))
        state = {"term": 1, "leader": 0}
        told.append(records.Step(t + 400_000, to, {"type": "Delivered", "at": t}, (), state))
    return told


def test_twenty_thousand_records_are_a_page_like_any_other(show: Any) -> None:
    nodes = tuple(f"n{number}" for number in range(5))
    seen = show(head=Header(1, "0.1", "simulation", "raft", nodes), told=crowd(20_000))
    assert seen.ask("document.querySelectorAll('*').length") < 300
    assert seen.ask("elector.view.to - elector.view.from") < 1e9, "it begins with a part"
    seen.page.locator("#zoom-all").click()
    seen.settle()
    assert seen.ask("elector.lanes.drawn.arrowCount") == 6666
    glyphs, width = seen.ask("[elector.lanes.drawn.glyphCount, elector.view.width]")
    assert 1000 < glyphs < 5 * width, "at most one for each pixel of a lane"
    seen.ask("elector.select(10000, true)")
    seen.settle()
    assert seen.ask("document.querySelectorAll('*').length") < 400
    assert seen.complaints == []


def test_time_of_the_explorer_is_counted_not_measured(show: Any) -> None:
    told: list[Record] = [records.Boot(0, 0), records.Lead(1, 0, 1), records.Lead(2, 1, 1)]
    seen = show(head=Header(1, "0.1", "verification", "raft", ("a", "b")), told=told)
    assert "2 instants" in seen.page.locator("#facts").inner_text()
    seen.ask("elector.select(1)")
    seen.settle()
    assert "instant 1" in seen.page.locator("#detail .when").inner_text()


def test_one_record_alone_can_be_drawn(show: Any) -> None:
    seen = show(head=Header(1, "0.1", "production", "lease", ("a",)), told=[records.Boot(7, 0)])
    assert seen.complaints == []
    assert seen.ask("elector.lanes.drawn.glyphCount") == 1
