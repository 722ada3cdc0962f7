// Of a contender: a job, or its likes on several data sets, known by the first of them.
const contender = (one) => jobIndex.get(one.job_ids[0]);

function drawProfile() {
  if (!data.profile) return;
  const ends = [];
  const traces = data.profile.curves.map((one) => {
    const index = contender(one);
    ends.push({ index, y: one.share.at(-1), score: one.score });
    return {
      uid: uid(index, "profile"), x: one.tau, y: one.share, meta: plain(clipped(one.label, 40)), mode: "lines", line: { color: color(index), width: 2.3, dash: dash(index), shape: "hv" },
      hovertemplate: "%{meta}: %{y:.0%} within %{x:.3~g} ×<extra></extra>",
    };
  });
  draw("profile", traces, {
    hovermode: data.jobs.length > FEW_JOBS ? "closest" : "x unified",
    xaxis: axis("τ: times as long as the fastest", { type: "log", tickvals: [1, 1.25, 1.5, 2, 2.5, 3, 4], ticktext: ["1", "1.25", "1.5", "2", "2.5", "3", "4"], range: [-0.012, Math.log10(4) + 0.012] }),
    yaxis: axis("ρ(τ): share of problems", { range: [-0.04, 1.06], tickformat: ".0%", nticks: 6 }),
  });
}
