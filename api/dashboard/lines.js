// Curves over steps, drawn on a canvas: nothing is fetched for it, and ten thousand points take a few milliseconds.

import { palette, wash } from "./charts.js";
import { element, fill } from "./elements.js";
import { figure } from "./words.js";

const MARGIN = { top: 10, right: 26, bottom: 42, left: 62 };
const REDRAW_MILLISECONDS = 100;
const MOST_TOLD = 8;

const dark = matchMedia("(prefers-color-scheme: dark)");

// Curves in `target`. `describe` gives, whenever they are drawn: `curves`, each { name, x, y, color, width, dash, lower,
// upper }, of which null is a gap; `xTitle`, `yTitle`; `log`, whether the values are told apart by their ratios;
// `marks`, values at which a dashed line stands. Hands back what draws them again, soon.
export function lines(target, describe, signal, height = 360) {
  const canvas = element("canvas", {});
  const told = element("div", { class: "told", hidden: true });
  target.classList.add("lines");
  target.style.height = `${height}px`;
  fill(target, canvas, told);
  let scene = null;
  let waiting = 0;

  function draw() {
    waiting = 0;
    if (signal.aborted || !target.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const [width, tall] = [target.clientWidth, height];
    canvas.width = width * ratio;
    canvas.height = tall * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    scene = arranged(describe(), width, tall);
    paint(pen, scene);
    canvas.dataset.curves = String(scene.curves.length);
  }

  const soon = () => { waiting ||= setTimeout(draw, REDRAW_MILLISECONDS); };
  const sized = new ResizeObserver(soon);
  sized.observe(target);
  dark.addEventListener("change", soon, { signal });
  canvas.addEventListener("pointermove", (event) => point(event.offsetX, event.offsetY));
  canvas.addEventListener("pointerleave", () => { told.hidden = true; });
  signal.addEventListener("abort", () => sized.disconnect(), { once: true });

  function point(across, down) {
    if (!scene || across < MARGIN.left || across > scene.width - MARGIN.right) {
      told.hidden = true;
      return;
    }
    const x = scene.xAt(across);
    const near = scene.curves.filter(({ name }) => name).map((curve) => ({ curve, at: nearest(curve.x, x) })).filter(({ curve, at }) => at >= 0 && curve.y[at] !== null);
    near.sort((a, b) => Math.abs(scene.down(a.curve.y[a.at]) - down) - Math.abs(scene.down(b.curve.y[b.at]) - down));
    const shown = near.slice(0, MOST_TOLD);
    told.hidden = shown.length === 0;
    if (!shown.length) return;
    const rows = shown.map(({ curve, at }) => {
      const mark = element("i", { class: "swatch" });
      mark.style.background = curve.color;
      return element("span", {}, mark, curve.name, " ", element("b", {}, figure(curve.y[at])));
    });
    fill(told, element("span", { class: "soft" }, `${scene.xTitle} ${figure(shown[0].curve.x[shown[0].at], 6)}`), rows);
    told.style.left = `${Math.min(across + 14, scene.width - told.offsetWidth - 8)}px`;
    told.style.top = `${Math.max(4, down - told.offsetHeight - 10)}px`;
  }

  return soon;
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
function arranged({ curves, xTitle, yTitle, log, marks = [] }, width, height) {
  const values = curves.flatMap(({ y }) => y).concat(marks).filter((value) => value !== null && (!log || value > 0));
  const xs = curves.flatMap(({ x }) => [x[0], x.at(-1)]).filter((x) => x !== undefined);
  const scale = log ? Math.log10 : (value) => value;
  let [low, high] = values.length ? [scale(least(values)), scale(most(values))] : [0, 1];
  const room = (high - low || 1) * 0.05;
  [low, high] = [low - room, high + room];
  const last = xs.length ? most(xs) || 1 : 1;
  const [inner, tall] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  return {
    curves, xTitle, yTitle, log, marks, width, height, low, high, last,
    across: (x) => MARGIN.left + (x / last) * inner,
    down: (value) => MARGIN.top + (1 - (clamped(scale(value), low, high) - low) / (high - low)) * tall,
    xAt: (across) => ((across - MARGIN.left) / inner) * last,
  };
}

const clamped = (value, low, high) => (Number.isNaN(value) ? low : Math.min(high, Math.max(low, value)));
const least = (values) => values.reduce((a, b) => Math.min(a, b));
const most = (values) => values.reduce((a, b) => Math.max(a, b));

function paint(pen, scene) {
  const { soft, grid, line, font } = palette();
  pen.clearRect(0, 0, scene.width, scene.height);
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
  for (const { value, text } of ticks(0, scene.last)) {
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

function stroke(pen, color, points) {
  pen.strokeStyle = color;
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
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

function ticks(low, high) {
  const rough = (high - low) / 6 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * unit).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) {
    const exact = Number(value.toPrecision(12));
    found.push({ value: exact, text: Math.abs(exact) >= 1000 ? Math.round(exact).toLocaleString("en") : String(exact).replace("-", "−") });
  }
  return found;
}

// Powers of ten, and between them the twos and fives where there is room.
function decades(low, high) {
  const found = [];
  const parts = high - low < 2.2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((high - low) / 7));
  for (let power = Math.floor(low); power <= Math.ceil(high); power += 1) {
    for (const part of parts) {
      const value = part * 10 ** power;
      if (Math.log10(value) < low || Math.log10(value) > high) continue;
      const text = power % every === 0 || parts.length > 1 ? (Math.abs(power) > 3 ? `${part === 1 ? "" : `${part}·`}10${raised(power)}` : String(Number(value.toPrecision(3)))) : "";
      found.push({ value, text });
    }
  }
  return found;
}

const raised = (power) => String(power).replace(/./g, (one) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[one] ?? "⁻");

export const DASHES = [[], [7, 4], [2, 3], [8, 3, 2, 3]];
