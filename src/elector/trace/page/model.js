// What the page knows: the trace as it was written into the page, indexed, and put into words.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STORE = -1;
const WORLD = -2;

const model = (() => {
  const { records, values, spans, arrows, nodes } = DATA;
  const atNumber = new Map(records.map((record, position) => [record.i, position]));
  const bySent = new Map();
  const byCame = new Map();
  spans.forEach((span) => { span.label ??= ""; }); // defaults are not written
  arrows.forEach((arrow) => {
    arrow.fate ??= "arrived";
    bySent.set(arrow.sent, arrow);
    if (arrow.came !== undefined) byCame.set(arrow.came, arrow);
  });
  const storeKinds = new Set(["request", "apply", "answer", "expire"]);
  const hasStore = records.some((r) => storeKinds.has(r.kind)) || spans.some((s) => s.lane === STORE);
  const lanes = nodes.map((_, node) => node).concat(hasStore ? [STORE] : []);

  function laneOf(record) {
    if (record.kind === "apply" || record.kind === "expire") return STORE;
    if (record.kind === "calm" || record.kind === "end" || record.kind === "fault") return WORLD;
    return record.node ?? WORLD;
  }

  // What a node knew before each of its steps: the state after the one before.
  const before = new Array(records.length);
  const stepOf = new Array(records.length); // the last step of the same lane, up to here
  {
    const known = new Map(Object.entries(DATA.prior).map(([node, value]) => [Number(node), value]));
    const steps = new Map();
    records.forEach((record, position) => {
      if (record.kind === "step") {
        before[position] = known.get(record.node);
        known.set(record.node, record.after);
        steps.set(record.node, position);
      }
      stepOf[position] = steps.get(laneOf(record));
    });
  }

  function arrowOf(record) {
    return bySent.get(record.i) ?? byCame.get(record.i);
  }

  // -- groups, by which people filter ---------------------------------------------------------

  const GROUPS = {
    step: "steps", persist: "disk", lead: "office", follow: "office", stepdown: "office",
    work: "work", write: "work", request: "requests", apply: "requests", answer: "requests",
  };

  function groupOf(record) {
    if (record.kind === "send" || record.kind === "deliver" || record.kind === "drop") {
      return arrowOf(record)?.label ?? "messages";
    }
    return GROUPS[record.kind] ?? "faults";
  }

  const groupOfArrow = (arrow) => (arrow.kind === "message" ? arrow.label : "requests");

  const groups = new Map();
  const groupAt = records.map((record) => {
    const group = groupOf(record);
    groups.set(group, (groups.get(group) ?? 0) + 1);
    return group;
  });

  // The types of message that make most of the noise are drawn so that the others stand out.
  const counts = new Map();
  arrows.forEach((arrow) => counts.set(arrow.label, (counts.get(arrow.label) ?? 0) + 1));
  const common = new Set();
  if (counts.size > 2 && arrows.length > 40) {
    counts.forEach((count, label) => {
      if (count > arrows.length / 5) common.add(label);
    });
  }

  const latencies = (kind) => arrows
    .filter((arrow) => arrow.kind === kind && arrow.fate === "arrived")
    .map((arrow) => arrow.end - arrow.begin)
    .sort((x, y) => x - y);
  const typical = {};
  for (const kind of ["message", "request", "answer"]) {
    const all = latencies(kind);
    typical[kind] = all.length ? all[all.length >> 1] : (DATA.window[1] - DATA.window[0]) / 60;
  }

  // Where arrows may begin that still reach a given time: arrows are in order of their beginning.
  const latest = new Float64Array(arrows.length);
  arrows.forEach((arrow, index) => {
    latest[index] = Math.max(index ? latest[index - 1] : -Infinity, arrow.end);
  });

  return {
    records, values, spans, arrows, nodes, lanes, hasStore, laneOf, before, stepOf, arrowOf,
    groups, groupAt, groupOfArrow, common, typical, latest, atNumber,
    hasWork: spans.some((span) => span.kind === "work") || records.some((r) => r.kind === "write"),
    hasLease: spans.some((span) => span.kind === "lease"),
  };
})();

function firstFrom(list, time, key = (item) => item.t) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list[middle]) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
