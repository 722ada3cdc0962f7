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
