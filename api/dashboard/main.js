// Which page the address names, and the frame around all of them.

import { element, fill, say } from "./elements.js";
import { forgetKey, hasKey, keepKey, onConnection, takeKeyFromAddress } from "./service.js";
import { showCompare } from "./compare.js";
import { showJob } from "./job.js";
import { showJobs } from "./jobs.js";
import { showLab, showLabRun, showLabs } from "./labs.js";
import { showSubmit } from "./submit.js";

const PAGES = [
  [/^#\/jobs\/([\w-]+)$/, showJob],
  [/^#\/jobs(?:\?(.*))?$/, showJobs],
  [/^#\/compare\?(.*)$/, showCompare],
  [/^#\/labs\/([\w-]+)\/([0-9a-f]{8})-(\w+)$/, showLabRun],
  [/^#\/labs\/([\w-]+)$/, showLab],
  [/^#\/labs$/, showLabs],
  [/^#\/submit(?:\?(.*))?$/, showSubmit],
];

const page = document.getElementById("page");
const connection = document.getElementById("connection");
let leaving = new AbortController();

function show() {
  leaving.abort();
  leaving = new AbortController();
  if (!hasKey()) {
    askForKey();
    return;
  }
  const [pattern, draw] = PAGES.find(([one]) => one.test(location.hash)) ?? [/^()/, showJobs];
  for (const link of document.querySelectorAll("nav a")) {
    const here = location.hash.startsWith(link.getAttribute("href"));
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(page);
  Promise.resolve(draw(page, leaving.signal, ...location.hash.match(pattern).slice(1))).catch((error) => {
    if (error.name === "AbortError") return;
    fill(page, element("section", { class: "failure", role: "alert" }, element("h1", {}, "This cannot be shown"), element("p", {}, error.message), element("a", { href: "#/jobs" }, "All jobs")));
  });
}

function askForKey(why = "") {
  const input = element("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const form = element("form", { class: "key", onsubmit: (event) => { event.preventDefault(); keepKey(input.value.trim()); show(); } },
    element("h1", {}, "Who is there?"),
    element("label", { htmlFor: "key" }, "A key opens this page. ", element("code", {}, "descent up"), " prints a link that carries one; an admin makes others with ", element("code", {}, "descent keys create"), "."),
    input, element("button", { class: "strong" }, "Open"), element("output", { role: "alert" }, why));
  fill(page, form);
  input.focus();
}

addEventListener("descent:no-key", (event) => {
  leaving.abort();
  forgetKey();
  askForKey(event.detail ?? "");
});
addEventListener("hashchange", () => { takeKeyFromAddress(); show(); page.focus({ preventScroll: true }); });
// Whoever leaves a page gives up what it asked.
addEventListener("unhandledrejection", (event) => { if (event.reason?.name === "AbortError") event.preventDefault(); });
onConnection((now) => {
  say(connection, now ? "" : "The service does not answer: trying again …");
  connection.classList.toggle("away", !now);
});

takeKeyFromAddress();
show();
