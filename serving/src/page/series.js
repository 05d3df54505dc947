// What the layers said of each bucket: the batch generation, and live since its mark. Both are of one generation, or nothing new
// is shown: a picture, like an answer, never mixes two.

import { number } from "./format.js";

export class Series {
  #layers = { batch: new Map(), live: new Map(), merged: new Map() };
  #generations = { batch: undefined, live: undefined };
  #additive;

  /** Of a measure; `additive` if what the layers say adds up. */
  constructor(additive) {
    this.#additive = additive;
  }

  /** Takes in an answer of a layer whose rows are bucket, end, value: all there is, or what changed. */
  take(layer, answer, isChange = false) {
    const known = this.#layers[layer];
    if (!isChange) known.clear();
    for (const [t, end, v] of answer.rows) known.set(Date.parse(t), { end: Date.parse(end), v: number(v) });
    if (layer !== "merged") this.#generations[layer] = answer.provenance.generation;
  }

  /** Whether both layers are of one generation, so that they can be drawn together. */
  get agrees() {
    const { batch, live } = this.#generations;
    return batch !== undefined && batch === live;
  }

  get generation() {
    return this.#generations.batch;
  }

  /** Whether the generation that live is of has to be asked of the batch layer; else live is about to tell of a newer one. */
  get wantsBatch() {
    const { batch, live } = this.#generations;
    return live !== undefined && (batch === undefined || (batch ?? 0) < (live ?? 0));
  }

  /** The buckets that start at `from` or later, by time: `{t, end, batch, live, merged}`, null where a layer says nothing. */
  points(from) {
    const { batch, live, merged } = this.#layers;
    const times = [...new Set([...batch.keys(), ...live.keys(), ...merged.keys()])].filter((t) => t >= from);
    return times.sort((a, b) => a - b).map((t) => {
      const [b, l, m] = [batch.get(t), live.get(t), merged.get(t)];
      const all = this.#additive ? sum(b?.v, l?.v) : (m ?? (b && l ? undefined : (b ?? l)))?.v;
      return { t, end: (b ?? l ?? m).end, batch: b?.v ?? null, live: l?.v ?? null, merged: all ?? null };
    });
  }
}

function sum(a, b) {
  return a == null && b == null ? null : (a ?? 0) + (b ?? 0);
}
