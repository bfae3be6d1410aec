// A model in the browser: a video or the camera in, labels out. Nothing is sent anywhere.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { clipTimes, frameRate, grab, toClip } from "./preprocess.js";

const $ = (id) => document.getElementById(id);
const canvas = document.createElement("canvas");
const percent = (score) => `${(100 * score).toFixed(1)} %`;
let facts = null;
let session = null;
let media = null;
let turn = 0;

function say(error) {
  $("error").textContent = error.message ?? String(error);
  $("error").hidden = false;
}

async function attempt(work) {
  $("error").hidden = true;
  try {
    return await work();
  } catch (error) {
    say(error);
    return undefined;
  }
}

/** Probabilities of all labels for one clip. */
async function score(pictures) {
  const { clip_len: frames, size } = facts.preprocessing;
  const input = new ort.Tensor("float32", toClip(pictures, facts), [1, 3, frames, ...size]);
  const began = performance.now();
  const output = await session.run({ [session.inputNames[0]]: input });
  $("latency").textContent = `${Math.round(performance.now() - began)} ms for the model`;
  const logits = output[session.outputNames[0]].data;
  const most = Math.max(...logits);
  const raised = Array.from(logits, (value) => Math.exp(value - most));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / sum);
}

function show(scores) {
  const best = scores.map((value, at) => [facts.labels[at], value]).sort((a, b) => b[1] - a[1]);
  const sure = facts.none_threshold === null || best[0][1] >= facts.none_threshold;
  const words = `${best[0][0]}, ${percent(best[0][1])}`;
  $("answer").textContent = sure ? words : `None of these; the nearest is ${words}`;
  $("scores").replaceChildren(...best.slice(0, 5).map(([label, value]) => {
    const row = document.createElement("li");
    const fill = document.createElement("div");
    fill.className = "fill";
    fill.style.width = `${100 * value}%`;
    row.append(fill, ...[label, percent(value)].map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    return row;
  }));
  document.body.dataset.best = best[0][0];
}

function once(target, kind, doing) {
  return new Promise((resolve, reject) => {
    target.addEventListener(kind, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error("This browser cannot play that video. Convert it to mp4 (H.264) or webm.")), { once: true });
    doing();
  });
}

/** Seek, and wait until that picture can be drawn. */
async function seek(video, time) {
  await once(video, "seeked", () => (video.currentTime = time));
}

async function look(file) {
  stopCamera();
  const mine = ++turn;
  delete document.body.dataset.best;
  $("answer").textContent = "Looking…";
  const player = $("player");
  if (player.src) URL.revokeObjectURL(player.src);
  const address = URL.createObjectURL(file);
  await once(player, "loadeddata", () => (player.src = address));
  if (!Number.isFinite(player.duration)) await once(player, "durationchange", () => (player.currentTime = 1e7));
  const told = await frameRate(player);
  const rate = told ?? 30;
  $("state").textContent = told ? "Ready." : "This browser does not tell the video's frame rate: 30 a second are assumed.";
  const pictures = [];
  for (const time of clipTimes(facts, player.duration, rate)) {
    await seek(player, Math.min(time, player.duration));
    pictures.push(grab(player, canvas, facts));
  }
  if (mine !== turn) return;
  show(await score(pictures));
  player.currentTime = 0;
}

async function startCamera() {
  const player = $("player");
  media = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 320 } }, audio: false });
  player.srcObject = media;
  await player.play();
  $("camera-start").textContent = "Turn the camera off";
  const mine = ++turn;
  const { clip_len: frames } = facts.preprocessing;
  const gap = (1000 * Number($("clip-seconds").value || 3)) / frames;
  const past = [];
  let busy = false;
  while (media && mine === turn) {
    past.push(grab(player, canvas, facts));
    if (past.length > frames) past.shift();
    if (past.length === frames && !busy) {
      busy = true;
      score([...past]).then(show, say).finally(() => (busy = false));
    }
    await new Promise((resolve) => setTimeout(resolve, gap));
  }
}

function stopCamera() {
  turn += 1;
  media?.getTracks().forEach((track) => track.stop());
  media = null;
  $("player").srcObject = null;
  $("camera-start").textContent = "Turn the camera on";
}

attempt(async () => {
  facts = await (await fetch("facts.json")).json();
  $("name").textContent = facts.name;
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
  // Threads need a server that isolates the page (COOP and COEP headers); any other serves one thread.
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  $("state").textContent = "Ready.";
  document.body.dataset.ready = "yes";
});

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file) attempt(() => look(file));
});
for (const kind of ["dragover", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (kind === "drop" && file) attempt(() => look(file));
  });
}
$("camera-start").addEventListener("click", () => (media ? stopCamera() : attempt(startCamera)));
