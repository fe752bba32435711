// The shapes: each kind of record has one of its own, so that colour need not be seen.

function disc(context, x, y, radius, fill, stroke) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  if (fill) { context.fillStyle = fill; context.fill(); }
  if (stroke) { context.strokeStyle = stroke; context.lineWidth = 1.6; context.stroke(); }
}

function shape(context, points, fill) {
  context.fillStyle = fill;
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fill();
}

function cross(context, x, y, size, colour, width = 2.2) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x - size, y + size);
  context.lineTo(x + size, y - size);
  context.stroke();
}

// Each kind has a shape of its own. `lift` is how far from the lane's line; `loud` ones are
// drawn however crowded it is.
const GLYPHS = {
  step: {
    draw: (c, x, y, r, position) => {
      const timer = valueOf(r.event)?.type === "TimerFired";
      if (timer) disc(c, x, y, 3.4, colours.ground, colours.ink);
      else disc(c, x, y, model.before[position] === r.after ? 1.8 : 2.8, model.before[position] === r.after ? colours.faint : colours.ink);
    },
  },
  request: { draw: (c, x, y) => disc(c, x, y, 1.8, colours.muted) },
  answer: {
    draw: (c, x, y, r) => {
      if (r.outcome !== "unknown" && r.outcome !== "failed") return disc(c, x, y, 1.8, colours.muted);
      c.font = font(12, 700);
      c.textAlign = "center";
      c.textBaseline = "middle";
      return haloed(c, "?", x, y - 9, colours.bad);
    },
  },
  apply: { draw: (c, x, y, r) => disc(c, x, y, r.outcome === "granted" ? 5 : 2.6, r.outcome === "granted" ? colours.lease : colours.muted, r.outcome === "granted" ? colours.ground : null) },
  expire: { loud: true, draw: (c, x, y) => shape(c, [[x - 5, y - 6], [x + 5, y - 6], [x - 5, y + 6], [x + 5, y + 6]], colours.ink) },
  persist: { lift: 9, draw: (c, x, y) => { c.fillStyle = colours.muted; c.fillRect(x - 2.5, y - 2.5, 5, 5); } },
  follow: { lift: -9, draw: (c, x, y, r) => disc(c, x, y, 2.6, colours.ground, r.leader === null || r.leader === undefined ? colours.faint : colours.belief) },
  lead: {
    loud: true,
    lift: -15,
    draw: (c, x, y, r, position) => {
      if (!isFirstLead(position)) return disc(c, x, y + 6, 2.6, colours.belief);
      const text = String(r.token);
      c.font = font(11, 600);
      const half = Math.max(9, c.measureText(text).width / 2 + 6);
      c.fillStyle = colours.belief;
      c.beginPath();
      c.roundRect(x - half, y - 9, 2 * half, 18, 9);
      c.fill();
      c.fillStyle = colours["on-colour"];
      c.textAlign = "center";
      c.textBaseline = "middle";
      return c.fillText(text, x, y + 0.5);
    },
  },
  stepdown: {
    loud: true,
    lift: -15,
    draw: (c, x, y) => {
      disc(c, x, y, 6.5, colours.ground, colours.belief);
      c.strokeStyle = colours.belief;
      c.beginPath();
      c.moveTo(x - 4, y + 4);
      c.lineTo(x + 4, y - 4);
      c.stroke();
    },
  },
  boot: { loud: true, draw: (c, x, y) => shape(c, [[x - 5, y + 5], [x + 5, y + 5], [x, y - 5]], colours.ink) },
  crash: { loud: true, draw: (c, x, y) => { cross(c, x, y, 6, colours.ground, 5); cross(c, x, y, 6, colours.ink, 3); } },
  pause: { loud: true, draw: (c, x, y) => { c.fillStyle = colours.ink; c.fillRect(x - 4, y - 6, 3, 12); c.fillRect(x + 1, y - 6, 3, 12); } },
  clock: {
    lift: 15,
    draw: (c, x, y) => {
      disc(c, x, y, 5, colours.ground, colours.fault);
      c.beginPath();
      c.moveTo(x, y - 3);
      c.lineTo(x, y);
      c.lineTo(x + 2.5, y);
      c.stroke();
    },
  },
  work: {
    lift: 15,
    draw: (c, x, y, r) => {
      if (r.what === "began") shape(c, [[x - 3, y - 5], [x - 3, y + 5], [x + 5, y]], colours.work);
      else { c.fillStyle = colours.work; c.fillRect(x - 4, y - 4, 8, 8); if (r.what === "stopping") { c.fillStyle = colours.ground; c.fillRect(x - 2, y - 2, 4, 4); } }
    },
  },
  write: { lift: 15, draw: (c, x, y, r) => (r.accepted ? disc(c, x, y, 2.4, colours.work) : cross(c, x, y, 4, colours.bad)) },
};

// Whether this begins a tenure, and does not merely prolong it.
const firstLeads = new Set();
{
  const last = new Map();
  model.records.forEach((record, position) => {
    if (record.kind === "lead") {
      if (last.get(record.node) !== record.token) firstLeads.add(position);
      last.set(record.node, record.token);
    } else if (record.kind === "stepdown" || record.kind === "crash" || record.kind === "boot") last.delete(record.node);
  });
}
const isFirstLead = (position) => firstLeads.has(position);
