// The page. It knows no view by name: all it shows comes from the API, which anyone can ask the same. It listens to the live layer,
// asks the batch layer once a generation, and shows both only when they are of one generation.

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { $, text } from "./dom.js";
import { freshness, showFacts } from "./facts.js";
import { ago, at, title, unit } from "./format.js";
import { follow } from "./live.js";
import { Picks } from "./picks.js";
import { questionOf } from "./question.js";
import { Series } from "./series.js";
import { followTheme } from "./theme.js";
import { Top, showBuckets } from "./top.js";

const SIDE_MS = 1000;
const SIDE_QUIET_MS = 5000;
const VALUES_MAX = 200;

const chart = new Chart();
const picks = new Picks(picked);
const top = new Top((dimension, value) => picks.only(dimension, value));
let paused = false;
/** What is being followed: its question, its series, and how to stop it. */
let turn = null;

/** Begins anew with what is picked. What is shown stays until there is something newer. */
async function begin() {
  turn?.stop.abort();
  const stop = new AbortController();
  const { signal } = stop;
  const mine = (turn = { stop, question: null, series: null, heard: 0, state: "waiting", due: Infinity });
  try {
    if (!picks.view) await load(signal);
    freshness("waiting", "connecting");
    mine.question = await questionOf(picks, signal);
    mine.series = new Series(mine.question.measure.additive);
    const q = mine.question;
    mine.asked = { ...q.asked, grain: q.grain, ends: true, measures: [q.measure.name] };
    text($("chart-title"), `${title(q.measure.name)} per ${q.grain}`);
    document.body.dataset.kind = q.measure.additive ? "stacked" : "apart";
    offerValues(q, signal);
    side(mine);
    await follow({ ...mine.asked, layer: "live" }, (name, data) => heard(mine, name, data), (state, error) => stands(mine, state, error), signal);
  } catch (error) {
    if (!signal.aborted) failed(mine, error);
  }
}

async function load(signal) {
  const views = await api.views(signal);
  if (views.length === 0) throw new Error("The pipeline has no views yet: put a file in its views/ folder.");
  picks.offer(views);
}

/** What a filter can be set to. */
function offerValues(q, signal) {
  for (const { name } of picks.filtered) {
    const asked = { view: q.view.name, dimensions: [name], measures: [], limit: VALUES_MAX };
    api.ask(asked, signal).then(({ rows }) => picks.offerValues(name, rows.map(([v]) => v)), () => {});
  }
}

function heard(mine, name, data) {
  mine.heard = Date.now();
  if (name === "snapshot" || name === "change") mine.series.take("live", data, name === "change");
  if (name === "snapshot" || name === "change") mine.provenance = data.provenance;
  if (mine.series.wantsBatch || name === "generation") askBatch(mine);
  draw(mine);
}

async function askBatch(mine) {
  if (mine.asking) return;
  mine.asking = true;
  try {
    mine.series.take("batch", await api.fresh({ ...mine.asked, layer: "batch" }, mine.stop.signal));
    draw(mine);
  } catch (error) {
    if (!mine.stop.signal.aborted) failed(mine, error);
  }
  mine.asking = false;
  // Another generation may have come meanwhile.
  if (mine.series.wantsBatch && !mine.stop.signal.aborted) setTimeout(askBatch, SIDE_MS / 2, mine);
}

function draw(mine) {
  if (mine !== turn || !mine.series.agrees) return;
  const { question: q, series } = mine;
  const newest = series.points(-Infinity).at(-1)?.end;
  const points = series.points(q.span === undefined || newest === undefined ? -Infinity : newest - q.span);
  const mark = mine.provenance?.mark[q.view.source];
  const label = typeof mark === "number" ? `mark ${mark} · generation ${series.generation}` : "";
  const how = { stacked: q.measure.additive, zone: picks.zone, mark: label, unit: unit(q.measure.name) };
  mine.points = points;
  mine.how = how;
  // A range that goes along with the newest event: the table is of what the chart shows.
  if (q.span !== undefined && points.length > 0) mine.from = new Date(points[0].t).toISOString();
  chart.show(points, how);
  showBuckets(points, how);
  $("loading").hidden = true;
  $("empty").hidden = points.length > 0;
  side(mine);
}

/** All that is asked beside the chart, within `ms`, and one round at a time. */
function side(mine, ms = mine.rounds ? SIDE_MS : 0) {
  const due = Date.now() + ms;
  if (mine.stop.signal.aborted || mine.due <= due) return;
  clearTimeout(mine.timer);
  mine.due = due;
  mine.timer = setTimeout(async () => {
    try {
      await refresh(mine);
    } catch (error) {
      if (!mine.stop.signal.aborted) failed(mine, error);
    }
    mine.rounds = (mine.rounds ?? 0) + 1;
    const wanted = mine.due > due ? SIDE_MS : SIDE_QUIET_MS;
    mine.due = Infinity;
    side(mine, wanted);
  }, ms);
}

async function refresh(mine) {
  const { question: q, stop } = mine;
  const [status, merged] = await Promise.all([
    api.status(stop.signal),
    q.measure.additive ? undefined : api.ask(mine.asked, stop.signal),
    top.refresh(q, mine.from ?? q.asked.from, mine.series.generation, stop.signal),
  ]);
  if (stop.signal.aborted) return;
  showFacts(status, q.view, picks.zone);
  mine.source = status.sources.find(({ name }) => name === q.view.source);
  if (merged && mine.merged !== merged) {
    mine.merged = merged;
    mine.series.take("merged", merged);
    draw(mine);
  }
  // Polled answers of a layer that a generation left as it was do not say so.
  if (status.generation && mine.series.agrees && mine.series.generation !== status.generation.number && mine.state === "polling") begin();
  say(mine);
}

function stands(mine, state, error) {
  mine.state = state;
  if (state === "live" || state === "polling") mine.heard = Date.now();
  if (error) failed(mine, error);
  else if (mine === turn) problem(null);
  say(mine);
}

/** Says in the header how fresh what is shown is. */
function say(mine) {
  if (mine !== turn || paused) return;
  const { source, state } = mine;
  const asOf = source?.as_of ? `as of ${at(Date.parse(source.as_of), picks.zone)}` : "";
  if (state === "cut" || state === "refused") return freshness("stale", "stale", mine.heard ? `not connected, as it was ${ago(Date.now() - mine.heard)}` : "not connected");
  if (state === "waiting" || !source) return;
  const how = state === "polling" ? "the stream is cut, asking every 2 s" : "";
  const detail = [how, asOf].filter(Boolean).join(", ");
  if (source.complete) freshness(state, state === "live" ? "live, complete" : "complete", detail);
  else freshness("partial", "not complete", detail);
}

function failed(mine, error) {
  if (mine !== turn) return;
  if (error.status === 401) return askToken(error);
  problem(error);
  if (mine.state === "waiting") {
    freshness("stale", "stale", "not connected");
    $("loading").hidden = true;
    // Before the first question nothing tries again by itself.
    if (!mine.series) setTimeout(() => mine === turn && !paused && begin(), SIDE_QUIET_MS);
  }
}

/** Shows what went wrong, in plain words; nothing for null. */
function problem(error) {
  $("problem").hidden = !error;
  if (!error) return;
  const unreachable = error instanceof TypeError || error.name === "TimeoutError";
  text($("problem-title"), unreachable ? "The server cannot be reached" : (error.title ?? "That did not work"));
  text($("problem-detail"), unreachable ? "What is shown may be old. The page tries again by itself." : error.message);
}

function askToken(error) {
  turn?.stop.abort();
  freshness("waiting", "a token is needed");
  $("loading").hidden = true;
  text($("token-problem"), api.hasToken() ? error.message : "");
  api.setToken(null);
  problem(null);
  $("token-form").hidden = false;
  $("token").focus();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken($("token").value.trim());
  $("token").value = "";
  $("token-form").hidden = true;
  $("loading").hidden = false;
  $("pause").focus();
  begin();
});

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) return begin();
  turn?.stop.abort();
  freshness("paused", "paused", turn?.heard ? `as it was ${at(turn.heard, picks.zone)}` : "");
});

$("buckets").addEventListener("toggle", () => turn?.points && showBuckets(turn.points, turn.how));

/** A pick that changes the question begins anew; the others only what is drawn. */
function picked(what) {
  if (what === "clock" && turn?.points) {
    draw(turn);
    if (turn.question) text($("chart-title"), `${title(turn.question.measure.name)} per ${turn.question.grain}`);
    return;
  }
  if (paused) $("pause").click();
  else begin();
}

followTheme(() => chart.redraw());
begin();
