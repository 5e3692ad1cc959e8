// One module: core.js, controls.js, the panel beside each view, explorer.js, one behind the other.
// This is the core: answers and how they are asked for, colours, elements.

const panels = { recording: [], comparison: [] };

/**
 * A panel of a kind of store: {order, side, late, build(pane)}; build returns {element, update(fresh), point(token)}.
 * side is "numbers" for what stands beside the pictures; late panels cost more, and wait until a slider rests.
 */
function panel(kind, definition) {
  panels[kind].push(definition);
  panels[kind].sort((a, b) => a.order - b.order);
}

/** What payload.py packed, as {...values, arrays: {name: {data, shape}}}. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const array of Object.values(said.arrays)) {
    const n = array.shape.reduce((a, b) => a * b, 1);
    array.data = typed(array.dtype, buffer, 4 + length + array.offset, n);
  }
  return said;
}

function typed(dtype, buffer, offset, n) {
  if (dtype === "bfloat16") {
    const bits = new Uint16Array(buffer, offset, n), wide = new Uint32Array(n);
    for (let i = 0; i < n; i++) wide[i] = bits[i] << 16;
    return new Float32Array(wide.buffer);
  }
  const types = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array };
  return new types[dtype](buffer, offset, n);
}

/** Places in the stream of an answer's tokens: the first ones, if it does not say. */
function placesOf({ arrays }) {
  const { token, values, norm } = arrays;
  return token ? Array.from(token.data) : Array.from({ length: (values ?? norm).shape[0] }, (_, i) => i);
}

class Refusal extends Error {
  constructor({ found, expected, remedy }) {
    super(`Found ${found}; expected ${expected}. ${remedy}`);
  }
}

/** One text for one question, the same in export.py. */
function questionOf(view, asked) {
  const pairs = Object.entries(asked).map(([name, value]) => [name, String(value)]);
  return JSON.stringify([view, pairs.sort((a, b) => (a[0] < b[0] ? -1 : 1))]);
}

/** Asks by a transport (view, asked) -> ArrayBuffer, and keeps the last answers. */
class Asking {
  constructor(transport, most = 400) {
    Object.assign(this, { transport, most, known: new Map() });
  }
  ask(view, asked) {
    const question = questionOf(view, asked);
    let answer = this.known.get(question);
    if (answer) this.known.delete(question);
    else {
      answer = this.transport(view, asked, question).then(unpack);
      answer.catch(() => this.known.delete(question));
    }
    this.known.set(question, answer);
    if (this.known.size > this.most) this.known.delete(this.known.keys().next().value);
    return answer;
  }
}

function overHttp(base) {
  return async (view, asked) => {
    let reply;
    try {
      reply = await fetch(`${base}${view}?${new URLSearchParams(asked)}`);
    } catch {
      throw new Error("The server does not answer. Start it again: ditscope view PATH");
    }
    if (!reply.ok) {
      const said = await reply.json().catch(() => null);
      throw said?.found ? new Refusal(said) : new Error(`The server failed (${reply.status}); its terminal says why.`);
    }
    return reply.arrayBuffer();
  };
}

function overWidget(model) {
  const waiting = new Map();
  let number = 0;
  model.on("msg:custom", (message, buffers) => {
    const [done, failed] = waiting.get(message.number) ?? [];
    if (!done) return;
    waiting.delete(message.number);
    if (message.refused) failed(new Refusal(message.refused));
    else {
      const part = buffers[0];
      const bytes = part instanceof ArrayBuffer ? new Uint8Array(part) : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      done(bytes.slice().buffer);
    }
  });
  return (view, asked) =>
    new Promise((done, failed) => {
      waiting.set(++number, [done, failed]);
      const texts = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, String(value)]));
      model.send({ number, view, asked: texts });
    });
}

function fromPage(answers) {
  return async (view, asked, question) => {
    const text = answers[question];
    if (text === undefined) throw new Error("Not inside this page. ditscope view PATH shows the whole store.");
    const packed = new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
    return new Response(packed.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  };
}

// Colours. Both scales are even to the eye: viridis, and one that was laid out in OKLab, where lightness and colour
// change by equal steps from the middle to either end.

const VIRIDIS =
  "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d 2f6b8e 2c728e 297a8e 26828e 23898e 21918c 1f988b 1fa088 22a785 28ae80 32b67a 3fbc73 4ec36b 5ec962 70cf57 84d44b 98d83e addc30 c2df23 d8e219 ece51b fde725";

function oklab(l, a, b) {
  const part = [
    (l + 0.3963377774 * a + 0.2158037573 * b) ** 3,
    (l - 0.1055613458 * a - 0.0638541728 * b) ** 3,
    (l - 0.0894841775 * a - 1.291485548 * b) ** 3,
  ];
  const rows = [
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.707614701],
  ];
  return rows.map((row) => {
    const x = Math.min(1, Math.max(0, row[0] * part[0] + row[1] * part[1] + row[2] * part[2]));
    return 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055);
  });
}

function signedColour(t) {
  const size = Math.abs(t), hue = ((t < 0 ? 252 : 38) * Math.PI) / 180, chroma = 0.15 * size;
  return oklab(0.97 - 0.52 * size, chroma * Math.cos(hue), chroma * Math.sin(hue));
}

function tableOf(colour) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) table.set(colour(i), 3 * i);
  return table;
}

const anchors = VIRIDIS.split(" ").map((text) => [0, 2, 4].map((at) => parseInt(text.slice(at, at + 2), 16)));
const TABLES = {
  abs: tableOf((i) => {
    const at = (i / 255) * (anchors.length - 1), low = Math.min(anchors.length - 2, Math.floor(at));
    return anchors[low].map((x, c) => x + (anchors[low + 1][c] - x) * (at - low));
  }),
  signed: tableOf((i) => signedColour(i / 127.5 - 1)),
};
const MISSING = [136, 142, 152];

/** Entry of a colour table for a value, where the scale ends at limit; -1 of what is not finite. */
function entryOf(value, sign, limit) {
  if (!Number.isFinite(value)) return -1;
  const part = limit > 0 ? value / limit : 0;
  const t = sign === "abs" ? Math.abs(part) : (part + 1) / 2;
  return Math.round(255 * Math.min(1, Math.max(0, t)));
}

/** A picture of values on a grid, as a canvas of one pixel a cell; clear where no token is present. */
function coloured(values, present, width, height, sign, limit) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), table = TABLES[sign];
  for (let i = 0; i < values.length; i++) {
    const entry = entryOf(values[i], sign, limit);
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = entry < 0 ? MISSING[c] : table[3 * entry + c];
    image.data[4 * i + 3] = present[i] ? 255 : 0;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The colours of a scale in a canvas of 256 x 1 pixels. */
function colourBar(canvas, sign) {
  const context = canvas.getContext("2d"), image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([...TABLES[sign].subarray(3 * i, 3 * i + 3), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** An array of uint8 [y, x, rgb] as a canvas; in grey where colours are to be seen over it. */
function pictureOf({ data, shape: [height, width] }, grey = false) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const light = 0.299 * data[3 * i] + 0.587 * data[3 * i + 1] + 0.114 * data[3 * i + 2];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = grey ? light : data[3 * i + c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function largestOf(values) {
  let largest = 0;
  for (const value of values) if (Math.abs(value) > largest && Number.isFinite(value)) largest = Math.abs(value);
  return largest;
}

/** A number as people write it: four significant digits, a true minus. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  return text.replace(/-/g, "−");
}

// Elements.

let numberOfIds = 0;
const newId = () => `ditscope-${++numberOfIds}`;

/** el("button.small", {type: "button", onclick}, "text", child, ...) */
function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value; // as an attribute, the page's policy would drop it
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The frame of a panel: heading, a button for its Python, room for what it says. */
function frame(title) {
  const heading = el("h3", { id: newId() }, title);
  const code = el("pre.code", { hidden: true, tabindex: 0, "aria-label": `Python of ${title}` });
  const said = el("p.said", { role: "status" });
  const copy = el("button.small", { type: "button", "aria-label": `Copy ${title} as Python`, onclick: () => copyCode() }, "Python");
  const body = el("div.body");
  const element = el("section.panel", { "aria-labelledby": heading.id }, el("div.head", {}, heading, copy), code, body, said);
  async function copyCode() {
    const shown = code.hidden;
    code.hidden = !shown;
    if (shown) copy.textContent = (await copied(code.textContent)) ? "Copied" : "Python";
    else copy.textContent = "Python";
  }
  const say = (text = "", kind = "") => {
    said.textContent = text;
    said.dataset.kind = kind;
  };
  return { element, heading, body, say, code: (text) => (code.textContent = text), codeText: () => code.textContent };
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
