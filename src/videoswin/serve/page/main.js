// The page: tabs, the choice of a model, and its parts.

import { download, getJson } from "./api.js";
import { stopCamera } from "./camera.js";
import { $, attempt, element } from "./show.js";
import "./teach.js";
import { startVideo } from "./video.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (tab.id !== "tab-camera") stopCamera();
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(place + step + tabs.length) % tabs.length];
    next.focus();
    open(next);
  });
});

$("api").addEventListener("click", (event) => { // a plain link sends no token
  event.preventDefault();
  attempt(() => download("/openapi.json", "videoswin-openapi.json"));
});

attempt(async () => {
  const { models, limits } = await getJson("/v1/models");
  for (const model of models) $("model").append(element("option", model.name, { value: model.name }));
  $("limits").textContent = `Up to ${Math.floor(limits.upload_bytes / 2 ** 20)} MB and ${Math.round(limits.seconds / 60)} minutes.`;
  await startVideo(limits);
  document.body.dataset.ready = "yes";
});
