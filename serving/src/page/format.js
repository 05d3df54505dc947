// How numbers and times are written. Where buckets begin and end, the server alone says.

const HOUR = 3600e3;
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 2 });

/** The formats of each time zone, made once. */
const clocks = new Map();

function clock(zone) {
  if (!clocks.has(zone)) {
    const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
    const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    clocks.set(zone, {
      time: format(time),
      day: format({ day: "numeric", month: "short", year: "numeric" }),
      full: format({ weekday: "short", day: "numeric", month: "short", year: "numeric" }),
    });
  }
  return clocks.get(zone);
}

/** The viewer's own time zone. */
export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

/** A value as a number to draw; null where there is none. */
export function number(v) {
  if (v === null || v === undefined || v === "") return null;
  const n = Number(v);
  return Number.isFinite(n) ? n : null;
}

/** A measure's or a dimension's value as it is read. */
export function value(v) {
  if (v === null || v === undefined) return "–";
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (typeof v === "string" && /^\d{4}-\d\d-\d\dT/.test(v)) return at(Date.parse(v), "UTC");
  if (typeof v === "string" && (v === "" || Number.isNaN(Number(v)))) return v;
  const n = Number(v);
  return Number.isInteger(n) || Math.abs(n) >= 1e4 ? whole.format(n) : fine.format(n);
}

/** How the values of one column are read, below each other: with as many decimals as the greatest of them needs. */
export function aligned(values) {
  const numbers = values.map(number).filter((n) => n !== null);
  const most = Math.max(0, ...numbers.map(Math.abs));
  if (numbers.every(Number.isInteger) || most >= 1e4) return value;
  const digits = most >= 1000 ? 0 : most >= 100 ? 1 : most >= 1 ? 2 : 4;
  const format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (v) => (number(v) === null ? value(v) : format.format(Number(v)));
}

/** A dimension's value as a name. */
export const key = (v) => (v === null ? "(none)" : typeof v === "boolean" ? value(v) : String(v) || "(empty)");

/** A number on an axis. */
export const tick = (n) => (Math.abs(n) >= 1e4 ? compact.format(n) : fine.format(n));

/** A count with its noun. */
export const count = (n, noun) => `${whole.format(n)} ${noun}${n === 1 ? "" : "s"}`;

/** A relative error. */
export const percent = (part) => percents.format(part);

/** `delays_by_hour` as words. */
export const words = (name) => name.replaceAll("_", " ");

/** Words as a title. */
export const title = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

const UNITS = { minutes: "min", hours: "h", seconds: "s", ms: "ms", us: "µs", miles: "miles", km: "km", mph: "mph", kmh: "km/h", bytes: "bytes", percent: "%", cents: "cents" };

/** The unit that the last word of a measure's name says; empty if it says none. */
export const unit = (measure) => UNITS[measure.split("_").at(-1)] ?? "";

/** A time by the clock of `zone`. */
export const at = (t, zone) => `${clock(zone).day.format(t)}, ${clock(zone).time.format(t)} ${zone}`;

/** The bucket `[t, end)`: by its date if it is about a day or longer. */
export function bucket({ t, end }, zone) {
  const { full, time } = clock(zone);
  return end - t > 20 * HOUR ? full.format(t) : `${full.format(t)}, ${time.format(t)}–${time.format(end)} ${zone}`;
}

/** How long something took or is ago, in the largest unit that fits. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1e3));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 36 * 3600 ? `${Math.round(seconds / 3600)} h` : `${whole.format(Math.round(seconds / 86400))} days`;
}

export const ago = (ms) => `${span(ms)} ago`;
