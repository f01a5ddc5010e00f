"use strict";

// Text of candidates and items comes from anywhere: it enters the page by textContent alone.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const NONE = "undefined";
const ERROR_BARS_UP_TO = 120;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a00", "#888888"];

const labels = [...new Set(data.candidates.map((row) => row.label))].sort();
const fewLabels = labels.length > 1 && labels.length <= COLOURS.length;
const position = new Map(data.candidates.map((row, index) => [row.id, index]));
const shown = new Set([0, data.signals.findIndex((signal) => signal.group !== "without activations")]);
let rows = [];
let brush = {};
let plot = null;

const number = (value) => {
  if (value === null || value === undefined) return NONE;
  if (Number.isInteger(value)) return String(value).replace("-", "\u2212");
  const digits = Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3;
  return value.toFixed(digits).replace("-", "\u2212");
};
const target = () => data.targets[byId("target").value];
const signal = () => data.signals[byId("signal").value];

function element(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  return made;
}

function clipped(text) {
  if (text.length <= 140) return element("div", text, { className: "text" });
  const details = element("details", "");
  details.append(element("summary", `${text.slice(0, 100).trimEnd()} …`), element("div", text, { className: "text" }));
  return details;
}

// ---- the candidates as rows of the table and dots of the plot

function rank() {
  const { value, low, high } = target();
  const order = data.candidates.map((_, index) => index).sort((a, b) => value[b] - value[a]);
  const ranks = new Map(order.map((index, place) => [index, place + 1]));
  rows = data.candidates.map((candidate, index) => ({
    ...candidate, index, rank: ranks.get(index), quality: value[index], low: low[index], high: high[index],
    x: signal().values[index],
  }));
}

const oneSided = data.candidates.some((row) => row.one_answer !== null);
const LEADING = oneSided ? 8 : 7; // columns before those of the signals
const numeric = (title, read) => ({
  title, className: "number", type: "num", searchable: false, data: read,
  render: (value, type) => (type === "display" ? number(value) : value ?? ""),
});
const textual = (title, read, show) => ({
  title, data: read, render: (value, type) => (type === "display" ? "" : value),
  createdCell: (cell, value) => cell.replaceChildren(show(value)),
});
const table = new DataTable("#candidates", {
  data: [],
  autoWidth: false,
  deferRender: true,
  pageLength: 20,
  order: [[1, "asc"]],
  layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: "paging" },
  language: {
    search: "Search", info: "_START_ to _END_ of _TOTAL_ candidates", infoEmpty: "no candidate",
    infoFiltered: "(of _MAX_)", zeroRecords: "No candidate matches.",
  },
  columns: [
    {
      title: "compare", data: "id", orderable: false, searchable: false, render: () => "",
      createdCell: (cell, id) => cell.replaceChildren(compareButton(id)),
    },
    numeric("rank", "rank"),
    textual("demonstration", "text", clipped),
    numeric("candidate", "id"),
    textual("label", "label", (value) => element("span", value)),
    numeric("quality", "quality"),
    {
      title: "95 % interval", className: "number", searchable: false, orderable: false, data: null,
      render: (_, type, row) => (type === "display" ? `${number(row.low)} to ${number(row.high)}` : row.low),
    },
    ...(oneSided ? [numeric("items with one answer", "one_answer")] : []),
    ...data.signals.map((one, place) => ({
      ...numeric(one.group === "without activations" ? one.name : `${one.name} · ${one.group}`,
        (row) => one.values[row.index]),
      className: "number signal",
      visible: shown.has(place),
    })),
  ],
});

function compareButton(id) {
  const button = element("button", "Compare", { type: "button" });
  button.setAttribute("aria-label", `Compare candidate ${id}`);
  button.addEventListener("click", () => pick(id));
  return button;
}

const inside = ([from, to], value) => value >= Math.min(from, to) && value <= Math.max(from, to);
const outsideBrush = (row) =>
  (brush.x && !inside(brush.x, row.x)) || (brush.quality && !inside(brush.quality, row.quality));
table.search.fixed("label", (_, row) => !byId("label").value || row.label === byId("label").value);
table.search.fixed("brush", (_, row) => !outsideBrush(row));

const listed = () => table.rows({ search: "applied" }).data().toArray();

function refresh() {
  rank();
  table.clear().rows.add(rows).draw();
  drawScatter();
}

// ---- the plots

function look() {
  const style = getComputedStyle(document.documentElement);
  const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
  return {
    background: null, font: getComputedStyle(document.body).fontFamily, view: { stroke: line },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: 400 },
    legend: { labelColor: ink, titleColor: ink, orient: "top" }, text: { color: ink }, rule: { color: quiet },
  };
}

async function embed(place, spec, name) {
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const made = await vegaEmbed(place, spec, {
    ast: true, renderer: "canvas", config: look(), downloadFileName: name, tooltip: { theme },
    actions: { export: true, source: false, compiled: false, editor: false },
  });
  document.querySelector(`${place} summary`).setAttribute("aria-label", "Save this plot");
  return made;
}

const extent = (values) => {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const air = 0.04 * (high - low || 1);
  return [low - air, high + air];
};
const tip = (text) => (text.length > 400 ? `${text.slice(0, 300).trimEnd()} … ${text.slice(-80).trimStart()}` : text);
const dots = (some) => some.filter((row) => row.x !== null).map((row) => ({ ...row, tip: tip(row.text) }));

async function drawScatter() {
  const { title, unit, name, null: chance, ceiling } = target();
  const [rho, p] = signal().rho[name] ?? [null, null];
  byId("relation").textContent =
    `ρ = ${number(rho)} (corrected p = ${number(p)}); by chance the largest |ρ| of all signals stays below ` +
    `${number(chance)} in 95 of 100 studies; noise ceiling ${number(ceiling)}.`;
  const bars = rows.length <= ERROR_BARS_UP_TO;
  const ends = bars ? [...target().low, ...target().high] : target().value;
  const x = { field: "x", type: "quantitative", title: signal().name, axis: { tickCount: 6 }, scale: { domain: extent(signal().values) } };
  const y = { field: "quality", type: "quantitative", title: `${title} (${unit})`, scale: { domain: extent(ends) } };
  const colour = fewLabels
    ? { field: "label", type: "nominal", title: "label", scale: { domain: labels, range: COLOURS } }
    : { value: COLOURS[0] };
  const drag = matchMedia("(pointer: fine)").matches ? [{ name: "brush", select: "interval" }] : [];
  const spec = {
    width: "container", height: 340, data: { name: "dots", values: dots(listed()) },
    description: `Scatter plot of ${signal().name} against ${title}, a dot per candidate`,
    params: [{ name: "lit", value: -1 }, { name: "pair", value: picked }],
    encoding: { x, y },
    layer: [
      ...(bars ? [{ mark: { type: "rule", opacity: 0.35 }, encoding: { y: { ...y, field: "low" }, y2: { field: "high" } } }] : []),
      {
        params: drag,
        mark: { type: "point", filled: true, cursor: "pointer", opacity: 0.8 },
        encoding: {
          color: colour,
          size: { condition: { test: "datum.id === lit || indexof(pair, datum.id) >= 0", value: 260 }, value: 55 },
          stroke: { condition: { test: "datum.id === lit", value: look().axis.labelColor }, value: null },
          tooltip: [
            { field: "tip", title: "text" }, { field: "id", title: "candidate" }, { field: "label" },
            { field: "rank" }, { field: "quality", title }, { field: "x", title: "signal" },
          ],
        },
      },
    ],
  };
  ({ view: plot } = await embed("#scatter", spec, `${data.dataset}-${data.model}`));
  plot.addEventListener("click", (_, item) => item?.datum?.id !== undefined && pick(item.datum.id));
  if (drag.length) plot.addSignalListener("brush", (_, value) => mark(value));
}

function mark(area) {
  brush = area;
  byId("unbrush").hidden = !Object.keys(brush).length;
  table.draw();
}

table.on("draw", () => plot?.data("dots", dots(listed())).runAsync());

for (const [event, off] of [["mouseover", false], ["mouseout", true], ["focusin", false], ["focusout", true]]) {
  byId("candidates").addEventListener(event, (happened) => {
    const row = happened.target.closest("tbody tr");
    if (row && plot) plot.signal("lit", off ? -1 : table.row(row).data()?.id ?? -1).runAsync();
  });
}

// ---- two candidates, item by item

let picked = [];
let items = null;

function pick(id) {
  if (!byId("first") || picked.includes(id)) return;
  picked = [picked[1], id];
  compare();
}

function compare() {
  [byId("first").value, byId("second").value] = picked;
  const [a, b] = picked.map((id) => position.get(id));
  const scores = data.scores[byId("score").value];
  const pairs = data.items.map((item, place) => ({
    item: item.id, text: item.text, tip: tip(item.text), a: scores[a][place], b: scores[b][place],
    difference: scores[a][place] - scores[b][place],
  }));
  for (const [side, index] of [["first-text", a], ["second-text", b]]) {
    const row = rows[index];
    byId(side).replaceChildren(
      element("h3", `${side === "first-text" ? "A" : "B"}: candidate ${row.id}, rank ${row.rank} of ${rows.length}`),
      element("p", row.text, { className: "text" }));
  }
  const better = pairs.filter((pair) => pair.difference > 0).length;
  const worse = pairs.filter((pair) => pair.difference < 0).length;
  byId("difference").textContent =
    `A scores higher on ${better} of ${pairs.length} items, B on ${worse}; they are equal on ` +
    `${pairs.length - better - worse}.`;
  items.clear().rows.add(pairs).draw();
  drawVersus(pairs);
  plot?.signal("pair", picked).runAsync();
}

function drawVersus(pairs) {
  const sorted = [...pairs].sort((one, other) => other.difference - one.difference);
  embed("#versus", {
    width: "container", height: 200, data: { values: sorted.map((pair, place) => ({ ...pair, place })) },
    description: "Bars of the difference between the two candidates on each item, largest first",
    mark: { type: "bar" },
    encoding: {
      x: { field: "place", type: "ordinal", axis: null, scale: { paddingInner: sorted.length > 100 ? 0 : 0.2 } },
      y: { field: "difference", type: "quantitative", title: "A minus B" },
      color: { condition: { test: "datum.difference > 0", value: COLOURS[0] }, value: COLOURS[1] },
      tooltip: [{ field: "tip", title: "text" }, { field: "item" }, { field: "a", title: "A" }, { field: "b", title: "B" }],
    },
  }, `${data.dataset}-${picked.join("-")}`);
}

// ---- controls

function options(select, entries) {
  select.append(...entries.map(([value, text]) => element("option", text, { value })));
}

options(byId("target"), data.targets.map((one, place) => [place, `${one.title} (${one.unit})`]));
const boxes = new Map();
byId("target").value = data.targets.findIndex((one) => one.name === data.lead);
for (const group of new Set(data.signals.map((one) => one.group))) {
  const heading = element("optgroup", "", { label: group });
  const fields = element("fieldset", "");
  fields.append(element("legend", group));
  data.signals.forEach((one, place) => {
    if (one.group !== group) return;
    options(heading, [[place, one.name]]);
    const label = element("label", "");
    const box = element("input", "", { type: "checkbox", checked: shown.has(place) });
    box.addEventListener("change", () => table.column(LEADING + place).visible(box.checked));
    boxes.set(place, box);
    label.append(box, ` ${one.name}`);
    fields.append(label);
  });
  byId("signal").append(heading);
  byId("columns").append(fields);
}
byId("signal").value = Math.max(...shown);
if (fewLabels) options(byId("label"), labels.map((label) => [label, label]));
else byId("label").closest("div").hidden = true;

byId("target").addEventListener("change", () => { brush = {}; refresh(); });
byId("signal").addEventListener("change", () => {
  const place = Number(byId("signal").value);
  brush = {};
  table.column(LEADING + place).visible(true);
  boxes.get(place).checked = true;
  refresh();
});
byId("label").addEventListener("change", () => table.draw());
byId("unbrush").addEventListener("click", () => { mark({}); drawScatter(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);

// Two tables of a page need names of their own for their page buttons.
const namePages = (id, name) => byId(`${id}_wrapper`).querySelector("nav").setAttribute("aria-label", name);

namePages("candidates", "Pages of candidates");
refresh();
if (byId("first")) {
  options(byId("score"), Object.keys(data.scores).map((name) => [name, data.targets.find((one) => one.name === name).title]));
  items = new DataTable("#items", {
    data: [], autoWidth: false, deferRender: true, pageLength: 10, order: [[4, "desc"]],
    layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    language: { search: "Search items", info: "_START_ to _END_ of _TOTAL_ items", infoEmpty: "no item",
      infoFiltered: "(of _MAX_)", zeroRecords: "No item matches." },
    columns: [
      numeric("item", "item"),
      textual("question and answer", "text", clipped),
      numeric("A", "a"), numeric("B", "b"),
      { ...numeric("A minus B", "difference"),
        render: (value, type) => (type === "display" ? number(value) : Math.abs(value)) },
    ],
  });
  namePages("items", "Pages of items");
  byId("score").value = data.lead;
  for (const [place, id] of ["first", "second"].entries()) {
    byId(id).max = Math.max(...position.keys());
    byId(id).addEventListener("change", () => {
      const chosen = Number(byId(id).value);
      if (position.has(chosen)) picked[place] = chosen;
      compare();
    });
  }
  byId("score").addEventListener("change", compare);
  const best = rows.reduce((one, other) => (other.rank < one.rank ? other : one));
  const worst = rows.reduce((one, other) => (other.rank > one.rank ? other : one));
  picked = [best.id, worst.id];
  compare();
}
