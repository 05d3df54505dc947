// What is asked: the pickers, which stand in the address too, so that it can be linked to and survives a reload.

import { key, ownZone, words } from "./format.js";
import { $, node, options } from "./dom.js";

const PICKS = ["view", "measure", "range", "grain", "clock", "dimension", "rows"];
const FILTERS_MAX = 6;
const DATE = /^\d{4}-\d\d-\d\d$/;

const isNumber = ({ type }) => /^(int64|float64|decimal)/.test(type);

/** A value of a column as SQL has it. */
function literal(text, { type }) {
  if (text === "null") return null;
  return type === "string" || type === "timestamp" ? `'${text.replaceAll("'", "''")}'` : text;
}

export class Picks {
  #views = [];
  #changed;

  /** `changed` is called after every pick, with what was picked. */
  constructor(changed) {
    this.#changed = changed;
    for (const id of [...PICKS, "from", "to"]) {
      $(id).addEventListener("change", () => {
        if (id === "view") this.#ofView();
        this.#toggleDates();
        this.#remember();
        changed(id);
      });
    }
    $("pickers").addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", () => {
      this.#recall();
      changed("address");
    });
  }

  /** Offers these views. */
  offer(views) {
    this.#views = views;
    options($("view"), views.map(({ name }) => [name, words(name)]));
    this.#recall();
  }

  get view() {
    return this.#views.find(({ name }) => name === $("view").value);
  }

  get measure() {
    return this.view.measures.find(({ name }) => name === $("measure").value);
  }

  /** The dimension of the table; undefined if the view has none. */
  get dimension() {
    return this.view.dimensions.find(({ name }) => name === $("dimension").value);
  }

  get rows() {
    return Number($("rows").value);
  }

  /** The picked grain; undefined if the page is to choose. */
  get grain() {
    return $("grain").value || undefined;
  }

  /** Whose clock times are shown by. */
  get zone() {
    return $("clock").value || this.view.timezone;
  }

  /** The picked range: `{days}` up to the newest event, or `{from, to}`, dates by the clock of UTC; either may be open. */
  get range() {
    if ($("range").value !== "dates") return { days: Number($("range").value) };
    const day = (id, add) => (DATE.test($(id).value) ? Date.parse($(id).value) + add : undefined);
    return { from: day("from", 0), to: day("to", 86400e3) };
  }

  /** The filters as a condition; undefined if there are none. */
  get where() {
    const parts = [...document.querySelectorAll("#filters select")].filter((select) => select.value !== "").map((select) => {
      const column = this.view.dimensions.find(({ name }) => name === select.name);
      const to = literal(select.value, column);
      return `"${column.name}" ${to === null ? "IS NULL" : `= ${to}`}`;
    });
    return parts.length ? parts.join(" AND ") : undefined;
  }

  /** The dimensions that can be filtered by. */
  get filtered() {
    return this.view.dimensions.slice(0, FILTERS_MAX);
  }

  /** Offers `values` of a dimension. */
  offerValues(dimension, values) {
    const select = document.querySelector(`#filters select[name="${CSS.escape(dimension)}"]`);
    if (!select) return;
    const wanted = select.value || new URLSearchParams(location.hash.slice(1)).get(`only.${dimension}`) || "";
    const known = values.map((v) => [String(v), key(v)]);
    if (wanted && !known.some(([value]) => value === wanted)) known.push([wanted, wanted]);
    options(select, [["", "all"], ...known]);
    select.value = wanted;
  }

  /** Shows one value of a dimension only, or all again. */
  only(dimension, v) {
    const select = document.querySelector(`#filters select[name="${CSS.escape(dimension)}"]`);
    if (!select) return;
    const wanted = select.value === String(v) ? "" : String(v);
    if (![...select.options].some((option) => option.value === wanted)) select.append(node("option", { value: wanted }, key(v)));
    select.value = wanted;
    this.#remember();
    this.#changed("filter");
  }

  #ofView() {
    const { view } = this;
    options($("measure"), view.measures.filter(isNumber).map(({ name }) => [name, words(name)]));
    options($("dimension"), view.dimensions.map(({ name }) => [name, words(name)]));
    options($("grain"), [["", "fitting"], ...view.grains.map(({ name }) => [name, name])]);
    const others = [...new Set(["UTC", ownZone()])].filter((zone) => zone !== view.timezone);
    options($("clock"), [["", view.timezone], ...others.map((zone) => [zone, zone === ownZone() ? `${zone} (yours)` : zone])]);
    for (const id of ["measure", "dimension", "clock"]) $(id).disabled = $(id).options.length < 2;
    $("by").hidden = view.dimensions.length === 0;
    const filter = ({ name }) => {
      const select = node("select", { name, autocomplete: "off" }, node("option", { value: "" }, "all"));
      select.addEventListener("change", () => {
        this.#remember();
        this.#changed("filter");
      });
      return node("label", {}, `${words(name)} `, select);
    };
    $("filters").replaceChildren(...this.filtered.map(filter));
    for (const { name } of this.filtered) this.offerValues(name, []);
  }

  #toggleDates() {
    $("dates").hidden = $("range").value !== "dates";
  }

  #recall() {
    const picked = new URLSearchParams(location.hash.slice(1));
    for (const id of PICKS) {
      const wanted = picked.get(id);
      if ([...$(id).options].some(({ value }) => value === wanted)) $(id).value = wanted;
      if (id === "view") this.#ofView();
    }
    for (const id of ["from", "to"]) $(id).value = DATE.test(picked.get(id) ?? "") ? picked.get(id) : "";
    this.#toggleDates();
  }

  #remember() {
    const filters = [...document.querySelectorAll("#filters select")].filter(({ value }) => value).map(({ name, value }) => [`only.${name}`, value]);
    const dates = $("range").value === "dates" ? ["from", "to"].map((id) => [id, $(id).value]) : [];
    const picked = new URLSearchParams([...PICKS.map((id) => [id, $(id).value]), ...dates, ...filters]);
    history.replaceState(null, "", `#${picked}`);
  }
}
