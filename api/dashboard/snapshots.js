// What a network predicts, as it forms: a curve over its data, or regions of a plane; a slider over the steps.

import { axis, chart, color, palette, wash } from "./charts.js";
import { element, fill, say } from "./elements.js";
import { ask } from "./service.js";
import { count } from "./words.js";

// Fills `target` if the runs have snapshots; may be called again when there are more.
export async function showSnapshots(target, job, runs, signal) {
  if (!job.spec.record.snapshots.length || !runs.length) return;
  const { data: taken } = await ask(`/v1/runs/${runs[0].id}/snapshots`, { signal });
  const drawable = taken.filter(isDrawable);
  if (!drawable.length) return;
  const isFirst = target.hidden;
  target.snapshots = drawable;
  if (isFirst) build(target, runs[0].seed, signal);
  target.refresh();
}

export const isDrawable = ({ content }) => Boolean(content.grid) || Array.isArray(content.inputs?.[0]) === false;

function build(target, seed, signal) {
  target.hidden = false;
  const said = element("output", {});
  const slider = element("input", { type: "range", min: 0, step: 1, "aria-label": "Step of the snapshot", oninput: () => show() });
  const picture = element("div", { class: "chart", role: "img", "aria-label": "Predictions of the network" });
  fill(target, element("div", { class: "bar-title" }, element("h2", {}, `Predictions, seed ${seed}`), slider, said), picture);
  const redraw = chart(picture, () => describe(target.snapshots[Number(slider.value)].content), signal);
  const show = () => {
    say(said, `step ${count(target.snapshots[Number(slider.value)].step)}`);
    redraw();
  };
  target.refresh = () => {
    const wasLast = slider.value === slider.max || !slider.max;
    slider.max = String(target.snapshots.length - 1);
    if (wasLast) slider.value = slider.max;
    show();
  };
}

// Traces and layout of one snapshot; a curve is of this `hue`.
export function describe(content, hue = color(0)) {
  return content.grid ? regions(content) : curve(content, hue);
}

function curve({ inputs, outputs, rows }, hue) {
  const { soft } = palette();
  return [[
    { x: rows.inputs, y: rows.targets, mode: "markers", marker: { size: 4, color: soft, opacity: 0.55 }, hoverinfo: "skip" },
    { x: inputs, y: outputs, mode: "lines", line: { color: hue, width: 2.4 }, hovertemplate: "%{y:.3g}<extra></extra>" },
  ], { xaxis: axis("input"), yaxis: axis("output"), height: 320, hovermode: "closest" }];
}

function regions({ grid, classes, confidence, rows }) {
  const { card } = palette();
  const names = [...new Set(rows.targets)].sort((a, b) => a - b);
  // One layer for each class: as strong as the network is sure.
  const layers = names.map((one) => ({
    type: "heatmap", x: grid.x, y: grid.y, z: classes.map((line, row) => line.map((told, at) => (told === one ? confidence[row][at] : null))), zmin: 0, zmax: 1,
    colorscale: [[0, wash(color(one), 0.05)], [1, wash(color(one), 0.55)]], showscale: false, hovertemplate: `class ${one}: %{z:.0%}<extra></extra>`,
  }));
  const points = names.map((one) => {
    const mine = rows.inputs.filter((_, at) => rows.targets[at] === one);
    return { x: mine.map(([x]) => x), y: mine.map(([, y]) => y), mode: "markers", marker: { size: 6, color: color(one), line: { width: 1, color: card } }, hoverinfo: "skip" };
  });
  return [[...layers, ...points], { xaxis: axis(""), yaxis: axis(""), height: 380, hovermode: "closest" }];
}
