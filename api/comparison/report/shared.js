// Draws the charts of a report from the JSON inside the page. All text goes through textContent or a figure's plain
// text with markup escaped, so a name is never more than a name.

const data = JSON.parse(document.getElementById("comparison").textContent);
const state = {
  metric: data.metric, yScale: "log", xScale: "linear", time: "steps", bands: data.jobs.length > 8 ? "off" : "on",
  measure: data.measured ? data.measured.names[0] : null, pinned: new Set(), peeked: null,
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const small = matchMedia("(max-width: 620px)");
const printed = matchMedia("print");

const COLORS = 7;
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "triangle-up", "pentagon"];
const X_WORDS = { step: "step", epoch: "epoch", samples: "training rows seen", seconds: "seconds of training" };
const FEW_JOBS = 8;

// The style sheet's colors, read anew before everything is drawn anew.
let look = {};
function readLook() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  look = Object.fromEntries(["ink", "soft", "line", "grid", "card"].map((name) => [name, of(`--${name}`)]));
  look.jobs = Array.from({ length: COLORS }, (_, index) => of(`--c${index}`));
  look.font = getComputedStyle(document.body).fontFamily;
}

const color = (index) => look.jobs[index % COLORS];
const group = (index) => Math.floor(index / COLORS);
const dash = (index) => DASHES[group(index) % DASHES.length];
const symbol = (index) => SYMBOLS[group(index) % SYMBOLS.length];
const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const wash = (hex, opacity) => `rgba(${channels(hex).join(",")},${opacity})`;

function mixed(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  return `rgb(${a.map((value, at) => Math.round(value + (b[at] - value) * share)).join(",")})`;
}

const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const clipped = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const label = (index, most = 28) => plain(clipped(data.jobs[index].label, small.matches ? Math.min(most, 14) : most));
const full = (index) => plain(clipped(data.jobs[index].label, 60));
const jobIndex = new Map(data.jobs.map((job, index) => [job.id, index]));
const known = (values) => values.filter((value) => value !== null);
const spaced = (name) => name.replaceAll("_", " ");

function figure(value, digits = 3) {
  if (value === null) return "–";
  const text = Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

function axis(title, more = {}) {
  return {
    title: { text: plain(title), font: { size: 12.5, color: look.soft }, standoff: 10 },
    gridcolor: look.grid, linecolor: look.line, zeroline: false, automargin: true,
    tickfont: { size: 12, color: look.soft }, ...more,
  };
}

// Ticks at 1, 2, 5 while they fit, at whole decades beyond.
const logAxis = (low, high, most = 300) => ({ type: "log", tickformat: "~g", dtick: high > most * low ? (high > 1e8 * low ? null : 1) : "D2" });

// A row for each of these jobs, the first on top.
function rowAxis(indices) {
  return axis("", {
    tickmode: "array", tickvals: indices.map((_, row) => row), ticktext: indices.map((index) => label(index)),
    tickfont: { size: 12.5, color: look.ink }, showgrid: false, range: [indices.length - 0.5, -0.5], fixedrange: true, ticks: "",
  });
}

const aside = (text, more) => ({ text, showarrow: false, font: { size: 12, color: look.soft }, ...more });

function draw(id, traces, layout) {
  const place = document.getElementById(id);
  const fresh = !place.classList.contains("js-plotly-plot");
  Plotly.react(place, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: small.matches ? false : "zoom",
    width: place.clientWidth, height: place.clientHeight,
    margin: { l: 58, r: 14, t: 10, b: 46 }, font: { family: look.font, color: look.ink },
    hoverlabel: { bgcolor: look.card, bordercolor: look.line, font: { color: look.ink, size: 13 } },
    ...layout,
  }, { displayModeBar: false });
  if (fresh && data.jobs.length > FEW_JOBS) {
    place.on("plotly_hover", ({ points }) => peek(jobOf(points[0].data.uid)));
    place.on("plotly_unhover", () => peek(null));
  }
}

// Every trace of a job bears its number, and Plotly makes a class of it: one rule of style highlights a job in all
// charts at once, however many there are, and outlives their being drawn anew.
const uid = (index, part) => `job${index}_${part}`;
const jobOf = (name) => (/^job(\d+)_/.exec(name) ? Number(/^job(\d+)_/.exec(name)[1]) : null);

const rule = document.createElement("style");
document.head.append(rule);

function highlight() {
  const shown = [...state.pinned, ...(state.peeked === null ? [] : [state.peeked])];
  const but = shown.map((index) => `:not([class*="tracejob${index}_"])`).join("");
  rule.textContent = shown.length ? `.chart .trace[class*="tracejob"]${but} { opacity: 0.09 !important; }` : "";
}

function peek(index) {
  state.peeked = index;
  highlight();
}

// A row of buttons of which one is pressed; hidden where there is nothing to choose.
function offer(id, chosen, offered, choose) {
  const row = document.getElementById(id);
  row.hidden = !offered;
  for (const button of row.children) {
    button.setAttribute("aria-pressed", String(button.dataset.choice === chosen));
    button.onclick = () => choose(button.dataset.choice);
  }
}
