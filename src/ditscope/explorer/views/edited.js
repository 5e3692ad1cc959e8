// The image without an edit, with it, and the difference.

panel("comparison", {
  order: 1,
  build(pane) {
    const { element, heading, body, say, code } = frame("Images");
    element.classList.add("large");
    const shown = ["Baseline", "Edited", "Difference"].map((name) => {
      const canvas = el("canvas.map", { role: "img", "aria-label": name });
      return { canvas, element: el("figure", {}, canvas, el("figcaption", {}, name)) };
    });
    const readout = el("p.readout"), bar = el("canvas.bar", { width: 256, height: 1, "aria-hidden": "true" });
    const ends = [el("span", {}, "0"), el("span")];
    body.append(el("div.triple", {}, ...shown.map((each) => each.element)), readout);
    body.append(el("div.scale", {}, bar, el("div.ends", {}, ...ends)), el("p.unit", {}, "difference: mean over red, green, blue of |edited − baseline|, in levels of 255"));
    let images = null;

    for (const { canvas } of shown)
      canvas.addEventListener("pointermove", (event) => {
        if (!images) return;
        const box = canvas.getBoundingClientRect(), [height, width] = images.shape;
        const x = Math.min(width - 1, Math.floor(((event.clientX - box.left) / box.width) * width));
        const y = Math.min(height - 1, Math.floor(((event.clientY - box.top) / box.height) * height));
        const at = y * width + x, rgb = (data) => data.slice(3 * at, 3 * at + 3).join(" ");
        readout.textContent = `y ${y}, x ${x}: baseline ${rgb(images.baseline)}, edited ${rgb(images.edited)}, difference ${number(images.difference[at])}`;
      });

    function put(canvas, picture) {
      Object.assign(canvas, { width: picture.width, height: picture.height });
      canvas.getContext("2d").drawImage(picture, 0, 0);
    }

    async function update(fresh) {
      const answer = await pane.ask("edited", pane.run());
      if (!fresh()) return;
      const info = pane.info, { baseline, edited } = answer.arrays, edit = pane.value("edit");
      heading.textContent = `${info.edits[edit]}${info.control[edit] ? " (a control)" : ""}`;
      body.hidden = !baseline;
      code(answer.code);
      if (!baseline) return say("No images were kept here.");
      const [height, width] = baseline.shape, difference = new Float32Array(height * width);
      for (let i = 0; i < difference.length; i++)
        for (let c = 0; c < 3; c++) difference[i] += Math.abs(edited.data[3 * i + c] - baseline.data[3 * i + c]) / 3;
      images = { shape: baseline.shape, baseline: baseline.data, edited: edited.data, difference };
      const limit = largestOf(difference), all = new Uint8Array(difference.length).fill(1);
      put(shown[0].canvas, pictureOf(baseline));
      put(shown[1].canvas, pictureOf(edited));
      put(shown[2].canvas, coloured(difference, all, width, height, "abs", limit));
      shown.forEach(({ canvas }, i) => canvas.setAttribute("aria-label", `${["Baseline", "Edited", "Difference"][i]}, ${answer.prompt}, ${pane.facts()}`));
      colourBar(bar, "abs");
      ends[1].textContent = number(limit);
      readout.textContent = "Point at a pixel.";
      say(answer.ran ? "" : "This run is not finished: there is no edited image yet.", answer.ran ? "" : "warning");
    }

    return { element, update };
  },
});
