// The time chart: what the merged answer has as one area, and what the batch generation has of it in front, as another.
// Hand-written SVG: two step areas, an axis and a cursor are less code than a chart library, and style sheets reach them.

import { ahead, axisTime, bucket, drawn, tick, value } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 24, right: 8, bottom: 26, left: 46 };

function element(parent, name, attributes, text) {
  const node = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A scale of round steps, about four, that has 0 and all of `values`. */
function scaleOf(values) {
  const [least, most] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
  const raw = (most - least || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((round) => round >= raw);
  const [from, to] = [Math.floor(least / step), Math.ceil((most || least + 1) / step)];
  const ticks = Array.from({ length: to - from + 1 }, (_, i) => (from + i) * step);
  return { low: ticks[0], high: ticks.at(-1), ticks };
}

/** Steps between labels of the time axis that leave room for each, in milliseconds. */
function timeStep(span, labels) {
  const hour = 3600e3;
  const steps = [60e3, 300e3, 900e3, hour, 3 * hour, 6 * hour, 12 * hour, ...[1, 2, 4, 7, 14, 28, 56, 91, 182, 364].map((d) => d * 24 * hour)];
  return steps.find((step) => span / step <= labels) ?? steps.at(-1);
}

export class Chart {
  #svg;
  #readout;
  #data = null;
  #cursor = null;

  constructor(svg, readout) {
    this.#svg = svg;
    this.#readout = readout;
    svg.addEventListener("pointermove", (event) => this.#point(event));
    svg.addEventListener("pointerleave", () => this.#move(null));
    svg.addEventListener("blur", () => this.#move(null));
    svg.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  /** `points` are `{t, end, merged, batch}` by time, one a bucket `[t, end)`; `zone` is whose clock they follow, and `mark` the
   * label of the high-water mark. */
  show(points, zone, mark) {
    this.#data = points.length === 0 ? null : { points, zone, mark, end: points.at(-1).end };
    if (!this.#data || this.#cursor >= points.length) this.#cursor = null;
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#svg.getBoundingClientRect();
    this.#svg.replaceChildren();
    if (width === 0) return;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!this.#data) {
      element(this.#svg, "text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No events yet");
      this.#read();
      return;
    }
    const { points } = this.#data;
    const start = points[0].t;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const x = (t) => MARGIN.left + ((t - start) / (this.#data.end - start)) * (right - MARGIN.left);
    const scale = scaleOf(points.flatMap((p) => [drawn(p.merged), drawn(p.batch)]));
    const y = (v) => bottom - ((v - scale.low) / (scale.high - scale.low)) * (bottom - MARGIN.top);
    this.#data.x = x;
    this.#axes({ x, y, scale, right, bottom, start });
    for (const layer of ["live", "batch"]) {
      const heights = points.map((p) => drawn(layer === "batch" ? p.batch : p.merged));
      element(this.#svg, "path", { class: `area-${layer}`, d: this.#area(heights, x, y) });
    }
    this.#mark(x, bottom, right);
    if (this.#cursor !== null) {
      const { t, end } = points[this.#cursor];
      const w = Math.max(2, x(end) - x(t));
      element(this.#svg, "rect", { class: "cursor", x: x(t), y: MARGIN.top, width: w, height: bottom - MARGIN.top });
    }
    this.#read();
  }

  #axes({ x, y, scale, right, bottom, start }) {
    for (const v of scale.ticks) {
      element(this.#svg, "line", { class: v ? "grid" : "axis", x1: MARGIN.left, x2: right, y1: y(v), y2: y(v) });
      element(this.#svg, "text", { x: MARGIN.left - 6, y: y(v) + 4, "text-anchor": "end" }, tick(v));
    }
    const { end, zone } = this.#data;
    const every = timeStep(end - start, (right - MARGIN.left) / 76);
    const offset = ahead(start, zone);
    for (let t = Math.ceil((start + offset) / every) * every - offset; t < end; t += every) {
      element(this.#svg, "line", { class: "axis", x1: x(t), x2: x(t), y1: bottom, y2: bottom + 4 });
      const anchor = x(t) > right - 30 ? "end" : "middle";
      element(this.#svg, "text", { x: x(t), y: bottom + 18, "text-anchor": anchor }, axisTime(t, zone, every));
    }
  }

  /** One step a bucket; down to zero where buckets are missing. */
  #area(heights, x, y) {
    const { points } = this.#data;
    let d = "";
    let open = null;
    points.forEach(({ t, end }, i) => {
      if (open !== t) d += `${open === null ? "" : `V${y(0)}Z`}M${x(t)} ${y(0)}`;
      open = end;
      d += `V${y(heights[i])}H${x(open)}`;
    });
    return `${d}V${y(0)}Z`;
  }

  /** The high-water mark: the end of the newest bucket that the generation has something of. */
  #mark(x, bottom, right) {
    const { points, mark } = this.#data;
    const last = points.findLast((p) => p.batch !== null);
    if (!mark || !last) return;
    const at = x(last.end);
    const anchor = at > (MARGIN.left + right) / 2 ? "end" : "start";
    element(this.#svg, "line", { class: "mark-line", x1: at, x2: at, y1: MARGIN.top - 8, y2: bottom });
    const dx = anchor === "end" ? -6 : 6;
    element(this.#svg, "text", { class: "mark-label", x: at + dx, y: MARGIN.top - 8, "text-anchor": anchor }, mark);
  }

  #read() {
    this.#readout.replaceChildren();
    if (this.#cursor === null || !this.#data) return;
    const { points, zone } = this.#data;
    const { merged, batch } = points[this.#cursor];
    const strong = document.createElement("b");
    strong.textContent = value(merged);
    this.#readout.append(`${bucket(points[this.#cursor], zone)}: `, strong, batch === null ? ", not in the generation yet" : `, the generation has ${value(batch)}`);
  }

  #point(event) {
    if (!this.#data?.x) return;
    const { points, x } = this.#data;
    const at = event.clientX - this.#svg.getBoundingClientRect().left;
    const index = points.findIndex(({ t, end }) => at < x(end) && at >= x(t) - 2);
    this.#move(index < 0 ? null : index);
  }

  #key(event) {
    if (!this.#data || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
    event.preventDefault();
    const last = this.#data.points.length - 1;
    const from = this.#cursor ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    this.#move(to === undefined ? null : Math.min(last, Math.max(0, to)));
  }

  #move(index) {
    if (index === this.#cursor) return;
    this.#cursor = index;
    this.#draw();
  }
}

/** The finest of the grains a view can be asked that draws `span` in at most `most` buckets. */
export function grainFor(view, span, most) {
  const fits = view.grains.find((grain) => span <= most * (grain.nominal_us / 1e3));
  return (fits ?? view.grains.at(-1)).name;
}
