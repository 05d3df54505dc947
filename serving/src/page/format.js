// How numbers and times are written. Times are UTC throughout, as the buckets are.

const DAY = 86400e3;
const WIDTHS = { second: 1e3, minute: 60e3, hour: 3600e3, day: DAY, week: 7 * DAY };
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 2 });
const dayText = new Intl.DateTimeFormat("en", { timeZone: "UTC", day: "numeric", month: "short" });
const timeText = new Intl.DateTimeFormat("en", { timeZone: "UTC", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const fullText = new Intl.DateTimeFormat("en", {
  timeZone: "UTC", weekday: "short", day: "numeric", month: "short", year: "numeric",
});

/** A measure's value; it may be null, a number, or a string where JSON has no number for it. */
export function value(v) {
  if (v === null || v === undefined) return "–";
  if (typeof v === "string" && /^\d{4}-\d\d-\d\dT/.test(v)) return `${fullText.format(Date.parse(v))}, ${timeText.format(Date.parse(v))}`;
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

/** `delays_by_hour` as words, and a grain such as `6h`. */
export const words = (name) => name.replaceAll("_", " ").replace(/\b(\d+)h$/, "$1 hours").replace(/\b(\d+)m$/, "$1 minutes");

/** Words as a title. */
export const title = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

/** A relative error. */
export const percent = (part) => percents.format(part);

/** The bucket that starts at `t`, in full. */
export function bucket(t, grain) {
  const date = fullText.format(t);
  return widthOf(grain) >= DAY ? date : `${date}, ${timeText.format(t)} UTC`;
}

/** A label below the time axis: a day at midnight, else a time of day. */
export const axisTime = (t) => (t % DAY === 0 ? dayText.format(t) : timeText.format(t));

/** How long ago, in the largest unit that fits. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1e3));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 36 * 3600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

/** The width of a grain in milliseconds; of a month, its longest. */
export function widthOf(grain) {
  if (grain in WIDTHS) return WIDTHS[grain];
  if (grain === "month") return 31 * DAY;
  const units = { s: 1e3, m: 60e3, h: 3600e3 };
  return Number.parseInt(grain, 10) * units[grain.at(-1)];
}

/** The start of the bucket that `t` falls in. Weeks start on Mondays; 1970-01-05 was one. */
export function floor(t, grain) {
  if (grain === "month") return Date.UTC(new Date(t).getUTCFullYear(), new Date(t).getUTCMonth(), 1);
  const origin = grain === "week" ? 4 * DAY : 0;
  return Math.floor((t - origin) / widthOf(grain)) * widthOf(grain) + origin;
}

/** The start of the bucket after the one that starts at `t`. */
export function next(t, grain) {
  if (grain !== "month") return t + widthOf(grain);
  const date = new Date(t);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
