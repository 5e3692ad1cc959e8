// Controls: what there is to choose of a store. Each has keys of the state, choices with texts, and a place among them.

const SIGNS = { signed: "signed", abs: "absolute" };
const SHOWN = { channel: "a channel", norm: "each token's norm" };
const SCALES = { own: "own", shared: "shared" };
const STATISTICS = { mean_abs: "mean |x|", abs_mean: "|mean x|", std: "std x", abs_max: "max |x|", energy: "mean x²" };

/** A control of one key: its values, and what each is called. */
function chosen(key, label, values, text = String, more = {}) {
  return {
    id: key,
    keys: [key],
    label,
    shape: "slider",
    count: values.length,
    text: (i) => text(values[i], i),
    index: (pane) => Math.max(0, values.findIndex((value) => String(value) === pane.get(key))),
    value(pane) {
      return values[this.index(pane)];
    },
    set: (pane, i) => pane.set({ [key]: values[i] }),
    ...more,
  };
}

function sampleControls({ part, arrays: { sample: samples, prompt: prompts, seed: seeds } }) {
  const rows = Array.from(samples.data, (sample, i) => ({ sample, prompt: prompts.data[i], seed: seeds.data[i] }));
  const byPrompt = new Map();
  for (const row of rows) byPrompt.set(row.prompt, [...(byPrompt.get(row.prompt) ?? []), row]);
  const groups = [...byPrompt.values()];
  const now = (pane) => rows.find((row) => String(row.sample) === pane.get("sample")) ?? rows[0];
  const group = (pane) => byPrompt.get(now(pane).prompt);
  return [
    {
      id: "prompt",
      keys: ["sample"],
      label: "Prompt",
      shape: "slider",
      count: groups.length,
      text: (i) => `${i + 1} of ${groups.length}`,
      index: (pane) => groups.indexOf(group(pane)),
      value: (pane) => now(pane).sample,
      set: (pane, i) => {
        const same = groups[i].find((row) => row.seed === now(pane).seed) ?? groups[i][0];
        pane.set({ sample: same.sample });
      },
    },
    ...(groups.length > 1 && !part ? [promptSearch(rows, byPrompt, now)] : []),
    {
      id: "seed",
      keys: ["sample"],
      label: "Seed",
      shape: "slider",
      count: (pane) => group(pane).length,
      text: (i, pane) => String(group(pane)[i].seed),
      index: (pane) => group(pane).indexOf(now(pane)),
      value: (pane) => now(pane).seed,
      set: (pane, i) => pane.set({ sample: group(pane)[i].sample }),
    },
  ];
}

/** A field that goes to a prompt by its words; the seed stays where the prompt has it. */
function promptSearch(rows, byPrompt, now) {
  return {
    id: "find",
    keys: ["sample"],
    label: "Find a prompt",
    shape: "search",
    find: (pane, words) => pane.ask("prompt_search", { words }),
    set(pane, sample) {
      const group = byPrompt.get(rows.find((row) => row.sample === sample).prompt);
      pane.set({ sample: (group.find((row) => row.seed === now(pane).seed) ?? group[0]).sample });
    },
  };
}

function controlsOf(info) {
  return info.kind === "recording" ? recordingControls(info) : comparisonControls(info);
}

function recordingControls(info) {
  const streams = Object.keys(info.streams);
  const sitesOf = (pane) => info.sites.filter((site) => site.stream === pane.value("stream"));
  const siteOf = (pane) => {
    const asked = pane.get("site") ?? "block_output";
    return sitesOf(pane).find((site) => site.site === asked) ?? sitesOf(pane)[0];
  };
  const blocksOf = (pane) => info.blocks.filter((block) => siteOf(pane).blocks.includes(block.block));
  const step = ({ step, sigma }) => `${step} · σ ${number(sigma)}`;
  return [
    ...sampleControls(info),
    chosen("step", "Step", info.steps.map((each) => each.step), (_, i) => step(info.steps[i]), {
      fallback: info.steps.length - 1,
    }),
    chosen("branch", "Branch", info.branches),
    {
      id: "block",
      keys: ["block"],
      label: "Block",
      shape: "slider",
      count: (pane) => blocksOf(pane).length,
      text: (i, pane) => blocksOf(pane)[i]?.name ?? "",
      index: (pane) => {
        const at = blocksOf(pane).findIndex((block) => String(block.block) === pane.get("block"));
        return at < 0 ? blocksOf(pane).length - 1 : at;
      },
      value(pane) {
        return blocksOf(pane)[this.index(pane)].block;
      },
      set: (pane, i) => pane.set({ block: blocksOf(pane)[i].block }),
    },
    chosen("stream", "Stream", streams, String, { shape: "choice" }),
    {
      id: "site",
      keys: ["site"],
      label: "Site",
      shape: "choice",
      count: (pane) => sitesOf(pane).length,
      text: (i, pane) => sitesOf(pane)[i].site,
      index: (pane) => sitesOf(pane).indexOf(siteOf(pane)),
      value: (pane) => siteOf(pane).site,
      set: (pane, i) => pane.set({ site: sitesOf(pane)[i].site }),
    },
    { id: "channel", keys: ["channel"], label: "Channel", shape: "number" },
    ...[
      ["statistic", "Ranked by", STATISTICS],
      ["sign", "Values", SIGNS],
      ["scale", "Scale", SCALES],
      ["show", "Map of", SHOWN],
    ].map(([key, label, words]) =>
      chosen(key, label, Object.keys(words), (value) => words[value], { shape: "choice", everywhere: true }),
    ),
    chosen("massive", "Massive: top", Array.from({ length: 24 }, (_, i) => i + 1), String, {
      fallback: 5,
      everywhere: true,
    }),
    chosen("opacity", "Map over image", Array.from({ length: 21 }, (_, i) => 5 * i), (value) => `${value} %`, {
      fallback: 15,
      everywhere: true,
    }),
  ].map(withFallback);
}

function comparisonControls(info) {
  const numbers = (n) => Array.from({ length: n }, (_, i) => i);
  return [
    ...sampleControls(info),
    ...info.grid.map(({ name, labels }) => chosen(`grid.${name}`, name, numbers(labels.length), (i) => labels[i])),
    chosen("edit", "Edit", numbers(info.edits.length), (i) => info.edits[i], { shape: "choice" }),
    {
      ...chosen("draw", "Draw", numbers(Math.max(...info.draws)), String),
      count: (pane) => info.draws[pane.value("edit")],
      index: (pane) => Math.min(info.draws[pane.value("edit")] - 1, Number(pane.get("draw") ?? 0)),
    },
    chosen("metric", "Metric", numbers(info.metrics.length), (i) => info.metrics[i].label, { shape: "choice", everywhere: true }),
  ];
}

/** Where the state has nothing, or nothing that there is, a control stands at its fallback. */
function withFallback(control) {
  if (control.fallback === undefined) return control;
  const found = control.index;
  return { ...control, index: (pane) => (pane.has(control.keys[0]) ? found(pane) : control.fallback) };
}

const countOf = (control, pane) => (typeof control.count === "function" ? control.count(pane) : control.count);
const textOf = (control, i, pane) => control.text(i, pane);

/** The element of a control for one pane, with refresh() to bring it to the state. */
function controlElement(control, pane, suffix) {
  const id = newId(), label = el("label", { for: id }, control.label + suffix);
  if (control.shape === "number") {
    const input = el("input", { id, type: "number", min: 0, step: 1, placeholder: "top" });
    input.addEventListener("change", () => pane.set({ [control.keys[0]]: input.value === "" ? null : input.value }));
    return { element: el("div.control", {}, label, input), refresh: () => (input.value = pane.get(control.keys[0]) ?? "") };
  }
  if (control.shape === "search") {
    const list = el("datalist", { id: newId() }), said = el("output", { for: id });
    const input = el("input", { id, type: "search", list: list.id, autocomplete: "off", placeholder: "words of it" });
    let found;
    const look = async () => {
      const words = input.value.trim();
      found = words ? control.find(pane, words) : null;
      const answer = await found;
      if (words !== input.value.trim()) return;
      list.replaceChildren(...(answer?.prompts ?? []).map((text) => el("option", { value: text })));
      said.textContent = answer ? `${answer.found} found` : "";
    };
    const go = async () => {
      const answer = await found;
      if (!answer?.found) return;
      control.set(pane, answer.arrays.sample.data[Math.max(0, answer.prompts.indexOf(input.value))]);
    };
    input.addEventListener("input", look);
    input.addEventListener("change", () => look().then(go));
    return { element: el("div.control", {}, label, said, input, list), refresh: () => {} };
  }
  if (control.shape === "choice") {
    const select = el("select", { id, onchange: () => control.set(pane, select.selectedIndex) });
    const refresh = () => {
      const texts = Array.from({ length: countOf(control, pane) }, (_, i) => textOf(control, i, pane));
      if (texts.join("\n") !== select.dataset.texts) {
        select.replaceChildren(...texts.map((text) => el("option", {}, text)));
        select.dataset.texts = texts.join("\n");
      }
      select.selectedIndex = control.index(pane);
      select.disabled = texts.length < 2;
    };
    return { element: el("div.control", {}, label, select), refresh };
  }
  const input = el("input", { id, type: "range", min: 0, step: 1 });
  const output = el("output", { for: id });
  input.addEventListener("input", () => control.set(pane, Number(input.value)));
  const refresh = () => {
    const count = countOf(control, pane), index = Math.max(0, control.index(pane));
    input.max = Math.max(0, count - 1);
    input.value = index;
    input.disabled = count < 2;
    output.textContent = count ? textOf(control, index, pane) : "none";
    input.setAttribute("aria-valuetext", output.textContent);
  };
  return { element: el("div.control", {}, label, output, input), refresh };
}
