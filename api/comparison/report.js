"use strict";
// Draws the charts of a report from the JSON inside the page. All text goes through textContent or a figure's plain
// annotations with markup escaped, so a name is never more than a name.

const data = JSON.parse(document.getElementById("comparison").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const state = { metric: data.metric, log: null };

// Okabe & Ito's palette, safe for colour-blind readers; black becomes the ink colour. On a dark page the two blues trade
// places, because the deep one would drown. Past seven jobs, dashes tell them apart.
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "ink"];
const DARK = ["#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#F0E442", "ink"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const X_WORDS = { step: "step", epoch: "epoch", samples: "training rows seen", seconds: "seconds of training" };

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const short = (text) => (text.length > 28 ? text.slice(0, 27) + "…" : text);

function color(index) {
  const palette = dark.matches ? DARK : LIGHT;
  const found = palette[index % palette.length];
  return found === "ink" ? css("--ink") : found;
}

function wash(index, opacity) {
  const hex = color(index).slice(1);
  const [red, green, blue] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

const dash = (index) => DASHES[Math.floor(index / LIGHT.length) % DASHES.length];

function axis(title, more = {}) {
  return {
    title: { text: plain(title), font: { size: 12.5, color: css("--soft") }, standoff: 10 },
    gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true,
    tickfont: { size: 12, color: css("--soft") }, ...more,
  };
}

// Ticks at 1, 2, 5 while they fit, at whole decades beyond.
const logAxis = (low, high) => ({ type: "log", tickformat: "~g", dtick: high > 300 * low ? (high > 1e8 * low ? null : 1) : "D2" });

function draw(id, traces, layout) {
  Plotly.react(id, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    margin: { l: 58, r: 14, t: 10, b: 46 },
    font: { family: getComputedStyle(document.body).fontFamily, color: css("--ink") },
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink"), size: 13 } },
    ...layout,
  }, { displayModeBar: false, responsive: true });
}

// A log axis cannot show what is not positive, so it is offered only where every mean is.
const positive = (curves) => curves.some((one) => one.x.length) && curves.every((one) => one.mean.every((y) => y === null || y > 0));

function drawCurves() {
  const curves = data.curves[state.metric];
  const label = data.metrics.find((one) => one.name === state.metric).label;
  const log = positive(curves) && (state.log ?? true);
  const top = Math.max(...curves.flatMap((one) => [...one.mean, ...(log ? [] : one.upper)].filter((y) => y !== null)));
  const floor = Math.min(...curves.flatMap((one) => one.mean.filter((y) => y !== null))) / 3;
  const traces = [];
  curves.forEach((one, index) => {
    const banded = one.x.map((_, at) => at).filter((at) => one.lower[at] !== null);
    const at = (values) => banded.map((place) => (log ? Math.max(values[place], floor) : values[place]));
    const xs = banded.map((place) => one.x[place]);
    const invisible = { width: 0, color: "rgba(0,0,0,0)" };
    traces.push({ x: xs, y: at(one.lower), mode: "lines", line: invisible, hoverinfo: "skip" });
    traces.push({ x: xs, y: at(one.upper), mode: "lines", line: invisible, fill: "tonexty", fillcolor: wash(index, 0.18), hoverinfo: "skip" });
  });
  curves.forEach((one, index) => {
    traces.push({
      x: one.x, y: one.mean, customdata: one.n, mode: one.x.length === 1 ? "markers" : "lines", connectgaps: false,
      line: { color: color(index), width: 2.2, dash: dash(index) }, marker: { color: color(index), size: 8 },
      hovertemplate: `${plain(short(data.jobs[index].label))}: %{y:.4g} (n = %{customdata})<extra></extra>`,
    });
    const ended = one.diverged.filter((run) => run.x !== null && (!log || run.value > 0));
    // A loss on its way to infinity would squash every other curve: the mark stands at the top edge instead.
    traces.push({
      x: ended.map((run) => run.x), y: ended.map((run) => Math.min(run.value, top)), mode: "markers", cliponaxis: false,
      marker: { symbol: "x-thin", size: 10, line: { width: 2.2, color: color(index) } }, text: ended.map((run) => `seed ${run.seed} diverged`), customdata: ended.map((run) => run.value),
      hovertemplate: `${plain(short(data.jobs[index].label))}: %{text}, last at %{customdata:.4g}<extra></extra>`,
    });
  });
  const target = state.metric === data.metric && data.target !== null && !(log && data.target <= 0) ? data.target : null;
  draw("curves", traces, {
    hovermode: "x unified",
    xaxis: axis(X_WORDS[data.x], { hoverformat: ",.4~g", rangemode: "tozero" }),
    yaxis: axis(label, log ? logAxis(floor * 3, top) : { exponentformat: "power" }),
    shapes: target === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line: { color: css("--soft"), width: 1.4, dash: "dash" } }],
    annotations: target === null ? [] : [{
      xref: "paper", x: 1, xanchor: "right", y: log ? Math.log10(target) : target, yanchor: "bottom",
      text: `target ${target}`, showarrow: false, font: { size: 12, color: css("--soft") },
    }],
  });
  buttons("scale", positive(curves) ? [["log", "log"], ["linear", "linear"]] : [], log ? "log" : "linear", (name) => { state.log = name === "log"; });
}

function buttons(id, choices, chosen, choose) {
  const made = choices.map(([name, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-pressed", String(name === chosen));
    button.onclick = () => { choose(name); drawCurves(); drawMetrics(); };
    return button;
  });
  document.getElementById(id).replaceChildren(...made);
}

function drawMetrics() {
  const choices = data.metrics.length > 1 ? data.metrics.map((one) => [one.name, one.label]) : [];
  buttons("metrics", choices, state.metric, (name) => { state.metric = name; state.log = null; });
}

function drawLegend() {
  document.getElementById("legend").replaceChildren(...data.jobs.map((job, index) => {
    const entry = document.createElement("span");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    swatch.setAttribute("width", "22");
    swatch.setAttribute("height", "8");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const dashes = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3" };
    for (const [name, value] of Object.entries({ x1: 0, x2: 22, y1: 4, y2: 4, stroke: color(index), "stroke-width": 3, "stroke-dasharray": dashes[dash(index)] })) {
      line.setAttribute(name, value);
    }
    swatch.append(line);
    entry.append(swatch, job.label);
    return entry;
  }));
}

const jobTicks = () => ({ tickmode: "array", tickvals: data.jobs.map((_, index) => index), ticktext: data.jobs.map((job) => plain(short(job.label))) });

function drawScores() {
  const seeds = [...new Set(data.table.flatMap((row) => row.runs.map((run) => run.seed)))];
  const traces = seeds.map((seed) => {
    const found = data.table.map((row, index) => [index, row.runs.find((run) => run.seed === seed && run.counted)]).filter(([, run]) => run);
    return {
      x: found.map(([index]) => index), y: found.map(([, run]) => run.last), mode: "lines+markers",
      line: { color: css("--line"), width: 1.2 }, marker: { size: 8, color: found.map(([index]) => wash(index, 0.75)) },
      hovertemplate: `seed ${seed}: %{y:.4g}<extra></extra>`,
    };
  });
  data.table.forEach((row, index) => {
    if (row.last.mean === null) return;
    const half = row.last.upper === null ? 0 : row.last.upper - row.last.mean;
    traces.push({
      x: [index + 0.22], y: [row.last.mean], error_y: { array: [half], color: color(index), thickness: 2, width: 5 }, mode: "markers",
      marker: { symbol: "diamond", size: 9, color: color(index) }, hovertemplate: `mean %{y:.4g}<extra></extra>`,
    });
  });
  const values = data.table.flatMap((row) => row.runs.filter((run) => run.counted).map((run) => run.last));
  const log = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...values) && data.table.every((row) => row.last.lower === null || row.last.lower > 0);
  draw("scores", traces, {
    hovermode: "closest",
    xaxis: axis("", { ...jobTicks(), showgrid: false, range: [-0.5, data.jobs.length - 0.5] }),
    yaxis: axis(data.metrics[0].label, log ? logAxis(Math.min(...values), Math.max(...values)) : { exponentformat: "power" }),
  });
}

function drawTargets() {
  if (data.target === null) return;
  const missed = (run) => run.outcome === "missed" || run.outcome === "diverged";
  const traces = [];
  const notes = [];
  data.table.forEach((row, index) => {
    const { runs, budget, median } = row.steps_to_target;
    const spread = (list) => list.map((_, at) => index + (list.length > 1 ? 0.4 * (at / (list.length - 1) - 0.5) : 0));
    const reached = runs.filter((run) => run.outcome === "reached");
    const lost = runs.filter(missed);
    traces.push({
      x: reached.map((run) => run.steps), y: spread(reached), text: reached.map((run) => `seed ${run.seed}`), mode: "markers",
      marker: { size: 9, color: wash(index, 0.8) }, hovertemplate: "%{text}: %{x:,} steps<extra></extra>",
    });
    traces.push({
      x: lost.map(() => budget), y: spread(lost), text: lost.map((run) => `seed ${run.seed} ${run.outcome}`), mode: "markers", cliponaxis: false,
      marker: { size: 9, symbol: "circle-open", color: color(index), line: { width: 1.8 } }, hovertemplate: `%{text} (budget %{x:,})<extra></extra>`,
    });
    if (median !== null) {
      traces.push({ x: [median, median], y: [index - 0.3, index + 0.3], mode: "lines", line: { color: color(index), width: 2.4 }, hovertemplate: "median %{x:,}<extra></extra>" });
    }
    if (lost.length) notes.push({ x: budget, y: index, xanchor: "right", xshift: -10, text: `${lost.length} missed`, showarrow: false, font: { size: 12, color: css("--soft") } });
  });
  draw("targets", traces, {
    hovermode: "closest", annotations: notes,
    xaxis: axis("steps", { rangemode: "tozero", tickformat: "~s" }),
    yaxis: axis("", { ...jobTicks(), showgrid: false, range: [data.jobs.length - 0.5, -0.5] }),
  });
}

function drawPredictions() {
  const found = data.predictions;
  if (!found) return;
  const place = document.getElementById("predictions");
  const [rows, columns] = [found.steps.length, found.columns.length];
  place.style.height = `${60 + 190 * rows}px`;
  place.style.minWidth = `${90 + 170 * columns}px`;
  const layout = { grid: { rows, columns, pattern: "coupled", roworder: "top to bottom", xgap: 0.06, ygap: 0.08 }, annotations: [], hovermode: "closest", margin: { l: 52, r: 10, t: 30, b: 34 } };
  const traces = [];
  const name = (letter, number) => (number ? `${letter}${number + 1}` : letter);
  found.columns.forEach((column, across) => {
    const index = data.jobs.findIndex((job) => job.id === column.job_id);
    layout[name("xaxis", across)] = axis("");
    layout.annotations.push({
      text: plain(short(data.jobs[index].label)), xref: `${name("x", across)} domain`, yref: "paper", x: 0.5, y: 1, yanchor: "bottom",
      yshift: 6, showarrow: false, font: { size: 13, color: css("--ink") },
    });
    found.steps.forEach((_, down) => {
      const axes = { xaxis: name("x", across), yaxis: name("y", down) };
      if (column.data) {
        traces.push({ ...axes, x: column.data.x, y: column.data.y, mode: "markers", marker: { size: 3, color: css("--soft"), opacity: 0.35 }, hoverinfo: "skip" });
      }
      for (const one of column.curves[down]) {
        traces.push({ ...axes, x: one.x, y: one.y, mode: "lines", line: { color: wash(index, 0.8), width: 1.4 }, hovertemplate: `seed ${one.seed}: %{y:.3g}<extra></extra>` });
      }
    });
  });
  found.steps.forEach((step, down) => { layout[name("yaxis", down)] = axis(`step ${step.toLocaleString("en")}`); });
  draw("predictions", traces, layout);
}

function drawAll() {
  drawLegend();
  drawMetrics();
  drawCurves();
  drawScores();
  drawTargets();
  drawPredictions();
}

dark.addEventListener("change", drawAll);
drawAll();
