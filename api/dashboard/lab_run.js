// A run of a lab. What it lacks is handed in, phase after phase, until its claims can be judged. What is there already is
// left alone: it goes on from wherever it stood, and two who hand in the same make it once.

import { ask, askAll, Problem } from "./service.js";
import { count, plural } from "./words.js";

// One look at it, and one step ahead where this tab `drives` it: its jobs by name, what it is doing, how far it is (from 0
// to 1), the judgement once there is one, what kept it from one, and whether somebody has to drive it on.
export async function advance(plan, tag, drives, signal) {
  const jobs = new Map((await askAll(`/v1/jobs?tag=${encodeURIComponent(tag)}`, signal)).map((job) => [job.name, job]));
  const lacking = (await wanted(plan, jobs, signal)).filter(([, spec]) => !jobs.has(spec.name));
  if (drives) {
    for (const [mark, spec] of lacking) {
      const body = { ...spec, tags: [...spec.tags, tag] };
      jobs.set(spec.name, await ask("/v1/jobs", { method: "POST", body, headers: { "Idempotency-Key": `${tag}/${mark}` }, signal }));
    }
  }
  const found = { jobs, stage: "", share: shareOf([...jobs.values()]), judgement: null, failure: "", waits: lacking.length > 0 && !drives };
  found.failure = await failureOf([...jobs.values()], signal);
  if (found.failure) return found;
  if (judgedOf(plan, jobs).some((job) => !job?.is_terminal)) return Object.assign(found, { stage: training(plan, jobs) });
  for (const phase of [measuring, opening]) {
    Object.assign(found, await phase(plan, jobs, drives, signal));
    if (found.stage || found.failure || found.waits) return found;
  }
  const claims = plan.family.map((claim) => renamed(claim, jobs));
  return Object.assign(found, { judgement: await ask("/v1/verdicts", { method: "POST", body: { claims }, signal }) });
}

// The jobs that claims are about; undefined where one is not there yet.
export const judgedOf = (plan, jobs) => [...plan.specs, ...plan.choices].map(({ name }) => jobs.get(name));

// Specs that can be handed in by now, each with a mark of its own: what is chosen comes once its trials have ended.
async function wanted(plan, jobs, signal) {
  const specs = plan.specs.map((spec, at) => [`job${at}`, spec]);
  for (const [at, { name, contenders }] of plan.choices.entries()) {
    specs.push(...contenders.map(({ trial }, point) => [`choice${at}.${point}`, trial]));
    const trials = contenders.map(({ trial }) => jobs.get(trial.name));
    if (jobs.has(name) || trials.some((job) => !job?.is_terminal)) continue;
    specs.push([`choice${at}`, contenders[await first(plan.ranking, trials, signal)].judged]);
  }
  return specs;
}

// What to ask for these jobs side by side, as parameters; a lab without a ranking is about the loss.
export function questionOf(ranking, jobs) {
  const { metric = "validation_loss", target = null, score = "last" } = ranking ?? {};
  return new URLSearchParams([...jobs.map(({ id }) => ["job", id]), ["metric", metric], ["score", score], ...(target === null ? [] : [["target", target]])]);
}

// Which of these jobs ranks first: by the score, then by the last value; one whose runs diverge comes last.
async function first(ranking, jobs, signal) {
  const { score } = ranking;
  const { better, table, jobs: contenders } = await ask(`/v1/comparisons?${questionOf(ranking, jobs)}`, { signal });
  const sign = better === "higher" ? -1 : 1;
  const low = (value) => (value === null ? Infinity : sign * value);
  const ranks = table.map((row, at) => {
    const { diverged } = contenders[at];
    if (score === "steps_to_target") return [row.steps_to_target.median ?? Infinity, diverged, low(row.last.mean)];
    return [diverged, low(row[score].mean), low(row.last.mean)];
  });
  const isBefore = (one, other) => {
    const place = one.findIndex((value, at) => value !== other[at]);
    return place >= 0 && one[place] < other[place];
  };
  const best = ranks.reduce((leader, rank, at) => (isBefore(rank, ranks[leader]) ? at : leader), 0);
  return jobs.findIndex(({ id }) => id === table[best].job_id);
}

function shareOf(jobs) {
  const [completed, total] = ["completed", "total"].map((part) => jobs.reduce((sum, { progress }) => sum + progress[part], 0));
  return completed / Math.max(1, total);
}

function training(plan, jobs) {
  const trials = plan.choices.flatMap(({ contenders }) => contenders.map(({ trial }) => jobs.get(trial.name)));
  const ended = trials.filter((job) => job?.is_terminal).length;
  if (ended < trials.length) return `Choosing: ${count(ended)} of ${plural(trials.length, "trial")} ended`;
  const all = [...jobs.values()];
  return `Training: ${count(all.filter((job) => job.is_terminal).length)} of ${plural(all.length, "job")} ended`;
}

// A run that diverged has a result of its own; one that broke, or was cancelled, has none.
async function failureOf(jobs, signal) {
  for (const job of jobs.filter(({ is_terminal, runs_by_status }) => is_terminal && (runs_by_status.failed || runs_by_status.cancelled))) {
    const broken = (await askAll(`/v1/jobs/${job.id}/runs`, signal)).find(({ status, status_reason }) => status !== "succeeded" && status_reason !== "diverged");
    if (broken) return `${job.name}, seed ${broken.seed}, ended as ${broken.status}${broken.status_detail ? `: ${broken.status_detail}` : ""}. Without it nothing can be judged; retry that job, or run the lab again.`;
  }
  return "";
}

async function measuring(plan, jobs, drives, signal) {
  const measured = judgedOf(plan, jobs).filter(({ spec }) => spec.analyses.length);
  const found = (await Promise.all(measured.map(({ id }) => askAll(`/v1/jobs/${id}/analyses`, signal)))).flat();
  const failed = found.find(({ status }) => status === "failed");
  if (failed) return { failure: `${failed.kind}, seed ${failed.seed}, failed: ${failed.status_detail}` };
  const ended = found.filter(({ is_terminal }) => is_terminal).length;
  return { stage: ended < found.length ? `Measuring: ${count(ended)} of ${count(found.length)} measurements` : "" };
}

async function opening(plan, jobs, drives, signal) {
  let open = 0;
  for (const name of plan.to_open) {
    const path = `/v1/jobs/${jobs.get(name).id}/test-evaluation`;
    const look = await ask(path, { signal }).catch((error) => {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      return drives ? ask(path, { method: "POST", body: { reason: `lab ${plan.name}` }, signal }) : null;
    });
    if (look === null) return { waits: true, stage: "" };
    if (look.failures.length) return { failure: `The sealed rows of ${name} could not be measured: ${look.failures[0]}` };
    open += look.is_terminal;
  }
  return { stage: open < plan.to_open.length ? `Measuring on sealed rows: ${count(open)} of ${plural(plan.to_open.length, "job")}` : "" };
}

// The same claim about jobs by their ids.
function renamed(claim, jobs) {
  const side = (quantity) => ({ ...quantity, job: jobs.get(quantity.job).id });
  return Object.fromEntries(Object.entries(claim).map(([name, value]) => {
    if (["left", "right", "of"].includes(name)) return [name, side(value)];
    return [name, name === "job" ? jobs.get(value).id : value];
  }));
}
