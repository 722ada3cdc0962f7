const DRAWINGS = [drawCurves, drawScores, drawTargets, drawDifferences, drawProfile, drawMeasured, drawFields, drawPredictions, drawRegions];
let turn = 0;

function drawAll() {
  turn += 1;
  readLook();
  DRAWINGS.forEach((drawing) => drawing());
}

// One chart at a time, so that the page can be read and scrolled from the first one on.
function drawInTurn() {
  const mine = (turn += 1);
  readLook();
  const waiting = [...DRAWINGS];
  const next = () => {
    if (mine !== turn) return;
    waiting.shift()();
    if (waiting.length) setTimeout(next);
    else document.documentElement.dataset.drawn = "all";
  };
  next();
}

const metric = document.getElementById("metric");
if (metric) metric.onchange = () => { state.metric = metric.value; drawCurves(); };
const measure = document.getElementById("measure");
if (measure) measure.onchange = () => { state.measure = measure.value; drawMeasured(); };

for (const button of document.querySelectorAll("#legend button")) {
  const index = Number(button.dataset.job);
  button.onpointerenter = () => peek(index);
  button.onpointerleave = () => peek(null);
  button.onclick = () => {
    if (!state.pinned.delete(index)) state.pinned.add(index);
    button.setAttribute("aria-pressed", String(state.pinned.has(index)));
    highlight();
  };
}

dark.addEventListener("change", drawInTurn);
small.addEventListener("change", drawInTurn);
// Paper is white and of another width: what is drawn for it must be drawn before it is printed.
printed.addEventListener("change", drawAll);
let width = innerWidth;
let resized = 0;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(drawInTurn, 120);
});

drawInTurn();
