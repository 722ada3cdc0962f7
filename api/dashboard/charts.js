// Pictures by Plotly, fetched for the first of them, and the colors that all charts share.

import { element } from "./elements.js";

let loading = null;
let look = null;

const dark = matchMedia("(prefers-color-scheme: dark)");
const redrawn = new Set();

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/dashboard/plotly.min.js";
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => { loading = null; script.remove(); reject(new Error("The charts could not be loaded.")); };
    document.head.append(script);
  });
  return loading;
}

function readLook() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  look = Object.fromEntries(["ink", "soft", "line", "grid", "card"].map((name) => [name, of(name)]));
  look.colors = Array.from({ length: 7 }, (_, index) => of(`c${index}`));
  look.font = getComputedStyle(document.body).fontFamily;
}

dark.addEventListener("change", () => { readLook(); redrawn.forEach((draw) => draw()); });

export const palette = () => { if (!look) readLook(); return look; };
export const color = (index) => palette().colors[index % 7];

// A stroke of a color, beside the words that it stands for.
export function swatch(hue) {
  const made = element("i", { class: "swatch" });
  made.style.background = hue;
  return made;
}

export function wash(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

export function axis(title, more = {}) {
  const { soft, grid, line } = palette();
  return {
    title: { text: title, font: { size: 12.5, color: soft }, standoff: 8 }, gridcolor: grid, linecolor: line, zeroline: false,
    automargin: true, tickfont: { size: 12, color: soft }, exponentformat: "power", ...more,
  };
}

// A chart in `target`: `describe` gives [traces, layout] whenever it is drawn. Draws at most four times a second.
export function chart(target, describe, signal) {
  let waiting = false;
  let drawnAt = 0;
  async function draw() {
    waiting = false;
    drawnAt = performance.now();
    const Plotly = await plotly();
    if (signal.aborted || !target.isConnected) return;
    const [traces, layout] = describe();
    const { ink, font, card, line } = palette();
    const frame = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: font, size: 13, color: ink }, showlegend: false,
      margin: { l: 56, r: 12, t: 8, b: 44 }, hovermode: "x unified", hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } }, uirevision: "kept", ...layout,
    };
    await Plotly.react(target, traces, frame, { responsive: true, displayModeBar: false, displaylogo: false });
  }
  const soon = () => {
    if (waiting || signal.aborted) return;
    waiting = true;
    setTimeout(draw, Math.max(0, 250 - (performance.now() - drawnAt)));
  };
  redrawn.add(soon);
  signal.addEventListener("abort", () => { redrawn.delete(soon); if (globalThis.Plotly && target.data) globalThis.Plotly.purge(target); }, { once: true });
  return soon;
}
