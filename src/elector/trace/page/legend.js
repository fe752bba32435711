// How to read the pictures: drawn with the same pens.

function legendEntries() {
  const line = (c, colour, dash, width = 1.2) => {
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.setLineDash(dash);
    c.beginPath();
    c.moveTo(4, 5);
    c.lineTo(44, 17);
    c.stroke();
    c.setLineDash([]);
  };
  const bar = (c, face) => { c.fillStyle = face; c.fillRect(4, 5, 44, 13); };
  const glyph = (kind, record, y = 11) => (c) => GLYPHS[kind].draw(c, 26, y, record, -1);
  return [
    ["a message; rare types are drawn darker than common ones", (c) => { line(c, colours.ink, []); lanes.drawHeads(c, [[4, 5, 44, 17]]); }],
    ["a message or answer that did not arrive", (c) => { line(c, colours.bad, [4, 3]); cross(c, 30, 13, 4, colours.bad, 1.8); }],
    ["an answer of the store", (c) => line(c, colours.muted, [5, 3])],
    ["a step of the protocol; pale if it changed nothing", (c) => disc(c, 26, 11, 2.8, colours.ink)],
    ["a timer that fired", (c) => disc(c, 26, 11, 3.4, colours.ground, colours.ink)],
    ["something became durable", glyph("persist", {})],
    ["leads from here, with its token or term", (c) => { c.fillStyle = colours.belief; c.beginPath(); c.roundRect(17, 2, 18, 18, 9); c.fill(); c.fillStyle = colours["on-colour"]; c.font = font(11, 600); c.textAlign = "center"; c.textBaseline = "middle"; c.fillText("7", 26, 11.5); }],
    ["leads no more", glyph("stepdown", {})],
    ["knows another leader; pale: knows none", (c) => disc(c, 26, 11, 2.6, colours.ground, colours.belief)],
    ["starts", glyph("boot", {})],
    ["crashes", glyph("crash", {})],
    ["stands still", (c) => bar(c, hatch(c, colours.pause))],
    ["is down", (c) => bar(c, colours.down)],
    ["links cut; the label says which", (c) => { bar(c, colours["cut-wash"]); c.fillStyle = colours.cut; c.fillRect(4, 5, 44, 1.5); c.fillRect(4, 16.5, 44, 1.5); }],
    ["a fault, for as long as it lasts", (c) => { c.globalAlpha = 0.16; bar(c, colours.fault); c.globalAlpha = 1; c.fillStyle = colours.fault; c.fillRect(4, 5, 2, 13); }],
    ["a clock changes its rate or jumps", glyph("clock", {})],
    ["an outcome that the candidate cannot know", glyph("answer", { outcome: "unknown" }, 20)],
    ["the store's lease is valid", (c) => bar(c, colours.lease)],
    ["the store lets a lease end", glyph("expire", {})],
    ["believes that it leads, and has a right to", (c) => bar(c, colours.belief)],
    ["still believes it, past its deadline", (c) => bar(c, hatch(c, colours.stale, -1, 6))],
    ["its work runs", (c) => bar(c, colours.work)],
    ["its work was told to stop, and runs", (c) => bar(c, hatch(c, colours.work, 1, 5))],
    ["two at once: a promise is broken", (c) => bar(c, colours.bad)],
    ["a former leader, that does not know it yet, next to a new one", (c) => bar(c, hatch(c, colours.bad, 1, 6))],
    ["a guarded write, accepted", (c) => disc(c, 26, 11, 2.4, colours.work)],
    ["a guarded write, refused", (c) => cross(c, 26, 11, 4, colours.bad)],
  ];
}

function drawLegend() {
  const body = document.getElementById("legend-body");
  if (!document.getElementById("legend").open) return;
  body.replaceChildren();
  for (const [text, draw] of legendEntries()) {
    const canvas = element("canvas", { role: "presentation" });
    body.append(element("div", {}, canvas, element("span", {}, text)));
    const ratio = window.devicePixelRatio || 1;
    canvas.width = 52 * ratio;
    canvas.height = 22 * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    draw(context);
  }
  const keys = element("p", {});
  for (const [pressed, means] of [[["←", "→"], "previous and next event"], [["↑", "↓"], "other lanes"],
    [["+", "−", "0"], "zoom"], [["Shift", "← →"], "move"], [["Esc"], "select nothing"]]) {
    for (const key of pressed) keys.append(element("kbd", {}, key), " ");
    keys.append(`${means}. `);
  }
  keys.append("The wheel zooms, dragging moves, a click selects; the names of lanes switch them off.");
  body.append(keys);
}
