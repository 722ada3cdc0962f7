// All jobs, as they train: filter, sort, and choose some to compare.

import { code, element, fill, say, wide } from "./elements.js";
import { ask, repeat } from "./service.js";
import { sparkline } from "./sparkline.js";
import { badge, bar, runsOf, setBadge, share } from "./status.js";
import { ago, count, duration, exactly, figure, plural } from "./words.js";

const AT_ONCE = 50;
const LIVE_MILLISECONDS = 1_500;
const QUIET_MILLISECONDS = 4_000;
const CURVES_AT_ONCE = 3;
const METRIC = "validation_loss";
const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
const EXAMPLE = { name: "first", dataset: "sine", optimizer: "adam", budget: { steps: 5000 }, seeds: 3 };

const COLUMNS = [
  ["name", "Job", (job) => job.name || job.id],
  ["experiment", "Experiment", (job) => job.experiment],
  ["status", "Status", (job) => job.status],
  ["progress", "Progress", (job) => share(job)],
  ["best", `Best ${METRIC.replace("_", " ")}`, (job) => job.best ?? Infinity],
  ["curve", "", null],
  ["submitted", "Submitted", (job) => job.created_at],
];

export async function showJobs(page, signal, query = "") {
  const asked = new URLSearchParams(query);
  const rows = new Map();
  const chosen = new Set();
  const curves = curveReader(signal);
  let order = { by: "submitted", falling: true };
  let nextAfter = null;

  const body = element("tbody");
  const more = element("button", { onclick: () => load(nextAfter), hidden: true }, "Show more");
  const compare = element("a", { class: "button strong", "aria-disabled": "true" }, "Compare");
  const whole = element("a", { class: "button", hidden: !asked.get("experiment") }, "Compare the experiment");
  if (asked.get("experiment")) whole.href = `#/compare?experiment=${encodeURIComponent(asked.get("experiment"))}`;
  const summary = element("p", { class: "summary", role: "status" });
  const empty = element("section", { class: "empty", hidden: true });
  const table = element("table", { class: "jobs" }, element("thead", {}, element("tr", {}, element("th", {}, element("span", { class: "unseen" }, "Choose")), COLUMNS.map(heading))), body);
  const filters = filterForm();
  fill(page, element("div", { class: "title" }, element("h1", {}, "Jobs"), whole, element("a", { class: "button strong", href: "#/submit" }, "New job")),
    filters, summary, wide("Jobs", table), more, empty, element("div", { class: "tray", hidden: true }, compare));
  const tray = compare.parentElement;

  function heading([name, words, value]) {
    if (value === null) return element("th", {}, element("span", { class: "unseen" }, "Curve"));
    const button = element("button", { class: "plain", onclick: () => {
      order = { by: name, falling: order.by === name ? !order.falling : false };
      sort();
    } }, words);
    return element("th", { scope: "col", data: { column: name } }, button);
  }

  function filterForm() {
    const field = (name, words, input) => element("label", {}, element("span", {}, words), Object.assign(input, { name, value: asked.get(name) ?? "" }));
    const statuses = element("select", {}, element("option", { value: "" }, "any"), STATUSES.map((status) => element("option", { value: status }, status)));
    const form = element("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      field("experiment", "Experiment", element("input", { type: "search", autocomplete: "off" })), field("status", "Status", statuses), field("tag", "Tag", element("input", { type: "search", autocomplete: "off" })));
    form.addEventListener("change", () => {
      const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      location.hash = `#/jobs${wanted.size ? `?${wanted}` : ""}`;
    });
    return form;
  }

  function sort() {
    const [, , value] = COLUMNS.find(([name]) => name === order.by);
    const sign = order.falling ? -1 : 1;
    const jobs = [...rows.values()].sort((a, b) => {
      const [one, other] = [value(a.job), value(b.job)];
      return sign * (typeof one === "string" ? one.localeCompare(other) : one - other);
    });
    body.append(...jobs.map((row) => row.made));
    for (const head of table.tHead.querySelectorAll("th[data-column]")) {
      if (head.dataset.column === order.by) head.setAttribute("aria-sort", order.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function choose(job, isChosen) {
    if (isChosen) chosen.add(job.id);
    else chosen.delete(job.id);
    tray.hidden = chosen.size === 0;
    const enough = chosen.size > 1;
    compare.setAttribute("aria-disabled", String(!enough));
    say(compare, enough ? `Compare ${plural(chosen.size, "job")}` : "Choose another to compare");
    if (enough) compare.href = `#/compare?${[...chosen].map((id) => `job=${id}`).join("&")}`;
    else compare.removeAttribute("href");
  }

  function take(jobs) {
    for (const job of jobs) {
      const known = rows.get(job.id);
      if (known) known.update(job);
      else rows.set(job.id, row(job, choose, curves));
    }
    empty.hidden = rows.size > 0;
    table.hidden = rows.size === 0;
    if (!rows.size) teach();
    const live = [...rows.values()].filter(({ job }) => !job.is_terminal).length;
    say(summary, rows.size ? `${plural(rows.size, "job")}${nextAfter ? " so far" : ""}${live ? `, ${count(live)} under way` : ""}` : "");
    return live;
  }

  function teach() {
    const isFiltered = asked.size > 0;
    if (isFiltered) {
      fill(empty, element("h2", {}, "No job is like that"), element("a", { href: "#/jobs" }, "Show all jobs"));
      return;
    }
    const spec = JSON.stringify(EXAMPLE);
    const run = element("button", { class: "strong", onclick: async () => { location.hash = `#/jobs/${(await ask("/v1/jobs", { method: "POST", body: EXAMPLE })).id}`; } }, "Submit it");
    fill(empty, element("h2", {}, "No jobs yet"),
      element("p", {}, "A job is one spec: what to learn, with what, for how long. This one trains three networks on a sine wave, in about a second:"),
      code(JSON.stringify(EXAMPLE, null, 2)), element("p", {}, run, " or ", element("a", { href: "#/submit" }, "write your own"), "."),
      element("p", {}, "The same from a terminal:"), code(`echo '${spec}' | descent submit - --watch`));
  }

  const conditions = new URLSearchParams([...asked].filter(([, value]) => value));
  async function load(after) {
    const query = new URLSearchParams(conditions);
    query.set("limit", String(AT_ONCE));
    if (after) query.set("after", after);
    const found = await ask(`/v1/jobs?${query}`, { signal });
    // The first page is read again and again: what it says of the next one counts until that was read.
    if (after || nextAfter === null) nextAfter = found.next_after;
    more.hidden = nextAfter === null;
    const before = rows.size;
    const live = take(found.data);
    if (rows.size !== before) sort();
    return live;
  }

  await repeat(async () => ((await load("")) ? LIVE_MILLISECONDS : QUIET_MILLISECONDS), signal);
}

// A row, and how it changes.
function row(job, choose, curves) {
  const progress = bar(`Progress of ${job.name || job.id}`);
  const status = badge(job.status);
  const left = element("span", { class: "soft" });
  const best = element("td", { class: "number" });
  const curve = element("td", { class: "curve" });
  const box = element("input", { type: "checkbox", "aria-label": `Choose ${job.name || job.id}`, onchange: () => choose(found.job, box.checked) });
  const link = element("a", { href: `#/jobs/${job.id}` });
  const experiment = element("a", { class: "quiet" });
  const submitted = element("time", {});
  const made = element("tr", {}, element("td", {}, box), element("th", { scope: "row" }, link), element("td", {}, experiment), element("td", {}, status), element("td", { class: "progress" }, progress.made, left), best, curve, element("td", { class: "soft" }, submitted));
  const found = { made, job, update };
  function update(now) {
    const hasMoved = now.progress.completed !== found.job.progress.completed || now.status !== found.job.status;
    found.job = Object.assign(now, { best: found.job.best });
    say(link, now.name || now.id);
    say(experiment, now.experiment);
    if (now.experiment) experiment.href = `#/jobs?experiment=${encodeURIComponent(now.experiment)}`;
    setBadge(status, now.status);
    progress.set(share(now));
    say(left, now.is_terminal ? plural(runsOf(now), "run") : now.progress.eta_seconds === null ? "" : `${duration(now.progress.eta_seconds)} left`);
    say(submitted, ago(now.created_at));
    submitted.dateTime = now.created_at;
    submitted.title = exactly(now.created_at);
    if (hasMoved) curves.want(found);
  }
  found.draw = (values, lowest) => {
    found.job.best = lowest;
    say(best, figure(lowest));
    fill(curve, sparkline(values));
  };
  update(job);
  curves.watch(found);
  return found;
}

// Reads curves of rows that are in sight, a few at once, those of ended jobs once.
function curveReader(signal) {
  const waiting = new Set();
  const byElement = new WeakMap();
  let reading = 0;
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const found = byElement.get(target);
      found.isSeen = isIntersecting;
      if (isIntersecting && !found.isDrawn) want(found);
    }
  });
  signal.addEventListener("abort", () => sight.disconnect());

  function want(found) {
    if (!found.isSeen || found.job.progress.completed === 0) return;
    waiting.add(found);
    next();
  }

  async function next() {
    if (reading >= CURVES_AT_ONCE || !waiting.size || signal.aborted) return;
    const [found] = waiting;
    waiting.delete(found);
    reading += 1;
    try {
      const { series } = await ask(`/v1/jobs/${found.job.id}/metrics?name=${METRIC}&max_points=60`, { signal });
      const values = series[METRIC]?.mean ?? [];
      const known = values.filter((value) => value !== null);
      if (known.length) found.draw(values, Math.min(...known));
      found.isDrawn = found.job.is_terminal;
    } catch {
      // The row stands without a curve; the next change asks again.
    } finally {
      reading -= 1;
      next();
    }
  }

  return { want, watch(found) { byElement.set(found.made, found); sight.observe(found.made); } };
}
