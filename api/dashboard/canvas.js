// What all drawings on a canvas share: a surface that is drawn again when it has to be, a box that tells, and ticks.

import { element, fill } from "./elements.js";

const REDRAW_MILLISECONDS = 100;
const dark = matchMedia("(prefers-color-scheme: dark)");

// A canvas that fills `target`: `paint(pen, width, height)` draws it, `pointed(across, down)` says what lies there, as
// elements, or null. `height` gives its height whenever it is drawn. Hands back what draws it again, soon.
export function surface(target, { height, paint, pointed }, signal) {
  const canvas = element("canvas", {});
  const told = element("div", { class: "told", hidden: true });
  target.classList.add("lines");
  target.style.height = `${height()}px`;
  fill(target, canvas, told);
  let waiting = 0;

  function draw() {
    waiting = 0;
    if (signal.aborted || !target.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const [width, tall] = [target.clientWidth, height()];
    target.style.height = `${tall}px`;
    canvas.width = width * ratio;
    canvas.height = tall * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, width, tall);
    paint(pen, width, tall, canvas);
  }

  const soon = () => { waiting ||= setTimeout(draw, REDRAW_MILLISECONDS); };
  const sized = new ResizeObserver(soon);
  sized.observe(target);
  dark.addEventListener("change", soon, { signal });
  canvas.addEventListener("pointermove", ({ offsetX: across, offsetY: down }) => {
    const found = pointed(across, down);
    told.hidden = !found;
    if (!found) return;
    fill(told, found);
    told.style.left = `${Math.max(0, Math.min(across + 14, target.clientWidth - told.offsetWidth - 8))}px`;
    told.style.top = `${Math.max(4, down - told.offsetHeight - 10)}px`;
  });
  canvas.addEventListener("pointerleave", () => { told.hidden = true; });
  signal.addEventListener("abort", () => sized.disconnect(), { once: true });
  return soon;
}

export function stroke(pen, color, points) {
  pen.strokeStyle = color;
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

export const least = (values) => values.reduce((a, b) => Math.min(a, b));
export const most = (values) => values.reduce((a, b) => Math.max(a, b));

export function ticks(low, high) {
  const rough = (high - low) / 6 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * unit).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) {
    const exact = Math.abs(value) < step / 1e6 ? 0 : Number(value.toPrecision(12));
    found.push({ value: exact, text: Math.abs(exact) >= 1000 ? Math.round(exact).toLocaleString("en") : String(exact).replace("-", "−") });
  }
  return found;
}

// Powers of ten, and between them the twos and fives where there is room.
export function decades(low, high) {
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
