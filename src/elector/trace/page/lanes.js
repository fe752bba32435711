// The space-time diagram: a lane for each node and one for the store, time to the right.

const ARROW_STYLES = {
  common: { colour: "faint", alpha: 0.95, dash: [], width: 1 },
  message: { colour: "ink", alpha: 0.8, dash: [], width: 1.2 },
  request: { colour: "muted", alpha: 0.9, dash: [], width: 1.2 },
  answer: { colour: "muted", alpha: 0.9, dash: [5, 3], width: 1.2 },
  dropped: { colour: "bad", alpha: 0.9, dash: [4, 3], width: 1.2 },
  underway: { colour: "muted", alpha: 0.7, dash: [2, 3], width: 1.2 },
};

const lanes = {
  canvas: document.getElementById("lane-canvas"),
  drawn: { arrows: [], glyphs: [], spans: [], crosses: 0, hatched: 0, bands: 0, arrowCount: 0, glyphCount: 0 },
  AXIS: 24,
  STRIP: 15,

  layout() {
    this.strips = stack(model.spans.filter((span) => span.kind === "fault"), 3);
    this.strip = this.strips.length * this.STRIP + (this.strips.length ? 5 : 0);
    this.top = this.AXIS + this.strip;
    const count = model.lanes.length;
    this.pitch = count <= 4 ? 78 : count <= 6 ? 66 : count <= 9 ? 52 : 40;
    this.height = this.top + count * this.pitch + 6;
  },
  row(lane) { return model.lanes.indexOf(lane); },
  y(lane) { return this.top + (this.row(lane) + 0.5) * this.pitch; },

  draw() {
    const context = prepare(this.canvas, this.height);
    this.context = context;
    this.drawn = { arrows: [], glyphs: [], spans: [], crosses: 0, hatched: 0, bands: 0, arrowCount: 0, glyphCount: 0 };
    drawTicks(context, this.AXIS, this.height, true);
    this.drawFaults(context);
    this.drawBackgrounds(context);
    this.drawLines(context);
    this.drawArrows(context);
    this.drawGlyphs(context);
    this.drawMoments(context);
    drawCursor(context, this.AXIS, this.height);
  },

  // -- what lasts ------------------------------------------------------------------------------

  drawFaults(context) {
    context.font = font(11);
    context.textBaseline = "middle";
    context.textAlign = "left";
    this.strips.forEach((strip, index) => {
      const y = this.AXIS + 3 + index * this.STRIP;
      for (const span of strip) {
        const place = extent(span);
        if (!place) continue;
        context.fillStyle = colours.fault;
        context.globalAlpha = 0.16;
        context.fillRect(place.left, y, place.width, this.STRIP - 2);
        context.globalAlpha = 1;
        context.fillRect(place.left, y, 2, this.STRIP - 2);
        const record = model.records[model.atNumber.get(span.record)];
        const whose = span.lane === WORLD ? "" : ` ${laneName(span.lane)}`;
        const room = Math.min(this.roomAfter(strip, span), view.width - place.left) - 7;
        const text = fitting(context, `${span.label}${whose}`, Math.max(room, 0));
        context.fillStyle = colours.fault;
        context.fillText(text, Math.max(place.left, 0) + 5, y + this.STRIP / 2 - 0.5);
        this.drawn.spans.push([place.left, y, place.width, this.STRIP, span, record]);
      }
    });
  },
  roomAfter(strip, span) {
    const next = strip[strip.indexOf(span) + 1];
    return (next ? view.x(next.begin) : view.width) - Math.max(view.x(span.begin), 0);
  },

  drawBackgrounds(context) {
    const order = { cut: 0, down: 1, pause: 2 };
    const found = model.spans
      .filter((span) => span.kind in order && this.row(span.lane) >= 0)
      .sort((x, y) => order[x.kind] - order[y.kind]);
    context.textBaseline = "middle";
    context.textAlign = "left";
    for (const span of found) {
      const place = extent(span);
      if (!place) continue;
      const middle = this.y(span.lane);
      const half = this.pitch / 2 - 4;
      if (span.kind === "cut") this.drawCut(context, span, place, middle, half);
      else if (span.kind === "down") this.drawBlock(context, place, middle, half * 0.62, colours.down, "down", colours["down-ink"]);
      else {
        context.fillStyle = hatch(context, colours.pause);
        context.fillRect(place.left, middle - half * 0.62, place.width, half * 1.24);
        this.drawBlock(context, place, middle, half * 0.62, null, "paused", colours.ink);
        this.drawn.hatched += 1;
      }
      this.drawn.spans.push([place.left, middle - half, place.width, 2 * half, span]);
    }
    for (const span of model.spans) {
      if (span.kind !== "overlap") continue;
      const place = extent(span);
      if (!place) continue;
      context.fillStyle = colours["bad-wash"];
      context.fillRect(place.left, this.top, place.width, this.height - this.top);
    }
  },
  drawCut(context, span, place, middle, half) {
    context.fillStyle = colours["cut-wash"];
    context.fillRect(place.left, middle - half, place.width, 2 * half);
    context.fillStyle = colours.cut;
    context.fillRect(place.left, middle - half, place.width, 1.5);
    context.fillRect(place.left, middle + half - 1.5, place.width, 1.5);
    context.font = font(11);
    const left = Math.max(place.left, 0);
    const text = fitting(context, span.label, place.left + place.width - left - 12);
    if (this.pitch > 48) context.fillText(text, left + 6, middle - half + 9);
    this.drawn.bands += 1;
  },
  drawBlock(context, place, middle, half, fill, word, ink) {
    if (fill) {
      context.fillStyle = fill;
      context.fillRect(place.left, middle - half, place.width, 2 * half);
    }
    context.font = font(11);
    const left = Math.max(place.left, 0);
    const width = context.measureText(word).width;
    if (place.left + place.width - left > width + 14) {
      if (fill) {
        context.fillStyle = ink;
        context.fillText(word, left + 7, middle + half - 8);
      } else haloed(context, word, left + 7, middle + half - 8, ink);
    }
  },

  drawLines(context) {
    for (const lane of model.lanes) {
      const y = this.y(lane);
      context.globalAlpha = view.hiddenLanes.has(lane) ? 0.35 : 1;
      context.strokeStyle = lane === STORE ? colours.lease : colours.faint;
      context.lineWidth = lane === STORE ? 1.5 : 1;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(view.width, y);
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const span of model.spans) {
      const kinds = { belief: colours.belief, stale: colours.stale, lease: colours.lease };
      const place = span.kind in kinds && this.row(span.lane) >= 0 ? extent(span) : null;
      if (!place || view.hiddenLanes.has(span.lane)) continue;
      const y = this.y(span.lane);
      context.fillStyle = kinds[span.kind];
      context.fillRect(place.left, y - 2.5, place.width, 5);
      this.drawn.spans.push([place.left, y - 3, place.width, 6, span]);
    }
  },

  // -- what passes -----------------------------------------------------------------------------

  visibleArrows() {
    const found = [];
    const { arrows, latest } = model;
    for (let index = firstFrom(latest, view.from, (t) => t); index < arrows.length; index += 1) {
      const arrow = arrows[index];
      if (arrow.begin > view.to) break;
      if (arrow.end < view.from || view.hiddenGroups.has(model.groupOfArrow(arrow))) continue;
      if (view.hiddenLanes.has(arrow.source) || view.hiddenLanes.has(arrow.target)) continue;
      if (this.row(arrow.source) < 0 || this.row(arrow.target) < 0) continue;
      found.push(arrow);
    }
    return found;
  },

  // Where it ends on the screen: one that did not arrive stops on its way.
  course(arrow) {
    const from = [view.x(arrow.begin), this.y(arrow.source)];
    const lasted = arrow.end - arrow.begin;
    if (arrow.fate === "arrived") return [...from, view.x(arrow.end), this.y(arrow.target)];
    const known = arrow.kind === "message" && arrow.fate === "dropped" && lasted > 0;
    const time = known ? lasted : Math.min(model.typical[arrow.kind], lasted || Infinity);
    const share = 0.55;
    const [x, y] = from;
    return [x, y, x + (view.x(arrow.begin + time) - x) * share, y + (this.y(arrow.target) - y) * share];
  },

  drawArrows(context) {
    const visible = this.visibleArrows();
    this.drawn.arrowCount = visible.length;
    const crowd = Math.min(1, Math.max(0.1, Math.sqrt(90 / visible.length)));
    const heads = visible.length < 1200;
    const labels = visible.length < 140;
    const batches = new Map();
    for (const arrow of visible) {
      const course = this.course(arrow);
      const style = this.styleOf(arrow);
      if (!batches.has(style)) batches.set(style, []);
      batches.get(style).push(course);
      if (visible.length < 4000) this.drawn.arrows.push([...course, arrow]);
    }
    for (const [style, courses] of batches) {
      const { colour, alpha, dash, width } = ARROW_STYLES[style];
      context.strokeStyle = colours[colour];
      context.fillStyle = colours[colour];
      context.globalAlpha = Math.max(0.08, alpha * (style === "common" || style === "request" ? crowd : Math.sqrt(crowd)));
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      for (const [x0, y0, x1, y1] of courses) {
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      }
      context.stroke();
      context.setLineDash([]);
      if (style === "dropped") this.drawCrosses(context, courses);
      else if (heads && style !== "underway") this.drawHeads(context, courses);
    }
    context.globalAlpha = 1;
    if (labels) this.drawLabels(context, visible);
  },
  styleOf(arrow) {
    if (arrow.fate !== "arrived") return arrow.fate;
    if (arrow.kind !== "message") return arrow.kind;
    return model.common.has(arrow.label) ? "common" : "message";
  },
  drawHeads(context, courses) {
    context.beginPath();
    for (const [x0, y0, x1, y1] of courses) {
      const angle = Math.atan2(y1 - y0, x1 - x0);
      context.moveTo(x1, y1);
      context.lineTo(x1 - 8 * Math.cos(angle - 0.33), y1 - 8 * Math.sin(angle - 0.33));
      context.lineTo(x1 - 8 * Math.cos(angle + 0.33), y1 - 8 * Math.sin(angle + 0.33));
      context.closePath();
    }
    context.fill();
  },
  drawCrosses(context, courses) {
    const many = courses.length > 150;
    const size = many ? 2.5 : 4;
    context.globalAlpha = many ? 0.6 : 1;
    context.lineWidth = many ? 1.2 : 1.8;
    context.beginPath();
    for (const [, , x, y] of courses) {
      context.moveTo(x - size, y - size);
      context.lineTo(x + size, y + size);
      context.moveTo(x - size, y + size);
      context.lineTo(x + size, y - size);
    }
    context.stroke();
    this.drawn.crosses += courses.length;
  },
  drawLabels(context, visible) {
    context.font = font(11);
    context.textAlign = "center";
    context.textBaseline = "middle";
    const taken = [];
    const rarest = visible.filter((arrow) => !model.common.has(arrow.label));
    const usual = visible.length < 24 ? visible.filter((arrow) => model.common.has(arrow.label)) : [];
    for (const arrow of rarest.concat(usual)) {
      const [x0, y0, x1, y1] = this.course(arrow);
      const length = Math.hypot(x1 - x0, y1 - y0);
      const width = context.measureText(arrow.label).width;
      if (width + 22 > length || Math.abs(x1 - x0) < Math.abs(y1 - y0) / 4) continue; // too steep to be read
      const [x, y] = [x0 + (x1 - x0) * 0.42, y0 + (y1 - y0) * 0.42];
      if (taken.some(([tx, ty, tw]) => Math.abs(tx - x) < (tw + width) / 2 + 4 && Math.abs(ty - y) < 15)) continue;
      taken.push([x, y, width]);
      const angle = Math.atan2(y1 - y0, x1 - x0);
      context.save();
      context.translate(x, y);
      context.rotate(Math.abs(angle) > Math.PI / 2 ? angle + Math.PI : angle);
      haloed(context, arrow.label, 0, 0, arrow.fate === "dropped" ? colours.bad : colours.ink);
      context.restore();
    }
  },

  // -- what happens at an instant --------------------------------------------------------------

  drawGlyphs(context) {
    const { records } = model;
    const begin = firstFrom(records, view.from);
    const end = firstFrom(records, view.to + 1);
    const crowded = end - begin > 4000;
    const last = new Map();
    for (let position = begin; position < end; position += 1) {
      const record = records[position];
      const glyph = GLYPHS[record.kind];
      const lane = model.laneOf(record);
      if (!glyph || this.row(lane) < 0 || !view.isShown(position)) continue;
      const x = view.x(record.t);
      if (crowded && !glyph.loud) {
        // So many that they touch: one for each pixel of a lane is enough.
        const column = Math.round(x);
        if (last.get(lane) === column) continue;
        last.set(lane, column);
      }
      const y = this.y(lane) + (glyph.lift ?? 0);
      if (crowded && !glyph.loud) {
        context.fillStyle = colours.muted;
        context.globalAlpha = 0.3;
        context.fillRect(x - 0.5, this.y(lane) - 6, 1, 12);
        context.globalAlpha = 1;
      } else glyph.draw(context, x, y, record, position);
      this.drawn.glyphCount += 1;
      if (this.drawn.glyphs.length < 6000) this.drawn.glyphs.push([x, y, position]);
    }
    if (view.selected !== null) {
      const record = records[view.selected];
      const lane = model.laneOf(record);
      if (this.row(lane) >= 0) {
        context.strokeStyle = colours.select;
        context.lineWidth = 2;
        context.beginPath();
        context.arc(view.x(record.t), this.y(lane) + (GLYPHS[record.kind]?.lift ?? 0), 11, 0, 7);
        context.stroke();
      }
    }
  },

  // Moments of the whole world: the calm that follows the faults, and the end.
  drawMoments(context) {
    let named = -Infinity;
    for (const record of model.records) {
      if (record.kind !== "calm" && record.kind !== "end") continue;
      const x = Math.round(view.x(record.t)) + 0.5;
      if (x < 0 || x > view.width) continue;
      context.strokeStyle = colours.muted;
      context.lineWidth = 1;
      context.setLineDash(record.kind === "calm" ? [6, 4] : []);
      context.beginPath();
      context.moveTo(x, this.AXIS);
      context.lineTo(x, this.height);
      context.stroke();
      context.setLineDash([]);
      context.font = font(11);
      context.textAlign = x > view.width - 70 ? "right" : "left";
      context.textBaseline = "middle";
      const word = record.kind === "calm" ? "faults end" : "end";
      if (Math.abs(x - named) < 100) continue;
      named = x;
      haloed(context, word, x + (x > view.width - 70 ? -4 : 4), this.height - 8, colours.muted);
    }
  },

  // -- what is under the pointer ---------------------------------------------------------------

  hit(x, y) {
    const near = this.drawn.glyphs
      .map(([gx, gy, position]) => ({ position, away: Math.hypot(gx - x, (gy - y) * 0.8) }))
      .filter(({ away }) => away <= 9);
    if (near.length) {
      const least = Math.min(...near.map(({ away }) => away));
      const here = near.filter(({ away }) => away <= least + 1.5).map(({ position }) => position);
      return { position: this.pick(here), here };
    }
    let best = null;
    let distance = 5;
    for (const [x0, y0, x1, y1, arrow] of this.drawn.arrows) {
      const away = fromSegment(x, y, x0, y0, x1, y1);
      if (away < distance) { best = { arrow, late: Math.abs(y - y1) < Math.abs(y - y0) }; distance = away; }
    }
    return best ?? hitSpan(this.drawn.spans, x, y);
  },
  // Of several in one place one that changed something; another click takes the next.
  pick(here) {
    const at = here.indexOf(view.selected);
    if (at >= 0) return here[(at + here.length - 1) % here.length];
    const { records, before } = model;
    const idle = (position) => records[position].kind === "step" && before[position] === records[position].after;
    return here.findLast((position) => !idle(position)) ?? here[here.length - 1];
  },
};

function hitSpan(spans, x, y) {
  for (let index = spans.length - 1; index >= 0; index -= 1) {
    const [left, top, width, height, span] = spans[index];
    if (x >= left - 1 && x <= left + width + 1 && y >= top && y <= top + height) return { span };
  }
  return null;
}

function fromSegment(x, y, x0, y0, x1, y1) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const square = dx * dx + dy * dy;
  const share = square ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / square)) : 0;
  return Math.hypot(x - x0 - share * dx, y - y0 - share * dy);
}

// Spans in rows, so that those in one row do not overlap while there are rows left.
function stack(spans, most) {
  const rows = [];
  for (const span of spans) {
    let row = rows.find((candidate) => candidate[candidate.length - 1].end <= span.begin);
    if (!row && rows.length < most) rows.push((row = []));
    (row ?? rows[rows.length - 1]).push(span);
  }
  return rows;
}
