// The token under the pointer: its norm, and the channels that are largest there.

panel("recording", {
  order: 3,
  side: "numbers",
  late: true,
  build(pane) {
    const { element, heading, body, say, code } = frame("Token");
    const list = el("ol.token");
    const facts = el("p.unit");
    body.append(facts, list);
    let shown = null;

    async function update(fresh) {
      const place = pane.place();
      const site = pane.info.sites.find((each) => each.stream === place.stream && each.site === place.site);
      element.hidden = !site.tokens;
      if (!site.tokens) return;
      const answer = await pane.ask("tokens", place);
      if (!fresh()) return;
      const { norm, channel, value } = answer.arrays;
      shown = { at: new Map(placesOf(answer).map((id, i) => [id, i])), norm: norm.data, channel, value, text: answer.text };
      code(answer.code);
      say();
      point(pane.explorer.pointed());
    }

    function point(token) {
      if (!shown) return;
      const at = shown.at.get(token);
      const text = at !== undefined && shown.text ? ` \u201c${shown.text[at]}\u201d` : "";
      heading.textContent = token === null ? "Token" : `Token ${token}${text}`;
      if (at === undefined) {
        facts.textContent = token === null ? "Point at a token to see its largest channels." : "Not recorded.";
        return list.replaceChildren();
      }
      const inside = pane.info.channels_inside;
      const top = shown.channel.shape[1], largest = Math.abs(shown.value.data[at * top]) || 1;
      facts.textContent = `Norm ${number(shown.norm[at])} over the recorded channels. The largest channels there:`;
      list.replaceChildren(
        ...Array.from({ length: top }, (_, i) => {
          const id = shown.channel.data[at * top + i], value = shown.value.data[at * top + i];
          const width = Number.isFinite(value) ? (100 * Math.abs(value)) / largest : 100;
          return el(
            "li",
            {},
            el("button.link", { type: "button", disabled: inside && !inside.includes(id), onclick: () => pane.set({ channel: id, show: null }) }, `channel ${id}`),
            el("span.meter", { "aria-hidden": "true" }, el("i", { style: `width:${width}%`, "data-sign": value < 0 ? "negative" : "positive" })),
            el("span.n", {}, number(value)),
          );
        }),
      );
    }

    return { element, update, point };
  },
});
