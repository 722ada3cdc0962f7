// One job as it trains: curves, predictions as they form, what ails it, what was done to it, and what can be done.

import { color, swatch } from "./charts.js";
import { code, element, fill, say, table } from "./elements.js";
import { lines } from "./lines.js";
import { ask, download, follow, repeat } from "./service.js";
import { showSnapshots } from "./snapshots.js";
import { badge, bar, setBadge, share } from "./status.js";
import { ago, count, duration, exactly, figure, spaced } from "./words.js";

const LIVE_MILLISECONDS = 1_000;
const BANDS_MILLISECONDS = 2_000;
const LOOKS_A_DETAIL = 4;
const MOST_FOLLOWED = 4;
const COLUMNS = ["seed", "status", "steps", "validation loss", "best", "at step", "why"];
const NUMBERS = ["steps", "validation loss", "best", "at step"];
const LOSSES = ["train_loss", "validation_loss"];
const VERBS = { cancel: "Cancel", pause: "Pause", resume: "Resume", retry: "Retry", delete: "Delete" };
const ENDS = new Set(["delete"]);

export async function showJob(page, signal, jobId) {
  const path = `/v1/jobs/${jobId}`;
  let job = await ask(path, { signal });
  document.title = `${job.name || job.id} – Descent`;
  signal.addEventListener("abort", () => { document.title = "Descent"; }, { once: true });

  const status = badge(job.status);
  const progress = bar("Progress");
  const left = element("span", { class: "soft", role: "status" });
  const actions = element("div", { class: "actions" });
  const failure = element("p", { class: "failure", role: "alert" });
  const runsTable = table("Runs", COLUMNS, [], NUMBERS);
  const runsBody = runsTable.querySelector("tbody");
  const warnings = element("ul", { class: "warnings" });
  const diagnosis = element("section", { hidden: true });
  const predictions = element("section", { hidden: true });
  const events = element("ol", { class: "events" });
  const curves = drawCurves(job, signal);

  fill(page,
    element("nav", { "aria-label": "Where this is" }, element("a", { href: "#/jobs" }, "Jobs"), job.experiment ? [" / ", element("a", { href: `#/jobs?experiment=${encodeURIComponent(job.experiment)}` }, job.experiment)] : null),
    element("div", { class: "title" }, element("h1", {}, job.name || job.id), status, actions),
    failure, element("p", { class: "progress" }, progress.made, left), warnings, curves.made, predictions, diagnosis,
    section("Runs", runsTable),
    section("Spec", specOf(job)), section("What was done", events));

  function heading() {
    setBadge(status, job.status);
    progress.set(share(job));
    const runs = Object.entries(job.runs_by_status).map(([name, number]) => `${count(number)} ${name}`).join(", ");
    const eta = !job.is_terminal && job.progress.eta_seconds !== null ? `, about ${duration(job.progress.eta_seconds)} left` : "";
    say(left, `${count(job.progress.completed)} of ${count(job.progress.total)} steps; ${runs}${eta}`);
    fill(warnings, job.warnings.map((text) => element("li", {}, text)));
    const offered = job.actions.filter((action) => action in VERBS);
    if (actions.dataset.offered === offered.join()) return;
    actions.dataset.offered = offered.join();
    fill(actions, element("a", { class: "button", href: `#/submit?from=${job.id}` }, "Edit as new"), offered.map((action) => element("button", { onclick: (event) => act(action, event.currentTarget) }, VERBS[action])));
  }

  async function act(action, button) {
    if (ENDS.has(action) && !confirm(`${VERBS[action]} this job with its history and weights? This cannot be undone.`)) return;
    button.disabled = true;
    say(failure, "");
    try {
      if (action === "delete") {
        await ask(path, { method: "DELETE" });
        location.hash = "#/jobs";
        return;
      }
      job = await ask(`${path}/${action}`, { method: "POST" });
      heading();
      start();
    } catch (error) {
      say(failure, error.message);
    } finally {
      button.disabled = false;
    }
  }

  async function details() {
    const [{ data: runs }, { data: done }] = await Promise.all([ask(`${path}/runs`, { signal }), ask(`${path}/events?limit=20`, { signal })]);
    fill(runsBody, runs.map(runRow));
    fill(events, done.map((event) => element("li", {}, element("time", { dateTime: event.happened_at, title: exactly(event.happened_at) }, ago(event.happened_at)), ` ${event.actor} ${spaced(event.action)}`)));
    if (!done.length) fill(events, element("li", { class: "soft" }, "Nothing is on record."));
    return runs;
  }

  function runRow(run) {
    const summary = run.summary.validation_loss ?? {};
    const seed = run.member ? `${run.seed} / ${run.member}` : String(run.seed);
    const cells = [seed, null, count(run.progress.completed), figure(summary.last), figure(summary.best), summary.best_step === null || summary.best_step === undefined ? "" : count(summary.best_step), run.status_detail || run.status_reason || ""];
    return element("tr", {}, cells.map((text, index) => element("td", { class: NUMBERS.includes(COLUMNS[index]) ? "number" : "" }, index === 1 ? badge(run.status) : text)));
  }

  async function judge() {
    const found = await ask(`${path}/diagnosis`, { signal });
    diagnosis.hidden = false;
    fill(diagnosis, element("h2", {}, "Diagnosis"), element("p", {}, element("strong", {}, spaced(found.verdict)), ". ", found.advice));
  }

  // Once at a time: an action may start it again after an ending.
  let isWatching = false;
  async function start() {
    if (isWatching) return;
    isWatching = true;
    const runs = await details();
    curves.follow(runs);
    showSnapshots(predictions, job, runs, signal);
    let looks = 0;
    await repeat(async () => {
      const before = job;
      job = await ask(path, { signal });
      heading();
      looks += 1;
      const hasChanged = JSON.stringify(job.runs_by_status) !== JSON.stringify(before.runs_by_status);
      if (job.is_terminal || hasChanged || looks % LOOKS_A_DETAIL === 0) await Promise.all([details(), showSnapshots(predictions, job, runs, signal)]);
      if (!job.is_terminal) return LIVE_MILLISECONDS;
      await Promise.all([curves.bands(), judge(), showSnapshots(predictions, job, runs, signal)]);
      return null;
    }, signal);
    isWatching = false;
  }

  heading();
  await start();
}

const section = (title, ...content) => element("section", {}, element("h2", {}, title), content);

function specOf(job) {
  const shown = Object.fromEntries(Object.entries(job.spec).filter(([name]) => !["name", "experiment", "tags", "notes", "priority"].includes(name)));
  const save = element("button", { onclick: () => download(`/v1/comparisons/report?job=${job.id}`, `${job.name || job.id}.html`) }, "Save the report");
  return [element("details", {}, element("summary", {}, `hash ${job.spec_hash.slice(0, 12)}, submitted ${ago(job.created_at)} by ${job.owner}`), code(JSON.stringify(shown, null, 2))), element("p", {}, save)];
}

// The curves of a job: its mean with a band where it has several runs, and some runs live.
function drawCurves(job, signal) {
  const path = `/v1/jobs/${job.id}`;
  const state = { metric: "losses", log: true, series: {}, live: new Map() };
  const target = element("div", { class: "chart", role: "img", "aria-label": "Curves of the losses" });
  const choices = element("select", { "aria-label": "What to draw", onchange: () => { state.metric = choices.value; redraw(); } });
  const scale = element("button", { "aria-pressed": "true", onclick: () => { state.log = !state.log; scale.setAttribute("aria-pressed", String(state.log)); redraw(); } }, "log scale");
  const legend = element("p", { class: "legend" });
  const made = element("section", {}, element("div", { class: "bar-title" }, element("h2", {}, "Curves"), choices, scale), legend, target);
  const redraw = lines(target, describe, signal);

  function offer() {
    const names = new Set([...Object.keys(state.series), ...[...state.live.values()].flatMap((one) => Object.keys(one.series))]);
    const others = [...names].filter((name) => !LOSSES.includes(name) && name !== "train_seconds").sort();
    const offered = ["losses", "gap", ...others];
    if (choices.dataset.offered === offered.join()) return;
    choices.dataset.offered = offered.join();
    fill(choices, offered.map((name) => element("option", { value: name, selected: name === state.metric }, name === "losses" ? "train and validation loss" : name === "gap" ? "gap: validation − train" : spaced(name))));
  }

  function drawn() {
    return state.metric === "losses" ? LOSSES : [state.metric];
  }

  function describe() {
    const names = drawn();
    const hasMean = names.some((name) => meanOf(name));
    const curves = [];
    names.forEach((name, index) => {
      const mean = meanOf(name);
      for (const [seed, run] of state.live) {
        const one = state.metric === "gap" ? gapOf(run.series) : run.series[name];
        if (!one) continue;
        const faint = hasMean && (job.spec.seeds.length > 1 || state.live.size > 1);
        curves.push({ name: `${spaced(name)}, seed ${seed}`, x: one.step, y: one.value ?? one.mean, color: color(index), width: faint ? 0.7 : 1.6 });
      }
      if (mean) curves.push({ name: spaced(name), x: mean.step, y: mean.mean, lower: mean.lower, upper: mean.upper, color: color(index) });
    });
    fill(legend, names.length > 1 ? names.map((name, index) => element("span", {}, swatch(color(index)), spaced(name))) : null);
    const log = state.log && state.metric !== "gap" && curves.every(({ y }) => y.every((value) => value === null || value > 0));
    return { curves, xTitle: "step", yTitle: state.metric === "losses" ? "loss" : spaced(state.metric), log };
  }

  function meanOf(name) {
    return state.metric === "gap" ? gapOf(state.series) : state.series[name];
  }

  async function bands() {
    const found = await ask(`${path}/metrics?max_points=600`, { signal });
    state.series = found.series;
    offer();
    redraw();
  }

  function hear(seed, run, name, data) {
    if (name === "rollback") {
      for (const series of Object.values(run.series)) {
        const kept = series.step.findIndex((step) => step > data.from_step);
        if (kept >= 0) { series.step.length = kept; series.value.length = kept; }
      }
    }
    if (name === "metrics") {
      for (const [metric, { step, value }] of Object.entries(data.series)) {
        const series = (run.series[metric] ??= { step: [], value: [] });
        series.step.push(...step);
        series.value.push(...value);
      }
      offer();
    }
    redraw();
  }

  return {
    made,
    bands,
    follow(runs) {
      for (const one of runs.filter(({ is_terminal }) => !is_terminal).slice(0, MOST_FOLLOWED)) {
        if (state.live.has(one.seed)) continue;
        const run = { series: {} };
        state.live.set(one.seed, run);
        follow(one.id, (name, data) => hear(one.seed, run, name, data), signal).then(() => state.live.delete(one.seed)).then(() => bands());
      }
      repeat(async () => { await bands(); return runs.every(({ is_terminal }) => is_terminal) || state.live.size === 0 ? null : BANDS_MILLISECONDS; }, signal);
    },
  };
}

// Validation minus training loss, where both are known.
function gapOf(series) {
  const [train, validation] = LOSSES.map((name) => series[name]);
  if (!train || !validation) return null;
  const of = (one) => new Map(one.step.map((step, at) => [step, (one.mean ?? one.value)[at]]));
  const known = of(train);
  const steps = validation.step.filter((step) => known.get(step) !== null && known.has(step));
  const held = of(validation);
  return { step: steps, mean: steps.map((step) => (held.get(step) === null ? null : held.get(step) - known.get(step))) };
}

