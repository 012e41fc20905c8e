// The panel: models, sliders, presets, recordings and numbers, all drawn from the server's state.

const BREATH_MS = 1000;

export const $ = id => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "role") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}

export function icon(name, className = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  if (className) svg.setAttribute("class", className);
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const words = name => name.replaceAll("_", " ").toLowerCase().replace(/^./, letter => letter.toUpperCase());

/** Arrow keys move inside a group of radio buttons, as they do natively. */
function asRadios(group) {
  group.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...group.querySelectorAll('[role="radio"]')];
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

export class Models {
  #names = "";

  constructor(choose) {
    this.choose = choose;
    asRadios($("models"));
  }

  update(state) {
    const names = state.models.map(model => model.name).join("\n");
    if (names !== this.#names) {
      this.#names = names;
      $("models").replaceChildren(...state.models.map((model, index) => this.#button(model, index)));
    }
    for (const button of $("models").children) {
      const chosen = button.dataset.name === state.model.name;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
      button.classList.toggle("opening", chosen && state.model.state === "opening");
    }
    const { model } = state;
    $("model-state").textContent =
      model.state === "opening" ? "opening…" : model.state === "failed" ? "failed" : model.size ? `${model.size[0]} × ${model.size[1]}` : model.backend ?? "";
    const note = model.state === "failed" ? model.message : "";
    $("model-note").hidden = !note;
    $("model-note").textContent = note;
  }

  /** Thumbnails are of the user's own picture: asked for one by one once there is one. */
  async fetchThumbnails() {
    for (const button of [...$("models").children]) {
      if (button.querySelector("img")) continue;
      await new Promise(done => setTimeout(done, BREATH_MS)); // each opens a model beside the one that runs
      const answer = await fetch(`api/models/${encodeURIComponent(button.dataset.name)}/thumbnail`).catch(() => null);
      if (answer?.status !== 200) continue;
      const image = element("img", { alt: "", src: URL.createObjectURL(await answer.blob()) });
      await image.decode().catch(() => {});
      button.querySelector(".art").replaceWith(image);
    }
  }

  #button(model, index) {
    const art = element("span", { className: "art" });
    art.style.setProperty("--hue", [...model.name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 360);
    return element(
      "button",
      { className: "model", role: "radio", "data-name": model.name, title: model.note || model.name, onclick: () => this.choose(model.name) },
      art,
      element("span", { className: "caption" }, model.name, index < 9 ? element("kbd", { "aria-hidden": "true" }, String(index + 1)) : null),
      icon("check", "tick"),
    );
  }
}

export class Sliders {
  #model = "";
  #sliders = new Map();
  #held = new Map();

  constructor(change) {
    this.change = change;
  }

  update(state) {
    const model = state.models.find(({ name }) => name === state.model.name);
    if (!model) return;
    if (model.name !== this.#model) {
      this.#model = model.name;
      this.#build(model);
    }
    const { controls } = state;
    this.#show("opacity", controls.opacity, controls.opacity !== 1);
    this.#show("detail", controls.detail ?? model.detail ?? (model.faces ? 1 : 0), controls.detail !== null);
    for (const { name, rest } of model.attributes) {
      const value = controls.attributes[name];
      this.#show(`attribute ${name}`, value ?? rest, value !== undefined);
    }
  }

  #build(model) {
    this.#sliders.clear();
    const rows = [];
    const grouped = new Set(model.groups.flat());
    const slider = (...given) => rows.push(this.#slider(...given));
    const share = { lowest: 0, highest: 1, rest: 0 };
    const attribute = port => slider(`attribute ${port.name}`, words(port.name) + (port.experimental ? " (experimental)" : ""), port, value => this.#set(port.name, value));
    for (const port of model.attributes) if (!grouped.has(port.name)) attribute(port);
    for (const group of model.groups) {
      rows.push(element("p", { className: "group-name" }, "At most one of these"));
      for (const port of model.attributes) if (group.includes(port.name)) attribute(port);
    }
    slider("opacity", "Strength", share, value => this.change({ opacity: value ?? 1 }));
    slider("detail", "Detail of the original", share, value => this.change({ detail: value }));
    $("sliders").replaceChildren(...rows);
  }

  #set(name, value) { this.change({ attributes: { [name]: value } }); }

  #slider(key, name, { lowest, highest, rest }, set) {
    const id = `slider-${key.replaceAll(" ", "-")}`;
    const output = element("output", { htmlFor: id });
    const input = element("input", { type: "range", id, min: lowest, max: highest, step: 0.01 });
    const place = value => `${100 * (value - lowest) / (highest - lowest)}%`;
    input.style.setProperty("--from", place(rest));
    const row = element("div", { className: "slider" },
      element("div", { className: "slider-head" }, element("label", { htmlFor: id }, name), output,
        element("button", { title: `Reset ${name.toLowerCase()}`, "aria-label": `Reset ${name.toLowerCase()}`, onclick: () => set(null) }, icon("reset"))),
      input);
    let sending = 0;
    input.addEventListener("input", () => {
      this.#held.set(key, performance.now());
      this.#draw(key, Number(input.value), true);
      if (!sending) sending = requestAnimationFrame(() => { sending = 0; set(Number(input.value)); });
    });
    this.#sliders.set(key, { row, input, output, rest, place });
    return row;
  }

  /** What the server says, unless the slider is being moved: its answers lag behind the finger. */
  #show(key, value, isSet) {
    if (performance.now() - (this.#held.get(key) ?? -1e9) > 400) this.#draw(key, value, isSet);
  }

  #draw(key, value, isSet) {
    const slider = this.#sliders.get(key);
    if (!slider) return;
    slider.input.value = value;
    slider.input.style.setProperty("--fill", slider.place(value));
    slider.row.classList.toggle("set", isSet);
    slider.output.textContent = slider.rest !== 0 && !isSet ? "as it is" : `${Math.round(100 * value)} %`;
  }
}

export class Segments {
  constructor(id, choose) {
    this.group = $(id);
    asRadios(this.group);
    for (const button of this.group.children) button.addEventListener("click", () => choose(button.dataset.value));
  }

  update(value) {
    for (const button of this.group.children) {
      const chosen = button.dataset.value === value;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
    }
  }
}

export class Presets {
  #saving = false;

  constructor(apply, save) {
    $("presets").append(...Array.from({ length: 9 }, (_, index) =>
      element("button", { onclick: () => this.#pressed(index + 1, apply, save) }, String(index + 1))));
    $("preset-save").addEventListener("click", () => this.#save(!this.#saving));
  }

  update(presets) {
    $("presets-card").hidden = presets === null;
    if (!presets) return;
    [...$("presets").children].forEach((button, index) => {
      const preset = presets[index + 1];
      button.classList.toggle("empty", !preset);
      button.disabled = !preset && !this.#saving;
      const say = preset ? `Preset ${index + 1}: ${preset.model}` : `Preset ${index + 1}: empty`;
      button.title = say;
      button.setAttribute("aria-label", say);
    });
  }

  #save(on) {
    this.#saving = on;
    $("preset-save").setAttribute("aria-pressed", on);
    $("preset-save").textContent = on ? "Cancel" : "Save";
    $("preset-hint").hidden = !on;
    $("presets").classList.toggle("saving", on);
    for (const button of $("presets").children) button.disabled = !on && button.classList.contains("empty");
  }

  #pressed(number, apply, save) {
    if (this.#saving) { save(number); this.#save(false); } else apply(number);
  }
}

const MINUTE = 60;
const reduced = ({ level, levels }) => level ? `, reduced for this link (step ${level + 1} of ${levels})` : "";

export class Statistics {
  #history = [];

  update(state, local) {
    const { timing, counters, source, model } = state;
    const delay = local.delay ?? timing.drawn_ms.p50 ?? timing.latency_ms.p50;
    this.#history.push(delay ?? 0);
    if (this.#history.length > MINUTE) this.#history.shift();
    if (!$("statistics").open) return;
    this.#graph();
    const ms = time => time === null ? "–" : time.toFixed(0);
    const both = times => `${ms(times.p50)} / ${ms(times.p95)} ms`;
    const dropped = Object.entries(counters.dropped).map(([cause, count]) => `${count} ${cause}`).join(", ") || "0";
    const rows = [
      ["Source", `${source.state}, ${source.size ? source.size.join(" × ") : "–"}${source.rate ? ` at ${source.rate} fps` : ""}`],
      ["Connection", source.connection],
      ["Frames per second", `${timing.fps_in.toFixed(1)} in, ${timing.fps_out.toFixed(1)} out, ${local.fps.toFixed(1)} drawn here`],
      ["Delay here, median / 95 %", both(local.delays ?? timing.drawn_ms)],
      ["Delay in the program", both(timing.latency_ms)],
      ["Model", both(timing.model_ms)],
      ["Backend", model.backend ?? "–"],
      ["Network size", model.size ? `${model.size.join(" × ")}${model.adaptive ? ` (step ${model.level + 1} of ${model.levels})` : ""}` : "–"],
      ["Dropped", dropped],
      ["Late", String(counters.late)],
      ["Stalls, reconnects", `${counters.stalls}, ${counters.reconnects}`],
      ["Picture here", `${{ h264: "H.264, WebCodecs", jpeg: "JPEG", webrtc: "WebRTC" }[local.codec]}${reduced(local.quality)}`],
      ...state.sinks.map(sink => [sink.name, sink.state === "failed" ? sink.message : `${sink.state}, ${sink.written} written, ${sink.dropped} dropped`]),
      ...source.notes.map(note => ["Note", note]),
    ];
    $("numbers").replaceChildren(...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  #graph() {
    const canvas = $("graph"), context = canvas.getContext("2d");
    const { width, height } = canvas;
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, width, height);
    const top = Math.max(50, ...this.#history) * 1.15;
    const point = index => [width - (this.#history.length - 1 - index) * width / (MINUTE - 1), height - this.#history[index] / top * (height - 8) - 2];
    context.beginPath();
    this.#history.forEach((_, index) => context.lineTo(...point(index)));
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(width, height);
    context.lineTo(point(0)[0], height);
    context.globalAlpha = 0.14;
    context.fillStyle = style.getPropertyValue("--accent");
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = style.getPropertyValue("--muted");
    context.font = "20px system-ui, sans-serif";
    context.fillText(`delay, last minute · ${Math.round(this.#history.at(-1) ?? 0)} ms`, 12, 26);
  }
}
