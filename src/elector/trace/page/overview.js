// The whole trace in a strip, and on it the slider that says which part is shown.

const overview = {
  canvas: document.getElementById("overview-canvas"),
  brush: document.getElementById("brush"),

  draw() {
    const height = 54;
    const context = prepare(this.canvas, height);
    const width = this.canvas.clientWidth;
    context.fillStyle = colours.raised;
    context.fillRect(0, 0, width, height);
    this.drawDensity(context, width, height);
    const leads = model.nodes.length;
    const pitch = Math.min(8, (height - 12) / leads);
    for (const span of model.spans) {
      const [left, right] = [this.x(span.begin, width), this.x(span.end, width)];
      const across = Math.max(right - left, 1);
      if (span.kind === "belief" || span.kind === "stale") {
        context.fillStyle = colours[span.kind];
        context.fillRect(left, 6 + span.lane * pitch, across, Math.max(pitch - 2, 1.5));
      } else if (span.kind === "fault" || span.kind === "pause" || span.kind === "down") {
        context.fillStyle = colours.fault;
        context.globalAlpha = 0.45;
        context.fillRect(left, height - 4, across, 4);
        context.globalAlpha = 1;
      }
    }
    for (const span of model.spans) {
      if (span.kind !== "overlap") continue;
      const left = this.x(span.begin, width);
      const across = Math.max(this.x(span.end, width) - left, 2);
      context.fillStyle = colours["bad-wash"];
      context.fillRect(left, 0, across, height);
      context.fillStyle = colours.bad;
      context.fillRect(left, 0, across, 4);
    }
    for (const verdict of DATA.verdicts) {
      if (verdict.outcome !== "violated" || verdict.at === undefined) continue;
      const record = model.records[model.atNumber.get(verdict.at)];
      if (record) cross(context, this.x(record.t, width), 8, 4, colours.bad);
    }
    this.place();
  },
  drawDensity(context, width, height) {
    if (this.bins === undefined) {
      this.bins = new Uint32Array(300);
      for (const record of model.records) {
        const share = (record.t - DATA.window[0]) / (DATA.window[1] - DATA.window[0]);
        this.bins[Math.min(299, Math.floor(share * 300))] += 1;
      }
    }
    const most = Math.max(...this.bins);
    context.fillStyle = colours.line;
    this.bins.forEach((count, index) => {
      const tall = (height - 12) * Math.sqrt(count / most);
      context.fillRect((index * width) / 300, height - 4 - tall, width / 300 - 0.5, tall);
    });
  },
  x(t, width) { return ((t - DATA.window[0]) / (DATA.window[1] - DATA.window[0])) * width; },

  place() {
    const whole = DATA.window[1] - DATA.window[0];
    const left = Math.max(0, (view.from - DATA.window[0]) / whole);
    const right = Math.min(1, (view.to - DATA.window[0]) / whole);
    this.brush.style.left = `${left * 100}%`;
    this.brush.style.width = `${Math.max(right - left, 0) * 100}%`;
    for (const [id, share] of [["left", left], ["body", (left + right) / 2], ["right", right]]) {
      const handle = document.getElementById(`brush-${id}`);
      handle.setAttribute("aria-valuemax", "1000");
      handle.setAttribute("aria-valuenow", String(Math.round(share * 1000)));
      handle.setAttribute("aria-valuetext", timeText(DATA.window[0] + share * whole));
    }
  },

  // What a slider does: each edge moves alone, the body moves both.
  shift(id, by) {
    if (id === "brush-left") view.show(Math.min(view.from + by, view.to - view.least), view.to);
    else if (id === "brush-right") view.show(view.from, Math.max(view.to + by, view.from + view.least));
    else view.move(by);
  },
  listen() {
    const perPixel = () => (DATA.window[1] - DATA.window[0]) / this.canvas.clientWidth;
    for (const id of ["brush-left", "brush-body", "brush-right"]) {
      const handle = document.getElementById(id);
      handle.addEventListener("pointerdown", (event) => {
        handle.setPointerCapture(event.pointerId);
        event.stopPropagation();
      });
      handle.addEventListener("pointermove", (event) => {
        if (handle.hasPointerCapture(event.pointerId)) this.shift(id, event.movementX * perPixel());
      });
      handle.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
        if (steps === undefined) return;
        this.shift(id, (steps * (view.to - view.from)) / 20);
        event.preventDefault();
        event.stopPropagation();
      });
    }
    this.canvas.addEventListener("pointerdown", (event) => {
      const middle = DATA.window[0] + event.offsetX * perPixel();
      const half = (view.to - view.from) / 2;
      view.show(middle - half, middle + half);
    });
  },
};
