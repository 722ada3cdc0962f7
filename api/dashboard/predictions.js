// What the networks of several jobs predict at their last snapshots, beside each other; drawn when it is asked for.

import { chart, color } from "./charts.js";
import { element, fill, say } from "./elements.js";
import { ask } from "./service.js";
import { describe, isDrawable } from "./snapshots.js";
import { count } from "./words.js";

const MOST = 9;
const HEIGHT = 260;

// A section with a button for it; it says so where there is nothing to draw.
export function showPredictions(found, signal) {
  const pictures = element("div", { class: "pictures" });
  const jobs = found.jobs.slice(0, MOST);
  const failure = element("p", { class: "failure", role: "alert" });
  const button = element("button", { onclick: press }, jobs.length < found.jobs.length ? `Draw the first ${count(MOST)}` : "Draw them");
  async function press() {
    button.disabled = true;
    say(failure, "");
    try {
      await draw();
      button.hidden = true;
    } catch (error) {
      if (error.name !== "AbortError") say(failure, error.message);
    } finally {
      button.disabled = false;
    }
  }
  const draw = async () => {
    const shown = (await Promise.all(jobs.map((job, index) => latest(job, index, signal)))).filter(Boolean);
    if (!shown.length) {
      fill(pictures, element("p", { class: "soft" }, "No job has snapshots that can be drawn: record.snapshots asks for some, and one or two inputs can be drawn."));
      return;
    }
    const made = shown.map(({ job, snapshot, index }) => {
      const target = element("div", { class: "chart", role: "img", "aria-label": `Predictions of ${job.label}` });
      return { snapshot, index, target, frame: element("figure", {}, element("figcaption", {}, `${job.label}, step ${count(snapshot.step)}`), target) };
    });
    fill(pictures, made.map(({ frame }) => frame));
    for (const { snapshot, index, target } of made) {
      chart(target, () => {
        const [traces, layout] = describe(snapshot.content, color(index));
        return [traces, { ...layout, height: HEIGHT }];
      }, signal)();
    }
  };
  return element("section", {}, element("div", { class: "bar-title" }, element("h2", {}, "Predictions"), button), failure, pictures);
}

// The last snapshot of a job's first run.
async function latest(job, index, signal) {
  const { data: [run] } = await ask(`/v1/jobs/${job.id}/runs`, { signal });
  const { data: taken } = await ask(`/v1/runs/${run.id}/snapshots`, { signal });
  const snapshot = taken.filter(isDrawable).at(-1);
  return snapshot && { job, snapshot, index };
}
