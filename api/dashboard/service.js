// Talks to the public interface, and to nothing else. The key stays in this tab.

const PLACE = "descent.key";
const PAGE = 200;
const LONGEST_PAUSE = 8_000;

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `The service answered ${status}.`);
    this.status = status;
    this.errors = document.errors ?? [];
    this.document = document;
  }
}

// A link may carry a key in its fragment, which no server sees; it goes from the address at once.
export function takeKeyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!given) return;
  sessionStorage.setItem(PLACE, given);
  history.replaceState(null, "", `${location.pathname}#/jobs`);
}

export const hasKey = () => sessionStorage.getItem(PLACE) !== null;
export const keepKey = (key) => sessionStorage.setItem(PLACE, key);
export const forgetKey = () => sessionStorage.removeItem(PLACE);

const listeners = new Set();
let isConnected = true;

// Tells `listener` whether the service answers, now and whenever that changes.
export function onConnection(listener) {
  listeners.add(listener);
  listener(isConnected);
}

function connected(now) {
  if (now === isConnected) return;
  isConnected = now;
  listeners.forEach((listener) => listener(now));
}

const authorization = () => ({ Authorization: `Bearer ${sessionStorage.getItem(PLACE)}` });

async function fetched(path, options) {
  try {
    const answer = await fetch(path, options);
    connected(answer.status !== 502 && answer.status !== 503);
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") connected(false);
    throw error;
  }
}

async function refused(answer) {
  const document = await answer.json().catch(() => ({}));
  if (answer.status === 401) dispatchEvent(new CustomEvent("descent:no-key", { detail: document.detail }));
  return new Problem(document, answer.status);
}

// Ask once: JSON, or a Problem.
export async function ask(path, { method = "GET", body, signal, headers = {} } = {}) {
  const sent = { ...authorization(), ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method === "POST") sent["Idempotency-Key"] ??= crypto.randomUUID();
  const options = { method, headers: sent, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const answer = await fetched(path, options);
  if (!answer.ok) throw await refused(answer);
  return answer.status === 204 ? null : answer.json();
}

// Every item of a list, page after page.
export async function askAll(path, signal) {
  const found = [];
  for (let after = ""; after !== null;) {
    const page = await ask(`${path}${path.includes("?") ? "&" : "?"}limit=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`, { signal });
    found.push(...page.data);
    after = page.next_after;
  }
  return found;
}

// The bytes of a file, to be saved.
export async function download(path, name) {
  const answer = await fetched(path, { headers: authorization() });
  if (!answer.ok) throw await refused(answer);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}

export function wait(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => { clearTimeout(timer); resolve(); };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done, { once: true });
  });
}

// Server-sent events of a run until it has ended, across restarts of the service; each point comes once.
export async function follow(runId, heard, signal) {
  let last = "";
  let pause = 500;
  while (!signal.aborted) {
    try {
      const answer = await fetched(`/v1/runs/${runId}/stream`, { headers: { ...authorization(), ...(last && { "Last-Event-ID": last }) }, signal });
      if (!answer.ok) {
        const problem = await refused(answer);
        if (![429, 502, 503].includes(problem.status)) throw problem;
      } else {
        for await (const event of events(answer.body)) {
          pause = 500;
          if (event.id) last = event.id;
          heard(event.event, JSON.parse(event.data));
          if (event.event === "end") return;
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof Problem) return;
    }
    await wait(pause, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split(/\r?\n/)) {
        const at = line.indexOf(":");
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 1).trimStart();
      }
      if (event.data) yield event;
    }
  }
}

// Do something again and again while the page is seen: `step` says how many milliseconds later, or null for never.
export async function repeat(step, signal) {
  let pause = 0;
  while (!signal.aborted) {
    let next = Math.max(1_000, Math.min(2 * pause, LONGEST_PAUSE));
    try {
      next = await step();
      if (next === null) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && ![429, 500, 502, 503].includes(error.status)) throw error;
    }
    pause = next;
    await wait(next, signal);
    while (document.hidden && !signal.aborted) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
  }
}
