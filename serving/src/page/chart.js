// The time chart. Where a measure adds up, what the generation has and what live has since are stacked, in two shades, bucket by
// bucket. Where it does not (a mean, a percentile, a distinct count), all layers together are a line, and each layer's own answer
// is a dot: two percentiles have no sum. A line shows where the generation ends.

import { bucket, tick, value } from "./format.js";
import { $, node, text } from "./dom.js";

const { uPlot } = window;
const HEIGHT = { wide: 320, narrow: 240 };
const DAY = 86400;

/** The labels of the time axis: step, label, and what is added where the year or the day changes. */
const LABELS = [
  [365 * DAY, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * DAY, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [DAY, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** The colours as the style sheet has them: a canvas knows no variables. */
function palette() {
  const style = (id, property) => getComputedStyle($(id))[property];
  const [batch, live] = ["batch", "live"].map((layer) => style(`swatch-${layer}`, "backgroundColor"));
  return { batch, live, edge: style("swatch-live", "borderTopColor"), ink: style("chart-title", "color"), quiet: style("readout", "color"), grid: style("chart", "borderTopColor") };
}

export class Chart {
  #box = $("chart");
  #plot = null;
  #shown = null;
  #cursor = null;
  #mark = node("div", { className: "mark" }, node("span"));
  #band = node("div", { className: "band" });

  constructor() {
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("blur", () => this.#point(null));
    new ResizeObserver(() => this.#resize()).observe(this.#box);
  }

  /** Shows `points`; `stacked` if the layers add up, `zone` is whose clock the axis follows, `mark` the label of the mark. */
  show(points, { stacked, zone, mark, unit }) {
    const again = this.#plot && this.#shown?.stacked === stacked && this.#shown?.zone === zone && points.length > 0;
    this.#shown = { points, stacked, zone, mark, unit };
    if (this.#cursor !== null && this.#cursor >= points.length) this.#cursor = null;
    if (again) this.#plot.setData(this.#data());
    else this.#make();
    this.#describe();
  }

  /** Draws again, with the colours as they are now. */
  redraw() {
    if (this.#shown) this.#make();
  }

  #data() {
    const { points, stacked } = this.#shown;
    if (!stacked) {
      const all = points.flatMap(withGap);
      const middle = ({ t, end }) => (t + end) / 2e3;
      return [all.map(middle), ...["merged", "batch", "live"].map((layer) => all.map((p) => p[layer]))];
    }
    // What is of the other sign is stacked the other way.
    const top = ({ batch, live }) => (live === null ? null : batch !== null && batch * live > 0 ? batch + live : live);
    return [points.map(({ t }) => t / 1e3), points.map(top), points.map(({ batch }) => batch)];
  }

  #make() {
    this.#plot?.destroy();
    this.#plot = null;
    const { points, zone } = this.#shown;
    this.#box.classList.toggle("empty", points.length === 0);
    if (points.length === 0 || this.#box.clientWidth === 0) return;
    const colours = palette();
    const axis = { stroke: colours.quiet, font: "12px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: colours.grid, width: 1 };
    this.#plot = new uPlot({
      ...this.#size(),
      legend: { show: false },
      // On the right there is room for half of the last label.
      padding: [18, 26, 0, 4],
      tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), zone === "UTC" ? "Etc/UTC" : zone),
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: () => this.#range() }, y: { range: (_, low, high) => uPlot.rangeNum(Math.min(0, low ?? 0), Math.max(0, high ?? 1), 0.08, true) } },
      axes: [
        { ...axis, grid: { show: false }, values: LABELS, space: 70 },
        { ...axis, grid, size: 58, values: (_, splits) => splits.map((v) => (v === null ? "" : tick(v))) },
      ],
      series: [{}, ...this.#series(colours)],
      hooks: { setCursor: [(u) => this.#hover(u)], draw: [(u) => this.#place(u)] },
    }, this.#data(), this.#box);
    this.#plot.over.append(this.#band, this.#mark);
    this.#place(this.#plot);
  }

  #series({ batch, live, edge, ink }) {
    if (this.#shown.stacked) {
      const bars = (fill, stroke) => ({ fill, stroke, width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [1, Infinity], gap: 1, align: 1 }) });
      return [bars(live, edge), bars(batch, batch)];
    }
    const dots = (fill, stroke, size) => ({ paths: () => null, points: { show: true, fill, stroke, size, width: 1.5 } });
    return [{ stroke: ink, width: 1.5, points: { show: false }, spanGaps: false }, dots(batch, batch, 6), dots(live, edge, 7)];
  }

  #size() {
    return { width: this.#box.clientWidth, height: innerWidth < 640 ? HEIGHT.narrow : HEIGHT.wide };
  }

  #resize() {
    if (!this.#shown || this.#box.clientWidth === 0) return;
    if (this.#plot) this.#plot.setSize(this.#size());
    else this.#make();
  }

  #range() {
    const { points } = this.#shown;
    return [points[0].t / 1e3, Math.max(points.at(-1).end, points[0].t + 1e3) / 1e3];
  }

  /** Puts the mark at the end of the newest bucket that the generation has something of, and the band over the one pointed at. */
  #place(u) {
    const { points, mark } = this.#shown;
    const last = points.findLast(({ batch }) => batch !== null);
    const at = (t) => u.valToPos(t / 1e3, "x");
    this.#mark.hidden = !mark;
    if (mark) {
      const left = last ? Math.min(at(last.end), u.over.clientWidth - 1) : 0;
      text(this.#mark.firstChild, last ? mark : `◂ ${mark}`);
      this.#mark.style.left = `${left}px`;
      this.#mark.classList.toggle("left", left + this.#mark.firstChild.offsetWidth > u.over.clientWidth);
    }
    const pointed = this.#cursor === null ? null : points[this.#cursor];
    this.#band.hidden = !pointed;
    if (pointed) {
      this.#band.style.left = `${at(pointed.t)}px`;
      this.#band.style.width = `${Math.max(2, at(pointed.end) - at(pointed.t))}px`;
    }
  }

  #hover(u) {
    if (u.cursor.event === null || u.cursor.event === undefined) return;
    const t = u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x") * 1e3;
    const index = t === null ? -1 : this.#shown.points.findIndex((p) => p.t <= t && t < p.end);
    this.#point(index < 0 ? null : index);
  }

  #key(event) {
    const last = (this.#shown?.points.length ?? 0) - 1;
    if (last < 0 || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
    event.preventDefault();
    const from = this.#cursor ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    this.#point(to === undefined ? null : Math.min(last, Math.max(0, to)));
  }

  #point(index) {
    if (index === this.#cursor) return;
    this.#cursor = index;
    if (this.#plot) this.#place(this.#plot);
    this.#describe();
  }

  /** What is pointed at, in words: for eyes above the chart, for screen readers as the value of a slider. */
  #describe() {
    const { points, zone, unit } = this.#shown;
    const index = this.#cursor ?? points.length - 1;
    const point = points[index];
    const set = (name, v) => this.#box.setAttribute(name, String(v));
    set("aria-valuemin", 0);
    set("aria-valuemax", Math.max(0, points.length - 1));
    set("aria-valuenow", Math.max(0, index));
    set("aria-valuetext", point ? sentence(point, zone, unit) : "no events");
    $("readout").classList.toggle("pointed", this.#cursor !== null);
    text($("readout"), point ? (this.#cursor === null ? `Latest: ${sentence(point, zone, unit)}` : sentence(point, zone, unit)) : "");
  }
}

/** A point, after one without values where steps are missing before it: a line does not lead over them. */
function withGap(point, index, points) {
  const before = points[index - 1];
  if (!before || before.end >= point.t) return [point];
  return [{ t: before.end, end: point.t, batch: null, live: null, merged: null }, point];
}

function sentence(point, zone, unit) {
  const of = (v) => `${value(v)}${unit && v !== null ? ` ${unit}` : ""}`;
  const { batch, live, merged } = point;
  const parts = [batch === null ? null : `the generation ${of(batch)}`, live === null ? null : `live ${of(live)}`].filter(Boolean);
  return `${bucket(point, zone)}: ${of(merged)} (${parts.join(", ") || "nothing"})`;
}
