// The image that was made, by itself.

panel("recording", {
  order: 2,
  build(pane) {
    const { element, body, code } = frame("Image");
    const canvas = el("canvas.map", { role: "img" });
    body.append(canvas);

    async function update(fresh) {
      const sample = pane.value("prompt");
      const answer = await pane.ask("sample", { sample });
      if (!fresh()) return;
      element.hidden = !answer.arrays.image;
      if (element.hidden) return;
      const picture = pictureOf(answer.arrays.image);
      Object.assign(canvas, { width: picture.width, height: picture.height });
      canvas.getContext("2d").drawImage(picture, 0, 0);
      canvas.setAttribute("aria-label", `Generated image: ${answer.prompt}`);
      code(answer.code);
    }

    return { element, update };
  },
});
