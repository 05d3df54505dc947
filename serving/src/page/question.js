// From what is picked to what is asked: the range up to the newest event, and the grain that fits it.

import { ask } from "./api.js";

const DAY = 86400e3;
const BUCKETS = { wide: 200, narrow: 90 };

const iso = (t) => (t === undefined ? undefined : new Date(t).toISOString());

/** Where the first bucket that has events starts, and where the last one ends; undefined before there are any. */
async function extent({ name: view, grain, bucket }, where, signal) {
  const edge = async (order_by) => {
    const asked = { view, grain, where, ends: true, measures: [], order_by, limit: 1 };
    return (await ask(asked, signal)).rows[0];
  };
  const [first, last] = await Promise.all([edge(bucket), edge(`-${bucket}`)]);
  return first && { from: Date.parse(first[0]), to: Date.parse(last[1]) };
}

/** The finest grain that draws `span` in few enough buckets. */
function fitting({ grains }, span) {
  const most = innerWidth < 640 ? BUCKETS.narrow : BUCKETS.wide;
  return (grains.find(({ nominal_us }) => span <= most * (nominal_us / 1e3)) ?? grains.at(-1)).name;
}

/** What is asked, and of which range `from` is the start; `span` is the length of a range that goes along with the newest event. */
export async function questionOf(picks, signal) {
  const { view, measure, where, range } = picks;
  const has = await extent(view, where, signal);
  const to = range.to ?? has?.to ?? Date.now();
  const span = range.days ? range.days * DAY : undefined;
  const start = range.from ?? (span === undefined ? undefined : Math.max(to - span, has?.from ?? to - span));
  const grain = picks.grain ?? fitting(view, to - (start ?? has?.from ?? to));
  const from = start === undefined ? undefined : await floor(view.name, grain, where, start, signal);
  const asked = { view: view.name, where, from: iso(from), to: iso(range.to) };
  return { view, measure, asked, grain, span, dimension: picks.dimension, rows: picks.rows };
}

/** `from`, or where the step of `grain` starts that it falls into: half a step would look like a quiet one. */
async function floor(view, grain, where, from, signal) {
  const [first] = (await ask({ view, grain, where, measures: [], from: iso(from), limit: 1 }, signal)).rows;
  return first ? Math.min(from, Date.parse(first[0])) : from;
}
