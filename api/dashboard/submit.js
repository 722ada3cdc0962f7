// A job, put together: a form made from what the service says of its components, checked as it is filled in.

import { code, element, fill, say } from "./elements.js";
import { field } from "./fields.js";
import { ask, Problem, wait } from "./service.js";
import { count, spaced } from "./words.js";

const CHECK_MILLISECONDS = 350;
const SINGLE = ["dataset", "network", "optimizer", "schedule", "evaluation"];
const LABELS = ["name", "experiment"];
const START = { dataset: "sine", optimizer: "adam" };
const PLAIN = {
  name: { type: "string", default: "", description: "What people call the job." },
  experiment: { type: "string", default: "", description: "The question that it helps to answer; jobs of one are compared." },
  batch_size: { default: 64, description: 'Rows of one step, or "full".', anyOf: [{ type: "integer" }, { const: "full" }] },
  steps: { type: "integer", description: "Updates of the parameters; leave empty to give epochs." },
  epochs: { type: "integer", description: "Passes over the training rows." },
  seeds: { default: 1, description: "How many, or a list: 0, 1, 2.", anyOf: [{ type: "integer" }, { type: "array" }] },
  snapshots: { type: "array", default: [], description: "Steps at which to keep what the network predicts: 0, 100, 1000." },
};

export async function showSubmit(page, signal, query = "") {
  const asked = new URLSearchParams(query);
  const [{ data: choices }, spec] = await Promise.all([ask("/v1/components", { signal }), firstSpec(asked, signal)]);
  const families = Map.groupBy(choices, ({ family }) => family);
  let checks = 0;
  const form = element("form", { class: "spec", onsubmit: (event) => { event.preventDefault(); submit(); } });
  const parts = element("div");
  const plan = element("div", { role: "status" });
  const failure = element("p", { class: "failure", role: "alert" });
  const send = element("button", { class: "strong" }, "Submit");
  const share = element("button", { type: "button", onclick: copyLink }, "Copy a link to this spec");
  const written = element("div");
  fill(page, element("div", { class: "title" }, element("h1", {}, "New job")), form);
  fill(form, parts, element("div", { class: "beside" }, element("section", {}, element("h2", {}, "What it comes to"), plan, failure, element("p", { class: "actions" }, send, share)), element("section", {}, element("h2", {}, "The same in words"), written)));
  draw();
  changed();

  function draw() {
    fill(parts, general(), SINGLE.filter((family) => families.has(family)).map(single), regularizers());
  }

  function general() {
    const fields = [...LABELS, "batch_size", "seeds"].map((name) => field(name, PLAIN[name], spec[name], (value) => put(spec, name, value, PLAIN[name].default), `/${name}`));
    const budget = ["steps", "epochs"].map((name) => field(name, PLAIN[name], spec.budget?.[name], (value) => {
      spec.budget = value === undefined ? without(spec.budget, name) : { ...without(spec.budget, name === "steps" ? "epochs" : "steps"), [name]: value };
      if (!Object.keys(spec.budget).length) delete spec.budget;
      changed();
    }, `/budget/${name}`));
    const snapshots = field("snapshots", PLAIN.snapshots, spec.record?.snapshots, (value) => {
      spec.record = { ...spec.record, snapshots: value };
      if (!value?.length) { delete spec.record.snapshots; if (!Object.keys(spec.record).length) delete spec.record; }
      changed();
    }, "/record/snapshots");
    return element("fieldset", {}, element("legend", {}, "Job"), fields, budget, snapshots);
  }

  function single(family) {
    const offered = families.get(family);
    const chosen = asObject(spec[family]);
    const fallback = { network: "mlp", schedule: "constant", evaluation: "holdout" }[family];
    const kind = chosen?.kind ?? fallback;
    const component = offered.find((one) => one.kind === kind) ?? offered[0];
    const select = element("select", { class: "kind", "aria-label": spaced(family), onchange: () => {
      spec[family] = select.value;
      draw();
      changed();
    } }, offered.map((one) => element("option", { value: one.kind, selected: one.kind === component.kind }, one.kind)));
    return element("fieldset", { data: { pointer: `/${family}` } }, element("legend", {}, capital(family)), select, about(component), fieldsOf(component, chosen ?? {}, `/${family}`, (values) => {
      spec[family] = Object.keys(values).length ? { kind: component.kind, ...values } : component.kind;
      changed();
    }));
  }

  function regularizers() {
    const offered = families.get("regularizer") ?? [];
    const taken = (spec.regularizers ??= []).map(asObject);
    const add = element("select", { "aria-label": "Add a regularizer", onchange: () => {
      spec.regularizers = [...spec.regularizers, add.value];
      draw();
      changed();
    } }, element("option", { value: "" }, "add one …"), offered.filter((one) => !taken.some(({ kind }) => kind === one.kind)).map((one) => element("option", { value: one.kind }, spaced(one.kind))));
    const cards = taken.map((chosen, index) => {
      const component = offered.find((one) => one.kind === chosen.kind);
      const remove = element("button", { type: "button", onclick: () => { spec.regularizers = spec.regularizers.toSpliced(index, 1); draw(); changed(); } }, "Remove");
      return element("fieldset", { data: { pointer: `/regularizers/${index}` } }, element("legend", {}, spaced(chosen.kind)), about(component), fieldsOf(component, chosen, `/regularizers/${index}`, (values) => {
        spec.regularizers = spec.regularizers.with(index, Object.keys(values).length ? { kind: chosen.kind, ...values } : chosen.kind);
        changed();
      }), element("p", {}, remove));
    });
    return element("fieldset", { data: { pointer: "/regularizers" } }, element("legend", {}, "Regularizers"), cards, add);
  }

  function fieldsOf(component, chosen, pointer, told) {
    const values = Object.fromEntries(Object.entries(chosen).filter(([name]) => name !== "kind"));
    return Object.entries(component.schema.properties).filter(([name]) => name !== "kind").map(([name, schema]) =>
      field(name, resolved(schema, component.schema), values[name], (value) => {
        put(values, name, value, schema.default, false);
        told(values);
      }, `${pointer}/${name}`));
  }

  function put(place, name, value, usual, tell = true) {
    if (value === undefined || JSON.stringify(value) === JSON.stringify(usual)) delete place[name];
    else place[name] = value;
    if (tell) changed();
  }

  function whole() {
    const { regularizers: some, ...rest } = spec;
    return some?.length ? { ...rest, regularizers: some } : rest;
  }

  async function changed() {
    const mine = (checks += 1);
    write();
    await wait(CHECK_MILLISECONDS, signal);
    if (mine !== checks || signal.aborted) return;
    try {
      const planned = await ask("/v1/jobs/validate", { method: "POST", body: whole(), signal });
      if (mine === checks) accept(planned);
    } catch (error) {
      if (mine === checks && error instanceof Problem) refuse(error);
    }
  }

  function accept(planned) {
    mark([]);
    say(failure, "");
    send.disabled = false;
    const facts = [["runs", count(planned.runs)], ["steps of each", count(planned.steps)], ["steps an epoch", count(planned.steps_per_epoch)], ["parameters", count(planned.parameters)], ["training rows", count(planned.training_rows)], ["validation rows", count(planned.validation_rows)], ["sealed rows", count(planned.test_rows)], ["memory of a run", `${(planned.memory_bytes / 1e6).toFixed(1)} MB`]];
    fill(plan, element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])), planned.warnings.map((text) => element("p", { class: "warnings" }, text)));
  }

  function refuse(problem) {
    send.disabled = true;
    const lost = mark(problem.errors);
    fill(plan);
    say(failure, lost.length || !problem.errors.length ? lost.map(({ pointer, detail }) => `${pointer} ${detail}`).join(" ") || problem.message : "See what is marked.");
  }

  // Put each error at its field; those that have none are handed back.
  function mark(errors) {
    for (const place of form.querySelectorAll(".wrong")) {
      place.classList.remove("wrong");
      say(place.querySelector(".wrong-why"), "");
    }
    return errors.filter(({ pointer, detail }) => {
      let place = null;
      for (let path = pointer; path && !place; path = path.slice(0, path.lastIndexOf("/"))) place = form.querySelector(`.field[data-pointer="${CSS.escape(path)}"]`);
      if (!place) return true;
      place.classList.add("wrong");
      say(place.querySelector(".wrong-why"), detail);
      return false;
    });
  }

  function write() {
    const body = JSON.stringify(whole());
    const shell = body.replaceAll("'", "'\\''");
    fill(written,
      element("h3", {}, "JSON"), code(JSON.stringify(whole(), null, 2)),
      element("h3", {}, "curl"), code(`curl -H "Authorization: Bearer $DESCENT_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d '${shell}' ${location.origin}/v1/jobs`),
      element("h3", {}, "Python"), code(`from descent import Client\n\nwith Client("${location.origin}") as client:\n    job = client.submit(${python(whole())})\n    client.wait(job)`));
  }

  async function submit() {
    send.disabled = true;
    try {
      location.hash = `#/jobs/${(await ask("/v1/jobs", { method: "POST", body: whole() })).id}`;
    } catch (error) {
      if (error instanceof Problem) refuse(error);
      else say(failure, error.message);
      send.disabled = false;
    }
  }

  async function copyLink() {
    const link = `${location.origin}/#/submit?spec=${encodeURIComponent(JSON.stringify(whole()))}`;
    history.replaceState(null, "", link);
    await navigator.clipboard.writeText(link).catch(() => {});
    say(share, "The link stands in the address");
  }
}

async function firstSpec(asked, signal) {
  if (asked.has("spec")) {
    try {
      return JSON.parse(asked.get("spec"));
    } catch {
      return { ...START };
    }
  }
  if (!asked.has("from")) return { ...START };
  const { spec } = await ask(`/v1/jobs/${asked.get("from")}`, { signal });
  const { budget, record, ...rest } = spec;
  const given = Object.fromEntries(Object.entries(budget).filter(([, value]) => value !== null));
  return { ...rest, budget: given, record };
}

const asObject = (chosen) => (typeof chosen === "string" ? { kind: chosen } : chosen);
const capital = (text) => text[0].toUpperCase() + spaced(text).slice(1);
const about = (component) => element("p", { class: "about" }, component.summary);

function without(place = {}, name) {
  const { [name]: _, ...rest } = place;
  return rest;
}

// A schema with what it refers to in its place.
function resolved(schema, whole) {
  if (schema.$ref) return { ...whole.$defs[schema.$ref.split("/").at(-1)], ...schema };
  return schema;
}

function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

