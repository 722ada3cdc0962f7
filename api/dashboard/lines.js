// Curves over steps, drawn on a canvas: nothing is fetched for it, and ten thousand points take a few milliseconds.

import { decades, least, most, stroke, surface, ticks } from "./canvas.js";
import { palette, swatch, wash } from "./charts.js";
import { element } from "./elements.js";
import { figure } from "./words.js";

const MARGIN = { top: 10, right: 26, bottom: 42, left: 62 };
const MOST_TOLD = 8;

// Curves in `target`. `describe` gives, whenever they are drawn: `curves`, each { name, x, y, color, width, dash, lower,
// upper }, of which null is a gap; `xTitle`, `yTitle`; `log`, whether the values are told apart by their ratios;
// `marks`, values at which a dashed line stands; and `over`, where x is no number from 0 on: { from, to, ticks, said }.
// Hands back what draws them again, soon.
export function lines(target, describe, signal, height = 360) {
  let scene = null;
  return surface(target, { height: () => height, paint: draw, pointed }, signal);

  function draw(pen, width, tall, canvas) {
    scene = arranged(describe(), width, tall);
    paint(pen, scene);
    canvas.dataset.curves = String(scene.curves.length);
  }

  function pointed(across, down) {
    if (!scene || across < MARGIN.left || across > scene.width - MARGIN.right) return null;
    const x = scene.xAt(across);
    const near = scene.curves.filter(({ name }) => name).map((curve) => ({ curve, at: nearest(curve.x, x) })).filter(({ curve, at }) => at >= 0 && curve.y[at] !== null);
    near.sort((a, b) => Math.abs(scene.down(a.curve.y[a.at]) - down) - Math.abs(scene.down(b.curve.y[b.at]) - down));
    const shown = near.slice(0, MOST_TOLD);
    if (!shown.length) return null;
    const at = shown[0].curve.x[shown[0].at];
    const rows = shown.map(({ curve, at: place }) => element("span", {}, swatch(curve.color), curve.name, " ", element("b", {}, figure(curve.y[place]))));
    return [element("span", { class: "soft" }, scene.over ? scene.over.said(at) : `${scene.xTitle} ${figure(at, 6)}`), rows];
  }
}

function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
}

// Where everything stands.
function arranged({ curves, xTitle, yTitle, log, marks = [], over = null }, width, height) {
  const values = curves.flatMap(({ y }) => y).concat(marks).filter((value) => value !== null && (!log || value > 0));
  const xs = curves.flatMap(({ x }) => [x[0], x.at(-1)]).filter((x) => x !== undefined);
  const scale = log ? Math.log10 : (value) => value;
  let [low, high] = values.length ? [scale(least(values)), scale(most(values))] : [0, 1];
  const room = (high - low || 1) * 0.05;
  [low, high] = [low - room, high + room];
  const [first, last] = over ? [over.from, over.to] : [0, xs.length ? most(xs) || 1 : 1];
  const [inner, tall] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  return {
    curves, xTitle, yTitle, log, marks, width, height, low, high, first, last, over,
    across: (x) => MARGIN.left + ((x - first) / (last - first)) * inner,
    down: (value) => MARGIN.top + (1 - (clamped(scale(value), low, high) - low) / (high - low)) * tall,
    xAt: (across) => first + ((across - MARGIN.left) / inner) * (last - first),
  };
}

const clamped = (value, low, high) => (Number.isNaN(value) ? low : Math.min(high, Math.max(low, value)));

function paint(pen, scene) {
  const { soft, grid, line, font } = palette();
  pen.font = `12px ${font}`;
  pen.lineWidth = 1;
  const [right, bottom] = [scene.width - MARGIN.right, scene.height - MARGIN.bottom];
  pen.fillStyle = soft;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const { value, text } of scene.log ? decades(scene.low, scene.high) : ticks(scene.low, scene.high)) {
    const down = scene.down(value);
    stroke(pen, grid, [[MARGIN.left, down], [right, down]]);
    if (text) pen.fillText(text, MARGIN.left - 8, down);
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const { value, text } of scene.over?.ticks ?? ticks(scene.first, scene.last)) {
    const across = scene.across(value);
    stroke(pen, grid, [[across, MARGIN.top], [across, bottom]]);
    pen.fillText(text, across, bottom + 7);
  }
  stroke(pen, line, [[MARGIN.left, MARGIN.top], [MARGIN.left, bottom], [right, bottom]]);
  pen.fillText(scene.xTitle, (MARGIN.left + right) / 2, bottom + 24);
  pen.save();
  pen.translate(11, (MARGIN.top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(scene.yTitle, 0, -5);
  pen.restore();
  for (const curve of scene.curves) band(pen, scene, curve);
  for (const curve of scene.curves) trace(pen, scene, curve);
  pen.setLineDash([5, 4]);
  for (const mark of scene.marks) stroke(pen, soft, [[MARGIN.left, scene.down(mark)], [right, scene.down(mark)]]);
  pen.setLineDash([]);
}

function band(pen, scene, { x, lower, upper, color }) {
  if (!lower) return;
  const places = x.map((_, at) => at).filter((at) => lower[at] !== null && upper[at] !== null);
  if (places.length < 2) return;
  pen.fillStyle = wash(color, 0.16);
  pen.beginPath();
  places.forEach((at, index) => pen[index ? "lineTo" : "moveTo"](scene.across(x[at]), scene.down(upper[at])));
  places.toReversed().forEach((at) => pen.lineTo(scene.across(x[at]), scene.down(lower[at])));
  pen.fill();
}

function trace(pen, scene, { x, y, color, width = 2.2, dash = [] }) {
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.lineJoin = "round";
  pen.setLineDash(dash);
  pen.beginPath();
  let isDown = false;
  y.forEach((value, at) => {
    const isThere = value !== null && (!scene.log || value > 0);
    if (isThere) pen[isDown ? "lineTo" : "moveTo"](scene.across(x[at]), scene.down(value));
    isDown = isThere;
  });
  pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 1;
}

const DASHES = [[], [7, 4], [2, 3], [8, 3, 2, 3]];

// What tells curves of one color apart.
export const dash = (index) => DASHES[Math.floor(index / 7) % DASHES.length];
