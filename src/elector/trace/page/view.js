// The part of time that is shown, the canvases, colours and patterns.

const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ground", "raised", "line", "faint", "muted", "ink", "accent", "belief", "stale",
    "work", "lease", "lease-ink", "bad", "bad-wash", "cut", "cut-wash", "down", "down-ink", "pause",
    "fault", "on-colour", "select"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  patterns.clear();
}

const patterns = new Map();

// Diagonal lines; `slope` 1 or -1, or 0 for both.
function hatch(context, colour, slope = 1, gap = 7) {
  const key = `${colour} ${slope} ${gap}`;
  if (!patterns.has(key)) {
    const ratio = window.devicePixelRatio || 1;
    const tile = document.createElement("canvas");
    const size = Math.round(gap * ratio);
    tile.width = size;
    tile.height = size;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.lineWidth = 1.3 * ratio;
    pen.beginPath();
    for (const shift of [-size, 0, size]) {
      if (slope >= 0) { pen.moveTo(shift, size); pen.lineTo(shift + size, 0); }
      if (slope <= 0) { pen.moveTo(shift, 0); pen.lineTo(shift + size, size); }
    }
    pen.stroke();
    const pattern = context.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(1 / ratio));
    patterns.set(key, pattern);
  }
  return patterns.get(key);
}

const view = {
  from: DATA.window[0],
  to: DATA.window[1],
  width: 800,
  hiddenGroups: new Set(),
  hiddenLanes: new Set(),
  selected: null, // position of a record
  pointer: null, // time under the pointer
  listeners: [],

  least: STEPWISE ? 2 : 1000,
  get margin() { return (DATA.window[1] - DATA.window[0]) * 0.02; },
  x(t) { return ((t - this.from) / (this.to - this.from)) * this.width; },
  t(x) { return this.from + (x / this.width) * (this.to - this.from); },

  show(from, to) {
    const low = DATA.window[0] - this.margin;
    const high = DATA.window[1] + this.margin;
    const span = Math.min(Math.max(to - from, this.least), high - low);
    const middle = (from + to) / 2;
    const begin = Math.min(Math.max(middle - span / 2, low), high - span);
    this.from = begin;
    this.to = begin + span;
    this.changed();
  },
  all() { this.show(DATA.window[0] - this.margin, DATA.window[1] + this.margin); },
  zoom(factor, at = (this.from + this.to) / 2) {
    const span = this.to - this.from;
    const most = DATA.window[1] - DATA.window[0] + 2 * this.margin;
    const wanted = Math.min(Math.max(span * factor, this.least), most);
    const share = (at - this.from) / span;
    this.show(at - share * wanted, at + (1 - share) * wanted);
  },
  move(by) { this.show(this.from + by, this.to + by); },
  reveal(t) {
    const span = this.to - this.from;
    if (t < this.from + span * 0.05) this.show(t - span * 0.25, t + span * 0.75);
    else if (t > this.to - span * 0.05) this.show(t - span * 0.75, t + span * 0.25);
    else this.changed();
  },
  isShown(position) {
    const lane = model.laneOf(model.records[position]);
    return !this.hiddenGroups.has(model.groupAt[position]) && !this.hiddenLanes.has(lane);
  },
  changed() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.listeners.forEach((listener) => listener());
    });
  },
};

// A canvas of the right size for the screen, cleared; in CSS pixels.
function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const font = (size, weight = 400) => `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;

// The visible part of something that lasted, as left edge and width; null if there is none.
function extent(span) {
  if (span.end < view.from || span.begin > view.to) return null;
  const left = Math.max(view.x(span.begin), -4);
  const right = Math.min(view.x(span.end), view.width + 4);
  return { left, width: Math.max(right - left, 1.5) };
}

function ticks() {
  const wanted = ((view.to - view.from) * 110) / Math.max(view.width, 110);
  const power = 10 ** Math.floor(Math.log10(wanted));
  let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
  if (STEPWISE) step = Math.max(1, Math.round(step));
  const found = [];
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) found.push(t);
  const unit = STEPWISE ? ["", 1] : DATA.window[1] >= 2e9 ? ["s", 1e9] : DATA.window[1] >= 2e6 ? ["ms", 1e6] : ["µs", 1e3];
  const decimals = STEPWISE ? 0 : Math.max(0, Math.round(Math.log10(unit[1])) - Math.floor(Math.log10(step) + 1e-9));
  return found
    .filter((t) => t >= DATA.window[0] - 1e-6)
    .map((t) => ({ t, text: STEPWISE ? `${Math.round(t)}` : `${(t / unit[1]).toFixed(decimals)}\u2009${unit[0]}` }));
}

function drawTicks(context, top, bottom, labelled) {
  context.lineWidth = 1;
  context.strokeStyle = colours.line;
  context.fillStyle = colours.muted;
  context.font = font(11.5);
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const { t, text } of ticks()) {
    const x = Math.round(view.x(t)) + 0.5;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
    const half = context.measureText(text).width / 2;
    if (labelled && x > half && x < view.width - half) context.fillText(text, x, top - 11);
  }
}

function drawCursor(context, top, bottom) {
  const line = (t, colour, dash) => {
    const x = Math.round(view.x(t)) + 0.5;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
    context.setLineDash([]);
  };
  if (view.pointer !== null) line(view.pointer, colours.faint, []);
  if (view.selected !== null) line(model.records[view.selected].t, colours.select, [3, 3]);
}

// Text on the ground colour, so that lines behind it do not cross it.
function haloed(context, text, x, y, colour) {
  context.lineWidth = 3.5;
  context.lineJoin = "round";
  context.strokeStyle = colours.ground;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

// As much of a text as fits, or none.
function fitting(context, text, width) {
  if (width < 14) return "";
  if (context.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 3 && context.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return kept.length > 3 ? `${kept}…` : "";
}
