// What all parts of the page share: elements, errors, bars, colours.

export const $ = (id) => document.getElementById(id);

const COLOURS = ["#1f6feb", "#d9730d", "#2a9d57", "#c2368b", "#8250df", "#0b8a8f", "#b3261e", "#8a7a00", "#4b5bd6", "#9a5b13"];

export const colour = (number) => COLOURS[((number % COLOURS.length) + COLOURS.length) % COLOURS.length];

export const percent = (score) => `${(100 * score).toFixed(1)} %`;

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export function say(error) {
  if (error?.name === "AbortError") return;
  $("error").textContent = error?.message ?? String(error);
  $("error").hidden = false;
}

export function quiet() {
  $("error").hidden = true;
}

/** Run something for a button or a drop: its failure becomes words on the page. */
export async function attempt(work) {
  quiet();
  try {
    return await work();
  } catch (error) {
    say(error);
    return undefined;
  }
}

export function element(kind, text, attributes = {}) {
  const made = document.createElement(kind);
  if (text != null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Labels with their scores, best first. Rows are kept, so that a screen reader is not interrupted all the time. */
export function bars(list, scores, most = 5) {
  const best = [...scores].sort((a, b) => b[1] - a[1]).slice(0, most);
  while (list.children.length > best.length) list.lastChild.remove();
  best.forEach(([label, score], place) => {
    let row = list.children[place];
    if (!row) {
      row = element("li");
      row.append(element("div", "", { class: "fill" }), element("span"), element("span"));
      list.append(row);
    }
    row.children[0].style.width = `${100 * score}%`;
    row.children[1].textContent = label;
    row.children[2].textContent = percent(score);
  });
}

/** A canvas as sharp as the screen; gives its context and size in CSS pixels. */
export function fresh(canvas) {
  const width = canvas.clientWidth || 600;
  const height = Number(canvas.getAttribute("data-height") ?? canvas.getAttribute("height"));
  canvas.setAttribute("data-height", height);
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  return { pen, width, height, text: getComputedStyle(document.body).color };
}
