// A row of dots for each of several things, over one axis: runs as dots, their mean as a diamond with its interval.

import { decades, least, most, stroke, surface, ticks } from "./canvas.js";
import { palette, wash } from "./charts.js";
import { element } from "./elements.js";
import { figure } from "./words.js";

const MARGIN = { top: 8, right: 24, bottom: 42 };
const ROW = { few: 34, many: 20, from: 20 };
const NEAR = 9;
const LABEL = { widest: 340, share: 0.34 };

// Rows in `target`. `describe` gives, whenever they are drawn: `rows`, each { label, color, points, mean, note }, a point
// { x, name, missed }, a mean { mean, lower, upper }; `xTitle`; `log`; `zero`, where a line stands; and `joins`, dots that
// a line joins, each [[row, x], …]. Hands back what draws them again, soon.
export function dots(target, describe, signal) {
  let scene = null;
  return surface(target, { height: () => heightOf(describe().rows.length), paint: draw, pointed }, signal);

  function draw(pen, width, height, canvas) {
    scene = arranged(describe(), width, height);
    paint(pen, scene);
    canvas.dataset.rows = String(scene.rows.length);
  }

  function pointed(across, down) {
    const row = scene?.rows[Math.floor((down - MARGIN.top) / scene.tall)];
    if (!row) return null;
    const near = row.points.filter(({ x }) => Math.abs(scene.across(x) - across) < NEAR);
    const rows = near.map(({ x, name, missed }) => element("span", {}, `${name} `, element("b", {}, missed ? `not by ${figure(x)}` : figure(x))));
    const { mean, lower, upper } = row.mean ?? { mean: null };
    if (mean !== null) rows.unshift(element("span", {}, "mean ", element("b", {}, figure(mean)), lower === null ? "" : `, ${figure(lower)} to ${figure(upper)}`));
    return rows.length ? [element("span", { class: "soft" }, row.label), rows] : null;
  }
}

const tallOf = (rows) => (rows > ROW.from ? ROW.many : ROW.few);
const heightOf = (rows) => MARGIN.top + MARGIN.bottom + rows * tallOf(rows);

function arranged({ rows, xTitle, log, zero = null, joins = [] }, width, height) {
  const ends = rows.flatMap(({ points, mean }) => [...points.map(({ x }) => x), mean?.mean, mean?.lower, mean?.upper]).concat(zero).filter((value) => value !== null && value !== undefined && (!log || value > 0));
  const scale = log ? Math.log10 : (value) => value;
  let [low, high] = ends.length ? [scale(least(ends)), scale(most(ends))] : [0, 1];
  const room = (high - low || 1) * 0.06;
  [low, high] = [low - room, high + room];
  const left = Math.min(LABEL.widest, LABEL.share * width);
  const inner = width - left - MARGIN.right;
  return { rows, xTitle, log, zero, joins, width, height, low, high, left, tall: tallOf(rows.length), across: (x) => left + ((scale(x) - low) / (high - low)) * inner };
}

function paint(pen, scene) {
  const { ink, soft, grid, line, font } = palette();
  const { left, width, height, tall } = scene;
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  pen.font = `12px ${font}`;
  pen.textBaseline = "top";
  pen.textAlign = "center";
  pen.fillStyle = soft;
  for (const { value, text } of scene.log ? decades(scene.low, scene.high) : ticks(scene.low, scene.high)) {
    stroke(pen, grid, [[scene.across(value), MARGIN.top], [scene.across(value), bottom]]);
    if (text) pen.fillText(text, scene.across(value), bottom + 7);
  }
  stroke(pen, line, [[left, bottom], [right, bottom]]);
  pen.fillText(scene.xTitle, (left + right) / 2, bottom + 24);
  if (scene.zero !== null) {
    pen.setLineDash([5, 4]);
    stroke(pen, soft, [[scene.across(scene.zero), MARGIN.top], [scene.across(scene.zero), bottom]]);
    pen.setLineDash([]);
  }
  const shared = prefixed(scene.rows.map(({ label }) => label));
  const middle = (row) => MARGIN.top + (row + 0.5) * tall;
  scene.joins.forEach((join) => stroke(pen, line, join.map(([row, x]) => [scene.across(x), middle(row)])));
  pen.textBaseline = "middle";
  scene.rows.forEach(({ label, color, points, mean, note }, row) => {
    const down = middle(row);
    pen.textAlign = "right";
    pen.fillStyle = ink;
    pen.fillText(clipped(pen, label.slice(shared), left - 14), left - 10, down);
    points.forEach((point) => dot(pen, point, scene.across(point.x), down, color));
    if (mean && mean.mean !== null) average(pen, mean, scene, down + (points.length ? tall * 0.3 : 0), color);
    if (!note) return;
    pen.textAlign = "right";
    pen.fillStyle = soft;
    pen.fillText(note, right, down - (tall > ROW.many ? 11 : 0));
  });
}

// How much all labels begin with, up to a dot or comma: it tells nobody apart.
function prefixed(labels) {
  if (labels.length < 2) return 0;
  let length = 0;
  while (length < labels[0].length && labels.every((label) => label[length] === labels[0][length])) length += 1;
  return Math.max(0, ...[" · ", ", "].map((end) => labels[0].slice(0, length).lastIndexOf(end) + end.length).filter((at) => at > 2));
}

function clipped(pen, text, room) {
  let shown = text;
  while (shown.length > 1 && pen.measureText(shown).width > room) shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
  return shown;
}

function dot(pen, { missed }, across, down, color) {
  if (missed) {
    pen.lineWidth = 1.8;
    for (const side of [-4, 4]) stroke(pen, color, [[across - 4, down - side], [across + 4, down + side]]);
    pen.lineWidth = 1;
    return;
  }
  pen.fillStyle = wash(color, 0.6);
  pen.beginPath();
  pen.arc(across, down, 4.5, 0, 2 * Math.PI);
  pen.fill();
}

function average(pen, { mean, lower, upper }, scene, down, color) {
  pen.lineWidth = 2;
  if (lower !== null && upper !== null && (!scene.log || lower > 0)) {
    stroke(pen, color, [[scene.across(lower), down], [scene.across(upper), down]]);
    for (const end of [lower, upper]) stroke(pen, color, [[scene.across(end), down - 3], [scene.across(end), down + 3]]);
  }
  pen.lineWidth = 1;
  const across = scene.across(mean);
  pen.fillStyle = color;
  pen.beginPath();
  [[0, -5], [5, 0], [0, 5], [-5, 0]].forEach(([x, y], corner) => pen[corner ? "lineTo" : "moveTo"](across + x, down + y));
  pen.fill();
}
