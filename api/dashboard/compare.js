// Jobs side by side: curves, scores, differences, and whether what is claimed of them is borne out.

import { color, swatch } from "./charts.js";
import { AXES, curvesOf, differences, measured, profile, seedScores, targetTimes } from "./contest.js";
import { coordinates } from "./coordinates.js";
import { element, fill, table } from "./elements.js";
import { showPredictions } from "./predictions.js";
import { ask, download } from "./service.js";
import { count, figure, spaced } from "./words.js";

const METRICS = ["validation_loss", "train_loss", "validation_accuracy", "train_accuracy", "gradient_norm"];
const MOST_SENTENCES = 6;
const FORMATS = { html: "Page", markdown: "Markdown", csv: "CSV" };
const SUFFIXES = { html: "html", markdown: "md", csv: "csv" };

export async function showCompare(page, signal, query = "") {
  const asked = new URLSearchParams(query);
  const found = await ask(`/v1/comparisons?${asked}`, { signal });
  document.title = "Comparison – Descent";
  signal.addEventListener("abort", () => { document.title = "Descent"; }, { once: true });
  const names = new Map(found.jobs.map((job) => [job.id, job.label]));

  fill(page,
    element("div", { class: "title" }, element("h1", {}, asked.get("experiment") || `${count(found.jobs.length)} jobs compared`), Object.entries(FORMATS).map(([format, words]) => element("button", { onclick: () => download(`/v1/comparisons/report?${asked}&format=${format}`, `comparison.${SUFFIXES[format]}`) }, words))),
    questions(found, asked, names),
    found.verdict ? element("p", { class: "verdict", data: { verdict: found.verdict } }, `Verdict: ${found.verdict}`) : null,
    sentences("Claims", found.claims),
    found.warnings.length ? element("ul", { class: "warnings" }, found.warnings.map((text) => element("li", {}, text))) : null,
    curvesOf(found, signal).made,
    element("section", {}, element("h2", {}, "Scores"), scores(found, names)),
    seedScores(found, signal), targetTimes(found, signal), differences(found, names, signal), sentences("In words", found.paired),
    profile(found, signal), ranking(found, names), coordinates(found, signal), measured(found, signal), sealed(found, names), showPredictions(found, signal),
    Object.keys(found.spec_diff).length ? element("section", {}, element("h2", {}, "What differs in the specs"), difference(found, names)) : null);
}

// What is asked: each choice is a part of the address, so that a link asks the same.
function questions(found, asked, names) {
  const change = (name, value) => {
    const next = new URLSearchParams(asked);
    if (value) next.set(name, value);
    else next.delete(name);
    location.hash = `#/compare?${next}`;
  };
  const pick = (name, words, options, value) => element("label", {}, element("span", {}, words), element("select", { name, onchange: (event) => change(name, event.currentTarget.value) }, options.map(([one, text]) => element("option", { value: one, selected: one === value }, text))));
  const metrics = METRICS.includes(found.metric) ? METRICS : [found.metric, ...METRICS];
  const jobs = [...names];
  const better = element("select", { "aria-label": "The job that is better" }, jobs.map(([id, label]) => element("option", { value: id }, label)));
  const worse = element("select", { "aria-label": "The job that is worse" }, jobs.map(([id, label], index) => element("option", { value: id, selected: index === 1 }, label)));
  const claim = element("button", { type: "button", onclick: () => {
    const next = new URLSearchParams(asked);
    next.append("claim", `${better.value}<${worse.value}`);
    if (found.target === null) next.set("score", "last");
    location.hash = `#/compare?${next}`;
  } }, "Test it");
  const target = element("input", { type: "text", inputMode: "decimal", size: 8, value: found.target ?? "", placeholder: "none", onchange: (event) => change("target", event.currentTarget.value) });
  return element("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
    pick("metric", "Metric", metrics.map((one) => [one, spaced(one)]), found.metric), pick("x", "Over", Object.entries(AXES), found.x),
    pick("baseline", "Baseline", jobs, found.baseline), element("label", {}, element("span", {}, "Target"), target),
    jobs.length > 1 ? element("span", { class: "claim" }, "Claim: ", better, " is better than ", worse, " ", claim) : null);
}

function sentences(title, found) {
  const said = found.filter(({ sentence }) => sentence);
  if (!said.length) return null;
  const list = element("ul", { class: "sentences" }, said.map(({ sentence }) => element("li", {}, sentence)));
  return element("section", {}, element("h2", {}, title), said.length > MOST_SENTENCES ? element("details", {}, element("summary", {}, `${count(said.length)} sentences`), list) : list);
}

function interval({ mean, lower, upper }) {
  if (mean === null) return "–";
  return lower === null || upper === null ? figure(mean) : `${figure(mean)} ± ${figure((upper - lower) / 2, 2)}`;
}

function scores(found, names) {
  const timed = found.target !== null;
  const heads = ["job", ...(timed ? [`steps to ${figure(found.target)}`, "reached"] : []), "last", "best", "runs"];
  const rows = found.table.map((row, index) => {
    const times = row.steps_to_target;
    const cells = [...(timed ? [times.median_text, `${times.reached} of ${times.runs.length}`] : []), interval(row.last), interval(row.best), count(row.runs.length)];
    return element("tr", {}, element("th", { scope: "row" }, swatch(color(index)), element("a", { href: `#/jobs/${row.job_id}` }, names.get(row.job_id))), cells.map((text) => element("td", { class: "number" }, text)));
  });
  return table("Scores", heads, rows, heads.slice(1));
}

// Contenders by the best spec that each tried.
function ranking(found, names) {
  if (!found.ranking || found.ranking.contenders.length < 2) return null;
  const { by, score, even_budgets: isEven, contenders } = found.ranking;
  const heads = ["rank", by || "job", "specs tried", `${score} of the best`, "minus the leader's", "from the leader"];
  const rows = contenders.map((one) => {
    const cells = [count(one.tried), interval(one.estimate), interval(one.difference), one.tied === null ? "–" : one.tied ? "tied" : "apart"];
    const label = one.job_id && names.has(one.job_id) ? element("a", { href: `#/jobs/${one.job_id}` }, one.label) : one.label;
    return element("tr", {}, element("td", {}, one.rank ?? "–"), element("th", { scope: "row" }, label), cells.map((text) => element("td", { class: "number" }, text)));
  });
  return element("section", {}, element("h2", {}, "Ranking"), isEven ? null : element("p", { class: "soft" }, "Not all tried equally many specs: who tried more had more chances."),
    table("Ranking", heads, rows, heads.slice(2)));
}

// What the sealed rows said, of jobs that were opened.
function sealed(found, names) {
  if (!found.test_scores.length) return null;
  const kinds = [...new Set(found.test_scores.flatMap(({ scores: one }) => Object.keys(one)))];
  const rows = found.test_scores.map((one) => element("tr", {}, element("th", { scope: "row" }, names.get(one.job_id) ?? one.job_id), kinds.map((kind) => element("td", { class: "number" }, one.scores[kind] ? interval(one.scores[kind]) : "–")), element("td", { class: "number" }, count(one.look))));
  const heads = ["job", ...kinds.map(spaced), "look"];
  return element("section", {}, element("h2", {}, "Sealed test"), table("Sealed test", heads, rows, heads.slice(1)));
}

// A row a field, or, where there are more jobs than fields, a row a job.
function difference(found, names) {
  const shown = (value) => (value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const fields = Object.keys(found.spec_diff).map((path) => ({ head: element("code", {}, path), value: ({ id }) => found.spec_diff[path][id] }));
  const isTall = found.jobs.length > fields.length;
  const jobs = found.jobs.map((job) => ({ job, head: names.get(job.id) }));
  const heads = [isTall ? "job" : "field", ...(isTall ? fields : jobs).map(({ head }) => head)];
  const rows = isTall
    ? jobs.map(({ job, head }) => element("tr", {}, element("th", { scope: "row" }, head), fields.map(({ value }) => element("td", {}, shown(value(job))))))
    : fields.map(({ head, value }) => element("tr", {}, element("th", { scope: "row" }, head), jobs.map(({ job }) => element("td", {}, shown(value(job))))));
  return table("Differences of specs", heads, rows);
}
