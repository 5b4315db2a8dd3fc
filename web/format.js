// @ts-check
/** Numbers and times as they are read in India: 1,23,456.00, lakh and crore, IST. A value that is not there is a dash. */

export const NONE = "–";
const MINUS = "−";
const IST_MS = 330 * 60_000;

const grouped = [0, 1, 2, 3, 4].map(
  (digits) => new Intl.NumberFormat("en-IN", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

/**
 * @param {number|undefined|null} value
 * @param {number} digits
 * @returns {string}
 */
function number(value, digits) {
  return value === undefined || value === null ? NONE : grouped[digits].format(value).replace("-", MINUS);
}

/**
 * Debt is quoted to four decimals, all else to two; the wire gives no more digits than there are.
 * @param {number|undefined|null} value rupees
 * @returns {string}
 */
export function price(value) {
  return number(value, digitsOf(value));
}

/** @param {number|undefined|null} value */
function digitsOf(value) {
  return value && Math.abs(Math.round(value * 100) - value * 100) > 1e-4 ? 4 : 2;
}

/**
 * @param {number|undefined|null} value
 * @param {number} [digits]
 * @returns {string} with its sign, for a zero none
 */
export function signed(value, digits = digitsOf(value)) {
  return (value && value > 0 ? "+" : "") + number(value, digits);
}

/**
 * @param {number|undefined|null} value
 * @returns {string}
 */
export function percent(value) {
  return value === undefined || value === null ? NONE : `${signed(value, 2)}%`;
}

/**
 * @param {number|undefined|null} value
 * @returns {string} 2,21,992
 */
export function quantity(value) {
  return number(value, 0);
}

/**
 * @param {number|undefined|null} value
 * @returns {string} 4.52 L, 1.20 Cr
 */
export function short(value) {
  if (value === undefined || value === null) return NONE;
  if (value >= 1e7) return `${number(value / 1e7, value >= 1e10 ? 0 : 2)} Cr`;
  if (value >= 1e5) return `${number(value / 1e5, 2)} L`;
  return number(value, 0);
}

/**
 * The way of a change, for those who see no colours as well.
 * @param {number|undefined|null} value
 * @returns {"▲"|"▼"|""}
 */
export function arrow(value) {
  return !value ? "" : value > 0 ? "▲" : "▼";
}

/**
 * @param {number|undefined|null} value
 * @returns {"up"|"down"|null} what style.css colours
 */
export function way(value) {
  return !value ? null : value > 0 ? "up" : "down";
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/**
 * @param {number} ms Unix time
 * @returns {string} 09:23:41, in India
 */
export function time(ms) {
  return new Date(ms + IST_MS).toISOString().slice(11, 19);
}

/**
 * @param {number} ms Unix time
 * @returns {string} Mon 23 Nov 2026, in India
 */
export function date(ms) {
  const there = new Date(ms + IST_MS);
  return `${DAYS[there.getUTCDay()]} ${there.getUTCDate()} ${MONTHS[there.getUTCMonth()]} ${there.getUTCFullYear()}`;
}

/**
 * @param {number} ms
 * @returns {string} 0.4 s, 12 s, 3 min, 2 h, 4 d
 */
export function age(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 129_600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

/**
 * @param {string|number|undefined|null} stamp ISO-8601 or Unix time in ms
 * @returns {number|null} Unix time in ms
 */
export function instant(stamp) {
  const ms = typeof stamp === "string" ? Date.parse(stamp) : stamp;
  return ms === undefined || ms === null || Number.isNaN(ms) ? null : ms;
}
