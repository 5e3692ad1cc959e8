// The map of a channel over the image, with the token under the pointer.

const MOST_PIXELS = 512;

/** Where tokens are drawn: on the latent grid, or of a text row by row. */
function gridOf(stream) {
  if (stream.height) return { width: stream.width, height: stream.height };
  const width = Math.min(24, stream.tokens);
  return { width, height: Math.ceil(stream.tokens / width) };
}

panel("recording", {
  order: 1,
  build(pane) {
    const { element, heading, body, say, code } = frame("Map");
    element.classList.add("large");
    const canvas = el("canvas.map", { tabindex: 0, role: "application", "aria-roledescription": "map of tokens" });
    const readout = el("p.readout", { "aria-live": "off" });
    const bar = el("canvas.bar", { width: 256, height: 1, "aria-hidden": "true" });
    const ends = [el("span"), el("span"), el("span")];
    const unit = el("p.unit");
    body.append(canvas, readout, el("div.scale", {}, bar, el("div.ends", {}, ...ends)), unit);
    let shown = null;

    canvas.addEventListener("pointermove", (event) => pane.explorer.point(tokenAt(event)));
    canvas.addEventListener("pointerleave", () => pane.explorer.point(null));
    canvas.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
    canvas.addEventListener("blur", () => readout.setAttribute("aria-live", "off"));
    canvas.addEventListener("click", (event) => {
      const token = tokenAt(event);
      pane.explorer.pin(String(token) === pane.explorer.state.get("token") ? null : token);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      const moves = { "[": ["block", -1], "]": ["block", 1], ",": ["step", -1], ".": ["step", 1], p: ["prompt", -1], n: ["prompt", 1] };
      if (dx || dy) {
        const { width, height } = shown.grid, at = pane.explorer.pointed() ?? 0;
        const x = Math.min(width - 1, Math.max(0, (at % width) + dx));
        const y = Math.min(height - 1, Math.max(0, Math.floor(at / width) + dy));
        pane.explorer.pin(y * width + x);
      } else if (event.key === "Escape") pane.explorer.pin(null);
      else if (moves[event.key]) pane.move(...moves[event.key]);
      else return;
      event.preventDefault();
    });

    function tokenAt(event) {
      if (!shown) return null;
      const box = canvas.getBoundingClientRect(), { width, height } = shown.grid;
      const x = Math.floor(((event.clientX - box.left) / box.width) * width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * height);
      return x < 0 || y < 0 || x >= width || y >= height ? null : y * width + x;
    }

    function draw() {
      const { grid, cells, image, opacity } = shown;
      const scale = Math.max(1, Math.round(MOST_PIXELS / Math.max(grid.width, grid.height)));
      canvas.width = grid.width * scale;
      canvas.height = grid.height * scale;
      const context = canvas.getContext("2d");
      if (image) {
        context.imageSmoothingEnabled = image.width > 256;
        context.drawImage(image, 0, 0, canvas.width, canvas.height);
      }
      context.imageSmoothingEnabled = false;
      context.globalAlpha = image ? opacity : 1;
      context.drawImage(cells, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
      const token = pane.explorer.pointed();
      if (token !== null) {
        const x = (token % grid.width) * scale, y = Math.floor(token / grid.width) * scale;
        for (const [colour, inset] of [["#000", 0], ["#fff", 1.5]]) {
          context.strokeStyle = colour;
          context.lineWidth = 1.5;
          context.strokeRect(x + inset, y + inset, scale - 2 * inset, scale - 2 * inset);
        }
      }
    }

    function point(token) {
      if (!shown) return;
      draw();
      const { grid, onGrid, stream, present, what } = shown;
      if (token === null || token >= stream.tokens) readout.textContent = "Point at a token, or move with the arrow keys.";
      else {
        const where = stream.height ? `y ${Math.floor(token / grid.width)}, x ${token % grid.width} (token ${token})` : `token ${token}`;
        readout.textContent = `${where}: ${present[token] ? `${what} ${number(onGrid[token])}` : "not recorded"}`;
      }
    }

    async function update(fresh) {
      const info = pane.info, place = pane.place(), stream = info.streams[place.stream], grid = gridOf(stream);
      const site = info.sites.find((each) => each.stream === place.stream && each.site === place.site);
      if (!site.tokens) {
        shown = null;
        canvas.hidden = true;
        heading.textContent = "Map";
        readout.textContent = unit.textContent = "";
        code("");
        return say("No value for each token is kept here: the ranking is what there is.");
      }
      const norm = pane.value("show") === "norm";
      const asked = norm ? pane.ask("tokens", place) : pane.map();
      const [answer, sample] = await Promise.all([asked, pane.ask("sample", { sample: place.sample })]);
      const channel = answer.channel;
      const sign = norm ? "abs" : pane.value("sign");
      const values = norm ? answer.arrays.norm.data : answer.arrays.values.data;
      const limit = await limitOf(values, norm, site);
      if (!fresh()) return;
      const onGrid = new Float32Array(grid.width * grid.height).fill(NaN), present = new Uint8Array(onGrid.length);
      placesOf(answer).forEach((token, i) => {
        onGrid[token] = values[i];
        present[token] = 1;
      });
      const opacity = pane.value("opacity") / 100;
      const image = stream.height && sample.arrays.image ? pictureOf(sample.arrays.image, opacity > 0) : null;
      const cells = coloured(onGrid, present, grid.width, grid.height, sign, limit);
      const what = norm ? "norm" : sign === "abs" ? `|channel ${channel}|` : `channel ${channel}`;
      const read = sign === "abs" ? onGrid.map(Math.abs) : onGrid;
      shown = { grid, cells, image, stream, present, what, onGrid: read, opacity };
      canvas.hidden = false;
      heading.textContent = norm ? "Norm of each token" : `Channel ${channel}`;
      canvas.setAttribute("aria-label", `Map of ${what}, ${pane.facts()}. Arrow keys move the token, Escape lets go.`);
      drawBar(sign, limit);
      const wrong = values.reduce((n, value) => n + !Number.isFinite(value), 0);
      unit.textContent = `${norm ? "square root of the sum of x² over channels" : "value of the hidden state"}, ${site.dtype}; ${SCALES[pane.value("scale")]} scale`;
      code(answer.code + (sign === "abs" && !norm ? "\nvalues = abs(values)" : ""));
      say(wrong ? `${wrong} values are NaN or infinite (grey).` : "", wrong ? "warning" : "");
      point(pane.explorer.pointed());
    }

    async function limitOf(values, norm, site) {
      const own = largestOf(values);
      if (norm || pane.value("scale") === "own") return own;
      if (!site.statistics) return own;
      const panes = pane.explorer.panes;
      const largest = await Promise.all(
        panes.map(async (each) => {
          const { stream, site, sample } = each.place();
          return (await each.ask("channel_scale", { stream, site, sample, channel: await each.channel() })).largest;
        }),
      );
      return Math.max(...largest.map((value) => value ?? own));
    }

    function drawBar(sign, limit) {
      colourBar(bar, sign);
      const texts = sign === "abs" ? [0, limit / 2, limit] : [-limit, 0, limit];
      ends.forEach((end, i) => (end.textContent = number(texts[i])));
    }

    return { element, update, point };
  },
});
