// Elements made from words. Text is always text: nothing here reads markup.

// A new element: `class`, `on…` handlers, `data`, properties and attributes by name; children are elements or text.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name in made && name !== "list" && name !== "form") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

// Change text only where it differs, so that nothing is drawn anew for nothing.
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// What stands in a place now, in place of what stood there.
export function fill(target, ...children) {
  target.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return target;
}

// Code as it is typed; who has no pointer can scroll it by keyboard.
export const code = (text) => element("pre", { tabIndex: 0 }, element("code", {}, text));

// A table under a label, of rows that are elements; the heads whose words are in `numbers` stand above numbers.
export function table(label, heads, rows, numbers = []) {
  const head = (words) => element("th", { scope: "col", class: numbers.includes(words) ? "number" : "" }, words);
  return wide(label, element("table", {}, element("thead", {}, element("tr", {}, heads.map(head))), element("tbody", {}, rows)));
}

// A table that may be wider than the page.
export const wide = (label, table) => element("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": label }, table);
