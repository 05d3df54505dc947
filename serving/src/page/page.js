// The page: asks the server once a second and shows what it says. It knows no view by name; all it shows comes from
// /v1/views, /v1/status and /v1/query.

import * as api from "./api.js";
import { Chart, grainFor } from "./chart.js";
import { ago, at, count, drawn, percent, title, value, words } from "./format.js";

const POLL_MS = 1000;
const BUCKETS_MAX = 400;
const ROWS_MAX = 12;
const DAY = 86400e3;

const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"), $("readout"));
let views = [];
let paused = false;
let asking = false;

const view = () => views.find((v) => v.name === $("view").value);
const text = (node, content) => {
  if (node.textContent !== content) node.textContent = content;
};

function node(name, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

function fill(select, names) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => node("option", { value: name }, words(name))));
  if (names.includes(before)) select.value = before;
}

/** What was picked stands in the address, so that it can be linked to and survives a reload. */
const PICKS = ["view", "measure", "dimension", "range"];

function recall() {
  const picked = new URLSearchParams(location.hash.slice(1));
  for (const id of PICKS) {
    const wanted = picked.get(id);
    if ([...$(id).options].some((option) => option.value === wanted)) $(id).value = wanted;
    if (id === "view") pickView();
  }
}

function remember() {
  const picked = new URLSearchParams(PICKS.map((id) => [id, $(id).value]));
  history.replaceState(null, "", `#${picked}`);
}

const isNumber = (column) => /^(int64|float64|decimal)/.test(column.type);
const isPlain = (column) => !/^(list|bytes)/.test(column.type);

function pickView() {
  fill($("measure"), view().measures.filter(isNumber).map((m) => m.name));
  fill($("dimension"), view().dimensions.map((d) => d.name));
  for (const id of ["measure", "dimension"]) $(id).disabled = $(id).options.length < 2;
}

/** The first and the end of the last bucket that has events; null before the first. */
async function extent(v) {
  const question = { view: v.name, grain: v.grain, ends: true, measures: [], limit: 1 };
  const edge = async (desc) => (await api.query({ ...question, order_by: [{ by: v.bucket, desc }] })).rows[0];
  const [first, last] = await Promise.all([edge(false), edge(true)]);
  return first && { from: Date.parse(first[0]), to: Date.parse(last[1]) };
}

/** `from`, or where the bucket of `grain` starts that has events at `from` or next after it, if that is earlier. */
async function floor(v, grain, from) {
  const asked = { view: v.name, grain, measures: [], from: new Date(from).toISOString(), limit: 1 };
  const [first] = (await api.query(asked)).rows;
  return first ? Math.min(from, Date.parse(first[0])) : from;
}

/** What is asked now: view, measure, range and the grain that fits it. */
async function question() {
  const v = view();
  const has = await extent(v);
  const days = Number($("range").value);
  const to = has?.to ?? Date.now();
  const from = days ? Math.max(to - days * DAY, has?.from ?? 0) : has?.from ?? to;
  const grain = grainFor(v, to - from, BUCKETS_MAX);
  const measure = v.measures.find((m) => m.name === $("measure").value);
  return { view: v, measure, dimension: $("dimension").value, grain, from: await floor(v, grain, from), to };
}

const range = (q) => ({ view: q.view.name, from: new Date(q.from).toISOString(), to: new Date(q.to).toISOString() });

async function showChart(q) {
  const series = { ...range(q), grain: q.grain, ends: true, measures: [q.measure.name] };
  const [merged, batch] = await Promise.all(["merged", "batch"].map((layer) => api.query({ ...series, layer })));
  const point = ([t, end, v]) => [Date.parse(t), { t: Date.parse(t), end: Date.parse(end), merged: v, batch: null }];
  const points = new Map(merged.rows.map(point));
  for (const [t, , v] of batch.rows) {
    const known = points.get(Date.parse(t));
    if (known) known.batch = v;
  }
  const mark = batch.provenance.mark[q.view.source];
  const label = typeof mark === "number" ? `mark ${mark}` : "";
  chart.show([...points.values()], q.view.timezone, label);
  text($("chart-title"), title(`${q.measure.name} per ${q.grain}`));
  return merged.provenance;
}

async function showTable(q) {
  if (!q.dimension) return showRows(q, [], [], 1);
  const top = { ...range(q), dimensions: [q.dimension], order_by: [{ by: q.measure.name, desc: true }] };
  const others = q.view.measures.filter(isPlain).map((m) => m.name).filter((name) => name !== q.measure.name);
  const [merged, batch] = await Promise.all([
    api.query({ ...top, limit: ROWS_MAX, measures: [q.measure.name, ...others] }),
    api.query({ ...top, layer: "batch", measures: [q.measure.name] }),
  ]);
  const most = Math.max(1e-9, ...merged.rows.map((row) => drawn(row[1])));
  const inBatch = new Map(batch.rows);
  const rows = merged.rows.map((row) => ({ row, all: drawn(row[1]), batch: drawn(inBatch.get(row[0]) ?? 0) }));
  showRows(q, merged.columns, rows, most);
}

function showRows(q, columns, rows, most) {
  text($("table-title"), q.dimension ? title(`${q.measure.name} by ${q.dimension}`) : "No dimensions");
  const heads = columns.map((c) => {
    const about = c.relative_error ? ` (±${percent(c.relative_error)})` : "";
    return node("th", { scope: "col" }, words(c.name) + about);
  });
  heads.splice(1, 0, node("th", { scope: "col" }, node("span", { className: "hidden" }, "share")));
  $("table-head").replaceChildren(node("tr", {}, ...heads));
  const made = rows.map(({ row, all, batch }) => {
    const inGeneration = Math.min(batch, all);
    const parts = [["batch", inGeneration / most], ["live", (all - inGeneration) / most]];
    const share = node("td", {}, bar(q.measure.additive ? parts : [["commits", all / most]]));
    const cells = row.slice(1).map((v) => node("td", {}, value(v)));
    return node("tr", {}, node("th", { scope: "row" }, row[0] === null ? "(none)" : String(row[0])), share, ...cells);
  });
  $("table-body").replaceChildren(...made);
}

function bar(parts) {
  const made = node("div", { className: "share" });
  made.setAttribute("aria-hidden", "true");
  for (const [className, part] of parts) {
    const span = made.appendChild(node("span", { className }));
    span.style.width = `${100 * Math.max(0, part)}%`;
  }
  return made;
}

const total = (positions) => Object.values(positions).reduce((sum, position) => sum + position, 0);

function fact(id, strong, small) {
  const parts = [strong, node("small", {}, small)];
  if ($(id).textContent !== strong + small) $(id).replaceChildren(...parts);
}

/** Where the high-water mark stands: how many of the log's records each layer has. */
function showMark(source, generation) {
  const covered = total(source.covered);
  const committed = total(source.committed);
  const reached = total(source.positions);
  const parts = { batch: covered, commits: committed - covered, tail: reached - committed, unread: source.lag_records ?? 0 };
  for (const [name, records] of Object.entries(parts)) {
    const span = $(`tide-${name}`);
    span.style.flexGrow = Math.max(0, records);
    span.classList.toggle("some", records > 0);
  }
  const made = generation ? `, ${ago(Date.now() - Date.parse(generation.created_at))}` : "";
  text($("mark-text"), source.mark === null ? "no generation covers this source yet" : `version ${source.mark} of ${source.name}`);
  fact("fact-generation", generation ? `${generation.number}` : "none yet", `${count(covered, "record")}${made}`);
  const since = source.head - (source.mark ?? 0);
  fact("fact-commits", count(since, "commit"), `${count(parts.commits, "record")}, head ${source.head}`);
  fact("fact-tail", count(parts.tail, "record"), source.as_of ? `newest ${ago(Date.now() - Date.parse(source.as_of))}` : "nothing since the head");
  fact("fact-lag", source.lag_records === null ? "unknown" : count(source.lag_records, "record"), "in the log");
  const warnings = source.warnings.map((warning) => node("li", {}, warning));
  $("warnings").replaceChildren(...warnings);
}

function freshness(state, words) {
  $("freshness").dataset.state = state;
  text($("freshness"), words);
}

async function refresh() {
  if (views.length === 0) {
    views = await api.views();
    if (views.length === 0) throw new Error("the pipeline has no views");
    fill($("view"), views.map((v) => v.name));
    recall();
  }
  const q = await question();
  const [status, provenance] = await Promise.all([api.status(), showChart(q), showTable(q)]);
  const source = status.sources.find((s) => s.name === q.view.source);
  showMark(source, status.generation);
  const until = at(q.to, q.view.timezone);
  freshness(provenance.complete ? "live" : "partial", `${provenance.complete ? "complete" : "not complete"}, events to ${until}`);
}

/** One round of asking at a time; a round that fails says why and the next one tries again. */
async function poll() {
  if (asking) return;
  asking = true;
  try {
    await refresh();
    $("problem").hidden = true;
  } catch (error) {
    freshness("waiting", "waiting for the server");
    text($("problem"), error.message);
    $("problem").hidden = false;
  } finally {
    asking = false;
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  text($("pause"), paused ? "Resume" : "Pause");
  if (paused) freshness("paused", "paused");
  else poll();
});
$("view").addEventListener("change", pickView);
for (const id of PICKS) {
  $(id).addEventListener("change", () => {
    remember();
    poll();
  });
}
window.addEventListener("hashchange", () => {
  recall();
  poll();
});
document.querySelector(".pickers").addEventListener("submit", (event) => event.preventDefault());
setInterval(() => paused || document.hidden || poll(), POLL_MS);
poll();
