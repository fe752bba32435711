// Records, spans and values in words.

const laneName = (lane) => (lane === STORE ? "store" : lane === WORLD ? "world" : model.nodes[lane] ?? `node ${lane}`);

const STEPWISE = DATA.world === "verification"; // time is logical

function timeText(t) {
  if (STEPWISE) return `instant ${Math.round(t)}`;
  const [whole, decimals] = (Math.round(t) / 1e9).toFixed(9).split(".");
  const kept = decimals.replace(/(000)+$/, "").replace(/(\d{3})(?=\d)/g, "$1\u2009");
  return `${whole}${kept ? `.${kept}` : ""}\u2009s`;
}

function durationText(ns) {
  if (STEPWISE) return `${Math.round(ns)} ${Math.round(ns) === 1 ? "instant" : "instants"}`;
  const round = (value) => Number(value.toPrecision(4)).toString();
  if (Math.abs(ns) >= 1e9) return `${round(ns / 1e9)}\u2009s`;
  if (Math.abs(ns) >= 1e6) return `${round(ns / 1e6)}\u2009ms`;
  if (Math.abs(ns) >= 1e3) return `${round(ns / 1e3)}\u2009µs`;
  return `${Math.round(ns)}\u2009ns`;
}

// A value of the protocol on one line: Type(name=value, …).
function inline(value, skipped = ["type", "at"]) {
  if (Array.isArray(value)) return `[${value.map((item) => inline(item)).join(", ")}]`;
  if (value === null || typeof value !== "object") return String(value);
  const fields = Object.entries(value).filter(([name]) => !skipped.includes(name));
  const inside = fields.map(([name, item]) => `${name}=${inline(item)}`).join(", ");
  return value.type === undefined ? `{${inside}}` : inside ? `${value.type}(${inside})` : value.type;
}

const valueOf = (index) => (index === undefined ? undefined : model.values[index]);

function eventText(event) {
  if (event.type === "Delivered" && event.message) {
    return `${inline(event.message)} from ${laneName(event.source)}`;
  }
  return inline(event);
}

const reach = (record) => `${laneName(record.node)} → ${laneName(record.to)}`;

const WORDS = {
  step: (r) => `takes ${eventText(valueOf(r.event) ?? {})}`,
  send: (r) => `sends ${inline(valueOf(r.message) ?? { type: "a message" })} to ${laneName(r.to)}`,
  deliver: (r) => {
    const arrow = model.arrowOf(r);
    return arrow ? `receives ${arrow.label} from ${laneName(arrow.source)}` : "receives a message";
  },
  drop: (r) => {
    const arrow = model.arrowOf(r);
    return `does not receive ${arrow ? `${arrow.label} from ${laneName(arrow.source)}` : "a message"}: ${r.why}`;
  },
  persist: (r) => `has on disk ${inline(valueOf(r.durable))}`,
  request: (r) => `asks the store to ${r.what}${r.token ? ` token ${r.token}` : ""} (request ${r.op})`,
  apply: (r) => `${r.what} of ${laneName(r.node)}: ${r.outcome}${r.token ? `, token ${r.token}` : ""}`,
  answer: (r) => `hears from the store: ${r.outcome} (request ${r.op})`,
  expire: (r) => `lets the lease of token ${r.token} end: ${r.why ?? "expired"}`,
  boot: (r) => `starts${r.instance ? ` as ${r.instance}` : ""}`,
  crash: () => "crashes",
  pause: (r) => `stands still for ${durationText(r.until - r.t)}`,
  clock: (r) => `clock: ${r.why ?? "drift"}, ${r.ppm > 0 ? "+" : ""}${r.ppm} ppm`,
  cut: (r) => `link cut: ${reach(r)}`,
  heal: (r) => `link mended: ${reach(r)}`,
  fault: (r) => `${r.what}${r.node === undefined || r.node === null ? "" : ` of ${laneName(r.node)}`}`,
  calm: (r) => `faults end; a leader is due within ${durationText(r.within)}`,
  lead: (r) => `leads, token ${r.token}`,
  follow: (r) => (r.leader === null || r.leader === undefined ? "does not know who leads" : `follows ${laneName(r.leader)}, token ${r.token}`),
  stepdown: (r) => `leads no more, token ${r.token}${r.reason ? `: ${r.reason}` : ""}`,
  work: (r) => `work ${{ began: "begins", stopping: "is told to stop", stopped: "has stopped" }[r.what]}, token ${r.token}${r.failed ? " (failed)" : ""}`,
  write: (r) => `write with token ${r.token} is ${r.accepted ? "accepted" : `refused: ${r.newest} is the newest`}`,
  end: () => "the trace ends",
};

function describe(record) {
  const text = (WORDS[record.kind] ?? ((r) => r.kind))(record);
  const lane = model.laneOf(record);
  return lane === WORLD ? text : `${laneName(lane)} ${text}`;
}

const SPAN_WORDS = {
  belief: "leads", stale: "still believes that it leads", work: "works", stopping: "is stopping its work",
  lease: "lease held by", down: "is down", pause: "stands still", cut: "", fault: "",
  overlap: "two at once", outlived: "a former leader next to a new one",
};

function describeSpan(span) {
  const lasted = `${timeText(span.begin)} to ${timeText(span.end)}, ${durationText(span.end - span.begin)}`;
  const words = SPAN_WORDS[span.kind];
  if (span.other !== undefined && span.kind !== "lease") {
    return `${words}: ${laneName(span.lane)} and ${laneName(span.other)} ${span.of === "work" ? "work" : "lead"}, ${span.label} (${lasted})`;
  }
  const label = ["down", "pause"].includes(span.kind) ? "" : span.label;
  const name = span.lane === WORLD || span.kind === "fault" ? "" : laneName(span.lane);
  return `${[name, words, label].filter(Boolean).join(" ")} (${lasted})`;
}
