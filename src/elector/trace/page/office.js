// The lease timeline: whose lease the store keeps, who believes to lead, whose work runs.

const office = {
  canvas: document.getElementById("office-canvas"),
  drawn: { spans: [], overlaps: 0, outlived: 0, refused: 0, accepted: 0 },
  HEAD: 22,

  layout() {
    this.rows = [];
    let top = this.HEAD;
    if (model.hasLease) {
      this.rows.push({ lane: STORE, top, height: 34 });
      top += 34;
    }
    const height = model.hasWork ? 54 : 34;
    for (const node of model.nodes.keys()) {
      this.rows.push({ lane: node, top, height });
      top += height;
    }
    this.height = top + 8;
  },
  rowOf(lane) { return this.rows.find((row) => row.lane === lane); },
  // Belief above, work below.
  track(row, side) {
    if (row.lane === STORE) return [row.top + 8, 18];
    return side === "work" ? [row.top + 26, 10] : [row.top + 8, 15];
  },

  draw() {
    const context = prepare(this.canvas, this.height);
    this.drawn = { spans: [], overlaps: 0, outlived: 0, refused: 0, accepted: 0 };
    drawTicks(context, this.HEAD - 2, this.height, false);
    this.drawPauses(context);
    for (const kind of ["lease", "belief", "stale", "work", "stopping"]) this.drawBars(context, kind);
    this.drawOverlaps(context);
    this.drawWrites(context);
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    for (const row of this.rows) {
      context.beginPath();
      context.moveTo(0, row.top + 0.5);
      context.lineTo(view.width, row.top + 0.5);
      context.stroke();
    }
    drawCursor(context, 0, this.height);
  },

  drawPauses(context) {
    for (const span of model.spans) {
      const row = span.kind === "pause" || span.kind === "down" ? this.rowOf(span.lane) : null;
      const place = row && extent(span);
      if (!place) continue;
      context.globalAlpha = 0.6;
      context.fillStyle = span.kind === "down" ? colours.down : hatch(context, colours.faint, 1, 9);
      context.fillRect(place.left, row.top + 2, place.width, row.height - 3);
      context.globalAlpha = 1;
      this.drawn.spans.push([place.left, row.top, place.width, row.height, span]);
    }
  },

  drawBars(context, kind) {
    const faces = {
      lease: [colours.lease, colours["lease-ink"]],
      belief: [colours.belief, colours["on-colour"]],
      stale: [hatch(context, colours.stale, -1, 6), colours.ink],
      work: [colours.work, colours["on-colour"]],
      stopping: [hatch(context, colours.work, 1, 5), colours.ink],
    };
    const [face, ink] = faces[kind];
    context.font = font(11, 500);
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const span of model.spans) {
      if (span.kind !== kind) continue;
      const row = this.rowOf(span.lane);
      const place = row && extent(span);
      if (!place) continue;
      const side = kind === "work" || kind === "stopping" ? "work" : "belief";
      const [y, height] = this.track(row, side);
      context.fillStyle = face;
      context.fillRect(place.left, y, Math.max(place.width - 1, 1), height);
      if (kind === "stale" || kind === "stopping") {
        context.strokeStyle = kind === "stale" ? colours.stale : colours.work;
        context.lineWidth = 1;
        context.strokeRect(place.left + 0.5, y + 0.5, Math.max(place.width - 2, 1), height - 1);
      }
      if (height >= 14 && kind !== "stale") {
        const left = Math.max(place.left, 0) + 6;
        const room = place.left + place.width - left - 5;
        const text = fitting(context, kind === "lease" ? span.label : `token ${span.token}`, room) || fitting(context, String(span.token), room + 2);
        context.fillStyle = ink;
        context.fillText(text, left, y + height / 2 + 0.5);
      }
      this.drawn.spans.push([place.left, y, place.width, height, span]);
    }
  },

  // In red; where both have a right to it across the whole picture, else on the bars alone.
  drawOverlaps(context) {
    context.font = font(11, 600);
    context.textBaseline = "middle";
    this.named = -Infinity;
    for (const span of model.spans) {
      if (span.kind !== "overlap" && span.kind !== "outlived") continue;
      const place = extent(span);
      if (!place) continue;
      const grave = span.kind === "overlap";
      const width = Math.max(place.width, 2);
      if (grave) {
        context.fillStyle = colours["bad-wash"];
        context.fillRect(place.left, this.HEAD - 2, width, this.height);
        context.fillStyle = colours.bad;
        context.fillRect(place.left, this.HEAD - 4, width, 3);
        if (!this.isNamed(span)) this.nameOverlap(context, place, span);
      }
      for (const lane of [span.lane, span.other]) { // the older token first
        const [y, height] = this.track(this.rowOf(lane), span.of);
        this.drawn.spans.push([place.left, y, width, height, span]);
        context.fillStyle = colours.bad;
        if (!grave && lane !== span.lane) {
          context.fillRect(place.left, y + height - 2, width, 2);
          continue;
        }
        if (!grave) {
          context.fillStyle = colours.ground;
          context.fillRect(place.left, y, width, height);
          context.fillStyle = hatch(context, colours.bad, 1, 6);
        }
        context.fillRect(place.left, y, width, height);
        context.strokeStyle = colours.bad;
        context.lineWidth = 1.5;
        context.strokeRect(place.left + 0.5, y + 0.5, Math.max(width - 1, 1), height - 1);
      }
      this.drawn[grave ? "overlaps" : "outlived"] += 1;
    }
  },
  // Work that overlaps while belief does has its name there.
  isNamed(span) {
    const pair = (one) => [one.lane, one.other].sort().join();
    return span.of === "work" && model.spans.some((other) => other.kind === "overlap" && other.of === "belief"
      && pair(other) === pair(span) && other.begin <= span.end && other.end >= span.begin);
  },
  nameOverlap(context, place, span) {
    const text = span.of === "work" ? "two at work" : "two lead";
    const half = context.measureText(text).width / 2;
    const middle = (Math.max(place.left, 0) + Math.min(place.left + place.width, view.width)) / 2;
    context.textAlign = "center";
    if (middle - this.named < 2 * half + 8) return; // they would lie on one another
    this.named = middle;
    haloed(context, text, Math.min(Math.max(middle, half + 2), view.width - half - 2), 9, colours.bad);
  },

  drawWrites(context) {
    const { records } = model;
    const columns = new Map();
    for (let position = firstFrom(records, view.from); position < records.length; position += 1) {
      const record = records[position];
      if (record.t > view.to) break;
      if (record.kind !== "write") continue;
      const row = this.rowOf(record.node);
      const [x, y] = [view.x(record.t), row.top + 44.5];
      if (record.accepted) {
        this.drawn.accepted += 1;
        const column = Math.round(x / 2);
        if (columns.get(record.node) === column) continue;
        columns.set(record.node, column);
        disc(context, x, y, 2.3, colours.work);
      } else {
        this.drawn.refused += 1;
        cross(context, x, y, 4, colours.bad);
      }
    }
  },

  hit(x, y) {
    return hitSpan(this.drawn.spans, x, y);
  },
};
