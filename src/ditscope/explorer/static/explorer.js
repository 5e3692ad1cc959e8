// The explorer: its state, one picture or two beside each other, and the doors through which it is opened.

/** What is chosen, as texts by key; "b." before a key is of the second picture where that goes its own way. */
class State {
  constructor(text) {
    this.chosen = new Map(new URLSearchParams(text.replace(/^#/, "")));
  }
  get(key) {
    return this.chosen.get(key);
  }
  set(changes) {
    for (const [key, value] of Object.entries(changes))
      if (value === null || value === undefined) this.chosen.delete(key);
      else this.chosen.set(key, String(value));
  }
  get text() {
    return new URLSearchParams([...this.chosen]).toString();
  }
}

/** One picture: where it looks, and the panels that show it. */
class Pane {
  constructor(explorer, second) {
    Object.assign(this, { explorer, second, turn: 0, mask: null });
  }
  async open() {
    this.store = Number(this.get("store") ?? 0);
    if (!(this.store in this.explorer.stores)) this.store = 0;
    const kind = this.explorer.stores[this.store].kind;
    this.info = await this.ask(kind, {});
    this.controls = new Map(controlsOf(this.info).map((control) => [control.id, control]));
    this.panels = panels[kind].map((each) => ({ ...each, ...each.build(this) }));
    this.title = el("h2");
    this.line = el("p.facts");
    this.element = el("section.pane", { "aria-label": this.second ? "Second picture" : "Picture", "data-kind": kind }, this.title, this.line);
    const beside = (side) => this.panels.filter((each) => (each.side ?? "pictures") === side).map((each) => each.element);
    this.element.append(...["pictures", "numbers"].map((side) => el(`div.${side}`, {}, ...beside(side))));
  }
  own(key) {
    return this.second && this.explorer.state.get(`b.${key}`) !== undefined ? `b.${key}` : key;
  }
  get(key) {
    return this.explorer.state.get(this.own(key));
  }
  has(key) {
    return this.get(key) !== undefined;
  }
  set(changes) {
    const own = Object.entries(changes).map(([key, value]) => [this.own(key), value]);
    this.explorer.change(Object.fromEntries(own));
  }
  value(id) {
    return this.controls.get(id).value(this);
  }
  /** Move a slider by some places, as far as it goes. */
  move(id, by) {
    const control = this.controls.get(id), to = control.index(this) + by;
    if (to >= 0 && to < countOf(control, this)) control.set(this, to);
  }
  ask(view, asked) {
    return this.explorer.asking.ask(view, { store: this.store, ...asked });
  }
  place() {
    const [stream, site, sample, step, branch, block] = ["stream", "site", "prompt", "step", "branch", "block"].map((id) => this.value(id));
    return { stream, site, sample, step, branch, block };
  }
  /** Where in a comparison one looks. */
  run() {
    const cell = this.info.grid.map(({ name }) => this.value(`grid.${name}`));
    return { cell, edit: this.value("edit"), draw: this.value("draw"), sample: this.value("prompt") };
  }
  facts() {
    const text = (id) => textOf(this.controls.get(id), this.controls.get(id).index(this), this);
    const named = this.info.kind === "recording" ? ["seed", "step"] : ["seed", ...this.info.grid.map(({ name }) => `grid.${name}`)];
    const plain = this.info.kind === "recording" ? ["branch", "block", "stream", "site"] : ["edit"];
    return [...named.map((id) => `${id.replace("grid.", "")} ${text(id)}`), ...plain.map(text)].join(" · ");
  }
  ranking() {
    return this.ask("channel_ranking", { ...this.place(), statistic: this.value("statistic") });
  }
  /** The channel that is chosen, else the one of the first rank. */
  async channel() {
    const asked = this.get("channel");
    if (asked !== undefined) return Number(asked);
    const { order } = (await this.ranking()).arrays, ids = this.info.arrays.channel.data, inside = this.info.channels_inside;
    return ids[order.data.find((at) => !inside || inside.includes(ids[at])) ?? 0];
  }
  /** The map of that channel; which it is need not be known before. */
  async map() {
    const named = this.has("channel") || this.info.channels_inside ? { channel: await this.channel() } : { statistic: this.value("statistic") };
    return this.ask("channel_map", { ...this.place(), ...named });
  }
  async massive() {
    const { order } = (await this.ranking()).arrays, ids = this.info.arrays.channel.data;
    return Array.from(order.data.subarray(0, this.value("massive")), (at) => ids[at]);
  }
  async update(late, turn) {
    const fresh = () => turn === this.turn;
    await Promise.all(
      this.panels
        .filter((each) => Boolean(each.late) === late)
        .map(async (each) => {
          try {
            await each.update(fresh);
            each.element.dataset.failed = "";
          } catch (error) {
            if (!fresh()) return;
            each.element.dataset.failed = "yes";
            each.element.querySelector(".said").textContent = error.message;
            each.element.querySelector(".said").dataset.kind = "error";
          }
        }),
    );
  }
  async name() {
    const said = this.info.kind === "recording" ? await this.ask("sample", { sample: this.value("prompt") }) : await this.ask("edited", this.run());
    this.title.textContent = said.prompt || "(no prompt)";
    this.line.textContent = this.facts();
  }
}

class Explorer {
  constructor(root, transport, { state = "", onState = () => {}, address = null, note = "" } = {}) {
    Object.assign(this, { root, onState, address, asking: new Asking(transport), state: new State(state), panes: [], hovered: null });
    root.classList.add("ditscope-explorer");
    root.replaceChildren(el("p.said", { role: "status" }, "Opening …"));
    this.note = note;
  }

  async open() {
    try {
      this.stores = (await this.asking.ask("stores", {})).stores;
      await this.layOut();
    } catch (error) {
      this.root.replaceChildren(el("p.said", { role: "alert", "data-kind": "error" }, error.message));
    }
  }

  get two() {
    return this.state.get("two") === "1";
  }

  async layOut() {
    this.panes = [new Pane(this, false), ...(this.two ? [new Pane(this, true)] : [])];
    await Promise.all(this.panes.map((pane) => pane.open()));
    if (this.two && this.panes[1].info.kind !== this.panes[0].info.kind) {
      this.panes.pop();
    }
    this.bar = this.controlBar();
    this.root.replaceChildren(
      this.header(),
      el("div.columns", {}, this.bar, el("main.panes", { "data-count": this.panes.length }, ...this.panes.map((pane) => pane.element))),
    );
    await this.update();
  }

  header() {
    const info = this.panes[0].info;
    const button = (text, action, more = {}) => {
      const element = el("button", { type: "button", ...more, onclick: () => action(element) }, text);
      return element;
    };
    const done = (element, text, back) => {
      element.textContent = text;
      setTimeout(() => (element.textContent = back), 1500);
    };
    const code = () => this.panes.map((pane) => pane.element.querySelector(".code").textContent).filter((text, i, all) => text && all.indexOf(text) === i);
    return el(
      "header",
      {},
      el("strong.brand", {}, "ditscope"),
      this.stores.length > 1 ? this.storeChoice(this.panes[0]) : el("span.store", { title: info.path ?? info.name }, info.name),
      el("span.model", {}, info.model ?? ""),
      this.note ? el("span.note", {}, this.note) : null,
      el("span.space"),
      button("Side by side", () => this.sideBySide(), { "aria-pressed": String(this.two) }),
      this.address
        ? button("Copy link", async (element) => done(element, (await copied(this.address(this.state.text))) ? "Copied" : "In the address bar", "Copy link"))
        : null,
      button("Copy as Python", async (element) => {
        const text = code().join("\n\n");
        this.shownCode.hidden = false;
        this.shownCode.textContent = text;
        done(element, (await copied(text)) ? "Copied" : "Below", "Copy as Python");
      }),
      (this.shownCode = el("pre.code", { hidden: true, tabindex: 0, "aria-label": "Python of what is seen" })),
    );
  }

  storeChoice(pane) {
    const select = el("select", { "aria-label": pane.second ? "Store of the second picture" : "Store", onchange: () => this.openStore(pane, select.selectedIndex) });
    select.append(...this.stores.map((store) => el("option", {}, store.name)));
    select.selectedIndex = pane.store;
    return select;
  }

  openStore(pane, number) {
    this.state.set({ [pane.second ? "b.store" : "store"]: number, ...(pane.second ? {} : { two: null }) });
    this.said();
    return this.layOut();
  }

  sideBySide() {
    for (const key of [...this.state.chosen.keys()]) if (key.startsWith("b.")) this.state.set({ [key]: null });
    this.state.set({ two: this.two ? null : 1 });
    this.said();
    return this.layOut();
  }

  controlBar() {
    const [first, second] = this.panes, bar = el("form.controls", { "aria-label": "Where to look", onsubmit: (event) => event.preventDefault() });
    const looks = el("div"), fold = el("details.looks", { open: this.root.clientWidth > 700 }, el("summary", {}, "How it is shown"), looks);
    this.shownControls = [];
    if (second && this.stores.length > 1) bar.append(el("div.control", {}, el("span", {}, "Second store"), this.storeChoice(second)));
    for (const control of first.controls.values()) {
      const one = controlElement(control, first, "");
      this.shownControls.push(one);
      (control.everywhere ? looks : bar).append(one.element);
      const other = second?.controls.get(control.id);
      if (!other || control.everywhere) continue;
      const two = controlElement(other, second, ", second");
      const link = el("button.small.link-toggle", { type: "button", onclick: () => this.toggle(other) });
      const refresh = () => {
        const apart = other.keys.some((key) => this.state.get(`b.${key}`) !== undefined);
        two.element.hidden = !apart;
        link.textContent = apart ? "apart" : "linked";
        link.setAttribute("aria-label", `${control.label}: ${apart ? "apart" : "linked"}`);
        link.setAttribute("aria-pressed", String(!apart));
        two.refresh();
      };
      one.element.append(link);
      bar.append(two.element);
      this.shownControls.push({ refresh });
    }
    if (looks.children.length) bar.append(fold);
    return bar;
  }

  /** Have the second picture go its own way by a control, or with the first again. */
  toggle(control) {
    const second = this.panes[1];
    for (const key of control.keys) {
      const apart = this.state.get(`b.${key}`) !== undefined;
      this.state.set({ [`b.${key}`]: apart ? null : (second.get(key) ?? control.value?.(second) ?? "") });
    }
    this.said();
    this.update();
  }

  change(changes) {
    this.state.set(changes);
    this.said();
    this.update();
  }

  said() {
    this.onState(this.state.text);
  }

  pointed() {
    const pinned = this.state.get("token");
    return this.hovered ?? (pinned === undefined ? null : Number(pinned));
  }

  point(token) {
    this.hovered = token;
    for (const pane of this.panes) for (const each of pane.panels) each.point?.(this.pointed());
  }

  pin(token) {
    this.hovered = null;
    this.state.set({ token });
    this.said();
    this.point(null);
  }

  /** Bring everything to the state; data-drawn counts, and data-took has the milliseconds, until the first panels stood. */
  async update() {
    const begin = performance.now(), panes = this.panes, turns = panes.map((pane) => ++pane.turn);
    const fresh = () => panes.every((pane, i) => pane.turn === turns[i]) && panes === this.panes;
    this.root.setAttribute("aria-busy", "true");
    for (const each of this.shownControls) each.refresh();
    await Promise.all([...panes.map((pane, i) => pane.update(false, turns[i])), ...panes.map((pane) => pane.name().catch(() => {}))]);
    if (!fresh()) return;
    this.root.dataset.took = (performance.now() - begin).toFixed(1);
    this.root.dataset.drawn = Number(this.root.dataset.drawn ?? 0) + 1;
    await new Promise((done) => setTimeout(done, 60)); // the slider may go on, and these cost more
    if (!fresh()) return;
    for (const [i, pane] of panes.entries()) await pane.update(true, turns[i]);
    if (panes.length > 1 && fresh()) await panes[0].update(true, turns[0]); // it knows the other's mask now
    if (fresh()) this.root.setAttribute("aria-busy", "false");
  }
}

/** Open the explorer in an element of a page whose address has the state. */
function mount(root, transport, { note = "" } = {}) {
  let later;
  const explorer = new Explorer(root, transport, {
    note,
    state: location.hash,
    address: (text) => `${location.href.split("#")[0]}#${text}`,
    onState: (text) => {
      clearTimeout(later);
      later = setTimeout(() => history.replaceState(null, "", `#${text}`), 100); // browsers allow so many in a second
    },
  });
  addEventListener("hashchange", () => {
    explorer.state = new State(location.hash);
    explorer.layOut();
  });
  return explorer.open();
}

/** What anywidget calls; the state is the widget's. */
function render({ model, el: root }) {
  // Else JupyterLab takes the arrow keys of a slider for its own; it looks for this on the element itself.
  root.addEventListener("focusin", ({ target }) => (target.dataset.lmSuppressShortcuts = "true"));
  const explorer = new Explorer(root, overWidget(model), {
    state: model.get("state"),
    onState: (text) => {
      model.set("state", text);
      model.save_changes();
    },
  });
  model.on("change:state", () => {
    if (model.get("state") === explorer.state.text) return;
    explorer.state = new State(model.get("state"));
    explorer.layOut();
  });
  explorer.open();
}

export default { mount, render, overHttp, fromPage };
