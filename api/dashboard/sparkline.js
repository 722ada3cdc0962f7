// A curve the size of a word: no axes, the last point marked.

const WIDTH = 96;
const HEIGHT = 24;
const SVG = "http://www.w3.org/2000/svg";

export function sparkline(values) {
  const known = values.filter((value) => value !== null);
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  made.setAttribute("class", "sparkline");
  made.setAttribute("aria-hidden", "true");
  if (known.length < 2) return made;
  // Losses fall over decades: on a log scale where they may.
  const scale = Math.min(...known) > 0 ? Math.log : (value) => value;
  const [low, high] = [scale(Math.min(...known)), scale(Math.max(...known))];
  const at = (value, index) => {
    const x = 2 + (index / (values.length - 1)) * (WIDTH - 6);
    return [x, HEIGHT - 3 - ((scale(value) - low) / (high - low || 1)) * (HEIGHT - 6)];
  };
  const points = values.map((value, index) => (value === null ? null : at(value, index))).filter(Boolean);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
  const end = document.createElementNS(SVG, "circle");
  const [x, y] = points.at(-1);
  for (const [name, value] of [["cx", x], ["cy", y], ["r", 2]]) end.setAttribute(name, value.toFixed(1));
  made.append(line, end);
  return made;
}
