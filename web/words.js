// @ts-check
/**
 * The protocol's words as a person reads them, each with its tone. A word that is not known here is shown as it came and
 * in the tone "unknown": never as healthy.
 *
 * @typedef {"ok"|"off"|"warn"|"bad"|"unknown"} Tone
 * @typedef {{text: string, tone: Tone}} Said
 */

/**
 * @param {Record<string, [string, Tone]>} known
 * @returns {(word: string|undefined|null) => Said}
 */
function vocabulary(known) {
  return (word) => {
    if (word === undefined || word === null) return { text: "unknown", tone: "unknown" };
    const entry = Object.hasOwn(known, word) ? known[word] : undefined;
    return entry ? { text: entry[0], tone: entry[1] } : { text: String(word), tone: "unknown" };
  };
}

export const marketStatus = vocabulary({
  pre_open: ["Pre-open", "ok"],
  open: ["Open", "ok"],
  closing_auction: ["Closing auction", "ok"],
  post_close: ["Post-close", "off"],
  closed: ["Closed", "off"],
  holiday: ["Holiday", "off"],
  special: ["Special session", "ok"],
});

export const phase = vocabulary({
  closed: ["closed", "off"],
  pre_open_entry: ["pre-open, order entry", "ok"],
  pre_open_match: ["pre-open, matching", "ok"],
  pre_open_buffer: ["pre-open, buffer", "off"],
  continuous: ["continuous trading", "ok"],
  cas_reference: ["closing auction, reference price", "off"],
  cas_entry: ["closing auction, order entry", "ok"],
  cas_match: ["closing auction, matching", "ok"],
  closing: ["closing price", "off"],
  post_close: ["trading at the close", "off"],
  halted: ["halted", "bad"],
  auction_after_halt: ["auction after a halt", "warn"],
});

/** Phases in which a source that says nothing is at fault. */
export const TICKS_DUE = new Set(["pre_open_entry", "continuous", "cas_entry", "auction_after_halt"]);

export const feedState = vocabulary({
  starting: ["starting", "warn"],
  live: ["live", "ok"],
  paused: ["paused", "warn"],
  stale: ["silent", "bad"],
  failed: ["failed", "bad"],
  ended: ["ended", "off"],
  not_due: ["not due now", "off"],
});

export const quoteState = vocabulary({
  live: ["live", "ok"],
  quiet: ["quiet", "off"],
  stale: ["stale", "bad"],
  halted: ["halted", "warn"],
  closed: ["closed", "off"],
  no_data: ["no data", "unknown"],
});

/** What the prices are. */
export const mode = vocabulary({
  real: ["Real-time", "ok"],
  delayed: ["Delayed", "warn"],
  sim: ["Simulated", "warn"],
  replay: ["Replay", "warn"],
  eod: ["End of day", "warn"],
});

/** @type {Record<string, string>} */
export const modeMeaning = {
  real: "Prices as the source sends them.",
  delayed: "The source sends these prices late.",
  sim: "These are not real prices: a simulator trades on a made-up market.",
  replay: "A recorded day is being played again. These are not today's prices.",
  eod: "The official figures of one day. They do not move.",
};
