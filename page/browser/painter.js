// The painter of an exported page: the generator itself, in the visitor's browser, by ONNX Runtime.
// The same functions as ../static/painter.js; a picture cannot be projected here.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;            // more needs headers that not every server sends
ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };

let net, mapping, synthesis, maps, w_avg, directions, queue = Promise.resolve();

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.arrayBuffer();
}

export async function about() {
  net = JSON.parse(new TextDecoder().decode(await bytes("about.json")));
  const numbers = new Float32Array(await bytes("numbers.bin"));
  let at = 0;
  const take = (count) => numbers.subarray(at, at += count);
  maps = net.noise.map((side) => take(side * side));
  directions = Object.fromEntries(net.directions.map((one) => [one.name, { ...one, vector: take(net.dlatent) }]));
  const session = async (name) => ort.InferenceSession.create(await bytes(name), { executionProviders: ["wasm"] });
  [mapping, synthesis] = [await session("mapping.onnx"), await session("synthesis.onnx")];
  w_avg = (await mapping.run(latent(0, 0))).w_avg.data;
  return net;
}

// Random numbers: NumPy's RandomState(seed).randn, so that a seed is the same picture everywhere --

function twister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(before, 1812433253) + i;
  }
  let at = 624;
  const word = () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
  return () => {
    const high = word() >>> 5;
    return (high * 67108864 + (word() >>> 6)) / 9007199254740992;
  };
}

export function randn(seed, count) {
  const next = twister(seed), found = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    let x, y, square;
    do {
      x = 2 * next() - 1;
      y = 2 * next() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt(-2 * Math.log(square) / square);
    found[i] = factor * y;
    if (i + 1 < count) found[i + 1] = factor * x;
  }
  return found;
}

// Styles and pictures -------------------------------------------------------------------------

function latent(seed, label) {
  const feeds = { z: new ort.Tensor("float32", randn(seed, net.latent), [1, net.latent]) };
  if (net.labels) {
    const one = new Float32Array(net.labels);
    one[label === "" ? seed % net.labels : Number(label)] = 1;
    feeds.labels = new ort.Tensor("float32", one, [1, net.labels]);
  }
  return feeds;
}

// [layers * dlatent], truncated.
async function styles_of(seed, view) {
  const w = (await mapping.run(latent(Number(seed), view.label))).w.data;
  const found = new Float32Array(net.layers * net.dlatent);
  for (let layer = 0; layer < net.layers; layer++) {
    const psi = layer < net.truncated ? view.psi : 1;
    for (let i = 0; i < net.dlatent; i++)
      found[layer * net.dlatent + i] = w_avg[i] + psi * (w[i] - w_avg[i]);
  }
  return found;
}

function read(text) {
  const query = new URLSearchParams(text);
  const parts = (name) => (query.get(name) || "").split(",").filter(Boolean).map((part) => part.split(":"));
  return { seed: query.get("seed"), psi: Number(query.get("psi")), noise: query.get("noise"),
           label: query.get("label") || "", mix: parts("mix"), go: parts("go") };
}

async function styles(view) {
  const w = await styles_of(view.seed, view);
  for (const [seed, span] of view.mix) {
    const [first, last = first] = span.split("-").map(Number);
    const other = await styles_of(seed, view);
    w.set(other.subarray(first * net.dlatent, (last + 1) * net.dlatent), first * net.dlatent);
  }
  for (const [name, amount] of view.go) {
    const { vector, sigma, layers } = directions[name];
    for (const layer of layers)
      for (let i = 0; i < net.dlatent; i++)
        w[layer * net.dlatent + i] += Number(amount) * sigma * vector[i];
  }
  return w;
}

function noise(view) {
  return net.noise.map((side, i) => {
    const values = view.noise === "const" ? maps[i] : view.noise === "none" ?
      new Float32Array(side * side) : randn(Number(view.seed) * 31 + i >>> 0, side * side);
    return new ort.Tensor("float32", values, [1, 1, side, side]);
  });
}

async function paint(w, view) {
  const feeds = { styles: new ort.Tensor("float32", w, [1, net.layers, net.dlatent]) };
  noise(view).forEach((map, i) => { if (synthesis.inputNames.includes(`noise${i}`)) feeds[`noise${i}`] = map; });
  const image = (await synthesis.run(feeds)).images.data, side = net.size, plane = side * side;
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const pixels = new ImageData(side, side), level = (x) => Math.min(255, Math.max(0, (x + 1) * 127.5));
  for (let i = 0; i < plane; i++) {
    const alpha = net.channels === 4 ? level(image[3 * plane + i]) : 255;
    for (let c = 0; c < 3; c++) {
      const value = level(image[(net.channels === 1 ? 0 : c) * plane + i]);
      pixels.data[4 * i + c] = Math.round(alpha === 255 ? value : alpha ? Math.min(255, value / alpha * 255) : 0);
    }
    pixels.data[4 * i + 3] = Math.round(alpha);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// One at a time, as the runtime wants it; of one place only the newest.
const newest = {};
let count = 0;                          // of what nothing takes the place of

function in_turn(place, work) {
  const mine = newest[place] = {};
  const done = queue.then(() => newest[place] === mine ? work() : null);
  queue = done.catch(() => {}).then(() => new Promise((then) => setTimeout(then)));
  return done.finally(() => { if (newest[place] === mine) delete newest[place]; });
}

const blob = (canvas) => new Promise((then) => canvas.toBlob(then, "image/png"));

async function picture(text) {
  const view = read(text);
  return URL.createObjectURL(await blob(await paint(await styles(view), view)));
}

export const small = (text, side, place) => in_turn(place, () => picture(text));
export const png = (text) => in_turn(`file${count++}`, () => picture(text));

// A .npz: a zip with one array, as generate.py --w reads it.
export const npz = (text) => in_turn(`file${count++}`, async () => {
  const w = await styles(read(text));
  const shape = `{'descr': '<f4', 'fortran_order': False, 'shape': (1, ${net.layers}, ${net.dlatent}), }`;
  const head = "\x93NUMPY\x01\x00" + "\x76\x00" + shape.padEnd(117) + "\n";
  const file = new Uint8Array(128 + w.byteLength);
  file.set(Uint8Array.from(head, (letter) => letter.charCodeAt(0)));
  file.set(new Uint8Array(w.buffer, w.byteOffset, w.byteLength), 128);
  return URL.createObjectURL(new Blob(zipped("w.npy", file)));
});

function zipped(name, file) {
  let crc = -1;
  for (const byte of file) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const record = (signature, numbers) => {
    const bytes = new DataView(new ArrayBuffer(4 + numbers.reduce((sum, [size]) => sum + size, 0)));
    bytes.setUint32(0, signature, true);
    let at = 4;
    for (const [size, value] of numbers) {
      if (size === 2) bytes.setUint16(at, value, true); else bytes.setUint32(at, value, true);
      at += size;
    }
    return new Uint8Array(bytes.buffer);
  };
  const letters = new TextEncoder().encode(name), day = 33;       // 1 January 1980
  const shared = [[2, 20], [2, 0], [2, 0], [2, 0], [2, day], [4, ~crc >>> 0], [4, file.length],
                  [4, file.length], [2, letters.length], [2, 0]];
  const local = record(0x04034b50, shared);
  const central = record(0x02014b50, [[2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, 0]]);
  const start = local.length + letters.length + file.length;
  const end = record(0x06054b50, [[2, 0], [2, 0], [2, 1], [2, 1], [4, central.length + letters.length],
                                  [4, start], [2, 0]]);
  return [local, letters, file, central, letters, end];
}

// Recorded while it is shown, as fast as it is painted but no faster than 25 frames a second.
export async function film(stops, frames) {
  const views = stops.map(read), ways = [];
  for (const view of views) ways.push(await in_turn(`film${count++}`, () => styles(view)));
  const canvas = Object.assign(document.createElement("canvas"), { width: net.size, height: net.size });
  const context = canvas.getContext("2d"), stream = canvas.captureStream(25), parts = [];
  const recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  const ended = new Promise((then) => { recorder.onstop = then; });
  recorder.start();
  try {
    for (let i = 0; i < views.length; i++) {
      const from = ways[i], to = ways[(i + 1) % ways.length];
      for (let f = 0; f < frames; f++) {
        const start = performance.now(), w = from.map((value, j) => value + f / frames * (to[j] - value));
        const frame = await in_turn(`film${count++}`, () => paint(w, views[i]));
        context.clearRect(0, 0, net.size, net.size);
        context.drawImage(frame, 0, 0);
        await new Promise((then) => setTimeout(then, Math.max(0, 40 - performance.now() + start)));
      }
    }
  } finally {
    recorder.stop();
  }
  await ended;
  return [URL.createObjectURL(new Blob(parts, { type: recorder.mimeType })),
          recorder.mimeType.includes("mp4") ? "mp4" : "webm"];
}

export const project = () => { throw new Error("explore.py"); };
export const progress = project;
