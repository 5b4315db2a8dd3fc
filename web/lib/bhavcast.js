// @ts-check
/**
 * Live prices from a Bhavcast gateway: the client of the WebSocket `/ws`, protocol `bhavcast.v1.json`.
 *
 * It keeps the connection, brings what it holds up to date after every cut without a gap, and merges what arrives, so
 * that `quotes` is always the whole picture. It needs nothing but a WebSocket: any browser, or Node 22 and newer. This
 * file is the connection; state.js, what frames mean, and frames.js have to lie beside it.
 *
 *     import { Bhavcast } from "./bhavcast.js";
 *
 *     const prices = new Bhavcast("ws://127.0.0.1:5000/ws", { fields: "ltp" });
 *     prices.subscribe("RELIANCE", "TCS", "IDX:SENSEX");
 *     prices.connect();
 *     for await (const quotes of prices) {
 *       for (const quote of quotes) console.log(quote.symbol, quote.current_price);
 *     }
 *
 * Or by callback: `prices.on("change", ({ quote, before }) => …)`. What a price is worth is said by its `state`,
 * `timestamp` and `mode`, and by `prices.link`: while the link is not "live", everything held is of an earlier moment.
 */

import { BadFrame, Disorder } from "./frames.js";
import { State } from "./state.js";

/** @typedef {{price: number, quantity: number, orders: number}} Level one level of the order book */
/** @typedef {{bids?: Level[], asks?: Level[]}} Depth best first; a side that is empty is absent */

/**
 * A quote. Fields without a value are absent, never zero.
 * @typedef {object} Quote
 * @property {string} symbol scrip code, or `IDX:` and the name of an index
 * @property {number} rev the revision at which it last changed
 * @property {string} [id]
 * @property {string} [company_name]
 * @property {string} [isin]
 * @property {string} [group]
 * @property {number} [current_price] rupees; the last trade
 * @property {number} [change]
 * @property {number} [percent_change]
 * @property {number} [open]
 * @property {number} [high]
 * @property {number} [low]
 * @property {number} [previous_close]
 * @property {number} [close_price] official close, once there is one
 * @property {number} [volume]
 * @property {number} [value]
 * @property {number} [trades]
 * @property {number} [average_price]
 * @property {number} [last_quantity]
 * @property {string} [last_trade_time]
 * @property {number} [bid_price]
 * @property {number} [bid_quantity]
 * @property {number} [ask_price]
 * @property {number} [ask_quantity]
 * @property {number} [total_bid_quantity]
 * @property {number} [total_ask_quantity]
 * @property {number} [lower_circuit]
 * @property {number} [upper_circuit]
 * @property {number} [indicative_price]
 * @property {number} [indicative_quantity]
 * @property {number} [reference_price]
 * @property {number} [year_high]
 * @property {number} [year_low]
 * @property {string} [phase]
 * @property {string} [state] live, quiet, stale, halted, closed or no_data
 * @property {string} [mode] real, delayed, sim, replay or eod
 * @property {string} [source]
 * @property {string} [timestamp] the exchange's time of the update, ISO-8601
 * @property {Depth} [depth]
 */

/** @typedef {"idle"|"connecting"|"syncing"|"live"|"waiting"|"refused"|"closed"} LinkState */

/**
 * How the connection stands. Only "live" means that `quotes` is complete and moving.
 * @typedef {object} Link
 * @property {LinkState} state `waiting`: lost, another attempt at `retryAt`; `refused`: the gateway will not have us
 * @property {number} [retryAt] of `performance.now()`
 * @property {number} [since] Unix time in ms at which the link was last live, while it is not
 * @property {number} [code] close code of the last connection
 * @property {string} [reason]
 */

/** @typedef {{quote: Quote, before: Quote|undefined}} Change a quote and what was held of it before */
/** @typedef {{symbol: string, code: string, message?: string}} Bad a symbol that was not accepted, and why */
/** @typedef {{t: string, [name: string]: any}} Message as it came */

/**
 * What `on` can listen to.
 * @typedef {object} Events
 * @property {Change} change one quote is new or has changed
 * @property {string} remove the symbol of a quote that is no longer held
 * @property {Link} link
 * @property {Message} hello
 * @property {Message} market status and phases
 * @property {Message} feed state of one source
 * @property {Message} beat a heartbeat: the wire is alive, and so are the named feeds or not
 * @property {Message} status state of one symbol that has sent nothing, as `no_data`
 * @property {Message} notice `lag` or `rate`: this client is slow, or is being slowed down
 * @property {Bad} bad
 * @property {Message} error
 */

/** Close codes from here on mean: do not come again until something is changed. */
const FINAL = 4500;
/** For the handshake, and then for the hello. */
const OPEN_MS = 10_000;
/** Heartbeats that may be missing before the connection counts as dead. */
const SILENT_BEATS = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;
/** A gateway may send a client away for so long at most. */
const LONGEST_WISH_MS = 300_000;

/** The market's time as the gateway says it: it may be another day's, and run at another speed. */
export class MarketClock {
  constructor() {
    /** @type {number|null} */
    this._at = null;
    this._origin = 0;
    this.speed = 1;
    /** @type {boolean|null} whether it is a clock of its own; null while nothing is known */
    this.virtual = null;
  }

  /**
   * Take the gateway's word.
   * @param {string|number|undefined} now ISO-8601, or Unix time in ms
   * @param {{virtual: boolean, speed: number}} [clock]
   */
  set(now, clock) {
    if (clock) {
      this.speed = clock.speed;
      this.virtual = clock.virtual;
    }
    const at = typeof now === "string" ? Date.parse(now) : now;
    if (at === undefined || Number.isNaN(at)) return;
    this._at = at;
    this._origin = performance.now();
  }

  /**
   * Learn from a stamp: no price comes from the future, so a later one means that the clock was set forward.
   * @param {number} stamp Unix time in ms
   */
  witness(stamp) {
    const now = this.now();
    if (now === null || stamp > now) this.set(stamp);
  }

  /** @returns {number|null} Unix time in ms, or null while nothing is known */
  now() {
    return this._at === null ? null : this._at + (performance.now() - this._origin) * this.speed;
  }
}

export class Bhavcast {
  /**
   * @param {string} url of the gateway's WebSocket, as `ws://127.0.0.1:5000/ws`
   * @param {object} [options]
   * @param {number} [options.hz] at most so many updates per second; 0 for every one
   * @param {string|string[]} [options.fields] `ltp`, `quote`, `full`, or a list of fields
   * @param {number} [options.depth] levels of the order book, 0 to 5
   * @param {string} [options.key] sent as the first message; a page has a session cookie instead, and needs none
   * @param {typeof WebSocket} [options.WebSocket] another implementation
   */
  constructor(url, options = {}) {
    this.url = url;
    this._WebSocket = options.WebSocket ?? WebSocket;
    this._state = new State(options);
    /** @type {Link} */
    this.link = { state: "idle" };
    /** The market's time. */
    this.clock = new MarketClock();
    /** @type {Message|null} the gateway's greeting */
    this.hello = null;

    /** @type {Set<string>} names as they were given to `subscribe` */
    this._wanted = new Set();
    /** @type {Map<string, Set<(event: any) => void>>} */
    this._listeners = new Map();
    /** @type {WebSocket|null} */
    this._socket = null;
    this._attempts = 0;
    this._heardAt = 0;
    this._patienceMs = OPEN_MS;
    /** The gateway's own wish of when to come again. */
    this._retryMs = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this._retry = undefined;
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this._watch = undefined;
  }

  // -- what is known -----------------------------------------------------------------------------------------------

  /** Every quote that is held, by scrip code; a quote is never altered, only replaced. */
  get quotes() {
    return /** @type {Map<string, Quote>} */ (this._state.quotes);
  }

  /** @returns {string|null} everything held is complete to here; all that is needed to resume */
  get position() {
    return this._state.position;
  }

  /**
   * The codes that a name stands for, as far as they have arrived.
   * @param {string} name
   * @returns {string[]}
   */
  codes(name) {
    return this._state.codes(name);
  }

  // -- what a caller does ------------------------------------------------------------------------------------------

  /** Connect, and stay connected until `close`. */
  connect() {
    if (!["idle", "closed", "refused"].includes(this.link.state)) return;
    this._attempts = 0;
    this._open();
  }

  /** Try again at once instead of waiting. */
  retryNow() {
    if (this.link.state !== "waiting") return;
    clearTimeout(this._retry);
    this._open();
  }

  /** Disconnect for good. What is held stays readable. */
  close() {
    clearTimeout(this._retry);
    this._drop();
    this._say({ state: "closed" });
  }

  /**
   * Ask for quotes. Calling again with the same names is harmless.
   * @param {...string} names scrip codes, ids, ISINs, `IDX:SENSEX`, `IDX:SENSEX/members`, `group:A`, or `*` for all
   */
  subscribe(...names) {
    for (const name of names) this._wanted.add(name);
    this._state.subscribe(names);
    this._flush();
  }

  /**
   * Give quotes up; they are forgotten at once. A scrip that was asked for by several names goes with any of them.
   * @param {...string} names as they were given to `subscribe`
   */
  unsubscribe(...names) {
    const gone = names.filter((name) => this._wanted.delete(name));
    if (!gone.length) return;
    this._state.unsubscribe(gone);
    this._flush();
  }

  /**
   * Hold exactly these names from now on.
   * @param {Iterable<string>} names
   */
  replace(names) {
    const wanted = new Set(names);
    this.unsubscribe(...[...this._wanted].filter((name) => !wanted.has(name)));
    this.subscribe(...wanted);
  }

  /**
   * Change what quotes show, or how often they come; a change of what they show sends them all anew.
   * @param {{fields?: string|string[], depth?: number, hz?: number}} shape
   */
  show(shape) {
    this._state.show(shape);
    this._flush();
  }

  /**
   * Listen to one kind of event.
   * @template {keyof Events} K
   * @param {K} kind
   * @param {(event: Events[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(kind, listener) {
    const all = this._listeners.get(kind) ?? new Set();
    this._listeners.set(kind, all.add(listener));
    return () => all.delete(listener);
  }

  /**
   * Iterate over what changes: each step gives the quotes that are new since the step before, each in its latest form.
   * A slow reader skips intermediate values, never the last one. Ends with `close` or when the gateway refuses.
   * @returns {AsyncGenerator<Quote[], void, void>}
   */
  async *[Symbol.asyncIterator]() {
    let changed = new Map(this.quotes);
    let ended = false;
    let wake = () => {};
    const stop = [
      this.on("change", ({ quote }) => {
        changed.set(quote.symbol, quote);
        wake();
      }),
      this.on("remove", (symbol) => changed.delete(symbol)),
      this.on("link", ({ state }) => {
        ended = state === "closed" || state === "refused";
        wake();
      }),
    ];
    try {
      while (!ended) {
        if (changed.size) {
          const quotes = [...changed.values()];
          changed = new Map();
          yield quotes;
        } else {
          await new Promise((resolve) => (wake = () => resolve(undefined)));
        }
      }
    } finally {
      for (const each of stop) each();
    }
  }

  // -- the connection ----------------------------------------------------------------------------------------------

  _open() {
    this._say({ state: "connecting" });
    this._heardAt = performance.now();
    this._patienceMs = OPEN_MS;
    this._retryMs = 0;
    const socket = new this._WebSocket(this.url, ["bhavcast.v1.json"]);
    this._socket = socket;
    socket.onmessage = ({ data }) => this._receive(data);
    socket.onclose = ({ code, reason }) => this._lost(code, reason);
    // A wire that was cut says nothing, so silence is judged by a timer of our own.
    this._watch = setInterval(() => {
      if (performance.now() - this._heardAt > this._patienceMs) this._lost(1006, "nothing heard from the gateway");
    }, 500);
  }

  _drop() {
    clearInterval(this._watch);
    const socket = this._socket;
    this._socket = null;
    this._state.disconnected();
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  _lost(code, reason) {
    this._drop();
    if (code >= FINAL && code < 5000) {
      this._say({ state: "refused", code, reason });
      return;
    }
    const asked = /\bretry_ms=(\d{1,6})\b/.exec(reason);
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this._attempts++, 16));
    // Half of it is chance, so that clients that were cut together do not come back together.
    const delay = Math.max(this._retryMs, Number(asked?.[1] ?? 0), (ceiling / 2) * (1 + Math.random()));
    this._retry = setTimeout(() => this._open(), delay);
    this._say({ state: "waiting", retryAt: performance.now() + delay, code, reason });
  }

  /** @param {Link} link */
  _say(link) {
    if (link.state !== "live") {
      const since = this.link.state === "live" ? Date.now() : this.link.since;
      if (since !== undefined) link.since = since;
    }
    this.link = link;
    this._emit("link", link);
  }

  /**
   * @param {keyof Events} kind
   * @param {any} event
   */
  _emit(kind, event) {
    for (const listener of this._listeners.get(kind) ?? []) listener(event);
  }

  /** @param {unknown} data */
  _receive(data) {
    this._heardAt = performance.now();
    try {
      /** @type {Message} */
      const message = typeof data === "string" ? parsed(data) : {};
      this._state.receive(message).forEach((each) => this._tell(each));
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      if (error instanceof Disorder) this._state.beginAnew();
      this._lost(1002, error.message);
      return;
    }
    this._flush();
  }

  /** Send what the state wants said, tell what happened, and say how the link stands. */
  _flush() {
    for (const each of this._state.happened()) this._tell(each);
    for (const message of this._state.outgoing()) this._socket?.send(JSON.stringify(message));
    if (!this._state.greeted) return;
    const state = this._state.settled ? "live" : "syncing";
    if (this.link.state !== state) this._say({ state });
  }

  /** @param {import("./state.js").Happening} event */
  _tell(event) {
    switch (event.kind) {
      case "update":
        return this._emit("change", { quote: event.quote, before: event.before });
      case "gone":
        return this._emit("remove", event.symbol);
      case "synced":
        this._attempts = 0;
        return;
      case "dropped":
        this._wanted.delete(event.symbol);
        return this._emit("bad", { symbol: event.symbol, code: event.code, message: event.message });
      case "said":
        return this._hear(event.message);
    }
  }

  /** @param {Message} message */
  _hear(message) {
    if (message.now !== undefined) this.clock.set(message.now, message.clock);
    if (typeof message.retry_ms === "number") this._retryMs = Math.min(message.retry_ms, LONGEST_WISH_MS);
    if (message.t === "hello") {
      this.hello = message;
      this._patienceMs = SILENT_BEATS * this._state.heartbeatMs;
    }
    const kind = EVENT_OF[message.t];
    if (kind) this._emit(kind, message);
  }
}

/** @type {Record<string, keyof Events>} what each message that only tells something is heard as */
const EVENT_OF = {
  hello: "hello",
  market: "market",
  feed: "feed",
  hb: "beat",
  status: "status",
  lag: "notice",
  rate: "notice",
  error: "error",
};

/**
 * @param {string} text
 * @returns {any}
 * @throws {BadFrame}
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BadFrame(`expected a message in JSON: ${error}`);
  }
}
