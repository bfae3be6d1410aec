// Teaching: names, clips of each, one press, and corrections that become clips.

import { download, getJson, post, remove, send } from "./api.js";
import { openCamera } from "./camera.js";
import { $, attempt, element, percent } from "./show.js";

const NONE = "none of these"; // as the server calls it
const CLIP_S = 3;
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let lesson = null; // as the server tells it
let tried = null; // the clip that was answered last
let offered = []; // the rows that it may belong to

async function begun() {
  lesson ??= await post("/v1/teach");
  return lesson.id;
}

function addClass(name, fixed = false) {
  const row = element("div", null, { class: "class", role: "group" });
  const title = fixed ? element("span", NONE, { class: "name" }) : element("input", null, { type: "text", maxlength: "60", placeholder: "A name", "aria-label": "Name" });
  if (!fixed) title.value = name;
  title.addEventListener("change", offer); // a new name is an answer, too
  const count = element("span", "0 clips", { class: "quiet" });
  const record = element("button", `Record ${CLIP_S} s`, { type: "button" });
  const choose = element("label", "Choose clips ", { class: "button" });
  const files = element("input", null, { type: "file", accept: "video/*", multiple: "" });
  choose.append(files);
  const undo = element("button", "Take the last back", { type: "button" });
  undo.disabled = true;
  row.append(title, count, record, choose, undo);
  $("classes").insertBefore(row, fixed ? null : ($("classes").querySelector("[data-none]") ?? null));
  if (fixed) row.dataset.none = "yes";
  const clips = [];
  const label = () => {
    if (fixed) return NONE;
    const text = title.value.trim();
    if (!text) {
      title.focus();
      throw new Error("Give it a name first.");
    }
    return text;
  };
  const changed = () => {
    count.textContent = clips.length === 1 ? "1 clip" : `${clips.length} clips`;
    undo.disabled = !clips.length;
    if (!fixed) title.readOnly = clips.length > 0; // clips are sent under their name
    const enough = [...$("classes").children].filter((one) => !one.dataset.none && one.clips() >= 3).length >= 2;
    $("train").disabled = !enough;
    $("teach-state").textContent = enough ? "" : "Two names with 3 clips each are the least; 10 do better.";
  };
  row.clips = () => clips.length;
  row.label = () => (fixed ? NONE : title.value.trim());
  row.add = async (clip, clipName) => {
    const answer = await send(`/v1/teach/${await begun()}/clips`, clip, clipName, { label: label() });
    clips.push(answer.clip);
    changed();
  };
  record.addEventListener("click", () => attempt(async () => {
    label();
    record.disabled = true;
    record.classList.add("recording");
    try {
      await row.add(await recordClip(), "recorded.webm");
    } finally {
      record.disabled = false;
      record.classList.remove("recording");
    }
  }));
  files.addEventListener("change", () => attempt(async () => {
    const chosen = [...files.files];
    files.value = "";
    for (const file of chosen) await row.add(file, file.name);
  }));
  undo.addEventListener("click", () => attempt(async () => {
    await remove(`/v1/teach/${lesson.id}/clips/${clips.at(-1)}`);
    clips.pop();
    changed();
  }));
  changed();
  return row;
}

async function recordClip() {
  const camera = $("teach-camera");
  camera.hidden = false;
  const media = await openCamera(camera);
  try {
    const recorder = new MediaRecorder(media);
    const pieces = [];
    recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
    recorder.start();
    await wait(1000 * CLIP_S);
    recorder.stop();
    await stopped;
    return new Blob(pieces, { type: recorder.mimeType });
  } finally {
    media.getTracks().forEach((track) => track.stop());
    camera.hidden = true;
  }
}

async function train() {
  $("train").disabled = true;
  $("teach-progress").hidden = false;
  try {
    lesson = await post(`/v1/teach/${lesson.id}/train`);
    while (["waiting", "running"].includes(lesson.job.state)) {
      $("teach-progress").value = lesson.job.progress;
      $("teach-state").textContent = lesson.job.stage || "waiting for its turn";
      await wait(400);
      lesson = await getJson(`/v1/teach/${lesson.id}`);
    }
    if (lesson.job.error) throw new Error(lesson.job.error.message);
    $("teach-state").textContent = `Trained in ${lesson.job.result.seconds} s.`;
    show(lesson.job.result);
  } finally {
    $("train").disabled = false;
    $("teach-progress").hidden = true;
  }
}

function show(result) {
  $("taught").hidden = false;
  $("estimate").textContent = result.estimate;
  const lines = result.confused.map(([truth, taken, count]) => `${truth} was taken for ${taken}: ${count}`);
  if (result.none_auroc !== null) lines.unshift(`Other things are told apart with an AUROC of ${result.none_auroc.toFixed(2)}, measured by ${result.none_from === "clips" ? "their clips" : "leaving each class out"}.`);
  $("teach-notes").replaceChildren(...[...lines, ...result.notes].map((line) => element("li", line)));
}

/** What the tried clip may have been: the names there are now, wherever their rows stand. */
function offer() {
  const chosen = offered[$("correct-label").selectedIndex];
  offered = [...$("classes").children].filter((row) => row.label());
  $("correct-label").replaceChildren(...offered.map((row) => element("option", row.label())));
  $("correct-label").selectedIndex = Math.max(0, offered.indexOf(chosen));
}

async function answer(clip, name) {
  tried = { clip, name };
  const found = await send("/v1/predict", clip, name, { model: lesson.model, raw: "true" });
  const [best] = found.predictions;
  $("try-answer").textContent = found.raw.label === null ? `None of these; the nearest is ${best.label}, ${percent(best.score)}` : `${best.label}, ${percent(best.score)}`;
  offer();
  $("correct").hidden = false;
}

$("try-seconds").textContent = CLIP_S;
$("add-class").addEventListener("click", () => addClass("").querySelector("input").focus());
$("train").addEventListener("click", () => attempt(train));
$("teach-download").addEventListener("click", () => attempt(() => download(`/v1/teach/${lesson.id}/checkpoint`, "checkpoint.zip")));
$("try-file").addEventListener("change", () => attempt(async () => {
  const [file] = $("try-file").files;
  $("try-file").value = "";
  if (file) await answer(file, file.name);
}));
$("try-camera").addEventListener("click", () => attempt(async () => answer(await recordClip(), "recorded.webm")));
$("correct-add").addEventListener("click", () => attempt(async () => {
  await offered[$("correct-label").selectedIndex].add(tried.clip, tried.name);
  $("correct").hidden = true;
  $("teach-state").textContent = "Kept. Train again to learn from it.";
}));
addClass("", true);
addClass("");
addClass("");
