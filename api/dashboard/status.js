// What a job's or run's status looks like: a shape beside the color, for those who see no difference.

import { element, say } from "./elements.js";

const MARKS = { queued: "○", running: "●", pausing: "◑", paused: "‖", cancelling: "◑", succeeded: "✓", failed: "✕", cancelled: "–" };

export function badge(status) {
  const made = element("span", { class: "badge" });
  setBadge(made, status);
  return made;
}

export function setBadge(made, status) {
  if (made.dataset.status === status) return;
  made.dataset.status = status;
  say(made, `${MARKS[status] ?? "?"} ${status}`);
}

// How far a job is, from 0 to 1, and of how many runs it is.
export const share = (job) => job.progress.completed / Math.max(1, job.progress.total);
export const runsOf = (job) => Object.values(job.runs_by_status).reduce((sum, number) => sum + number, 0);

// A bar for how far something is; `label` says of what.
export function bar(label) {
  const inner = element("span", {});
  const made = element("span", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, inner);
  return {
    made,
    set(share) {
      const percent = Math.round(100 * Math.min(1, Math.max(0, share)));
      inner.style.width = `${percent}%`;
      made.setAttribute("aria-valuenow", String(percent));
    },
  };
}
