// What the edits did, by the chosen metric: means with intervals at this cell, and one edit over the grid.

panel("comparison", {
  order: 2,
  side: "numbers",
  build(pane) {
    const { element, heading, body, say, code } = frame("Scores");
    const rows = el("tbody");
    const table = el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["edit", "mean effect", "95 % interval", "", "this image", "energy removed"].map((text, i) => el(i > 0 && i !== 3 ? "th.n" : "th", { scope: "col" }, text)))),
      rows,
    );
    const unit = el("p.unit");
    body.append(el("div.scroll", { tabindex: 0, role: "region", "aria-label": "Effects of the edits" }, table), unit);

    async function update(fresh) {
      const run = pane.run(), metric = pane.value("metric"), info = pane.info, about = info.metrics[metric];
      const [answer, own] = await Promise.all([pane.ask("scores", { cell: run.cell, metric, edit: run.edit }), pane.ask("edited", run)]);
      if (!fresh()) return;
      heading.textContent = about.label;
      const ends = [...answer.low, ...answer.high, ...answer.simultaneous_low, ...answer.simultaneous_high, 0].filter((value) => value !== null);
      const from = Math.min(...ends), to = Math.max(...ends), place = (value) => (100 * (value - from)) / (to - from || 1);
      rows.replaceChildren(
        ...info.edits.map((edit, i) => {
          const chosen = i === run.edit;
          const words = info.control[i] ? ["control", info.matched_to[i] && `matched: ${info.matched_to[i]}`].filter(Boolean).join(", ") : "";
          const interval = answer.low[i] === null ? "" : `[${number(answer.low[i])}, ${number(answer.high[i])}]`;
          const span = (low, high, name) =>
            low === null ? null : el(`i.${name}`, { style: `left:${place(low)}%;width:${place(high) - place(low)}%` });
          return el(
            `tr${info.control[i] ? ".control-row" : ""}`,
            { "aria-current": chosen ? "true" : null },
            el("th", { scope: "row" }, el("button.link", { type: "button", onclick: () => pane.set({ edit: i }) }, edit), words ? el("small", {}, words) : null),
            el("td.n", { "data-label": "mean effect" }, number(answer.mean[i])),
            el("td.n", { "data-label": "95 % interval" }, interval),
            el(
              "td.whisker",
              { "aria-hidden": "true" },
              el("i.zero", { style: `left:${place(0)}%` }),
              span(answer.simultaneous_low[i], answer.simultaneous_high[i], "wide"),
              span(answer.low[i], answer.high[i], "narrow"),
              answer.mean[i] === null ? null : el("i.dot", { style: `left:${place(answer.mean[i])}%` }),
            ),
            el("td.n", { "data-label": "this image" }, chosen ? number(own.effect[metric]) : ""),
            el("td.n", { "data-label": "energy removed" }, answer.energy_removed[i] === null ? "" : `${number(100 * answer.energy_removed[i])} %`),
          );
        }),
      );
      const paired = about.paired ? "of each edited image beside its baseline" : "edited minus baseline";
      unit.textContent = `${about.label}${about.unit ? ` in ${about.unit}` : ""}, ${paired}; ${about.damage} means more damage. Intervals over prompts; the thin line holds for all edits at once.`;
      say(info.missing_runs ? `${info.missing_runs} runs are not finished.` : "", info.missing_runs ? "warning" : "");
      code(answer.code);
    }

    return { element, update };
  },
});

panel("comparison", {
  order: 3,
  side: "numbers",
  build(pane) {
    const { element, heading, body, say, code } = frame("Over the grid");
    const cells = el("div.cells", { role: "group" }), unit = el("p.unit");
    body.append(cells, unit);

    async function update(fresh) {
      const info = pane.info, run = pane.run(), metric = pane.value("metric"), about = info.metrics[metric];
      element.hidden = !info.grid.length;
      if (element.hidden) return;
      const answer = await pane.ask("scores", { cell: run.cell, metric, edit: run.edit });
      if (!fresh()) return;
      // The last two dimensions are drawn; the others stay where their sliders are.
      const drawn = info.grid.length > 1 ? [info.grid.length - 2, info.grid.length - 1] : [0];
      const values = answer.arrays.over_grid.data, shape = answer.arrays.over_grid.shape;
      const columns = shape[drawn.at(-1)], lines = drawn.length > 1 ? shape[drawn[0]] : 1;
      const limit = largestOf(values), signed = values.some((value) => value < 0);
      cells.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
      heading.textContent = `${info.edits[run.edit]}: ${about.label} over ${drawn.map((i) => info.grid[i].name).join(" and ")}`;
      cells.replaceChildren(
        ...Array.from({ length: lines * columns }, (_, i) => {
          const cell = [...run.cell];
          cell[drawn.at(-1)] = i % columns;
          if (drawn.length > 1) cell[drawn[0]] = Math.floor(i / columns);
          const value = values[cell.reduce((at, position, axis) => at * shape[axis] + position, 0)];
          const entry = entryOf(value, signed ? "signed" : "abs", limit), table = TABLES[signed ? "signed" : "abs"];
          const colour = entry < 0 ? MISSING : Array.from(table.subarray(3 * entry, 3 * entry + 3));
          const words = `${drawn.map((axis) => `${info.grid[axis].name} ${info.grid[axis].labels[cell[axis]]}`).join(", ")}: ${number(value)}`;
          const light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128;
          return el("button.cell", {
            type: "button",
            title: words,
            "aria-label": words,
            "aria-pressed": String(cell.every((position, axis) => position === run.cell[axis])),
            style: `background:rgb(${colour.map(Math.round)});color:${light ? "#000" : "#fff"}`,
            onclick: () => pane.set(Object.fromEntries(drawn.map((axis) => [`grid.${info.grid[axis].name}`, cell[axis]]))),
          }, columns > 12 ? "" : number(value));
        }),
      );
      const first = info.grid[drawn.at(-1)].labels;
      unit.textContent = `Mean effect over samples, ${signed ? `${number(-limit)} to ` : "0 to "}${number(limit)} ${about.unit}; left to right ${info.grid[drawn.at(-1)].name} ${first[0]} to ${first.at(-1)}${drawn.length > 1 ? `, top to bottom ${info.grid[drawn[0]].name} ${info.grid[drawn[0]].labels[0]} to ${info.grid[drawn[0]].labels.at(-1)}` : ""}.`;
      say();
      code(answer.code);
    }

    return { element, update };
  },
});
