// @ts-check
/**
 * What stands in the frames of `/ws`, and how it is read: positions, quotes, answers.
 */

/** @typedef {{[name: string]: any}} Row a quote as it came: `symbol`, `rev`, and fields */
/** @typedef {{t: string, [name: string]: any}} Message as it came */

const SYMBOLS_PER_MESSAGE = 500;
const HEARTBEAT_MS = 5000;
const POSITION = /^\d{8}T\d{4}Z-[0-9a-f]{16}:(0|[1-9]\d{0,18})$/;

/** A frame that is not of the protocol. What was held stands. */
export class BadFrame extends Error {}

/** A frame goes back behind the position, so frames came in another order than they were sent: begin anew. */
export class Disorder extends BadFrame {}

/**
 * The position that a message carries, if it does.
 * @param {Message} message
 * @returns {string|null}
 */
export function positionOf({ pos }) {
  if (pos === undefined || pos === null) return null;
  if (typeof pos === "string" && POSITION.test(pos)) return pos;
  throw new BadFrame(`expected pos as epoch:rev, got ${JSON.stringify(pos).slice(0, 60)}`);
}

/**
 * The quotes of a message.
 * @param {Message} message
 * @returns {Row[]}
 */
export function rowsOf({ q }) {
  if (!Array.isArray(q)) throw new BadFrame("expected the quotes as a list q");
  for (const row of q) {
    if (!isObject(row) || typeof row.symbol !== "string" || !Number.isInteger(row.rev)) {
      throw new BadFrame(`expected a quote with symbol and rev, got ${JSON.stringify(row)?.slice(0, 60)}`);
    }
  }
  return q;
}

/**
 * @param {Row} held
 * @param {Row} news absolute values; null deletes
 * @returns {Row}
 */
export function merged(held, news) {
  const result = { ...held, ...news };
  for (const name in news) if (news[name] === null) delete result[name];
  return result;
}

/**
 * Whether an item stands for more than one symbol.
 * @param {string} item
 */
export function isWide(item) {
  const lower = item.toLowerCase();
  return item === "*" || lower.startsWith("group:") || lower.endsWith("/members");
}

/**
 * @param {any} value
 * @returns {value is {[name: string]: any}}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {string} position */
export const epochOf = (position) => position.slice(0, position.lastIndexOf(":"));
/** @param {string} position */
export const revOf = (position) => BigInt(position.slice(position.lastIndexOf(":") + 1));

/**
 * What a hello says may be sent and will come: symbols in a message, and the milliseconds between heartbeats.
 * @param {Message} hello
 * @returns {[number, number]}
 */
export function termsOf({ limits, heartbeat_ms: beat }) {
  const most = limits?.symbols_per_message;
  return [isCount(most) ? most : SYMBOLS_PER_MESSAGE, isCount(beat) ? beat : HEARTBEAT_MS];
}

/** @param {any} value */
function isCount(value) {
  return Number.isSafeInteger(value) && value > 0;
}

/**
 * @param {Message} message
 * @returns {number|null}
 */
export function idOf({ id }) {
  return Number.isInteger(id) ? id : null;
}

/** @param {Message} message */
export function refusedBy({ bad }) {
  return new Set(Array.isArray(bad) ? bad.filter(isObject).map(({ symbol }) => String(symbol)) : []);
}

/**
 * @param {Message} message
 * @param {string} name
 * @returns {string[]}
 */
export function textsOf(message, name) {
  const texts = message[name];
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) {
    throw new BadFrame(`expected ${name} as a list of texts`);
  }
  return texts;
}
