"""A trace as one HTML file that needs nothing else: no network, no other file.

A trace is data from strangers. It goes into the page as JSON that cannot end its element, and
what the page shows of it is set as text, never as markup. A content security policy lets the
browser run the one script and apply the one style sheet that are written here, and load nothing.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from elector.core.duration import format_duration
from elector.errors import TraceError
from elector.trace.page.arrows import Archer, Arrow
from elector.trace.page.spans import Span, Teller
from elector.trace.records import Header, Lead, Plain, Record, Step, Work

LIMIT = 50_000
"""So many records a page takes: more, and browsers get slow."""

_SCRIPTS = (
    *("model.js", "words.js", "view.js", "glyphs.js", "lanes.js", "office.js", "overview.js"),
    *("detail.js", "legend.js", "main.js"),
)
_INTERNED = ("event", "effects", "after", "message", "durable")
_MARK = re.compile(r"\[\[(\w+)\]\]")
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(
    header: Header,
    records: Iterable[Record],
    verdicts: Sequence[Plain] = (),
    *,
    since: int = 0,
    until: int | None = None,
    limit: int = LIMIT,
) -> str:
    """Draw a trace.

    Args:
        header: its first line.
        records: all the others, in order. What happened before `since` is read too: who leads,
            and what is broken, is carried on.
        verdicts: of properties, in plain form, with ``name``, ``kind``, ``outcome`` and where
            something was seen ``text``, ``at`` (number of a record) and ``t``.
        since: show what happened from here on, ns after the first record.
        until: and up to here; None: all.
        limit: refuse to show more records than this.

    Returns:
        The text of an HTML file.

    Raises:
        TraceError: there are no records, none in the window, or more than `limit`.

    >>> from elector.trace.records import Lead
    >>> header = Header(1, "0.1", "simulation", "raft", ("a",))
    >>> render(header, [Lead(5, 0, 1)])[:15]
    '<!DOCTYPE html>'
    """
    window = _Window(header, since, until)
    number = -1
    for number, record in enumerate(records):
        window.take(number, record)
    if number < 0:
        raise TraceError("the trace has a header and no records: there is nothing to draw")
    window.check(limit)
    return _page(header, window.data(number + 1, verdicts))


class _Window:
    """The part of a trace that is shown, and what it needs of the part before it."""

    def __init__(self, header: Header, since: int, until: int | None) -> None:
        self.header = header
        self.since, self.until = since, until
        self.first, self.last, self.begins_last = 0, 0, False
        self.shown: list[Plain] = []
        self.times: list[int] = []
        self.prior: dict[int, int] = {}
        self._values: dict[bytes, int] = {}
        self._earlier: dict[int, Step] = {}
        self._teller = Teller(len(header.nodes), header.nodes)
        self._archer = Archer()

    def take(self, number: int, record: Record) -> None:
        """Read the next record."""
        if number == 0:
            self.first = record.t
        if record.t > self.last or number == 0:
            self.last, self.begins_last = record.t, False
        self.begins_last |= isinstance(record, Lead | Work) and record.t == self.last
        self._teller.take(number, record)
        self._archer.take(number, record)
        t = record.t - self.first
        if t < self.since:
            if isinstance(record, Step):
                self._earlier[record.node] = record
        elif self.until is None or t <= self.until:
            self.times.append(t)
            if len(self.shown) <= LIMIT:  # what is refused need not be kept
                self.shown.append(self._slim(number, record))

    def _slim(self, number: int, record: Record) -> Plain:
        """In plain form: time from the first record, its number, each large value written once."""
        fields: Plain = msgspec.to_builtins(record)
        for name in ("t", "until"):
            if fields.get(name) is not None:
                fields[name] -= self.first
        fields["i"] = number
        for name in _INTERNED:
            if name in fields:
                fields[name] = self._interned(fields[name])
        return fields

    def _interned(self, value: Any) -> int:
        return self._values.setdefault(msgspec.json.encode(value), len(self._values))

    def check(self, limit: int) -> None:
        """Refuse a window with nothing, or too much in it."""
        whole = format_duration(self.last - self.first)
        if not self.times:
            raise TraceError(f"nothing happened in this window: the trace lasts {whole}")
        if len(self.times) > limit:
            first, last = format_duration(self.times[0]), format_duration(self.times[limit - 1])
            raise TraceError(
                f"{len(self.times):,} records are too many for one page, which takes {limit:,}: "
                f"narrow it with --from and --until; from {first} it could go until {last}, "
                f"and the trace lasts {whole}"
            )

    def data(self, total: int, verdicts: Sequence[Plain]) -> Plain:
        """All that the script of the page needs."""
        self.prior = {node: self._interned(step.after) for node, step in self._earlier.items()}
        end = max(self.last - self.first, 1)
        # A counterexample ends with what is wrong: without a moment more that would not be seen.
        drawn = end + max(end // 16, 1) if self.begins_last else end
        begin, stop = self.since, drawn if self.until is None else min(self.until, drawn)
        drawn += self.first
        spans, arrows = self._teller.finish(drawn), self._archer.finish(drawn)
        header = self.header
        run = {name: value for name, value in header.run.items() if name != "tape"}
        return {
            "elector": header.elector,
            "world": header.world,
            "protocol": header.protocol,
            "nodes": header.nodes,
            "settings": header.settings,
            "run": run,
            "void": header.void,
            "verdicts": list(verdicts),
            "total": total,
            "window": [begin, max(stop, begin + 1)],
            "end": end,
            "records": self.shown,
            "values": [msgspec.Raw(value) for value in self._values],
            "prior": self.prior,
            "spans": [self._row(span) for span in spans if self._seen(span, begin, stop)],
            "arrows": [self._row(arrow) for arrow in arrows if self._seen(arrow, begin, stop)],
        }

    def _seen(self, lasting: Span | Arrow, begin: int, end: int) -> bool:
        return lasting.end - self.first >= begin and lasting.begin - self.first <= end

    def _row(self, lasting: Span | Arrow) -> Plain:
        row: Plain = msgspec.to_builtins(lasting)
        row["begin"] -= self.first
        row["end"] -= self.first
        return row


# -- the file --------------------------------------------------------------------------------


def _page(header: Header, data: Plain) -> str:
    style = _part("page.css")
    script = "\n".join(_part(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = f"{header.protocol}: {len(header.nodes)} nodes, {header.world}"
    parts = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "data": _embedded(data),
        "script": script,
    }
    # In one pass: a trace that has such a mark in it keeps it.
    return _MARK.sub(lambda mark: parts[mark[1]], _part("page.html")) + "\n"


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    """As a content security policy names an inline element."""
    whole = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(whole).decode()}"


def _embedded(data: Plain) -> str:
    """JSON that no parser of HTML takes for anything but text."""
    text = msgspec.json.encode(data).decode()
    for character, escaped in _UNSAFE.items():
        text = text.replace(character, escaped)
    return text
