// The mask of the massive channels over the image, and its overlap with the reference and the other picture's mask.

panel("recording", {
  order: 4,
  late: true,
  build(pane) {
    const { element, heading, body, say, code } = frame("Mask");
    const canvas = el("canvas.map", { role: "img" });
    const facts = el("p.unit");
    body.append(canvas, facts);

    async function update(fresh) {
      const place = pane.place(), info = pane.info;
      const site = info.sites.find((each) => each.stream === place.stream && each.site === place.site);
      element.hidden = !site.tokens || !info.streams[place.stream].height;
      pane.mask = null;
      if (element.hidden) return;
      const channels = await pane.massive();
      const [answer, sample] = await Promise.all([
        pane.ask("mask", { ...place, channels }),
        pane.ask("sample", { sample: place.sample }),
      ]);
      if (!fresh()) return;
      const { mask, reference } = answer.arrays;
      pane.mask = mask;
      heading.textContent = `Mask of the top ${channels.length} channels`;
      draw(mask, reference, sample.arrays.image && pictureOf(sample.arrays.image));
      const parts = [`${number(100 * answer.share)} % of the tokens`];
      if (reference) parts.unshift(`IoU ${number(answer.iou)} with the caption's object (${number(answer.iou_oracle)} if the better polarity may be chosen)`);
      const other = pane.explorer.panes.find((each) => each !== pane)?.mask;
      if (other) parts.push(`IoU ${number(overlap(mask, other))} with the other picture's mask`);
      facts.textContent = `${parts.join("; ")}. K-means of channels ${channels.join(", ")}.`;
      canvas.setAttribute("aria-label", `Mask, ${pane.facts()}: ${facts.textContent}`);
      const warnings = [...answer.warnings, ...(answer.collapsed ? ["Collapsed: one side has almost no token."] : [])];
      say(warnings.join(" "), warnings.length ? "warning" : "");
      code(answer.code);
    }

    function overlap(a, b) {
      if (String(a.shape) !== String(b.shape)) return NaN;
      let both = 0, either = 0;
      a.data.forEach((value, i) => {
        both += value & b.data[i];
        either += value | b.data[i];
      });
      return either ? both / either : NaN;
    }

    function draw(mask, reference, image) {
      const [height, width] = mask.shape, scale = Math.max(1, Math.round(512 / Math.max(height, width)));
      Object.assign(canvas, { width: width * scale, height: height * scale });
      const context = canvas.getContext("2d"), colours = getComputedStyle(canvas);
      context.imageSmoothingEnabled = image?.width > 256;
      if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
      context.fillStyle = "rgba(20, 23, 29, 0.62)";
      mask.data.forEach((inside, i) => {
        if (!inside) context.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale, scale);
      });
      outline(context, mask, "#fff", 2, colours);
      if (reference) outline(context, reference, colours.getPropertyValue("--accent"), 2, colours);
    }

    function outline(context, { data, shape: [height, width] }, colour, line) {
      const sx = canvas.width / width, sy = canvas.height / height;
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const here = data[y * width + x];
          if (x + 1 < width && data[y * width + x + 1] !== here) {
            context.moveTo((x + 1) * sx, y * sy);
            context.lineTo((x + 1) * sx, (y + 1) * sy);
          }
          if (y + 1 < height && data[(y + 1) * width + x] !== here) {
            context.moveTo(x * sx, (y + 1) * sy);
            context.lineTo((x + 1) * sx, (y + 1) * sy);
          }
        }
      context.stroke();
    }

    return { element, update };
  },
});
