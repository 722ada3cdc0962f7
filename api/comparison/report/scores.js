const everyJob = () => data.jobs.map((_, index) => index);

// Few jobs stand in their own order, many from the best to the worst, and those without a value last.
function ordered(indices, value, sign = data.better === "higher" ? -1 : 1) {
  if (data.joined) return indices;
  const key = (index) => value(index) ?? sign * Infinity;
  return indices.toSorted((a, b) => sign * (key(a) - key(b)) || a - b);
}

// A chart that scrolls has its axis on top, where it starts.
function rowLayout(id, top = 10) {
  const scrolls = document.getElementById(id).parentElement.classList.contains("tall");
  return { side: scrolls ? "top" : "bottom", shift: scrolls ? 44 : 6, margin: scrolls ? { t: top + 44, b: 10 } : { t: top, b: 46 } };
}

function drawScores() {
  const counted = data.table.map((row) => row.runs.filter((run) => run.counted && run.last !== null));
  const traces = [];
  const order = ordered(everyJob(), (index) => data.table[index].last.mean);
  const { side, margin } = rowLayout("scores");
  if (data.joined) {
    const key = (run) => `${run.seed}/${run.member ?? 0}`;
    for (const pair of new Set(counted.flatMap((runs) => runs.map(key)))) {
      const found = counted.map((runs, index) => [index, runs.find((run) => key(run) === pair)]).filter(([, run]) => run);
      traces.push({ x: found.map(([, run]) => run.last), y: found.map(([index]) => index), mode: "lines", line: { color: look.line, width: 1.3 }, hoverinfo: "skip" });
    }
  }
  const notes = [];
  order.forEach((index, place) => {
    const row = data.table[index];
    const of = (run) => (counted.some((runs) => runs.some((other) => other.member)) ? `seed ${run.seed}, member ${run.member}` : `seed ${run.seed}`);
    traces.push({
      uid: uid(index, "runs"), x: counted[index].map((run) => run.last), y: counted[index].map(() => place), meta: full(index), text: counted[index].map(of), mode: "markers",
      marker: { size: 9, symbol: symbol(index), color: wash(color(index), 0.62), line: { width: 1, color: look.card } }, hovertemplate: "%{meta}, %{text}: %{x:.4g}<extra></extra>",
    });
    const lost = row.runs.filter((run) => run.status_reason === "diverged").length;
    if (lost) notes.push(aside(`${lost} diverged`, { xref: "paper", x: 1, xanchor: "right", y: place, yanchor: "bottom", yshift: 2 }));
    if (row.last.mean === null) return;
    const half = row.last.upper === null ? 0 : row.last.upper - row.last.mean;
    traces.push({
      uid: uid(index, "average"), x: [row.last.mean], y: [place + 0.26], error_x: { array: [half], color: color(index), thickness: 2, width: 4 }, mode: "markers", meta: full(index),
      marker: { symbol: "diamond", size: 9, color: color(index) }, hovertemplate: "%{meta}: mean %{x:.4g}<extra></extra>",
    });
  });
  const values = counted.flatMap((runs) => runs.map((run) => run.last));
  const ends = [...values, ...known(data.table.flatMap((row) => [row.last.lower, row.last.upper]))];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const log = values.length > 0 && low > 0 && Math.max(...values) > 10 * Math.min(...values);
  draw("scores", traces, {
    hovermode: "closest", annotations: notes, margin: { l: 58, r: 14, ...margin },
    xaxis: axis(data.metrics[0].label, { side, ...(log ? logAxis(low, high, 40) : { exponentformat: "power", nticks: 6 }) }), yaxis: rowAxis(order),
  });
}

function drawTargets() {
  if (data.target === null) return;
  const timed = state.time === "seconds";
  const missed = (run) => run.outcome === "missed" || run.outcome === "diverged";
  const time = (run) => (timed ? run.seconds : run.steps);
  const traces = [];
  const notes = [];
  const middleOf = (index) => data.table[index].steps_to_target[timed ? "median_seconds" : "median"];
  const order = ordered(everyJob(), middleOf, 1);
  const { side, margin } = rowLayout("targets");
  order.forEach((index, place) => {
    const { runs, budget } = data.table[index].steps_to_target;
    const spread = (list) => list.map((_, at) => place + (list.length > 1 ? 0.4 * (at / (list.length - 1) - 0.5) : 0));
    const end = (run) => (timed ? run.total_seconds : budget);
    const reached = runs.filter((run) => run.outcome === "reached" && time(run) !== null);
    const lost = runs.filter((run) => missed(run) && end(run) !== null);
    const unit = timed ? "%{x:.3~g} s" : "%{x:,} steps";
    traces.push({
      uid: uid(index, "reached"), x: reached.map(time), y: spread(reached), text: reached.map((run) => `seed ${run.seed}`), mode: "markers", meta: full(index),
      marker: { size: 9, symbol: symbol(index), color: wash(color(index), 0.8) }, hovertemplate: `%{meta}, %{text}: ${unit}<extra></extra>`,
    });
    traces.push({
      uid: uid(index, "missed"), x: lost.map(end), y: spread(lost), text: lost.map((run) => `seed ${run.seed} ${run.outcome}`), mode: "markers", cliponaxis: false, meta: full(index),
      marker: { size: 9, symbol: `${symbol(index)}-open`, color: color(index), line: { width: 1.8 } }, hovertemplate: `%{meta}, %{text}, ended at ${unit}<extra></extra>`,
    });
    const middle = middleOf(index);
    if (middle !== null) {
      traces.push({
        uid: uid(index, "median"), x: [middle, middle], y: [place - 0.34, place + 0.34], mode: "lines", line: { color: color(index), width: 2.6 }, meta: full(index),
        hovertemplate: `%{meta}: median ${unit}<extra></extra>`,
      });
    }
    if (lost.length) notes.push(aside(`${lost.length} missed`, { x: Math.min(...lost.map(end)), y: place, xanchor: "right", xshift: -10 }));
  });
  draw("targets", traces, {
    hovermode: "closest", annotations: notes, margin: { l: 58, r: 14, ...margin },
    xaxis: axis(timed ? "seconds of training" : "steps", { side, rangemode: "tozero", tickformat: "~s", nticks: 7 }), yaxis: rowAxis(order),
  });
  const clocked = data.table.some((row) => row.steps_to_target.runs.some((run) => run.seconds !== null));
  offer("time", state.time, clocked, (value) => { state.time = value; drawTargets(); });
}

// The forest: a row for each job but the baseline.
function drawDifferences() {
  if (!document.getElementById("differences")) return;
  const difference = new Map(data.differences.map((one) => [jobIndex.get(one.job_id), one]));
  const order = ordered([...difference.keys()], (index) => difference.get(index).difference.mean);
  const { side, shift, margin } = rowLayout("differences", 32);
  const decided = (one) => one.holm_p !== null && one.holm_p <= data.significance;
  const traces = [];
  const p = (value) => (value === null ? "–" : value < 0.0001 ? "< 0.0001" : figure(value));
  const right = (row, text, along, more = {}) => aside(text, { xref: "paper", x: 1, xanchor: "left", xshift: along, y: row, ...more });
  const head = (text, along) => right(1, text, along, { yref: "paper", yanchor: "bottom", yshift: shift });
  const roomy = !small.matches;
  const notes = [head("Holm p", 14), ...(roomy ? [head("difference", 84)] : [])];
  order.forEach((index, row) => {
    const one = difference.get(index);
    const { mean, lower, upper } = one.difference;
    const tint = decided(one) ? color(index) : look.soft;
    const interval = lower === null ? "no interval" : `${figure(lower)} to ${figure(upper)}`;
    if (lower !== null) {
      traces.push({ uid: uid(index, "interval"), x: [lower, upper], y: [row, row], mode: "lines", line: { color: tint, width: 2.6 }, hoverinfo: "skip" });
    }
    traces.push({
      uid: uid(index, "difference"), x: [mean], y: [row], mode: "markers", meta: full(index), text: [interval], customdata: [one.pairs],
      marker: { size: 11, symbol: decided(one) ? "square" : "square-open", color: tint, line: { width: 2, color: tint } },
      hovertemplate: "%{meta}: %{x:.4g} (%{text}), %{customdata} pairs<extra></extra>",
    });
    notes.push(right(row, p(one.holm_p), 14, { font: { size: 12.5, color: decided(one) ? look.ink : look.soft } }));
    if (roomy) notes.push(right(row, mean === null ? "–" : lower === null ? figure(mean) : `${figure(mean)} [${figure(lower)}, ${figure(upper)}]`, 84));
  });
  if (data.better !== null) {
    const [left, other] = data.better === "lower" ? ["better", "worse"] : ["worse", "better"];
    const side = (text, more) => aside(text, { xref: "x", x: 0, yref: "paper", y: 1, yanchor: "bottom", yshift: shift, ...more });
    notes.push(side(`◂ ${left}`, { xanchor: "right", xshift: -8 }), side(`${other} ▸`, { xanchor: "left", xshift: 8 }));
  }
  const ends = known(data.differences.flatMap((one) => [one.difference.lower, one.difference.upper, one.difference.mean]));
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  // Room for the words on both sides of the zero line.
  const reach = 0.16 * (high - low || 1);
  draw("differences", traces, {
    hovermode: "closest", annotations: notes, margin: { l: 58, r: roomy ? 270 : 76, ...margin },
    xaxis: axis(`difference in ${data.metrics[0].label}`, { side, range: [low - reach, high + reach], exponentformat: "power", nticks: roomy ? 7 : 4 }),
    yaxis: rowAxis(order),
    shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: look.soft, width: 1.4 } }],
  });
}
