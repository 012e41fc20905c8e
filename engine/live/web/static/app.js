// The page: what the server says goes to the parts, what the user does goes to the server.

import { Camera } from "./camera.js";
import { Connection } from "./connection.js";
import { $, Models, Presets, Segments, Sliders, Statistics, element, icon } from "./controls.js";
import { Player } from "./player.js";

const COMPARE = ["off", "split", "side"];
const NOTICE_MS = 6000;

const address = new URL("ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
address.search = address.hash = "";

const connection = new Connection(address);
const player = new Player(connection, $("picture"), new URLSearchParams(location.search).get("codec") ?? undefined);
const camera = new Camera(connection);
const change = controls => connection.change({ controls });
/** For what is the opposite or the next of the present value: a second press may come before the server's answer. */
const turn = (name, value) => { state.controls[name] = value; change({ [name]: value }); };
const models = new Models(name => connection.change({ model: name }));
const sliders = new Sliders(change);
const compare = new Segments("compare", value => change({ compare: value }));
const presets = new Presets(number => connection.change({ preset: number }), number => connection.change({ save_preset: number }));
const statistics = new Statistics();

let state = null;
let problem = null; // a message that stays for a while
let lost = "";
let online = false;
let begun = false; // pictures were asked for since the socket opened
let onTheWay = null; // milliseconds that WebRTC takes

// --- pictures ---------------------------------------------------------------------------------------------------------

const drawnAt = [];
const delays = [];
let stale = false;
let thumbnails = 0;

player.addEventListener("size", ({ detail }) => {
  const frame = document.documentElement.style;
  frame.setProperty("--ratio", `${detail.width} / ${detail.height}`);
  frame.setProperty("--ratio-number", detail.width / detail.height);
});
player.addEventListener("drawn", ({ detail }) => {
  const now = performance.now();
  drawnAt.push(now);
  while (drawnAt[0] < now - 2000) drawnAt.shift();
  const delay = camera.delayOf(detail.time);
  if (delay !== null) delays.push([now, delay]);
  while (delays.length && delays[0][0] < now - 5000) delays.shift();
  if (stale !== detail.stale) { stale = detail.stale; showNotice(); }
  if (!thumbnails && !detail.stale) thumbnails = setTimeout(() => models.fetchThumbnails(), 2500);
});

const fps = () => drawnAt.length > 1 ? 1000 * (drawnAt.length - 1) / Math.max(performance.now() - drawnAt[0], 1) : 0;
function localDelays() {
  if (!delays.length) {
    const inProgram = state?.timing.latency_ms.p50 ?? null;
    return onTheWay === null || inProgram === null ? null : { p50: inProgram + onTheWay, p95: null };
  }
  const sorted = delays.map(([, delay]) => delay).sort((a, b) => a - b);
  return { p50: sorted[sorted.length >> 1], p95: sorted[Math.floor(sorted.length * 0.95)] };
}

// --- state ------------------------------------------------------------------------------------------------------------

connection.addEventListener("open", () => { online = true; lost = ""; showNotice(); });
connection.addEventListener("lost", ({ detail }) => { online = begun = false; lost = detail; showNotice(); showChips(); });
connection.addEventListener("error", ({ detail }) => say(detail.message));
connection.addEventListener("state", ({ detail }) => {
  state = detail.state;
  if (!begun) { begun = true; player.start(state.pages.transport); }
  show();
});
player.addEventListener("fallback", ({ detail }) => say(`WebRTC does not work: ${detail}. Pictures come over the page's socket.`));

const GOOD = { excellent: "good", fair: "middling", poor: "bad", unusable: "bad" };

function show() {
  const { controls, recording } = state;
  models.update(state);
  sliders.update(state);
  compare.update(controls.compare);
  presets.update(state.presets);
  if (document.activeElement !== $("framing")) $("framing").value = state.model.framing ?? "";
  press("mirror", controls.mirror);
  press("bypass", controls.bypass);
  press("record", recording.active);
  $("record-icon").setAttribute("href", recording.active ? "#i-stop" : "#i-record");
  $("record-word").textContent = recording.active ? "Stop" : "Record";
  $("rec-badge").hidden = !recording.active;
  const seconds = Math.floor(recording.seconds);
  $("rec-clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  $("bypass-badge").hidden = !controls.bypass;
  showSplit();
  showFiles(recording.files);
  showCamera();
  showChips();
  showNotice();
  const local = localDelays();
  statistics.update(state, { fps: fps(), delay: local?.p50, delays: local, codec: player.codec, quality: player.quality });
}

function press(id, on) { $(id).setAttribute("aria-pressed", on); }

function showChips() {
  const chip = $("source-chip");
  const { source, timing } = state ?? {};
  const known = online && source;
  const word = !known ? "no connection" : source.state === "live" ? source.connection : source.state;
  const kind = !known ? "bad" : source.state === "live" ? GOOD[source.connection] : source.state === "waiting" || source.state === "opening" ? "" : "bad";
  chip.className = `chip ${kind}`;
  chip.querySelector("use").setAttribute("href", kind === "bad" ? "#i-lost" : kind === "middling" ? "#i-warn" : "#i-camera");
  $("source-word").textContent = word;
  $("rate").textContent = online && timing ? Math.round(fps()) : "–";
  const delay = localDelays()?.p50 ?? timing?.drawn_ms.p50;
  $("delay").textContent = online && delay != null ? Math.round(delay) : "–";
}

function showSplit() {
  const { compare: how, split } = state.controls;
  const on = how !== "off" && !state.controls.bypass && state.model.running !== null;
  $("split").hidden = !on;
  $("split").classList.toggle("side", how === "side");
  if (!dragging) $("split").style.setProperty("--at", `${100 * split}%`);
  $("split-handle").setAttribute("aria-valuenow", Math.round(100 * split));
  $("split-model").textContent = state.model.running ?? "filtered";
  document.body.classList.toggle("comparing", on);
}

let shownFiles = "";
function showFiles(files) {
  if (files.join() === shownFiles) return;
  shownFiles = files.join();
  $("files-card").hidden = !files.length;
  $("files").replaceChildren(...files.toReversed().map(name =>
    element("li", {}, element("a", { href: `api/recordings/${encodeURIComponent(name)}`, download: name }, icon("down"), name))));
}

function showCamera() {
  const wanted = state.browser_camera;
  $("camera-card").hidden = !(wanted && camera.on);
  $("stop-camera").hidden = !camera.on;
  const invite = wanted && !camera.on && !wanted.in_use;
  $("invite").hidden = !invite;
  if (!invite) return;
  $("start-camera").disabled = !camera.available;
  if (!camera.available) $("invite-text").textContent = "A browser gives its camera to secure pages only: open this page at 127.0.0.1, or let engine live serve it with --cert and --key.";
}

function showNotice() {
  const notice = $("notice");
  let text = "", kind = "";
  if (!online) [text, kind] = [lost || "The server does not answer. Connecting again…", "busy"];
  else if (problem) [text, kind] = [problem, "problem"];
  else if (state?.source.state === "lost" || state?.source.state === "stalled") [text, kind] = [`The source is lost: ${state.source.message ?? "no frames from the source"}. Opening it again…`, "busy"];
  else if (state?.source.state === "ended") text = "The source has ended.";
  else if (state?.model.state === "opening" && !state.browser_camera?.in_use === !state.browser_camera) {
    text = state.model.running ? `Opening ${state.model.name}; ${state.model.running} goes on meanwhile.` : `Opening ${state.model.name}; your picture passes through unchanged.`;
    kind = "busy";
  }
  notice.hidden = !text;
  notice.className = kind === "problem" ? "notice problem" : "notice";
  notice.replaceChildren(...(kind === "busy" ? [element("span", { className: "spinner" })] : []), text);
}

let forget = 0;
function say(text) {
  problem = text;
  clearTimeout(forget);
  forget = setTimeout(() => { problem = null; showNotice(); }, NOTICE_MS);
  showNotice();
}

// --- what users do ----------------------------------------------------------------------------------------------------

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function snapshot() {
  const button = $("snapshot");
  button.disabled = true;
  try {
    const answer = await post("api/snapshot");
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))?.[1] ?? "ganlens.png";
    const url = URL.createObjectURL(await answer.blob());
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    say(`No picture was saved: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

const record = () => post("api/record", { action: state.recording.active ? "stop" : "start" }).catch(error => say(`Recording: ${error.message}`));
const toggle = name => state && turn(name, !state.controls[name]);
const nextCompare = () => state && turn("compare", COMPARE[(COMPARE.indexOf(state.controls.compare) + 1) % COMPARE.length]);
const fullscreen = () => document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen?.();

$("bypass").addEventListener("click", () => toggle("bypass"));
$("mirror").addEventListener("click", () => toggle("mirror"));
$("snapshot").addEventListener("click", snapshot);
$("record").addEventListener("click", record);
$("fullscreen").addEventListener("click", fullscreen);
$("fullscreen").hidden = !document.fullscreenEnabled;
$("help").addEventListener("click", () => $("keys").showModal());
$("framing").addEventListener("change", () => connection.change({ framing: $("framing").value || null }));
$("reset").addEventListener("click", () => state && change({
  opacity: 1, detail: null, compare: "off", attributes: Object.fromEntries(Object.keys(state.controls.attributes).map(name => [name, null])),
}));
$("statistics").addEventListener("toggle", () => state && show());

async function startCamera(deviceId) {
  try {
    await camera.start(state.browser_camera, deviceId);
    const devices = await camera.devices();
    $("camera-device").replaceChildren(...devices.map((device, index) => element("option", { value: device.deviceId }, device.label || `Camera ${index + 1}`)));
    if (camera.deviceId) $("camera-device").value = camera.deviceId;
  } catch (error) {
    say(error.name === "NotAllowedError" ? "The browser was not allowed to use the camera. Allow it in the address bar, and try again." : `The camera cannot be used: ${error.message}`);
  }
  show();
}
$("start-camera").addEventListener("click", () => startCamera());
$("stop-camera").addEventListener("click", () => camera.stop());
$("camera-device").addEventListener("change", () => startCamera($("camera-device").value));
camera.addEventListener("change", () => state && show());
camera.addEventListener("refused", ({ detail }) => say(detail === "busy" ? "Another page gives its camera already." : "This session does not take a browser's camera; start it with: engine live browser:"));

let dragging = false;
const handle = $("split-handle");
function moveSplit(share) {
  const split = Math.min(1, Math.max(0, share));
  $("split").style.setProperty("--at", `${100 * split}%`);
  change({ split });
}
handle.addEventListener("pointerdown", event => { dragging = true; handle.setPointerCapture(event.pointerId); });
handle.addEventListener("pointermove", event => {
  if (!dragging) return;
  const box = $("frame").getBoundingClientRect();
  moveSplit((event.clientX - box.left) / box.width);
});
for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => { dragging = false; });
handle.addEventListener("keydown", event => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
  if (step) { event.preventDefault(); moveSplit(state.controls.split + step); }
});

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !state || $("keys").open) return;
  if (event.target.matches?.("select, textarea")) return;
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  if (digit) {
    if (event.shiftKey) connection.change({ preset: Number(digit) });
    else if (state.models[digit - 1]) connection.change({ model: state.models[digit - 1].name });
    return;
  }
  if (event.key === " " && event.target.matches?.("button, input, summary, [role=slider]")) return;
  const action = {
    " ": () => toggle("bypass"), c: nextCompare, m: () => toggle("mirror"), s: snapshot, r: record, f: fullscreen,
    i: () => { $("statistics").open = !$("statistics").open; }, "?": () => $("keys").showModal(),
  }[event.key.toLowerCase()];
  if (action) { event.preventDefault(); action(); }
});

setInterval(showChips, 500);
setInterval(async () => { onTheWay = await player.delay(); }, 1000);
window.ganlens = { connection, player, camera, get state() { return state; } }; // for tests and the console
