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
  const is_seed = (seed) => /^(p\d{1,6}|\d{1,10})$/.test(seed) && !(Number(seed) >= 2 ** 32);
  if (is_seed(query.get("seed"))) v.seed = query.get("seed");
  if (query.has("psi")) v.psi = number(query.get("psi"), -2, 2);
  if (["const", "random", "none"].includes(query.get("noise"))) v.noise = query.get("noise");
  if (/^\d+$/.test(query.get("label")) && query.get("label") < net.labels) v.label = query.get("label");
  for (const part of (query.get("mix") || "").split(",")) {
    const [seed, span] = part.split(":"), ends = (span || "").split("-").map(Number);
    if (is_seed(seed) && ends.every((layer) => layer >= 0 && layer < layers())) v.mix.push([seed, span]);
  }
  const known = new Set(net.directions.map((one) => one.name));
  for (const part of (query.get("go") || "").split(",")) {
    const [name, amount] = part.split(":");
    if (known.has(name)) v.go[name] = number(amount, -30, 30);
  }
  return v;
}

const layers = () => 2 * Math.log2(net.size) - 2;

// What was done can be undone; a slider that moves is one step.
function change(what, settled = true) {
  if (settled) { history_.push(address(view)); future = []; }
  Object.assign(view, what);
  show();
}

function step(from, to) {
  if (!from.length) return;
  to.push(address(view));
  view = read(from.pop());
  show();
}

// Painting --------------------------------------------------------------------------------------

let busy = false, again = false, failed = false, resting;

async function follow(side) {
  if (busy) { again = true; return; }
  busy = true;
  do {
    again = false;
    const asked = address(view);
    try {
      const url = await painter.small(asked, side, "stage");
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
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = url;
}

function paint() {
  follow(Math.min(net.size, 256));
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
}

// What need not follow at once: browsers let an address change only so often.
function rest() {
  history.replaceState(null, "", "#" + address(view));
  $("picture").alt = t("picture_of", { seed: view.seed });
  if (net.size > 256) follow(net.size);
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
    button.onclick = () => change({ mix: view.mix.filter((_, other) => other !== i) });
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
  wall();
  shelve();
}

// The wall and the shelf --------------------------------------------------------------------------

// A picture with buttons: it is painted when it comes into sight.
function tile(seen, name, actions) {
  const item = document.createElement("li"), button = element("button", "", { className: "show" });
  const image = document.createElement("img");
  image.alt = name;
  image.title = name;
  button.append(image);
  item.append(button, ...actions.map(([text, does]) =>
    element("button", text, { className: "small", onclick: does })));
  waiting.push([image, seen]);
  return item;
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
    } catch (error) {
      complain(error);
      break;
    }
  }
  painting = false;
}

function wall() {
  const plain = { ...start(), psi: view.psi, label: view.label };
  $("wall").replaceChildren(...Array.from({ length: WALL }, (_, i) => {
    const seed = String(place + i), name = t("picture_of", { seed });
    const item = tile(address({ ...plain, seed }), name, [[t("mix"), () => mix(seed)]]);
    const button = item.firstChild;
    button.dataset.seed = seed;
    button.onclick = () => change({ seed, mix: [] });
    button.onkeydown = (event) => { if (event.key === "m") mix(seed); };
    button.draggable = true;
    button.ondragstart = (event) => event.dataTransfer.setData("text/plain", seed);
    return item;
  }));
  $("earlier").disabled = place === 0;
  paint_waiting();
}

function shelve() {
  $("shelf").replaceChildren(...shelf.map((seen, i) => {
    const item = tile(seen, seen, [[t("remove"), () => { shelf.splice(i, 1); shelve(); }]]);
    item.firstChild.onclick = () => change(read(seen));
    return item;
  }));
  $("walk").disabled = shelf.length < 2;
  paint_waiting();
}

function mix(seed) {
  const level = $("level").value;
  const [first, last] = level === "all" ? [0, layers() - 1] : level === "own" ?
    [$("first").valueAsNumber, $("last").valueAsNumber] : net.levels[level];
  if (first <= last) change({ mix: [...view.mix, [seed, `${first}-${last}`]] });
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

async function walk() {
  say(t("painting"));
  $("walk").disabled = true;
  try {
    const [url, ending] = await painter.film(shelf, $("frames").valueAsNumber);
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
  $("walk").disabled = shelf.length < 2;
}

async function project(file) {
  if (!file) return;
  say(t("projecting"));
  try {
    const name = await painter.project(file, $("every").checked ? "w+" : "w", view.label);
    const bar = $("progress");
    bar.hidden = false;
    change({ seed: name, mix: [], go: {} });
    for (let state = { step: 0, steps: 1 }; state.step < state.steps;) {
      await new Promise((after) => setTimeout(after, 400));
      state = await painter.progress(name);
      bar.value = state.step / state.steps;
      $("nearness").textContent = t("projected", { psnr: state.psnr.toFixed(1) });
      if (view.seed === name) paint();
    }
    bar.hidden = true;
    say("");
  } catch (error) {
    $("progress").hidden = true;
    complain(error);
  }
  $("upload").value = "";
}

// What hands do -------------------------------------------------------------------------------------

function slides(input, what) {
  let before = null;
  input.addEventListener("input", () => {
    if (before === null) { before = true; history_.push(address(view)); future = []; }
    change(what(Number(input.value)), false);
  });
  input.addEventListener("change", () => { before = null; });
  input.addEventListener("dblclick", () => change(what(input.id === "psi" ? 0.7 : 0)));
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
    if (/^(p\d{1,6}|\d{1,10})$/.test(seed)) change({ seed }); else show();
  };
  $("other").onclick = () => change({ seed: String(Math.floor(Math.random() * 2 ** 32)) });
  $("plain").onclick = () => change({ ...start(), seed: view.seed });
  slides($("psi"), (psi) => ({ psi }));
  $("psi").addEventListener("change", wall);
  $("noise").onchange = () => change({ noise: $("noise").value });
  $("label").onchange = () => { change({ label: $("label").value }); wall(); };
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
    event.preventDefault();
    stage.classList.remove("over");
    const seed = event.dataTransfer.getData("text/plain");
    if (event.dataTransfer.files.length) project(event.dataTransfer.files[0]);
    else if (/^\d+$/.test(seed)) mix(seed);
  };
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== address(view)) { view = read(location.hash.slice(1)); show(); }
  });
  addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    ({ u: () => $("undo").click(), r: () => $("redo").click(), k: keep,
       n: () => $("other").click() })[event.key]?.();
  });
}

async function begin() {
  net = await painter.about();
  view = read(location.hash.slice(1));
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
    label.append(element("span", name, { title: `${name}: ${t("layers")} ${layers}` }), input,
      document.createElement("output"));
    slides(input, (amount) => ({ go: { ...view.go, [name]: amount } }));
    $("directions").append(label);
  }
  listen();
  translate();
  show();
}

begin().catch((error) => {
  $("message").textContent = error instanceof TypeError ? TEXTS[language].lost : error.message;
});
