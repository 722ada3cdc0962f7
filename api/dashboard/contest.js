// Contenders in pictures: their curves, their runs one by one, their differences, who was how often among the fastest.

import { least, most } from "./canvas.js";
import { color, swatch, wash } from "./charts.js";
import { dots } from "./dots.js";
import { element } from "./elements.js";
import { dash, lines } from "./lines.js";
import { count, figure, plural, spaced } from "./words.js";

export const AXES = { step: "step", epoch: "epoch", samples: "training rows seen", seconds: "seconds of training" };
const MOST_BANDS = 8;
const MOST_JOINED = 8;
const WIDEST_RATIO = 4;
const RATIOS = [1, 1.25, 1.5, 2, 2.5, 3, 4];

// A section with a chart whose label says what is to be seen.
function section(title, label, ...more) {
  const target = element("div", { class: "chart", role: "img", "aria-label": label });
  return { target, made: element("section", {}, element("div", { class: "bar-title" }, element("h2", {}, title), more), target) };
}

// ── curves ────────────────────────────────────────────────────────────────────────────────────────

// The mean curves of a comparison; `update` shows another answer to the same question, `link` leads to all of it.
export function curvesOf(first, signal) {
  let found = first;
  const shown = { log: true, lit: null };
  const scale = element("button", { "aria-pressed": "true", onclick: () => { shown.log = !shown.log; scale.setAttribute("aria-pressed", String(shown.log)); redraw(); } }, "log scale");
  const whole = element("a", { class: "button", hidden: true }, "Compare them");
  const { target, made } = section("Curves", `Curves of ${spaced(found.metric)}`, scale, whole);
  const legend = element("p", { class: "legend" });
  target.before(legend);
  const redraw = lines(target, () => described(found, shown), signal, 420);
  function update(next) {
    if (next.jobs.length !== legend.childElementCount) legend.replaceChildren(...next.jobs.map(entry));
    found = next;
    redraw();
  }
  function entry(job, index) {
    const light = (lit) => () => { shown.lit = lit; redraw(); };
    return element("a", { href: `#/jobs/${job.id}`, class: "quiet", onpointerenter: light(index), onpointerleave: light(null), onfocus: light(index), onblur: light(null) }, swatch(color(index)), job.label);
  }
  update(first);
  return { made, update, link(href) { whole.hidden = false; whole.href = href; } };
}

function described(found, { log, lit }) {
  const isFaint = (index) => lit !== null && lit !== index;
  const curves = found.curves.map((one, index) => {
    const hasBand = lit === index || (lit === null && found.jobs.length <= MOST_BANDS);
    return {
      name: found.jobs[index].label, x: one.x, y: one.mean, color: isFaint(index) ? wash(color(index), 0.2) : color(index), dash: dash(index),
      ...(hasBand ? { lower: one.lower, upper: one.upper } : {}),
    };
  });
  const isLog = log && curves.every(({ y }) => y.every((value) => value === null || value > 0));
  return { curves, xTitle: AXES[found.x], yTitle: spaced(found.metric), log: isLog, marks: found.target === null ? [] : [found.target] };
}

// ── runs, one by one ──────────────────────────────────────────────────────────────────────────────

// Over decades a linear axis would press most of them into one place.
function isWide(values) {
  const known = values.filter((value) => value !== null);
  return known.length > 0 && least(known) > 0 && most(known) > 10 * least(known);
}

const named = (run) => (run.member ? `seed ${run.seed}, member ${run.member}` : `seed ${run.seed}`);

// Few contenders are joined seed by seed, so that a difference within pairs can be seen.
function joined(rows) {
  if (rows.length > MOST_JOINED) return [];
  const pairs = new Set(rows.flatMap(({ points }) => points.map(({ name }) => name)));
  return [...pairs].map((name) => rows.flatMap(({ points }, row) => points.filter((one) => one.name === name && !one.missed).map(({ x }) => [row, x])));
}

function dotted(title, label, rows, more, signal) {
  const { target, made } = section(title, label);
  const log = !("zero" in more) && isWide(rows.flatMap(({ points, mean }) => [...points.map(({ x }) => x), ...(mean ? [mean.mean] : [])]));
  const redraw = dots(target, () => ({ rows: rows.map((row) => ({ ...row, color: color(row.index) })), log, ...more }), signal);
  redraw();
  return made;
}

export function seedScores(found, signal) {
  const rows = found.table.map((row, index) => ({
    index, label: found.jobs[index].label, mean: row.last, note: found.jobs[index].diverged ? `${count(found.jobs[index].diverged)} diverged` : "",
    points: row.runs.filter(({ counted, last }) => counted && last !== null).map((run) => ({ x: run.last, name: named(run) })),
  }));
  return dotted("Scores by seed", `Last ${spaced(found.metric)} of each run`, rows, { xTitle: `last ${spaced(found.metric)}`, joins: joined(rows) }, signal);
}

// A run that missed stands as a cross where it gave up: how late it would have been nobody knows.
export function targetTimes(found, signal) {
  if (found.target === null) return null;
  const rows = found.table.map(({ steps_to_target: times }, index) => ({
    index, label: found.jobs[index].label, note: times.missed ? `${count(times.missed)} missed` : "",
    points: times.runs.filter(({ outcome }) => outcome !== "unknown").map((run) => ({ x: run.steps ?? times.budget, name: named(run), missed: run.steps === null })),
  }));
  return dotted(`Steps to ${figure(found.target)}`, "Steps to the target of each run", rows, { xTitle: "steps", joins: joined(rows) }, signal);
}

export function differences(found, names, signal) {
  if (!found.paired.some(({ difference }) => difference.mean !== null)) return null;
  const place = new Map(found.jobs.map(({ id }, index) => [id, index]));
  const rows = found.paired.map(({ job_id: id, difference, pairs }) => ({ index: place.get(id), label: names.get(id), mean: difference, points: [], note: pairs ? "" : "not paired" }));
  const from = names.get(found.baseline);
  return dotted(`Differences from ${from}`, `Mean difference of the last ${spaced(found.metric)} from ${from}, with 95 % interval`, rows, { xTitle: `${spaced(found.metric)}, minus that of ${from}`, zero: 0 }, signal);
}

// What was measured of the trained networks: one kind of value at a time.
export function measured(found, signal) {
  const kinds = [...new Set(found.analyses.flatMap(({ values }) => Object.keys(values)))];
  if (!kinds.length) return null;
  const choice = element("select", { "aria-label": "What was measured", onchange: () => redraw() }, kinds.map((kind) => element("option", { value: kind }, spaced(kind))));
  const { target, made } = section("Measured", "What was measured of each trained network", choice);
  const redraw = dots(target, () => {
    const rows = found.jobs.map(({ job_ids: ids, label }, index) => ({
      label, color: color(index),
      points: found.analyses.filter((one) => ids.includes(one.job_id) && (one.values[choice.value] ?? null) !== null).map((one) => ({ x: one.values[choice.value], name: named(one) })),
    }));
    return { rows, log: isWide(rows.flatMap(({ points }) => points.map(({ x }) => x))), xTitle: spaced(choice.value), joins: joined(rows) };
  }, signal);
  redraw();
  return made;
}

// ── among all ─────────────────────────────────────────────────────────────────────────────────────

// How often each is among the fastest: ρ(τ), over τ by its ratios.
export function profile(found, signal) {
  if (!found.profile) return null;
  const { target, made } = section("Performance profile", "Share of problems that each contender solved within a multiple of the fastest one's time");
  const place = new Map(found.jobs.map(({ id }, index) => [id, index]));
  const over = {
    from: 0, to: Math.log(WIDEST_RATIO), ticks: RATIOS.map((ratio) => ({ value: Math.log(ratio), text: `${ratio} ×` })),
    said: (x) => `within ${figure(Math.exp(x), 3)} × the fastest`,
  };
  const redraw = lines(target, () => ({
    curves: found.profile.curves.map(({ label, job_ids: [id], tau, share }) => {
      const index = place.get(id);
      // A step function: it holds its value until the next ratio.
      const corners = tau.flatMap((ratio, at) => (at ? [[ratio, share[at - 1]], [ratio, share[at]]] : [[ratio, share[at]]]));
      return { name: label, x: corners.map(([ratio]) => Math.log(ratio)), y: corners.map(([, value]) => value), color: color(index), dash: dash(index) };
    }),
    xTitle: "time, in times of the fastest", yTitle: `share of ${plural(found.profile.problems, "problem")}`, log: false, over,
  }), signal, 320);
  redraw();
  return made;
}
