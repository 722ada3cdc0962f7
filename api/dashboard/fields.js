// One field of a form, from the JSON Schema of what stands in it.

import { element } from "./elements.js";
import { spaced } from "./words.js";

let numbered = 0;

// `told` hears the value, or undefined where the field is left as it is by default.
export function field(name, schema, value, told, pointer) {
  const id = `field-${(numbered += 1)}`;
  const input = inputFor(schema, value, told);
  input.id = id;
  const hint = [schema.description, bounds(schema)].filter(Boolean).join(" ");
  return element("div", { class: "field", data: { pointer } },
    element("label", { htmlFor: id }, spaced(name)), input, hint ? element("span", { class: "hint" }, hint) : null, element("span", { class: "wrong-why", role: "alert" }));
}

function inputFor(schema, value, told) {
  if (schema.type === "boolean") {
    const box = element("input", { type: "checkbox", checked: value ?? schema.default ?? false, onchange: () => told(box.checked) });
    return box;
  }
  if (schema.enum) {
    const select = element("select", { onchange: () => told(JSON.parse(select.value)) }, schema.enum.map((one) => element("option", { value: JSON.stringify(one), selected: one === (value ?? schema.default) }, String(one))));
    return select;
  }
  const input = element("input", { type: "text", autocomplete: "off", placeholder: written(schema.default), value: value === undefined ? "" : written(value), oninput: () => told(read(input.value, schema)) });
  if (isNumber(schema)) input.inputMode = "decimal";
  return input;
}

const isNumber = (schema) => schema.type === "number" || schema.type === "integer";

function written(value) {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// What was typed, as JSON where it is JSON; what is no number where one should be goes to the service, which says so.
function read(text, schema) {
  const typed = text.trim();
  if (!typed) return undefined;
  const takesList = schema.type === "array" || schema.anyOf?.some(({ type }) => type === "array");
  if (takesList && /^[^[{]*,/.test(typed)) return typed.split(",").map((one) => one.trim()).filter(Boolean).map(plain);
  if (schema.type === "array" && !typed.startsWith("[")) return [plain(typed)];
  return schema.type === "string" ? text : plain(typed);
}

function plain(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function bounds(schema) {
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  if (!isNumber(schema) || (low === undefined && high === undefined)) return "";
  const from = low === undefined ? "" : `${schema.minimum === undefined ? "more than" : "at least"} ${low}`;
  const to = high === undefined || high >= 1e6 ? "" : `${schema.maximum === undefined ? "less than" : "at most"} ${high}`;
  return `(${[from, to].filter(Boolean).join(", ")})`.replace("()", "");
}
