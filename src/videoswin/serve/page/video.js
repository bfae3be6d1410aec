// A video: its labels, its timeline, and the player between them.

import { download, getBlob, getJson, remove, send } from "./api.js";
import { $, attempt, bars, clock, colour, element, fresh, percent, say } from "./show.js";

let limits = null;
let job = null; // of the timeline, as the server tells it
let raw = null; // scores over time
let turn = 0; // of the video that was chosen last

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function startVideo(given) {
  limits = given;
  const drop = $("drop");
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) attempt(() => look(file, file.name));
    $("file").value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) attempt(() => look(file, file.name));
  });
  $("chart").addEventListener("click", (event) => {
    const box = $("chart").getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * ($("player").duration || 0));
  });
  $("player").addEventListener("timeupdate", draw);
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  $("job-cancel").addEventListener("click", () => attempt(stop));
  for (const button of $("downloads").querySelectorAll("button")) {
    const { form } = button.dataset;
    button.addEventListener("click", () => attempt(() => download(job.links[form], `timeline.${form}`)));
  }
  const { samples } = await getJson("/v1/samples");
  for (const name of samples) {
    const button = element("button", name.replace(/\.\w+$/, "").replaceAll("_", " "), { type: "button" });
    button.addEventListener("click", () => attempt(async () => look(await getBlob(`/samples/${name}`), name)));
    $("samples").append(button);
  }
  $("samples").hidden = !samples.length;
}

async function look(video, name) {
  if (limits && video.size > limits.upload_bytes) {
    throw new Error(`${name} has ${Math.round(video.size / 2 ** 20)} MB, and ${Math.floor(limits.upload_bytes / 2 ** 20)} are allowed. Cut it, or make it smaller.`);
  }
  const mine = ++turn;
  if (job && !["done", "failed", "cancelled"].includes(job.state)) await stop();
  job = raw = null;
  $("video-result").hidden = false;
  $("answer").textContent = "Looking…";
  $("downloads").hidden = true;
  $("scores").replaceChildren();
  $("segments").replaceChildren();
  show(video);
  draw();
  const model = $("model").value;
  try {
    const found = await send("/v1/predict", video, name, { model, raw: "true" });
    if (mine !== turn) return;
    const [best] = found.predictions;
    const sure = found.raw.label !== null;
    $("answer").textContent = sure ? `${best.label}, ${percent(best.score)}` : `None of these; the nearest is ${best.label}, ${percent(best.score)}`;
    bars($("scores"), found.predictions.map(({ label, score }) => [label, score]));
    await timeline(video, name, model, mine);
  } catch (error) {
    if (mine === turn) {
      $("answer").textContent = "";
      $("video-result").hidden = !raw && !$("scores").children.length;
    }
    throw error;
  }
}

function show(video) {
  const player = $("player");
  if (player.src) URL.revokeObjectURL(player.src);
  player.querySelectorAll("track").forEach((track) => track.remove());
  player.src = URL.createObjectURL(video);
}

async function timeline(video, name, model, mine) {
  job = await send("/v1/timeline", video, name, { model, clip_seconds: $("clip-seconds").value });
  $("job").hidden = false;
  while (["waiting", "running"].includes(job.state)) {
    $("job-progress").value = job.progress;
    $("job-stage").textContent = job.stage || "waiting for its turn";
    await wait(300);
    if (mine !== turn || !job) return;
    job = await getJson(job.links.self);
  }
  $("job").hidden = true;
  if (job.error) throw new Error(job.error.message);
  raw = await getJson(job.links.raw);
  $("downloads").hidden = false;
  list(job.result.segments);
  draw();
  if (job.result.segments.length) await caption(job.links.vtt);
}

async function stop() {
  turn += 1;
  const address = job?.links.self;
  job = null;
  $("job").hidden = true;
  if (address) await remove(address);
}

async function caption(address) {
  const track = element("track", null, { kind: "captions", label: "labels", srclang: "en", default: "" });
  track.src = URL.createObjectURL(await getBlob(address));
  $("player").append(track);
}

function list(segments) {
  $("segments").replaceChildren();
  for (const { start_s: start, end_s: end, label, score } of segments) {
    const button = element("button", null, { type: "button" });
    const swatch = element("i", "", { class: "swatch" });
    swatch.style.background = colour(raw.labels.indexOf(label));
    button.append(swatch, `${clock(start)} to ${clock(end)}  ${label}, ${percent(score)}`);
    button.addEventListener("click", () => seek(start));
    const row = element("li");
    row.append(button);
    $("segments").append(row);
  }
  if (!segments.length) $("segments").append(element("li", "Nothing was sure enough for long enough."));
}

function seek(seconds) {
  if (Number.isFinite(seconds)) $("player").currentTime = seconds;
}

function draw() {
  const { pen, width, height, text } = fresh($("chart"));
  pen.clearRect(0, 0, width, height);
  const duration = $("player").duration || job?.result?.duration_s || 0;
  if (!raw || !duration) return;
  const strip = 22;
  const x = (time) => (time / duration) * width;
  const y = (score) => strip + 6 + (1 - score) * (height - strip - 12);
  pen.strokeStyle = pen.fillStyle = text;
  pen.globalAlpha = 0.25;
  pen.setLineDash([3, 4]);
  for (const at of [raw.decisions.enter, raw.decisions.leave]) {
    pen.beginPath();
    pen.moveTo(0, y(at));
    pen.lineTo(width, y(at));
    pen.stroke();
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
  const peaks = raw.labels.map((label, number) => [number, raw.scores.reduce((most, row) => Math.max(most, row[number]), 0)]);
  const shown = peaks.sort((a, b) => b[1] - a[1]).slice(0, 5);
  for (const [number] of shown) {
    pen.strokeStyle = colour(number);
    pen.lineWidth = 2;
    pen.beginPath();
    raw.times_s.forEach((time, at) => pen[at ? "lineTo" : "moveTo"](x(time), y(raw.scores[at][number])));
    pen.stroke();
    if (raw.times_s.length === 1) pen.strokeRect(x(raw.times_s[0]), y(raw.scores[0][number]), 2, 2);
  }
  pen.font = "12px system-ui, sans-serif";
  for (const { start_s: start, end_s: end, label } of job.result.segments) {
    pen.fillStyle = colour(raw.labels.indexOf(label));
    pen.fillRect(x(start), 2, Math.max(2, x(end) - x(start)), strip - 4);
    pen.fillStyle = "#fff";
    pen.save();
    pen.beginPath();
    pen.rect(x(start), 0, Math.max(0, x(end) - x(start) - 4), strip);
    pen.clip();
    pen.fillText(label, x(start) + 4, strip - 8);
    pen.restore();
  }
  pen.fillStyle = text;
  pen.fillRect(x($("player").currentTime), 0, 1.5, height);
}

addEventListener("unhandledrejection", (event) => say(event.reason));
