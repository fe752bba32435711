// Puts the page together, and answers to pointer and keys.

const byId = (id) => document.getElementById(id);
const tip = byId("tip");

// -- selecting ---------------------------------------------------------------------------------

function select(position, reveal = false) {
  view.selected = position;
  if (position === null) {
    byId("said").textContent = "";
    view.changed();
    return;
  }
  const record = model.records[position];
  byId("said").textContent = `${describe(record)}, ${timeText(record.t)}`;
  if (reveal) view.reveal(record.t);
  else view.changed();
}

function walk(direction) {
  if (view.selected === null) {
    const start = firstFrom(model.records, view.from) - 1;
    const [first] = neighbours(start, 1, 1);
    if (first !== undefined) select(first, true);
    return;
  }
  const [next] = neighbours(view.selected, direction, 1);
  if (next !== undefined) select(next, true);
}

// To the nearest event, in time, of the next lane up or down.
function walkLane(direction) {
  if (view.selected === null) return walk(1);
  const here = model.records[view.selected];
  const shown = model.lanes.filter((lane) => !view.hiddenLanes.has(lane));
  const at = shown.indexOf(model.laneOf(here));
  const lane = shown[Math.min(Math.max(at + direction, 0), shown.length - 1)];
  let best = null;
  model.records.forEach((record, position) => {
    if (model.laneOf(record) !== lane || !view.isShown(position)) return;
    if (best === null || Math.abs(record.t - here.t) < Math.abs(model.records[best].t - here.t)) best = position;
  });
  if (best !== null) select(best, true);
}

function selectHit(hit) {
  if (!hit) return select(null);
  if (hit.position !== undefined) return select(hit.position);
  const number = hit.arrow ? (hit.late ? hit.arrow.came ?? hit.arrow.sent : hit.arrow.sent) : hit.span.record;
  const position = model.atNumber.get(number);
  return position === undefined ? undefined : select(position);
}

// -- the pictures ------------------------------------------------------------------------------

function tellOf(hit) {
  if (hit.position !== undefined) {
    const record = model.records[hit.position];
    const more = hit.here.length > 1 ? `; ${hit.here.length} events here, click again for the next` : "";
    return [describe(record), timeText(record.t) + more];
  }
  if (hit.arrow) {
    const { arrow } = hit;
    const ended = arrow.fate === "arrived" ? durationText(arrow.end - arrow.begin) : arrow.why || arrow.fate;
    return [`${arrow.label}: ${laneName(arrow.source)} → ${laneName(arrow.target)}`, `${timeText(arrow.begin)}, ${ended}`];
  }
  return [describeSpan(hit.span), ""];
}

function listenTo(picture) {
  const { canvas } = picture;
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pressed = { x: event.offsetX, from: view.from, to: view.to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pressed && Math.abs(event.offsetX - pressed.x) > 3) pressed.moved = true;
    if (pressed?.moved) {
      canvas.classList.add("panning");
      const by = ((pressed.x - event.offsetX) / view.width) * (pressed.to - pressed.from);
      view.show(pressed.from + by, pressed.to + by);
    }
    view.pointer = view.t(event.offsetX);
    const hit = pressed?.moved ? null : picture.hit(event.offsetX, event.offsetY);
    tip.hidden = !hit;
    if (hit) {
      const [text, more] = tellOf(hit);
      tip.replaceChildren(text, more ? element("br") : "", element("small", {}, more));
      const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
      const below = event.clientY + 18 + tip.offsetHeight < window.innerHeight;
      tip.style.left = `${Math.max(left, 4)}px`;
      tip.style.top = `${below ? event.clientY + 18 : event.clientY - tip.offsetHeight - 12}px`;
    }
    canvas.style.cursor = hit && !pressed ? "pointer" : "";
    view.changed();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (pressed && !pressed.moved) selectHit(picture.hit(event.offsetX, event.offsetY));
    pressed = null;
    canvas.classList.remove("panning");
  });
  canvas.addEventListener("pointercancel", () => { pressed = null; });
  canvas.addEventListener("pointerleave", () => {
    view.pointer = null;
    tip.hidden = true;
    view.changed();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const scale = event.deltaMode === 1 ? 18 : 1;
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(across) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      view.move((across * scale * (view.to - view.from)) / view.width);
    } else view.zoom(Math.exp(event.deltaY * scale * 0.002), view.t(event.offsetX));
  }, { passive: false });
}

const KEYS = {
  ArrowLeft: () => walk(-1),
  ArrowRight: () => walk(1),
  ArrowUp: () => walkLane(-1),
  ArrowDown: () => walkLane(1),
  Home: () => view.show(DATA.window[0], DATA.window[0] + view.to - view.from),
  End: () => view.show(DATA.window[1] - (view.to - view.from), DATA.window[1]),
  "+": () => view.zoom(0.6),
  "=": () => view.zoom(0.6),
  "-": () => view.zoom(1 / 0.6),
  0: () => view.all(),
  Escape: () => select(null),
};

lanes.canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const aside = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.shiftKey && aside) view.move((aside * (view.to - view.from)) / 5);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

// -- around the pictures -----------------------------------------------------------------------

function drawLabels() {
  const note = (lane) => {
    if (lane === STORE) return "";
    const leads = model.spans.filter((span) => span.lane === lane && span.kind === "belief").length;
    return leads ? `${leads} ${leads === 1 ? "tenure" : "tenures"}` : "";
  };
  byId("lane-labels").replaceChildren(...model.lanes.map((lane) => {
    const button = element("button", { type: "button", "aria-pressed": "true", title: `${laneName(lane)}: show or hide what happens here` },
      element("span", { class: "name" }, laneName(lane)), element("span", { class: "note" }, note(lane)));
    button.addEventListener("click", () => toggle(view.hiddenLanes, lane, button));
    button.style.top = `${lanes.y(lane) - lanes.pitch / 2 + 6}px`;
    button.style.height = `${lanes.pitch - 12}px`;
    return button;
  }));
  byId("lane-labels").style.height = `${lanes.height}px`;
  byId("office-labels").replaceChildren(...office.rows.map((row) => {
    const store = row.lane === STORE;
    const label = element("div", {}, element("span", { class: "name" }, laneName(row.lane)),
      element("span", { class: "note" }, store ? "lease" : model.hasWork ? "belief, work, writes" : ""));
    label.style.top = `${row.top}px`;
    label.style.height = `${row.height}px`;
    return label;
  }));
  byId("office-labels").style.height = `${office.height}px`;
}

function toggle(hidden, what, button) {
  if (hidden.has(what)) hidden.delete(what);
  else hidden.add(what);
  button.setAttribute("aria-pressed", String(!hidden.has(what)));
  view.changed();
}

function drawFilters() {
  const order = [...model.groups.keys()].sort();
  byId("filters").replaceChildren(...order.map((group) => {
    const button = element("button", { type: "button", "aria-pressed": "true", title: `${model.groups.get(group)} records` }, group);
    button.addEventListener("click", () => toggle(view.hiddenGroups, group, button));
    return button;
  }));
}

const SIGNS = { holds: "✓", violated: "✕", "never exercised": "–", "assumption void": "~" };

function drawVerdicts() {
  const outcomes = ["violated", "assumption void", "holds", "never exercised"];
  const by = new Map(outcomes.map((outcome) => [outcome, DATA.verdicts.filter((verdict) => verdict.outcome === outcome)]));
  // What was seen although an assumption was broken on purpose is worth a line of its own too.
  const seen = by.get("assumption void").filter((verdict) => verdict.at !== undefined);
  by.set("assumption void", by.get("assumption void").filter((verdict) => verdict.at === undefined));
  byId("violated").replaceChildren(...by.get("violated").concat(seen).map(violation));
  const others = outcomes.slice(1).filter((outcome) => by.get(outcome).length);
  if (!others.length) return;
  const words = { holds: (n) => `${n} ${n === 1 ? "property holds" : "properties hold"}`, "never exercised": (n) => `${n} never exercised`, "assumption void": (n) => `${n} with a void assumption` };
  const summary = byId("verdicts-summary");
  summary.replaceChildren(...others.map((outcome) => element("span", { class: outcome.split(" ")[0] }, element("i", { "aria-hidden": "true" }, SIGNS[outcome]), ` ${words[outcome](by.get(outcome).length)}`)));
  byId("verdicts-all").replaceChildren(...others.flatMap((outcome) => by.get(outcome)).map((verdict) => element(
    "span", { class: `verdict ${verdict.outcome.split(" ")[0]}`, title: verdict.text || verdict.outcome },
    element("i", { "aria-hidden": "true" }, SIGNS[verdict.outcome]), element("b", {}, verdict.name), verdict.outcome === "holds" ? "" : verdict.outcome)));
  byId("verdicts").hidden = false;
}

function violation(verdict) {
  const position = model.atNumber.get(verdict.at);
  const known = position !== undefined;
  const void_ = verdict.outcome === "assumption void";
  const how = void_ ? "fails" : "is violated";
  const when = known ? ` at ${timeText(model.records[position].t)}` : "";
  const text = `${how}${when}${void_ ? ", as its assumption was broken on purpose" : ""}: ${verdict.text ?? ""}`;
  const chip = element(known ? "button" : "div", { class: `verdict ${void_ ? "breached" : "violated"}` },
    element("i", { "aria-hidden": "true" }, SIGNS[verdict.outcome]), element("b", {}, verdict.name), element("span", {}, text));
  if (known) chip.addEventListener("click", () => { select(position, true); lanes.canvas.focus({ preventScroll: true }); });
  return chip;
}

function drawFacts() {
  byId("title").textContent = `${DATA.protocol}, ${model.nodes.length} ${model.nodes.length === 1 ? "node" : "nodes"}`;
  const seed = DATA.run.seed;
  const facts = [["world", DATA.world]];
  if (seed !== undefined) facts.push(["seed", String(seed)]);
  facts.push([STEPWISE ? "length" : "time", durationText(DATA.end)]);
  const all = DATA.records.length === DATA.total;
  facts.push(["records", all ? DATA.total.toLocaleString("en") : `${DATA.records.length.toLocaleString("en")} of ${DATA.total.toLocaleString("en")}`]);
  if (DATA.void.length) facts.push(["broken on purpose", DATA.void.join(", ")]);
  facts.push(["written by", `elector ${DATA.elector}`]);
  byId("facts").replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  byId("configuration-body").textContent = JSON.stringify({ settings: DATA.settings, run: DATA.run }, null, 2);
  if (!model.hasLease) byId("office").setAttribute("aria-label", "Who leads when");
}

function drawTally() {
  const count = (kind, of) => new Set(model.spans
    .filter((span) => span.kind === kind && span.of === of)
    .map((span) => `${span.lane} ${span.other} ${span.label}`)).size;
  const refused = model.records.filter((record) => record.kind === "write" && !record.accepted).length;
  const dropped = model.arrows.filter((arrow) => arrow.fate === "dropped").length;
  const parts = [[count("overlap", "belief"), "time two lead", "times two lead"], [count("overlap", "work"), "time two work", "times two work"],
    [count("outlived", "belief"), "former leader that did not know it", "former leaders that did not know it"],
    [refused, "write refused", "writes refused"], [dropped, "lost on the way", "lost on the way"]];
  const said = parts.filter(([n]) => n).map(([n, one, more]) => `${n} ${n === 1 ? one : more ?? `${one}s`}`);
  byId("tally").textContent = said.length ? `${said.join(", ")}.` : "No overlap, no write refused, nothing lost.";
}

// -- beginning ---------------------------------------------------------------------------------

// All of a short trace; of a long one the part around the first thing that went wrong.
function firstView() {
  if (model.records.length <= 1500) return view.all();
  const violated = DATA.verdicts.find((verdict) => verdict.outcome === "violated" && model.atNumber.has(verdict.at));
  const red = model.spans.find((span) => span.kind === "overlap") ?? model.spans.find((span) => span.kind === "outlived");
  const lead = model.spans.find((span) => span.kind === "belief");
  const t = violated ? model.records[model.atNumber.get(violated.at)].t : (red ?? lead)?.begin ?? DATA.window[0];
  const position = firstFrom(model.records, t);
  const { records } = model;
  const from = records[Math.max(0, position - 250)].t;
  const to = records[Math.min(records.length - 1, position + 250)].t;
  return view.show(from - (to - from) * 0.04, to);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  readColours();
  drawLegend();
  view.changed();
}

view.listeners.push(() => {
  view.width = lanes.canvas.clientWidth;
  lanes.draw();
  office.draw();
  overview.draw();
  detail.draw();
  byId("range").textContent = `${timeText(Math.max(view.from, DATA.window[0]))} to ${timeText(Math.min(view.to, DATA.window[1]))}`;
});

const dark = window.matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("zoom-in").addEventListener("click", () => view.zoom(0.6));
byId("zoom-out").addEventListener("click", () => view.zoom(1 / 0.6));
byId("zoom-all").addEventListener("click", () => view.all());
byId("legend").addEventListener("toggle", drawLegend);

lanes.layout();
office.layout();
drawFacts();
drawVerdicts();
drawFilters();
drawLabels();
drawTally();
listenTo(lanes);
listenTo(office);
overview.listen();
setTheme(dark.matches ? "dark" : "light");
new ResizeObserver(() => view.changed()).observe(lanes.canvas.parentElement);
firstView();

// For whoever looks behind the page: tests, and the curious.
window.elector = { data: DATA, model, view, lanes, office, select, describe };
