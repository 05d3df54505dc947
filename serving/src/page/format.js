// How numbers and times are written: times by the clock of the view's time zone, as its buckets are. Where buckets begin and
// end, the server alone says.

const HOUR = 3600e3;
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 2 });

/** The formats of each time zone, made once: day, time of day, date in full, and all parts as numbers. */
const clocks = new Map();

function clock(zone) {
  if (!clocks.has(zone)) {
    const format = (options) => new Intl.DateTimeFormat("en", { timeZone: zone, ...options });
    const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    clocks.set(zone, {
      day: format({ day: "numeric", month: "short" }),
      time: format(time),
      full: format({ weekday: "short", day: "numeric", month: "short", year: "numeric" }),
      parts: format({ year: "numeric", month: "numeric", day: "numeric", second: "numeric", ...time }),
    });
  }
  return clocks.get(zone);
}

/** How far the clock of `zone` is ahead of UTC at `t`. */
export function ahead(t, zone) {
  const part = Object.fromEntries(clock(zone).parts.formatToParts(t).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(t / 1e3) * 1e3;
}

/** A measure's value; it may be null, a number, or a string where JSON has no number for it. */
export function value(v) {
  if (v === null || v === undefined) return "–";
  if (typeof v === "string" && /^\d{4}-\d\d-\d\dT/.test(v)) return at(Date.parse(v), "UTC");
  if (typeof v === "string" && (v === "" || Number.isNaN(Number(v)))) return v;
  const n = Number(v);
  return Number.isInteger(n) || Math.abs(n) >= 1e4 ? whole.format(n) : fine.format(n);
}

/** A number on an axis. */
export const tick = (n) => (Math.abs(n) >= 1e4 ? compact.format(n) : fine.format(n));

/** A measure's value as a number to draw; 0 where there is none. */
export const drawn = (v) => (Number.isFinite(Number(v)) ? Number(v) : 0);

/** A count with its noun. */
export const count = (n, noun) => `${whole.format(n)} ${noun}${n === 1 ? "" : "s"}`;

/** `delays_by_hour` as words. */
export const words = (name) => name.replaceAll("_", " ");

/** Words as a title. */
export const title = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

/** A relative error. */
export const percent = (part) => percents.format(part);

/** A time by the clock of `zone`. */
export const at = (t, zone) => `${clock(zone).full.format(t)}, ${clock(zone).time.format(t)} ${zone}`;

/** The bucket `[t, end)` in full: by its date if it is about a day or longer. */
export const bucket = ({ t, end }, zone) => (end - t > 20 * HOUR ? clock(zone).full.format(t) : at(t, zone));

/** A label below the time axis: a day at midnight or where labels are days apart, else a time of day. */
export function axisTime(t, zone, every) {
  const time = clock(zone).time.format(t);
  return every >= 24 * HOUR || time === "00:00" ? clock(zone).day.format(t) : time;
}

/** How long ago, in the largest unit that fits. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1e3));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 36 * 3600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}
