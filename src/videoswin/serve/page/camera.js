// The camera: pictures to the server, labels back.

import { openStream } from "./api.js";
import { $, attempt, bars, clock, colour, element, fresh, percent, say } from "./show.js";

const PICTURES_A_SECOND = 12;
const WIDTH = 320; // pixels of a picture that is sent
const HISTORY_S = 60;
const BEHIND = 400_000; // bytes that may wait in the socket

let socket = null;
let media = null;
let timer = 0;
let past = []; // [time, label number, score]
let labels = [];

export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("The browser gives the camera to secure pages only: open this one by 127.0.0.1, or by https.");
  }
  try {
    const found = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
    video.srcObject = found;
    await video.play();
    return found;
  } catch (error) {
    const why = { NotAllowedError: "the browser does not allow it", NotFoundError: "there is none", NotReadableError: "another program uses it" };
    throw new Error(`The camera cannot be opened: ${why[error.name] ?? error.message}.`);
  }
}

async function start() {
  $("camera-start").disabled = true;
  try {
    media = await openCamera($("camera"));
  } finally {
    $("camera-start").disabled = false;
  }
  past = [];
  $("events").replaceChildren();
  $("camera-start").textContent = "Turn the camera off";
  $("camera-state").textContent = "Connecting…";
  const settings = { model: $("model").value, clip_seconds: $("clip-seconds").value, fps: PICTURES_A_SECOND };
  const mine = (socket = openStream(settings));
  const canvas = document.createElement("canvas");
  socket.addEventListener("open", () => {
    $("camera-state").textContent = "Running.";
    timer = setInterval(() => sendPicture(canvas, mine), 1000 / PICTURES_A_SECOND);
  });
  socket.addEventListener("message", (event) => take(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    if (socket === mine) stopCamera();
  });
  socket.addEventListener("error", () => say(new Error("The stream to the server broke off.")));
}

export function stopCamera() {
  clearInterval(timer);
  const old = socket;
  socket = null;
  if (old && old.readyState <= 1) old.close();
  media?.getTracks().forEach((track) => track.stop());
  if (media) $("camera-state").textContent = "The camera is off.";
  media = null;
  $("camera").srcObject = null;
  $("camera-start").textContent = "Turn the camera on";
}

function sendPicture(canvas, mine) {
  const camera = $("camera");
  if (mine.readyState !== 1 || mine.bufferedAmount > BEHIND || !camera.videoWidth) return;
  canvas.width = Math.min(WIDTH, camera.videoWidth);
  canvas.height = Math.round((canvas.width * camera.videoHeight) / camera.videoWidth);
  canvas.getContext("2d").drawImage(camera, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((picture) => picture && mine.readyState === 1 && mine.send(picture), "image/jpeg", 0.85);
}

function take(message) {
  if (message.type === "scores") {
    labels = Object.keys(message.scores);
    const scores = Object.entries(message.scores);
    const best = scores.reduce((most, one) => (one[1] > most[1] ? one : most));
    const now = message.label === null ? "Nothing sure" : message.label;
    if ($("now").textContent !== now) $("now").textContent = now;
    bars($("live-scores"), scores);
    past.push([message.time_s, message.label === null ? -1 : labels.indexOf(message.label), best[1]]);
    while (past.length && past[0][0] < message.time_s - HISTORY_S) past.shift();
    $("latency").textContent = `${message.latency_ms} ms from picture to answer${message.skipped ? "; nothing moves" : ""}`;
    draw();
  } else if (message.type === "start" || message.type === "end") {
    const words = `${clock(message.time_s)}  ${message.label} ${message.type === "start" ? "begins" : "ends"}, ${percent(message.score)}`;
    $("events").prepend(element("li", words));
    while ($("events").children.length > 30) $("events").lastChild.remove();
  } else if (message.type === "error") {
    say(new Error(message.message));
  } else if (message.type === "status" && message.dropped) {
    $("camera-state").textContent = `Running; ${message.dropped} pictures were too many for this server.`;
  }
}

function draw() {
  const { pen, width, height } = fresh($("history"));
  if (!past.length) return;
  const end = past.at(-1)[0];
  const x = (time) => width * (1 - (end - time) / HISTORY_S);
  past.forEach(([time, label, score], at) => {
    const next = past[at + 1]?.[0] ?? end;
    pen.fillStyle = label < 0 ? "#8b949e" : colour(label);
    pen.globalAlpha = label < 0 ? 0.35 : 1;
    const tall = score * (height - 4);
    pen.fillRect(x(time), height - tall, Math.max(1, x(next) - x(time) + 0.5), tall);
  });
}

$("camera-start").addEventListener("click", () => (media ? stopCamera() : attempt(start)));
