// The table of the groups that matter most, and of all others together; and the chart's buckets as a table.

import { ask } from "./api.js";
import { $, node, text } from "./dom.js";
import { aligned, bucket, key, number, percent, title, unit, words } from "./format.js";

const isPlain = ({ type }) => !/^(list|bytes)/.test(type);

/** What a header says of a measure: its name, its unit, and how far off it may be. */
function heading(column) {
  const of = [unit(column.name), column.relative_error ? `±${percent(column.relative_error)}` : ""].filter(Boolean);
  return node("th", { scope: "col" }, words(column.name), ...(of.length ? [node("small", {}, of.join(", "))] : []));
}

export class Top {
  #batch = { of: null, values: new Map(), total: 0 };
  #shown = { answer: null, batch: null };
  #only;

  /** `only` is told which value of which dimension is to be shown alone. */
  constructor(only) {
    this.#only = only;
  }

  /** Asks and shows what there is from `from` on; `generation` is the one that the bars' batch part is of. */
  async refresh(question, from, generation, signal) {
    const q = { ...question, asked: { ...question.asked, from } };
    if (!q.dimension) return this.#show(q, null);
    const { name } = q.dimension;
    const measures = [q.measure, ...q.view.measures.filter((m) => isPlain(m) && m.name !== q.measure.name)].map((m) => m.name);
    const asked = { ...q.asked, dimensions: [name], measures, top: `${q.rows},${q.measure.name}`, order_by: `-${q.measure.name}` };
    const [answer] = await Promise.all([ask(asked, signal), this.#askBatch(q, generation, signal)]);
    if (!signal.aborted) this.#show(q, answer);
  }

  /** What the generation has of each group, asked once a generation: only where parts of a sum can be drawn. */
  async #askBatch(q, generation, signal) {
    const of = JSON.stringify([q.asked, q.dimension.name, q.measure.name, generation]);
    if (!q.measure.additive || this.#batch.of === of) return;
    const asked = { ...q.asked, layer: "batch", dimensions: [q.dimension.name], measures: [q.measure.name] };
    const { rows } = await ask(asked, signal);
    const values = new Map(rows.map(([k, v]) => [k, number(v) ?? 0]));
    this.#batch = { of, values, total: [...values.values()].reduce((sum, v) => sum + v, 0) };
  }

  #show(q, answer) {
    // A generation moves parts of the bars, though the answer is the same.
    if (answer !== null && answer === this.#shown.answer && this.#batch.of === this.#shown.batch) return;
    this.#shown = { answer, batch: this.#batch.of };
    text($("table-title"), q.dimension ? `${title(q.measure.name)} by ${words(q.dimension.name)}` : "No dimensions");
    $("top").hidden = !answer;
    if (!answer) return;
    const [, , first, ...rest] = answer.columns;
    const heads = [node("th", { scope: "col" }, words(q.dimension.name)), node("th", { scope: "col", className: "share-head" }, node("span", { className: "hidden" }, "share, as a bar"))];
    $("table-head").replaceChildren(node("tr", {}, ...heads, heading(first), ...rest.map(heading)));
    // The others come last, however many they are: they are no group.
    const rows = [...answer.rows.filter((row) => !row[1]), ...answer.rows.filter((row) => row[1])];
    const named = rows.filter((row) => !row[1]);
    const most = Math.max(1e-9, ...rows.map((row) => Math.abs(number(row[2]) ?? 0)));
    const written = answer.columns.slice(2).map((_, at) => aligned(rows.map((row) => row[at + 2])));
    let batchOfNamed = 0;
    for (const [k] of named) batchOfNamed += this.#batch.values.get(k) ?? 0;
    const made = rows.map(([k, other, v, ...cells]) => {
      const batch = other ? this.#batch.total - batchOfNamed : (this.#batch.values.get(k) ?? 0);
      const label = other ? "all others" : this.#button(q, k);
      const bar = share(q.measure.additive, number(v) ?? 0, batch, most);
      const row = node("tr", { className: other ? "other" : "" }, node("th", { scope: "row" }, label), node("td", {}, bar));
      row.append(...[v, ...cells].map((cell, at) => node("td", {}, written[at](cell))));
      return row;
    });
    const focused = document.activeElement?.dataset?.key;
    $("table-body").replaceChildren(...made);
    if (focused) [...$("table-body").querySelectorAll("button")].find((button) => button.dataset.key === focused)?.focus();
  }

  #button(q, k) {
    const made = node("button", { type: "button", className: "link", title: `Show ${key(k)} only, or all again` }, key(k));
    made.dataset.key = key(k);
    made.addEventListener("click", () => this.#only(q.dimension.name, k));
    return made;
  }
}

/** A bar of what the generation has and what live adds; of one shade where parts do not add up. */
function share(additive, all, batch, most) {
  const made = node("div", { className: "share" });
  made.setAttribute("aria-hidden", "true");
  const within = Math.max(0, Math.min(batch, all));
  const parts = additive && all > 0 ? [["batch", within], ["live", all - within]] : [["both", Math.abs(all)]];
  for (const [className, part] of parts.filter(([, part]) => part > 0)) {
    made.append(node("span", { className }));
    made.lastChild.style.width = `${(100 * part) / most}%`;
  }
  return made;
}

/** The buckets of the chart as rows, newest first. */
export function showBuckets(points, { zone, unit }) {
  if (!$("buckets").open) return;
  const layers = ["batch", "live", "merged"];
  const written = aligned(points.flatMap((point) => layers.map((layer) => point[layer])));
  const row = (point) => {
    const cells = layers.map((layer) => node("td", {}, written(point[layer])));
    return node("tr", {}, node("th", { scope: "row" }, bucket(point, zone)), ...cells);
  };
  text($("buckets-unit"), unit ? `Values are in ${unit}.` : "");
  $("buckets-body").replaceChildren(...points.toReversed().map(row));
}
