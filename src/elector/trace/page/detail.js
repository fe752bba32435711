// The selected event: what it was, what the node knew before and after, what else happened then.

// An element with text in it: what a trace says is never markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const detail = {
  box: document.getElementById("detail"),

  draw() {
    if (this.shown === view.selected && this.box.childElementCount) return;
    this.shown = view.selected;
    const parts = view.selected === null ? this.nothing() : this.event(view.selected);
    this.box.replaceChildren(...parts.filter((part) => part !== null));
  },

  nothing() {
    return [
      element("h2", {}, "Nothing selected"),
      element("p", { class: "hint" }, "Click an event, an arrow or a bar to see what the node knew before and after it."),
      element("div", { class: "walk" }, this.walkButton("First event", () => walk(1))),
    ];
  },
  walkButton(text, action) {
    return element("button", { type: "button", onclick: action }, text);
  },

  event(position) {
    const record = model.records[position];
    const lane = model.laneOf(record);
    return [
      element("div", { class: "walk" },
        this.walkButton("← Previous", () => walk(-1)),
        this.walkButton("Next →", () => walk(1)),
        this.walkButton("Close", () => select(null))),
      element("h2", {}, describe(record)),
      element("p", { class: "when" }, `${timeText(record.t)}, record ${record.i}`),
      this.facts(record),
      ...this.way(record),
      ...this.stateAround(position, lane),
      element("h3", {}, "Around it"),
      this.near(position),
    ];
  },

  facts(record) {
    const skipped = new Set(["kind", "t", "i", "node", "event", "effects", "after", "message", "durable", "number"]);
    const rows = Object.entries(record).filter(([name]) => !skipped.has(name)).map(([name, value]) => {
      const time = name === "until" && value !== null;
      const lane = (name === "to" || name === "leader" || name === "holder") && value !== null;
      return [name, time ? timeText(value) : lane ? laneName(value) : Array.isArray(value) ? value.map(laneName).join(", ") : String(value)];
    });
    if (record.message !== undefined) rows.push(["message", inline(valueOf(record.message))]);
    return rows.length ? table(rows) : null;
  },

  // From where to where it went.
  way(record) {
    const arrow = model.arrowOf(record);
    if (!arrow) return [];
    const rows = [
      [arrow.kind, `${arrow.label}, ${laneName(arrow.source)} → ${laneName(arrow.target)}`],
      ["left", timeText(arrow.begin)],
    ];
    if (arrow.fate === "arrived") rows.push(["arrived", `${timeText(arrow.end)}, after ${durationText(arrow.end - arrow.begin)}`]);
    else rows.push([arrow.fate === "dropped" ? "did not arrive" : "underway", arrow.why ?? "when the trace ends"]);
    const other = arrow.sent === record.i ? arrow.came : arrow.sent;
    const there = model.atNumber.get(other);
    const link = there === undefined ? null : this.walkButton(arrow.sent === record.i ? "Go to its end" : "Go to where it left", () => select(there, true));
    return [table(rows), link];
  },

  stateAround(position, lane) {
    const record = model.records[position];
    const own = this.stepFor(position, lane);
    if (own === undefined) return [];
    const step = model.records[own];
    const after = valueOf(step.after) ?? {};
    const before = valueOf(model.before[own]);
    const parts = [];
    if (own !== position) {
      const words = step.t === record.t ? "The step that goes with it" : `Last step before, ${timeText(step.t)}`;
      parts.push(element("h3", {}, words), this.walkButton(describe(step), () => select(own, true)));
    }
    parts.push(element("h3", {}, "Event"), element("ul", { class: "effects" }, element("li", {}, inline(valueOf(step.event), ["type"]))));
    const effects = valueOf(step.effects) ?? [];
    if (effects.length) {
      parts.push(element("h3", {}, "Effects, in order"));
      parts.push(element("ul", { class: "effects" }, ...effects.map((effect) => element("li", {}, inline(effect, ["type"])))));
    }
    parts.push(element("h3", {}, `State of ${laneName(lane)}`), ...this.diff(before, after));
    return parts;
  },
  // The step itself; for what came in the step that follows; else the one that led to it.
  stepFor(position, lane) {
    const { records } = model;
    const record = records[position];
    if (["deliver", "answer", "boot"].includes(record.kind)) {
      for (let next = position + 1; next < records.length && records[next].t === record.t; next += 1) {
        if (records[next].kind === "step" && records[next].node === lane) return next;
      }
    }
    return model.stepOf[position];
  },

  diff(before, after) {
    const [old, now] = [flat(before ?? {}), flat(after)];
    const names = [...new Set([...Object.keys(now), ...Object.keys(old)])];
    const changed = names.filter((name) => old[name] !== now[name]);
    const same = names.filter((name) => old[name] === now[name]);
    const head = element("thead", {}, element("tr", {}, ...["", "before", "after"].map((name) => element("th", {}, name))));
    const row = (name) => element("tr", {},
      element("th", {}, name),
      element("td", {}, element("del", {}, old[name] ?? "–")),
      element("td", {}, element("ins", {}, now[name] ?? "–")));
    const parts = changed.length
      ? [element("table", { class: "diff" }, head, element("tbody", {}, ...changed.map(row)))]
      : [element("p", { class: "hint" }, "The step changed nothing.")];
    if (same.length) {
      parts.push(element("details", {}, element("summary", {}, `${same.length} unchanged`), table(same.map((name) => [name, now[name]]))));
    }
    return parts;
  },

  near(position) {
    const list = element("ul", { class: "near" });
    const found = neighbours(position, -1, 5).reverse().concat([position], neighbours(position, 1, 6));
    for (const there of found) {
      const record = model.records[there];
      const away = record.t - model.records[position].t;
      const when = there === position ? "here" : away === 0 ? "same time" : `${away > 0 ? "+" : "−"}${durationText(Math.abs(away))}`;
      list.append(element("li", {}, element("button", {
        type: "button", title: describe(record), "aria-current": String(there === position), onclick: () => select(there, true),
      }, element("span", {}, when), element("span", {}, describe(record)))));
    }
    return list;
  },
};

function table(rows) {
  return element("table", {}, element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, value)))));
}

// Values within values under names with dots.
function flat(value, prefix = "", into = {}) {
  for (const [name, item] of Object.entries(value)) {
    if (item !== null && typeof item === "object" && !Array.isArray(item)) flat(item, `${prefix}${name}.`, into);
    else into[prefix + name] = inline(item);
  }
  return into;
}

function neighbours(position, direction, most) {
  const found = [];
  for (let at = position + direction; at >= 0 && at < model.records.length && found.length < most; at += direction) {
    if (view.isShown(at)) found.push(at);
  }
  return found;
}
