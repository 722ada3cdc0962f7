// Parallel coordinates: the fields in which specs differ, each on an axis of its own, and the score at the end.

import { least, most, stroke, surface } from "./canvas.js";
import { color, palette, wash } from "./charts.js";
import { element } from "./elements.js";
import { figure, spaced } from "./words.js";

const MOST_FIELDS = 7;
const MOST_TICKS = 8;
const FEWEST = { jobs: 3, fields: 2 };
const LOG_FROM = 20;
const COLORS = 7;
const MARGIN = { top: 40, right: 100, bottom: 16, left: 24 };
const HEIGHT = 340;
const NEAR = 8;

// A section for a comparison, or null where too little differs: a table says it as well then.
export function coordinates(found, signal) {
  const axes = axesOf(found);
  if (found.jobs.length < FEWEST.jobs || axes.length - 1 < FEWEST.fields) return null;
  const target = element("div", { class: "chart", role: "img", "aria-label": "Fields that differ, and the score, of each contender" });
  let scene = null;
  let lit = null;
  const redraw = surface(target, { height: () => HEIGHT, paint: draw, pointed }, signal);
  redraw();
  return element("section", {}, element("h2", {}, "Fields and scores"), target);

  function draw(pen, width) {
    scene = { across: (axis) => MARGIN.left + (axis / (axes.length - 1)) * (width - MARGIN.left - MARGIN.right), down: (at) => MARGIN.top + (1 - at) * (HEIGHT - MARGIN.top - MARGIN.bottom) };
    paint(pen, scene, axes, found, lit);
  }

  function pointed(across, down) {
    const near = scene && nearest(scene, axes, found.jobs.length, across, down);
    if (near !== lit) {
      lit = near;
      redraw();
    }
    if (near === null || near === undefined) return null;
    return [element("b", {}, found.jobs[near].label), axes.map(({ label, texts }) => element("span", {}, `${label} ${texts[near]}`))];
  }
}

// Fields that every job has come first, and those with the most values; a field with one value in all that have it says
// no more than the field that brings it along.
function axesOf(found) {
  const ids = found.jobs.map(({ id }) => id);
  const fields = Object.entries(found.spec_diff).map(([path, values]) => ({ path, values, kinds: new Set(Object.values(values).map((value) => JSON.stringify(value))).size })).filter(({ kinds }) => kinds > 1);
  fields.sort((a, b) => Object.keys(b.values).length - Object.keys(a.values).length || b.kinds - a.kinds || a.path.localeCompare(b.path));
  const scores = found.table.map(({ last }) => last.mean);
  return [...fields.slice(0, MOST_FIELDS).map(({ path, values }) => axis(path, ids.map((id) => values[id]))), axis(`last ${spaced(found.metric)}`, scores.map((score) => score ?? undefined))];
}

// Where each value stands, from 0 to 1, and what is written beside the axis; who has no value stands at its foot.
function axis(label, values) {
  const present = values.filter((value) => value !== undefined);
  const isNumeric = present.every((value) => typeof value === "number");
  const text = (value) => (value === undefined ? "–" : isNumeric ? figure(value, 3) : typeof value === "object" ? JSON.stringify(value) : String(value));
  const place = isNumeric ? numeric(present) : categorical(present.map(text));
  const lift = present.length < values.length ? 0.16 : 0;
  const at = (value) => (value === undefined ? 0 : lift + (1 - lift) * place(isNumeric ? value : text(value)));
  const ticks = [];
  for (const value of [...new Set(values)].sort((a, b) => at(a) - at(b))) {
    if (!ticks.length || at(value) - ticks.at(-1).at > 1 / (2 * MOST_TICKS)) ticks.push({ at: at(value), text: text(value) });
  }
  return { label, at: values.map(at), texts: values.map(text), ticks };
}

function numeric(values) {
  const [low, high] = values.length ? [least(values), most(values)] : [0, 0];
  if (low === high) return () => 0.5;
  return low > 0 && high > LOG_FROM * low ? (value) => Math.log(value / low) / Math.log(high / low) : (value) => (value - low) / (high - low);
}

function categorical(texts) {
  const words = [...new Set(texts)];
  return (text) => (words.indexOf(text) + 0.5) / words.length;
}

function paint(pen, { across, down }, axes, found, lit) {
  const { ink, soft, line, card, colors, font } = palette();
  const last = axes.length - 1;
  const hue = (job) => (found.jobs.length <= COLORS ? color(job) : shade(axes[last].at[job], found.better, colors[0]));
  pen.font = `12px ${font}`;
  axes.forEach((_, number) => stroke(pen, number === last ? soft : line, [[across(number), down(-0.02)], [across(number), down(1.02)]]));
  pen.lineJoin = "round";
  found.jobs.forEach((_, job) => {
    pen.lineWidth = job === lit ? 3.4 : found.jobs.length > COLORS ? 1.4 : 2.2;
    const ends = axes.map(({ at }, number) => [across(number), down(at[job])]);
    stroke(pen, lit !== null && job !== lit ? wash(colors[0], 0.12) : hue(job), ends);
  });
  pen.lineWidth = 1;
  axes.forEach(({ label, ticks }, number) => {
    pen.textAlign = number ? "center" : "left";
    pen.fillStyle = ink;
    pen.fillText(label.split(".").at(-1).replaceAll("_", " "), across(number) - (number ? 0 : 10), MARGIN.top - 22);
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const { at, text } of ticks) {
      const shown = text.length > 16 ? `${text.slice(0, 15)}…` : text;
      pen.fillStyle = wash(card, 0.8);
      pen.fillRect(across(number) + 6, down(at) - 8, pen.measureText(shown).width + 4, 16);
      pen.fillStyle = soft;
      pen.fillText(shown, across(number) + 8, down(at));
    }
    pen.textBaseline = "alphabetic";
  });
}

// Of many, the better the stronger.
function shade(at, better, hue) {
  const share = better === "higher" ? at : 1 - at;
  return wash(hue, 0.15 + 0.85 * share ** 2);
}

function nearest({ across, down }, axes, jobs, x, y) {
  const left = axes.findLastIndex((_, number) => number < axes.length - 1 && across(number) <= x);
  if (left < 0) return null;
  const part = (x - across(left)) / (across(left + 1) - across(left));
  if (part > 1) return null;
  const distances = Array.from({ length: jobs }, (_, job) => Math.abs(down(axes[left].at[job] * (1 - part) + axes[left + 1].at[job] * part) - y));
  const best = distances.indexOf(least(distances));
  return distances[best] <= NEAR ? best : null;
}
