// A log axis cannot show what is not positive, so it is offered only where every mean is.
const positive = (curves) => curves.some((one) => one.x.length) && curves.every((one) => one.mean.every((y) => y === null || y > 0));

function drawCurves() {
  const curves = data.curves[state.metric];
  const title = data.metrics.find((one) => one.name === state.metric).label;
  const mayLog = positive(curves);
  const log = mayLog && state.yScale === "log";
  const logX = state.xScale === "log";
  const lows = known(curves.flatMap((one) => one.mean));
  const low = Math.min(...lows);
  const top = Math.max(...lows, ...(log ? [] : known(curves.flatMap((one) => one.upper))));
  const traces = [];
  const banded = curves.some((one) => one.lower.some((value) => value !== null));
  if (state.bands === "on") {
    curves.forEach((one, index) => {
      const places = one.x.map((_, at) => at).filter((at) => one.lower[at] !== null && (!logX || one.x[at] > 0));
      const edge = (values) => places.map((at) => (log ? Math.max(values[at], low / 3) : values[at]));
      const xs = places.map((at) => one.x[at]);
      traces.push({
        uid: uid(index, "band"), x: [...xs, ...xs.toReversed()], y: [...edge(one.upper), ...edge(one.lower).toReversed()],
        mode: "lines", line: { width: 0, color: "rgba(0,0,0,0)" }, fill: "toself", fillcolor: wash(color(index), 0.16), hoverinfo: "skip",
      });
    });
  }
  curves.forEach((one, index) => {
    traces.push({
      uid: uid(index, "mean"), x: one.x, y: one.mean, customdata: one.n, meta: full(index), mode: one.x.length === 1 ? "markers" : "lines",
      connectgaps: false, line: { color: color(index), width: data.jobs.length > FEW_JOBS ? 1.5 : 2.3, dash: dash(index) },
      marker: { color: color(index), size: 8 }, hovertemplate: "%{meta}: %{y:.4g} (n = %{customdata})<extra></extra>",
    });
    const ended = one.diverged.filter((run) => run.x !== null && (!log || run.value > 0));
    if (!ended.length) return;
    // A loss on its way to infinity would squash every other curve: the mark stands at the top edge instead.
    traces.push({
      uid: uid(index, "diverged"), x: ended.map((run) => run.x), y: ended.map((run) => Math.min(run.value, top)), mode: "markers", cliponaxis: false,
      marker: { symbol: "x-thin", size: 10, line: { width: 2.4, color: color(index) } }, meta: full(index),
      text: ended.map((run) => `seed ${run.seed} diverged`), customdata: ended.map((run) => run.value),
      hovertemplate: "%{meta}: %{text}, last at %{customdata:.4g}<extra></extra>",
    });
  });
  const target = state.metric === data.metric && data.target !== null && !(log && data.target <= 0) ? data.target : null;
  draw("curves", traces, {
    hovermode: data.jobs.length > FEW_JOBS ? "closest" : "x unified",
    xaxis: axis(X_WORDS[data.x], { hoverformat: ",.4~g", rangemode: "tozero", exponentformat: "none", tickformat: logX ? "~s" : ",~g", ...(logX ? { type: "log" } : {}) }),
    yaxis: axis(title, log ? logAxis(low, top) : { exponentformat: "power" }),
    shapes: target === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line: { color: look.soft, width: 1.4, dash: "dash" } }],
    annotations: target === null ? [] : [aside(`target ${figure(target)}`, {
      xref: "paper", x: 1, xanchor: "right", y: log ? Math.log10(target) : target, yanchor: "bottom",
    })],
  });
  const choose = (name) => (value) => { state[name] = value; drawCurves(); };
  offer("y-scale", log ? "log" : "linear", mayLog, choose("yScale"));
  offer("x-scale", state.xScale, curves.some((one) => one.x.some((x) => x > 0)), choose("xScale"));
  offer("bands", state.bands, banded, choose("bands"));
}
