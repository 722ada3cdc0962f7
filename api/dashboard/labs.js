// Labs: what is taught, put to the test. One is run, watched, and its verdict read.

import { curvesOf } from "./contest.js";
import { element, fill, say, table } from "./elements.js";
import { advance, judgedOf, questionOf } from "./lab_run.js";
import { ask, repeat } from "./service.js";
import { badge, bar, runsOf, setBadge, share } from "./status.js";
import { ago, count, exactly, figure, plural } from "./words.js";

const LOOK_MILLISECONDS = 1_000;
const FAILED_MILLISECONDS = 5_000;
const LOOKS_A_PICTURE = 3;
const DRIVEN = "descent.labs";
const EARLIER = 200;

export async function showLabs(page, signal) {
  const { data: labs } = await ask("/v1/labs", { signal });
  fill(page, element("div", { class: "title" }, element("h1", {}, "Labs")),
    element("p", { class: "summary" }, "Claims as they are taught, each with the jobs that can support or refute it. No lab knows its own result: a verdict is computed from what the runs measure."),
    element("div", { class: "cards" }, labs.map((lab) => element("section", {}, element("h2", {}, element("a", { href: `#/labs/${lab.name}` }, lab.title)), element("p", {}, lab.claim), element("p", { class: "soft" }, counts(lab))))));
}

const counts = (lab) => [plural(lab.claims, "claim"), plural(lab.jobs, "job"), plural(lab.runs, "run")].join(", ");

export async function showLab(page, signal, name) {
  const { whole, quick } = await plans(name, signal);
  titled(whole.title, signal);
  const earlier = element("section", { hidden: true });
  const start = (plan, words, kind) => element("button", { class: kind, onclick: () => begin(plan) }, `${words}: ${plural(plan.runs, "run")}`);
  fill(page, trail(), element("div", { class: "title" }, element("h1", {}, whole.title), start(quick, "Run the quick version", ""), start(whole, "Run it", "strong")),
    about(whole), earlier);
  const { data: jobs } = await ask(`/v1/jobs?experiment=${encodeURIComponent(whole.experiment)}&limit=${EARLIER}`, { signal });
  const runs = runsAmong(jobs, name);
  if (!runs.size) return;
  earlier.hidden = false;
  const version = (content) => (whole.tag.endsWith(`:${content}:`) ? "whole" : quick.tag.endsWith(`:${content}:`) ? "quick" : "of another version");
  fill(earlier, element("h2", {}, "Earlier runs"), element("ul", { class: "sentences" }, [...runs].map(([run, { content, jobs: found }]) => {
    const first = found.at(-1).created_at;
    return element("li", {}, element("a", { href: `#/labs/${name}/${content}-${run}` }, element("time", { dateTime: first, title: exactly(first) }, ago(first))), `, ${version(content)}, ${plural(found.length, "job")}, ${found.every((job) => job.is_terminal) ? "ended" : "under way"}`);
  })));
}

export async function showLabRun(page, signal, name, content, run) {
  const { whole, quick } = await plans(name, signal);
  titled(whole.title, signal);
  const tag = `lab:${name}:${content}:${run}`;
  const plan = [whole, quick].find((one) => tag.startsWith(one.tag));
  if (!plan) {
    fill(page, trail(whole), element("section", { class: "failure" }, element("h1", {}, whole.title), element("p", {}, "This run was of another version of the lab, and is judged by that one alone."), element("a", { href: `#/jobs?tag=${encodeURIComponent(tag)}` }, "Its jobs")));
    return;
  }
  const progress = bar("Progress of the lab");
  const stage = element("span", { class: "soft", role: "status" });
  const failure = element("p", { class: "failure", role: "alert" });
  const goOn = element("button", { class: "strong", hidden: true, onclick: () => { drive(tag); goOn.hidden = true; } }, "Go on");
  const verdict = element("div", { role: "status" });
  const how = element("p", { class: "progress" }, progress.made, stage);
  const curves = element("div", { hidden: true });
  const rows = jobRows();
  fill(page, trail(whole), element("div", { class: "title" }, element("h1", {}, whole.title), goOn),
    plan === quick ? element("ul", { class: "warnings" }, element("li", {}, "The quick version: its verdict is about few seeds and short runs.")) : null,
    failure, how, verdict, curves, about(plan), element("section", {}, element("h2", {}, "Jobs"), rows.made));

  let looks = 0;
  await repeat(async () => {
    const isMine = isDriven(tag);
    const found = await advance(plan, tag, isMine, signal);
    rows.update(found.jobs);
    progress.set(found.share);
    say(failure, found.failure);
    say(stage, found.judgement || found.failure ? "" : found.waits ? "It waits for somebody who hands in what comes next." : `${found.stage}.${isMine ? " Keep this page open: it hands in what comes next." : ""}`);
    goOn.hidden = !found.waits;
    const judged = judgedOf(plan, found.jobs).filter(Boolean);
    const isOver = Boolean(found.judgement || found.failure);
    if (judged.some(({ progress: { completed } }) => completed > 0) && (isOver || looks % LOOKS_A_PICTURE === 0)) await picture(curves, plan, judged, signal);
    looks += 1;
    how.hidden = Boolean(found.judgement);
    if (found.judgement) fill(verdict, judgement(found.judgement, chosen(plan, found.jobs)));
    if (found.judgement) return null;
    // What failed may be retried, and goes on then.
    return found.failure ? FAILED_MILLISECONDS : LOOK_MILLISECONDS;
  }, signal);
}

async function plans(name, signal) {
  const [whole, quick] = await Promise.all([false, true].map((isQuick) => ask(`/v1/labs/${encodeURIComponent(name)}?quick=${isQuick}`, { signal })));
  return { whole, quick };
}

function titled(words, signal) {
  document.title = `${words} – Descent`;
  signal.addEventListener("abort", () => { document.title = "Descent"; }, { once: true });
}

const trail = (lab = null) => element("nav", { "aria-label": "Where this is" }, element("a", { href: "#/labs" }, "Labs"), lab ? [" / ", element("a", { href: `#/labs/${lab.name}` }, lab.name)] : null);

function about(lab) {
  const told = [["Claim", lab.claim], ["Judged by", lab.judged_by], ["What the verdict does not say", lab.caveat]];
  return element("section", { class: "about-lab" }, told.map(([heading, text]) => [element("h2", {}, heading), element("p", {}, text)]), element("p", { class: "soft" }, counts(lab)));
}

// ── which runs there are ──────────────────────────────────────────────────────────────────────────

function begin(plan) {
  const run = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  drive(plan.tag + run);
  location.hash = `#/labs/${plan.name}/${plan.tag.split(":")[2]}-${run}`;
}

// Whoever follows a link only looks; the tab in which a run was begun hands in what it needs, also after a reload.
const driven = () => JSON.parse(sessionStorage.getItem(DRIVEN) ?? "[]");
const isDriven = (tag) => driven().includes(tag);
const drive = (tag) => sessionStorage.setItem(DRIVEN, JSON.stringify([...driven(), tag]));

// Runs of a lab by their names, newest first, as the tags of its jobs tell.
function runsAmong(jobs, name) {
  const found = new Map();
  for (const job of jobs) {
    for (const tag of job.tags) {
      const [kind, lab, content, run] = tag.split(":");
      if (kind !== "lab" || lab !== name || !run) continue;
      if (!found.has(run)) found.set(run, { content, jobs: [] });
      found.get(run).jobs.push(job);
    }
  }
  return found;
}

// ── what is to be seen of one ─────────────────────────────────────────────────────────────────────

function jobRows() {
  const made = table("Jobs", ["job", "status", "progress", "runs"], [], ["runs"]);
  const body = made.querySelector("tbody");
  const known = new Map();
  function row(job) {
    const status = badge(job.status);
    const progress = bar(`Progress of ${job.name}`);
    const line = element("tr", {}, element("th", { scope: "row" }, element("a", { href: `#/jobs/${job.id}` }, job.name)), element("td", {}, status), element("td", {}, progress.made), element("td", { class: "number" }, count(runsOf(job))));
    body.append(line);
    return { status, progress };
  }
  return {
    made,
    update(jobs) {
      for (const job of jobs.values()) {
        if (!known.has(job.id)) known.set(job.id, row(job));
        const { status, progress } = known.get(job.id);
        setBadge(status, job.status);
        progress.set(share(job));
      }
    },
  };
}

async function picture(target, plan, jobs, signal) {
  const asked = questionOf(plan.ranking, jobs);
  // Until a first value is there, there is nothing to compare; and a verdict stands without a picture.
  const found = await ask(`/v1/comparisons?${asked}`, { signal }).catch(() => null);
  if (!found || signal.aborted) return;
  if (target.hidden) {
    target.hidden = false;
    target.curves = curvesOf(found, signal);
    fill(target, target.curves.made);
  }
  target.curves.update(found);
  target.curves.link(`#/compare?${asked}`);
}

// Which point of its grid each tuned job stands for; none, if it was changed since, as by a larger budget.
function chosen(plan, jobs) {
  const plain = (spec) => JSON.stringify({ ...spec, tags: [] });
  return plan.choices.map(({ name, contenders }) => {
    const found = contenders.find(({ judged }) => plain(judged) === plain(jobs.get(name).spec));
    return found && `${name}: ${found.told}, chosen from ${count(contenders.length)} on ${plural(contenders[0].trial.seeds.length, "other seed")}.`;
  });
}

function judgement({ verdict, claims }, notes) {
  const heads = ["claim", "verdict", "means", "effect", "95 % interval", "seeds", "p", "Holm p"];
  const rows = claims.map((claim) => {
    const { lower, upper, mean } = claim.effect;
    const means = [claim.left, claim.right].filter((value) => value !== null).map((value) => figure(value, 3)).join(" and ") || "–";
    const cells = [means, figure(mean, 3), lower === null || upper === null ? "–" : `${figure(lower, 3)} to ${figure(upper, 3)}`, claim.seeds, figure(claim.p_value, 2), figure(claim.holm_p, 2)];
    return element("tr", {}, element("th", { scope: "row" }, claim.statement), element("td", {}, element("span", { class: "verdict-word", data: { verdict: claim.verdict } }, claim.verdict)), cells.map((text) => element("td", { class: "number" }, text)));
  });
  return [
    element("p", { class: "verdict", data: { verdict } }, `Verdict: ${verdict}`),
    element("section", { class: "claims" }, element("h2", {}, "Claims"), table("Claims", heads, rows, heads.slice(2)), notes.filter(Boolean).map((note) => element("p", { class: "soft" }, note))),
  ];
}
