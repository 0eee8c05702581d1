// The page: what is seen is a view, the view is the address, and a painter makes pictures of it.
import * as painter from "./painter.js";
import { TEXTS } from "./texts.js";

const $ = (id) => document.getElementById(id);
const WALL = 24, REST = 180;            // pictures on the wall; ms without a move until all follows
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let net, view, place = 0, history_ = [], future = [], shelf = [], filmed = null;

const t = (key, values = {}) =>
  TEXTS[language][key].replace(/{(\w+)}/g, (_, name) => values[name]);

// A view and its address ----------------------------------------------------------------------

const start = () => ({ seed: "0", mix: [], psi: 0.7, noise: "const", label: "", go: {} });

function address(v) {
  const query = new URLSearchParams({ seed: v.seed, psi: v.psi, noise: v.noise });
  if (v.mix.length) query.set("mix", v.mix.map(([seed, span]) => `${seed}:${span}`).join());
  if (v.label !== "") query.set("label", v.label);
  const go = Object.entries(v.go).filter(([, amount]) => amount);
  if (go.length) query.set("go", go.map((pair) => pair.join(":")).join());
  return query.toString().replace(/%3A/g, ":").replace(/%2C/g, ",");
}

function read(text) {
  const query = new URLSearchParams(text), v = start();
  const number = (value, low, high) => Math.min(high, Math.max(low, Number(value) || 0));
  if (is_seed(query.get("seed"))) v.seed = plain_seed(query.get("seed"));
  if (Number.isFinite(Number(query.get("psi") || NaN))) v.psi = number(query.get("psi"), ...PSI);
  if (["const", "random", "none"].includes(query.get("noise"))) v.noise = query.get("noise");
  if (/^\d+$/.test(query.get("label")) && query.get("label") < net.labels) v.label = query.get("label");
  for (const part of (query.get("mix") || "").split(",")) {
    const [seed, span] = part.split(":");
    if (is_seed(seed) && is_span(span) && v.mix.length < MIXES) v.mix.push([plain_seed(seed), span]);
  }
  const known = new Set(net.directions.map((one) => one.name));
  for (const part of (query.get("go") || "").split(",")) {
    const [name, amount] = part.split(":");
    if (known.has(name)) v.go[name] = number(amount, -30, 30);
  }
  return v;
}

const layers = () => 2 * Math.log2(net.size) - 2;

const MIXES = 64, PSI = [-1, 1.5];      // as many, and from where to where the slider goes

const is_seed = (text) => (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32) ||
  (net.projects && /^p\d{1,12}$/.test(text));

const plain_seed = (text) => text.startsWith("p") ? text : String(Number(text));

function is_span(text) {
  const [first, last = first] = /^\d{1,2}(-\d{1,2})?$/.test(text) ? text.split("-").map(Number) : [1, 0];
  return first <= last && last < layers();
}

// What was done can be undone; a slider that moves is one step.
function change(what, settled = true) {
  say("");
  if (settled) slid = null;
  if (settled) { history_.push(address(view)); future = []; }
  Object.assign(view, what);
  show();
}

function step(from, to) {
  if (!from.length) return;
  to.push(address(view));
  slid = null;
  view = read(from.pop());
  show();
}

// Painting --------------------------------------------------------------------------------------

let busy = false, again = false, failed = false, resting, wanted_side;
let known;                    // the address in the browser as this page last read or wrote it

// One request at a time, and of the newest view.
async function follow(side) {
  wanted_side = side;
  if (busy) { again = true; return; }
  busy = true;
  do {
    again = false;
    const asked = address(view);
    try {
      const url = await painter.small(asked, wanted_side, "stage");
      if (url) { replace($("picture"), url); $("picture").dataset.shows = asked; }
      if (failed) say("");
      failed = false;
    } catch (error) {
      complain(error);
      failed = true;
    }
  } while (again);
  busy = false;
}

// A TypeError is fetch's word for no answer.
function complain(error) {
  say(error instanceof TypeError ? t("lost") : error.message, true);
}

function replace(image, url) {
  release(image);
  image.src = url;
}

function release(...images) {
  for (const { src } of images) if (src.startsWith("blob:")) URL.revokeObjectURL(src);
}

function paint() {
  follow(Math.min(net.size, 256));      // a larger one when it rests
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
}

// What need not follow at once: browsers let an address change only so often.
function rest() {
  if (location.hash === known) history.replaceState(null, "", "#" + address(view));
  known = location.hash;                    // if not as known, hashchange is on its way with it
  $("picture").alt = t("picture_of", { seed: view.seed });
  if (net.size > 256 && net.projects) follow(net.size);     // else it is of full size already
  if (walled !== wall_key()) wall();
}

function say(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

// What is on the page follows from the view --------------------------------------------------------

function show() {
  $("seed").value = view.seed;
  $("psi").value = view.psi;
  $("psi").nextElementSibling.value = view.psi.toFixed(2);
  $("noise").value = view.noise;
  $("label").value = view.label;
  for (const input of $("directions").querySelectorAll("input")) {
    input.value = view.go[input.name] || 0;
    input.nextElementSibling.value = (view.go[input.name] || 0).toFixed(1);
  }
  $("mixes").replaceChildren(...view.mix.map(([seed, span], i) => {
    const button = element("button", t("mixed", { layers: span, seed }) + " ×");
    button.onclick = () => {
      change({ mix: view.mix.filter((_, other) => other !== i) });
      ($("mixes").querySelectorAll("button")[i] || $("seed")).focus();
    };
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  $("undo").disabled = !history_.length;
  $("redo").disabled = !future.length;
  paint();
}

function element(kind, text, settings = {}) {
  const made = document.createElement(kind);
  made.textContent = text;
  return Object.assign(made, settings);
}

function translate() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = t(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]"))
    one.setAttribute("aria-label", t(one.dataset.label));
  $("language").textContent = t("language");
  $("language").lang = language === "en" ? "zh" : "en";
  const chosen = $("level").value;
  $("level").replaceChildren(...[...Object.keys(net.levels), "all", "own"].map(
    (name) => element("option", t(name), { value: name })));
  $("level").value = chosen || "coarse";
  $("label").replaceChildren(element("option", t("any"), { value: "" }),
    ...Array.from({ length: net.labels }, (_, i) =>
      element("option", net.classes[i] ?? String(i), { value: String(i) })));
  say("");
}

// The wall and the shelf --------------------------------------------------------------------------

// A picture with buttons; it is painted in its turn.
function tile(seen, name, action, does) {
  const item = document.createElement("li"), button = element("button", "", { className: "show" });
  const image = document.createElement("img");
  image.alt = name;
  image.title = name;
  image.draggable = false;
  button.append(image);
  const other = element("button", t(action), { className: "small", onclick: does, title: name });
  other.dataset.text = action;
  item.append(button, other);
  return [item, [image, seen]];
}

let waiting = [], painting = false;

async function paint_waiting() {
  if (painting) return;
  painting = true;
  while (waiting.length) {
    const [image, seen] = waiting.shift();
    if (!image.isConnected) continue;
    try {
      const url = await painter.small(seen, Math.min(net.size, 128), "tile" + Math.random());
      if (url) replace(image, url);
      if (!image.isConnected) release(image);
    } catch (error) {
      complain(error);
      if (error instanceof TypeError) break;
      if (!error.busy) continue;
      waiting.push([image, seen]);
      await new Promise((then) => setTimeout(then, 1000));
    }
  }
  painting = false;
}

let walled;                             // what the pictures of the wall were painted with

const wall_key = () => `${view.psi} ${view.label} ${place}`;

function wall() {
  walled = wall_key();
  release(...$("wall").querySelectorAll("img"));
  const plain = { ...start(), psi: view.psi, label: view.label };
  $("wall").replaceChildren(...Array.from({ length: WALL }, (_, i) => {
    const seed = String(place + i), name = t("picture_of", { seed });
    const [item, wanted] = tile(address({ ...plain, seed }), name, "mix", () => mix(seed));
    waiting.push(wanted);
    const button = item.firstChild;
    button.onclick = () => change({ seed, mix: [] });
    button.onkeydown = (event) => { if (event.key === "m" && plain_key(event)) mix(seed); };
    button.draggable = true;
    button.ondragstart = (event) => event.dataTransfer.setData(SEED, seed);
    button.ondrop = (event) => {
      const other = event.dataTransfer.getData(SEED);
      if (other && other !== seed) mix(other, { ...view, seed, mix: [] });
    };
    return item;
  }));
  $("earlier").disabled = place === 0;
  paint_waiting();
}

function shelve() {
  release(...$("shelf").querySelectorAll("img"));
  $("shelf").replaceChildren(...shelf.map((seen, i) => {
    const [item, wanted] = tile(seen, `${t("shelf")} ${i + 1}`, "remove", () => {
      shelf.splice(i, 1);
      shelve();
      ($("shelf").querySelectorAll(".small")[i] || $("keep")).focus();
    });
    waiting.unshift(wanted);
    item.firstChild.onclick = () => change(read(seen));
    return item;
  }));
  $("walk").disabled = walking || shelf.length < 2;
  paint_waiting();
}

// Lends the styles of a seed to what is seen, or to `onto`.
function mix(seed, onto = view) {
  const level = $("level").value;
  const [first, last] = level === "all" ? [0, layers() - 1] : level === "own" ?
    [$("first").value, $("last").value] : net.levels[level];
  if (onto.mix.length >= MIXES) say(t("no_mixes", { most: MIXES }), true);
  else if (is_span(`${first}-${last}`)) change({ ...onto, mix: [...onto.mix, [seed, `${first}-${last}`]] });
  else say(t("no_layers", { last: layers() - 1 }), true);
}

function keep() {
  shelf.push(address(view));
  shelve();
  say(t("kept"));
}

async function save(kind) {
  try {
    const url = await painter[kind](address(view));
    element("a", "", { href: url, download: `seed${view.seed}.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain(error);
  }
}

// A film, and a picture of the visitor's own --------------------------------------------------------

let walking = false;

async function walk() {
  const frames = Number($("frames").value), most = Math.min(120, Math.floor(600 / shelf.length));
  if (!Number.isInteger(frames) || frames < 2 || frames > most) {
    say(t("no_frames", { most, pictures: shelf.length }), true);
    return;
  }
  say(t("painting"));
  walking = $("walk").disabled = true;
  try {
    const [url, ending] = await painter.film(shelf, frames);
    if (filmed) URL.revokeObjectURL(filmed);
    filmed = url;
    const shown = ending === "gif" ? element("img", "", { src: url, alt: t("walk") }) :
      element("video", "", { src: url, loop: true, autoplay: true, muted: true });
    $("film").replaceChildren(shown, element("a", t("film"), {
      href: url, download: `walk.${ending}`, className: "button" }));
    say("");
  } catch (error) {
    complain(error);
  }
  walking = false;
  $("walk").disabled = shelf.length < 2;
}

async function project(file) {
  if (!file || !net.projects) return;
  if ($("upload").disabled) {
    say(t("one_at_a_time"), true);
    return;
  }
  say(t("projecting"));
  $("upload").disabled = true;
  const bar = $("progress");
  bar.hidden = false;
  try {
    const name = await painter.project(file, $("every").checked ? "w+" : "w", view.label);
    for (let state = { step: 0, steps: 1 }, seen = false; state.step < state.steps;) {
      await new Promise((after) => setTimeout(after, 400));
      state = await painter.progress(name);
      bar.value = state.step / state.steps;
      if (state.seen) $("nearness").textContent = t("nearness", { psnr: state.psnr.toFixed(1) });
      if (state.seen && !seen) change({ seed: name, mix: [], go: {} });
      else if (view.seed === name) paint();
      seen = state.seen;
    }
    say(t("projected"));
  } catch (error) {
    complain(error);
  }
  bar.hidden = true;
  $("upload").disabled = false;
  $("upload").value = "";
}

// What hands do -------------------------------------------------------------------------------------

const SEED = "application/x-seed";      // what is dragged

const plain_key = (event) => !(event.ctrlKey || event.metaKey || event.altKey);

// One way of a slider is one step back, also by keys.
let slid = null, slid_at = 0;

function slides(input, what) {
  input.addEventListener("input", () => {
    const now = performance.now();
    if (slid !== input || now > slid_at + 1500) { history_.push(address(view)); future = []; }
    [slid, slid_at] = [input, now];
    change(what(Number(input.value)), false);
  });
  const reset = () => change(what(input.id === "psi" ? 0.7 : 0));
  input.addEventListener("dblclick", reset);
  input.addEventListener("keydown", (event) => { if (event.key === "Delete") reset(); });
}

function listen() {
  $("undo").onclick = () => step(history_, future);
  $("redo").onclick = () => step(future, history_);
  $("share").onclick = async () => {
    rest();
    try { await navigator.clipboard.writeText(location.href); say(t("copied")); }
    catch { say(location.href); }
  };
  $("language").onclick = () => { language = language === "en" ? "zh" : "en"; translate(); show(); };
  $("png").onclick = () => save("png");
  $("npz").onclick = () => save("npz");
  $("keep").onclick = keep;
  $("seed").onchange = () => {
    const seed = $("seed").value.trim();
    if (is_seed(seed)) change({ seed: plain_seed(seed) });
    else { say(t("no_seed", { seed }), true); show(); }
  };
  $("other").onclick = () => change({ seed: String(Math.floor(Math.random() * 2 ** 32)) });
  $("plain").onclick = () => change({ ...start(), seed: view.seed });
  slides($("psi"), (psi) => ({ psi }));
  $("noise").onchange = () => change({ noise: $("noise").value });
  $("label").onchange = () => change({ label: $("label").value });
  $("earlier").onclick = () => { place = Math.max(0, place - WALL); wall(); };
  $("later").onclick = () => { place += WALL; wall(); };
  const own = () => { $("level").value = "own"; };
  $("first").oninput = own;
  $("last").oninput = own;
  $("walk").onclick = walk;
  $("upload").onchange = () => project($("upload").files[0]);
  const stage = $("stage");
  stage.ondragover = (event) => { event.preventDefault(); stage.classList.add("over"); };
  stage.ondragleave = () => stage.classList.remove("over");
  stage.ondrop = (event) => {
    stage.classList.remove("over");
    const seed = event.dataTransfer.getData(SEED);
    if (seed) mix(seed);
  };
  // Dropped anywhere, a file of the visitor's is projected; the browser would leave the page.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.getData(SEED)) project(event.dataTransfer.files[0]);
  });
  addEventListener("beforeunload", (event) => { if (shelf.length) event.preventDefault(); });
  addEventListener("hashchange", () => {
    known = location.hash;
    view = read(known.slice(1));
    show();
  });
  addEventListener("keydown", (event) => {
    if (event.target.matches("input:not([type=range]), select") || !plain_key(event)) return;
    ({ u: () => $("undo").click(), r: () => $("redo").click(), k: keep,
       n: () => $("other").click() })[event.key]?.();
  });
}

async function begin() {
  net = await painter.about();
  known = location.hash;
  view = read(known.slice(1));
  document.title = net.name;
  $("name").textContent = net.name;
  $("labels").hidden = !net.labels;
  $("picture").classList.toggle("transparent", net.channels === 4);
  $("projecting").hidden = !net.projects;
  for (const [input, value] of [[$("first"), 0], [$("last"), layers() - 1]]) {
    input.max = layers() - 1;
    input.value = value;
  }
  for (const { name, layers } of net.directions) {
    const label = element("label", "", { className: "slider" });
    const input = element("input", "", { type: "range", min: -5, max: 5, step: 0.1, name });
    const value = document.createElement("output");
    value.setAttribute("aria-live", "off");
    label.append(element("span", name, { title: `${name}: ${t("layers")} ${layers}` }), input, value);
    slides(input, (amount) => ({ go: { ...view.go, [name]: amount } }));
    $("directions").append(label);
  }
  listen();
  translate();
  show();
  wall();
  shelve();
}

begin().catch((error) => {
  $("message").textContent = error instanceof TypeError ? TEXTS[language].lost : error.message;
});
