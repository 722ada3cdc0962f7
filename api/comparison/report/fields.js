function drawMeasured() {
  if (!data.measured) return;
  const name = state.measure;
  const dots = data.measured.dots.filter((dot) => name in dot.values);
  const xs = dots.map((dot) => dot.values[name]);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const log = low > 0 && high > 5 * low;
  const traces = everyJob().map((index) => {
    const mine = dots.filter((dot) => dot.job === index);
    return {
      uid: uid(index, "measured"), x: mine.map((dot) => dot.values[name]), y: mine.map((dot) => dot.gap), text: mine.map((dot) => `seed ${dot.seed}`), meta: full(index),
      mode: "markers", marker: { size: 10, symbol: symbol(index), color: wash(color(index), 0.75), line: { width: 1, color: look.card } },
      hovertemplate: `%{meta}, %{text}<br>${plain(spaced(name))} %{x:.4g}<br>gap %{y:.4g}<extra></extra>`,
    };
  });
  draw("measured", traces, {
    hovermode: "closest", xaxis: axis(spaced(name), log ? logAxis(low, high) : { exponentformat: "power" }),
    yaxis: axis("generalization gap", { exponentformat: "power" }),
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: look.line, width: 1.4, dash: "dot" }, layer: "below" }],
  });
}

function drawFields() {
  if (!data.fields) return;
  const { axes, scored } = data.fields;
  const last = axes.length - 1;
  const jobs = everyJob();
  // Lines through the same values lie beside each other, not on each other.
  const apart = Math.min(0.014, 0.12 / jobs.length);
  const aim = scored ? axes[last].at : [];
  const share = (index) => (data.better === "higher" ? aim[index] : 1 - aim[index]);
  const tint = (index) => {
    if (jobs.length <= COLORS) return color(index);
    return scored && aim[index] !== null ? mixed(look.line, look.jobs[0], share(index) ** 2) : look.line;
  };
  const ranked = jobs.length <= COLORS || !scored ? jobs : jobs.toSorted((a, b) => share(a) - share(b));
  const traces = ranked.map((index) => ({
    uid: uid(index, "fields"), x: axes.map((_, at) => at), meta: full(index), text: axes.map((one) => plain(`${one.label} ${one.texts[index]}`)),
    y: axes.map((one, at) => (one.at[index] === null ? null : one.at[index] + (scored && at === last ? 0 : apart * (index - (jobs.length - 1) / 2)))),
    mode: "lines+markers", line: { color: tint(index), width: jobs.length > FEW_JOBS ? 1.5 : 2.3, dash: jobs.length <= COLORS ? dash(index) : "solid" }, marker: { size: 6, color: tint(index) },
    hovertemplate: "%{meta}<br>%{text}<extra></extra>",
  }));
  const notes = axes.flatMap((one, at) => {
    const [name, ...path] = one.label.split(".").toReversed();
    const head = `${path.length ? `<span style="font-size:11px">${plain(path.toReversed().join("."))}</span><br>` : ""}<b>${plain(spaced(name))}</b>`;
    return [
      aside(head, { x: at, y: 1, yanchor: "bottom", yshift: 16, font: { size: 12.5, color: look.ink } }),
      ...one.ticks.map((tick) => aside(plain(clipped(tick.text, 16)), { x: at, y: tick.at, xanchor: "left", xshift: 7, bgcolor: wash(look.card, 0.78), borderpad: 1 })),
    ];
  });
  draw("fields", traces, {
    hovermode: "closest", annotations: notes, margin: { l: 34, r: 84, t: 62, b: 18 },
    xaxis: { visible: false, range: [-0.08, last + 0.08], fixedrange: true }, yaxis: { visible: false, range: [-0.08, 1.06], fixedrange: true },
    shapes: axes.map((_, at) => ({ type: "line", x0: at, x1: at, y0: -0.04, y1: 1.04, layer: "below", line: { color: at === last && scored ? look.soft : look.line, width: at === last && scored ? 2 : 1.4 } })),
  });
}
