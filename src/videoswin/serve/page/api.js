// The server, as functions. Every failure is an Error whose message is a sentence for people.

const KEY = "videoswin token";

function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname); // it should not stay in the address
  }
  return sessionStorage.getItem(KEY);
}

async function ask(path, options = {}, again = true) {
  const headers = new Headers(options.headers);
  if (token()) headers.set("Authorization", `Bearer ${token()}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached, or it broke the upload off. Is it still running?");
  }
  if (answer.status === 401 && again) {
    const typed = prompt("This server asks for a token. Whoever runs it has it.");
    if (typed) {
      sessionStorage.setItem(KEY, typed.trim());
      return ask(path, options, false);
    }
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw new Error(told?.error?.message ?? `The server answers with ${answer.status}.`);
  }
  return answer;
}

export async function getJson(path, options) {
  return (await ask(path, options)).json();
}

export async function getBlob(path) {
  return (await ask(path)).blob();
}

export async function send(path, video, name, fields = {}, options = {}) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) if (value !== "" && value != null) form.append(key, value);
  form.append("video", video, name);
  return getJson(path, { method: "POST", body: form, ...options });
}

export async function post(path) {
  return getJson(path, { method: "POST" });
}

export async function remove(path) {
  await ask(path, { method: "DELETE" });
}

export function openStream(settings) {
  const query = new URLSearchParams(Object.entries(settings).filter(([, value]) => value !== "" && value != null));
  const protocols = ["videoswin", ...(token() ? [`token.${token()}`] : [])];
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}/v1/stream?${query}`, protocols);
}

export async function download(path, name) {
  const address = URL.createObjectURL(await getBlob(path));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
