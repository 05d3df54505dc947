// How it stands: freshness in the header, the high-water mark with what each layer has, the last audit, and what is missing.

import { $, node, text } from "./dom.js";
import { ago, at, count, span } from "./format.js";

const total = (positions) => Object.values(positions).reduce((sum, position) => sum + position, 0);

function fact(id, strong, small) {
  const parts = [strong, node("small", {}, small)];
  if ($(id).textContent !== strong + small) $(id).replaceChildren(...parts);
}

/** The state in the header, in a word; screen readers hear it when the word changes. */
export function freshness(state, words, detail = "") {
  $("freshness").dataset.state = state;
  text($("freshness"), words);
  text($("freshness-detail"), detail);
}

/** How many of the log's records each layer has. */
function tide(source) {
  const [covered, committed, reached] = [source.covered, source.committed, source.positions].map(total);
  const parts = { batch: covered, commits: committed - covered, tail: reached - committed, unread: source.lag_records ?? 0 };
  for (const [name, records] of Object.entries(parts)) {
    const part = $(`tide-${name}`);
    part.style.flexGrow = Math.max(0, records);
    part.classList.toggle("some", records > 0);
  }
  return parts;
}

export function showFacts({ generation, sources, audit }, view, zone) {
  const source = sources.find(({ name }) => name === view.source);
  const now = Date.now();
  const parts = tide(source);
  text($("mark-text"), source.mark === null ? `no generation covers ${source.name} yet` : `version ${source.mark} of ${source.name}`);
  fact("fact-generation", generation ? `${generation.number}` : "none yet", generation ? `${count(parts.batch, "record")}, ${ago(now - Date.parse(generation.created_at))}` : "all is live");
  fact("fact-commits", count(source.head - (source.mark ?? 0), "commit"), `${count(parts.commits, "record")}, head ${source.head}`);
  fact("fact-tail", count(parts.tail, "record"), source.as_of ? `newest ${ago(now - Date.parse(source.as_of))}` : "nothing since the head");
  fact("fact-lag", source.lag_records === null ? "unknown" : count(source.lag_records, "record"), "lag: in the log, not read yet");
  showAudit(audit, view.name, zone, now);
  const warnings = source.warnings.map((warning) => node("li", {}, warning));
  if ($("warnings").textContent !== source.warnings.join("")) $("warnings").replaceChildren(...warnings);
}

const took = (ms) => (ms < 1e3 ? `${ms} ms` : span(ms));

function showAudit(audit, view, zone, now) {
  const of = audit?.views[view];
  const words = !audit ? "none yet" : !of ? "not of this view" : of.cells === 0 ? "nothing to compare" : of.differences === 0 ? "equal" : `${count(of.differences, "value")} differ`;
  $("fact-audit").dataset.state = !of?.cells ? "" : of.differences === 0 ? "good" : "bad";
  const from = of?.left_out_before ?? audit?.from;
  const range = from || audit?.to ? `, ${[from && `from ${at(Date.parse(from), zone)}`, audit.to && `to ${at(Date.parse(audit.to), zone)}`].filter(Boolean).join(" ")}` : "";
  const small = of ? `${count(of.cells, "value")} held against the raw files, ${ago(now - Date.parse(audit.at))}, in ${took(audit.elapsed_ms)}${range}` : "answers held against the raw files";
  fact("fact-audit", words, small);
}
