// The ranking as a strip of bars: click one to see its map.

const MOST_BARS = 32;

panel("recording", {
  order: 2,
  side: "numbers",
  build(pane) {
    const { element, heading, body, say, code } = frame("Ranking");
    const bars = el("div.bars", { role: "toolbar", "aria-label": "Channels, the largest first" });
    const all = el("canvas.all", { width: 600, height: 48, role: "img" });
    const facts = el("p.unit");
    body.append(bars, all, facts);

    bars.addEventListener("keydown", (event) => {
      const buttons = [...bars.children], at = buttons.indexOf(document.activeElement);
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (next === undefined || !buttons[next]) return;
      buttons[next].focus();
      event.preventDefault();
    });

    async function update(fresh) {
      const answer = await pane.ranking(), channel = await pane.channel(), statistic = pane.value("statistic");
      if (!fresh()) return;
      const score = answer.arrays.score.data, order = answer.arrays.order.data, ids = pane.info.arrays.channel.data;
      const inside = pane.info.channels_inside, massive = pane.value("massive");
      const shown = Array.from(order.subarray(0, MOST_BARS));
      const focused = [...bars.children].indexOf(bars.getRootNode().activeElement);
      bars.replaceChildren(
        ...shown.map((at, rank) => {
          const id = ids[at], big = rank < massive;
          const words = `Channel ${id}, rank ${rank + 1}, ${STATISTICS[statistic]} ${number(score[at])}${big ? ", massive" : ""}`;
          return el(
            `button.rank${big ? ".massive" : ""}`,
            {
              type: "button",
              title: words,
              "aria-label": words,
              "aria-pressed": String(id === channel),
              tabindex: (focused < 0 ? rank === 0 : rank === focused) ? 0 : -1,
              disabled: Boolean(inside && !inside.includes(id)),
              onclick: () => pane.set({ channel: id, show: null }),
            },
            el("b", {}, el("i", { style: `height:${Math.max(1, (100 * score[at]) / (score[order[0]] || 1))}%` })),
            el("span", {}, String(id)),
          );
        }),
      );
      if (focused >= 0) bars.children[focused]?.focus();
      drawAll(score, order, ids, massive, channel);
      heading.textContent = `Channels by ${STATISTICS[statistic]}`;
      const largest = score[order[0]];
      const ratio = answer.median > 0 ? `, ${number(largest / answer.median)} × the median ${number(answer.median)}` : "";
      facts.textContent = order.length
        ? `${answer.statistic}; the largest is ${number(largest)}${ratio}. Below, all ${ids.length} channels by id.`
        : "No channel has finite values here.";
      const left = score.length - order.length;
      say(left ? `${left} channels have NaN or infinity, and no rank.` : "", left ? "warning" : "");
      code(answer.code);
    }

    function drawAll(score, order, ids, massive, channel) {
      const context = all.getContext("2d"), { width, height } = all;
      const colours = getComputedStyle(all), top = score[order[0]] || 1, place = width / score.length;
      context.clearRect(0, 0, width, height);
      const draw = (at, colour) => {
        const size = Math.max(1, (score[at] / top) * (height - 2));
        context.fillStyle = colour;
        context.fillRect(at * place, height - size, Math.max(1, place - 0.5), size);
      };
      const rest = colours.getPropertyValue("--faint"), accent = colours.getPropertyValue("--accent");
      for (const at of order) draw(at, rest);
      for (const at of order.subarray(0, massive)) draw(at, accent);
      const own = ids.indexOf(channel);
      if (own >= 0) draw(own, colours.getPropertyValue("--ink"));
      all.setAttribute("aria-label", `All ${score.length} channels by id; the largest is channel ${ids[order[0]]}.`);
    }

    return { element, update };
  },
});
