// A grid of small pictures: a column for each job, a row for each step.
const named = (letter, number) => (number ? `${letter}${number + 1}` : letter);

function gridLayout(found) {
  const layout = {
    grid: { rows: found.steps.length, columns: found.columns.length, pattern: "coupled", roworder: "top to bottom", xgap: 0.06, ygap: 0.08 },
    annotations: [], hovermode: "closest", dragmode: false, margin: { l: 58, r: 10, t: 30, b: 34 },
  };
  found.columns.forEach((column, across) => {
    layout[named("xaxis", across)] = axis("", { nticks: 5 });
    layout.annotations.push({
      text: label(jobIndex.get(column.job_id), 22), xref: `${named("x", across)} domain`, yref: "paper", x: 0.5, y: 1, yanchor: "bottom",
      yshift: 6, showarrow: false, font: { size: 13, color: look.ink },
    });
  });
  found.steps.forEach((step, down) => { layout[named("yaxis", down)] = axis(`step ${step.toLocaleString("en")}`, { nticks: 5 }); });
  return layout;
}

function drawPredictions() {
  const found = data.predictions;
  if (!found) return;
  const traces = [];
  found.columns.forEach((column, across) => {
    const index = jobIndex.get(column.job_id);
    found.steps.forEach((_, down) => {
      const axes = { xaxis: named("x", across), yaxis: named("y", down) };
      if (column.data) {
        traces.push({ ...axes, x: column.data.x, y: column.data.y, mode: "markers", marker: { size: 3, color: look.soft, opacity: 0.5 }, hoverinfo: "skip" });
      }
      for (const one of column.curves[down]) {
        traces.push({ ...axes, x: one.x, y: one.y, mode: "lines", line: { color: wash(color(index), 0.8), width: 1.5 }, hovertemplate: `seed ${one.seed}: %{y:.3g}<extra></extra>` });
      }
    });
  });
  draw("predictions", traces, gridLayout(found));
}

function drawRegions() {
  const found = data.regions;
  if (!found) return;
  const classes = Math.max(found.classes, 2);
  // One scale for all classes: class k takes the stretch from k to k + 1, from faint where a guess would do as well to
  // full where the network is sure.
  const scale = Array.from({ length: classes }, (_, one) => one).flatMap((one) => [
    [one / classes, mixed(look.card, color(one), 0.06)],
    [one === classes - 1 ? 1 : (one + 1) / classes - 1e-6, mixed(look.card, color(one), 0.5)],
  ]);
  const guess = 100 / classes;
  const strength = (percent) => 0.002 + 0.996 * Math.min(1, Math.max(0, (percent - guess) / (100 - guess)));
  const traces = [];
  found.columns.forEach((column, across) => {
    column.planes.forEach((plane, down) => {
      const axes = { xaxis: named("x", across), yaxis: named("y", down) };
      if (plane) {
        traces.push({
          ...axes, type: "heatmap", x: column.x, y: column.y, zmin: 0, zmax: classes, colorscale: scale, showscale: false, zsmooth: false,
          z: plane.classes.map((line, row) => line.map((one, at) => (plane.percent[row][at] === null ? null : one + strength(plane.percent[row][at])))),
          customdata: plane.classes.map((line, row) => line.map((one, at) => [one, plane.percent[row][at]])),
          hovertemplate: "class %{customdata[0]}, %{customdata[1]} %<extra></extra>",
        });
      }
      for (let one = 0; one < classes; one += 1) {
        const points = column.data.points.filter((_, at) => column.data.classes[at] === one);
        traces.push({
          ...axes, x: points.map(([x]) => x), y: points.map(([, y]) => y), mode: "markers", hoverinfo: "skip",
          marker: { size: 5.5, symbol: SYMBOLS[one % SYMBOLS.length], color: color(one), line: { width: 1, color: look.card } },
        });
      }
    });
  });
  const layout = gridLayout(found);
  for (const [name, one] of Object.entries(layout)) if (/^[xy]axis/.test(name)) Object.assign(one, { showgrid: false, constrain: "domain" });
  draw("regions", traces, layout);
}
