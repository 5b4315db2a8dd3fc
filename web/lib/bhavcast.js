// @ts-check
/**
 * Live prices from a Bhavcast gateway: the client of the WebSocket `/ws`, protocol `bhavcast.v1.json`.
 *
 * It keeps the connection, brings what it holds up to date after every cut without a gap, and merges what arrives, so
 * that `quotes` is always the whole picture. It needs nothing but a WebSocket: any browser, or Node 22 and newer.
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
/** Under this id the snapshots after a reset are waited for: nobody asked for them, so they have none. */
const AFTER_RESET = 0;
const SLOW_LINK_MS = 10_000;
const STABLE_MS = 5_000;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;

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
   * @param {typeof WebSocket} [options.WebSocket] another implementation
   */
  constructor(url, options = {}) {
    this.url = url;
    this.hz = options.hz ?? 10;
    this.fields = options.fields ?? "full";
    this.depth = options.depth ?? 0;
    this._WebSocket = options.WebSocket ?? WebSocket;

    /** @type {Map<string, Quote>} every quote that is held, by scrip code; a quote is never altered, only replaced */
    this.quotes = new Map();
    /** @type {Link} */
    this.link = { state: "idle" };
    /** The market's time. */
    this.clock = new MarketClock();
    /** @type {string|null} everything held is complete to here; all that is needed to resume */
    this.position = null;
    /** @type {Message|null} the gateway's greeting */
    this.hello = null;

    /** @type {Map<string, Set<string>>} names asked for, and the codes each stands for as far as known */
    this._wanted = new Map();
    /** @type {Set<string>} names whose snapshot is complete: those held at `position` */
    this._held = new Set();
    /** @type {Map<number, string[]>} snapshots under way, by message id */
    this._snapping = new Map();
    /** @type {Map<string, number>} codes given up, until the gateway has answered that message */
    this._ignored = new Map();
    /** @type {Set<string>|null} what came since everything had to be sent anew; what did not is dropped */
    this._renewed = null;

    /** @type {number|null} the resume whose `u` is still to come */
    this._catchingUp = null;

    /** @type {Map<string, Set<(event: any) => void>>} */
    this._listeners = new Map();
    /** @type {WebSocket|null} */
    this._socket = null;
    this._id = 0;
    this._attempts = 0;
    this._openedAt = 0;
    this._heardAt = 0;
    this._quietMs = SLOW_LINK_MS;
    /** @type {number|null} the gateway's own wish of when to come again */
    this._retryMs = null;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this._retry = undefined;
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this._watch = undefined;
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
    const fresh = names.filter((name) => !this._wanted.has(name));
    for (const name of fresh) this._wanted.set(name, new Set());
    if (this._greeted) this._sub(fresh);
  }

  /**
   * Give quotes up; they are forgotten at once.
   * @param {...string} names as they were given to `subscribe`
   */
  unsubscribe(...names) {
    const gone = names.filter((name) => this._wanted.has(name));
    if (!gone.length) return;
    /** @type {Set<string>} */
    const codes = new Set();
    for (const name of gone) {
      for (const code of this._wanted.get(name) ?? []) codes.add(code);
      codes.add(name);
      this._wanted.delete(name);
      this._held.delete(name);
    }
    // A snapshot leaves out what another name holds already, so what a name for many still covers is asked for anew.
    const many = [...this._wanted.keys()].filter(standsForMany);
    for (const name of many) for (const code of this._wanted.get(name) ?? []) codes.add(code);
    for (const [name, kept] of this._wanted) if (!standsForMany(name)) for (const code of kept) codes.delete(code);
    if (this._greeted) {
      for (const part of this._parts([...gone, ...many])) {
        const id = this._send({ t: "unsub", symbols: part });
        for (const code of codes) this._ignored.set(code, id);
      }
    }
    for (const code of codes) if (this.quotes.delete(code)) this._emit("remove", code);
    for (const name of many) {
      this._wanted.set(name, new Set());
      this._held.delete(name);
    }
    if (this._greeted) this._sub(many);
  }

  /**
   * Hold exactly these names from now on.
   * @param {Iterable<string>} names
   */
  replace(names) {
    const wanted = new Set(names);
    this.unsubscribe(...[...this._wanted.keys()].filter((name) => !wanted.has(name)));
    this.subscribe(...wanted);
  }

  /**
   * The codes that a name stands for, as far as they have arrived.
   * @param {string} name
   * @returns {string[]}
   */
  codes(name) {
    return [...(this._wanted.get(name) ?? [])];
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

  get _greeted() {
    return this.link.state === "live" || this.link.state === "syncing";
  }

  _open() {
    this._say({ state: "connecting" });
    this._openedAt = this._heardAt = performance.now();
    this._quietMs = SLOW_LINK_MS;
    this._retryMs = null;
    const socket = new this._WebSocket(this.url, ["bhavcast.v1.json"]);
    this._socket = socket;
    socket.onmessage = ({ data }) => this._receive(data);
    socket.onclose = ({ code, reason }) => this._lost(code, reason);
    // A wire that was cut says nothing, so silence is judged by a timer of our own.
    this._watch = setInterval(() => {
      if (performance.now() - this._heardAt > this._quietMs) this._lost(1006, "nothing heard from the gateway");
    }, 500);
  }

  _drop() {
    clearInterval(this._watch);
    const socket = this._socket;
    this._socket = null;
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
    this._snapping.clear();
    this._ignored.clear();
    this._catchingUp = null;
    if (code === 4010) this.position = null;
    if (code >= FINAL) {
      this._say({ state: "refused", code, reason });
      return;
    }
    if (performance.now() - this._openedAt > STABLE_MS) this._attempts = 0;
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this._attempts++);
    const delay = this._retryMs ?? ceiling * (0.5 + Math.random() / 2);
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
   * @param {{t: string, [name: string]: any}} message
   * @returns {number} its id
   */
  _send(message) {
    const id = ++this._id;
    this._socket?.send(JSON.stringify({ ...message, id }));
    return id;
  }

  /**
   * @param {keyof Events} kind
   * @param {any} event
   */
  _emit(kind, event) {
    for (const listener of this._listeners.get(kind) ?? []) listener(event);
  }

  // -- subscriptions -----------------------------------------------------------------------------------------------

  get _shape() {
    return { hz: this.hz, fields: this.fields, depth: this.depth };
  }

  get _perMessage() {
    return this.hello?.limits?.symbols_per_message ?? 500;
  }

  /**
   * A name that stands for many travels alone, so that its snapshot tells what it stands for.
   * @param {string[]} names
   * @returns {string[][]}
   */
  _parts(names) {
    const many = names.filter(standsForMany);
    const single = names.filter((name) => !standsForMany(name));
    const parts = many.map((name) => [name]);
    for (let i = 0; i < single.length; i += this._perMessage) parts.push(single.slice(i, i + this._perMessage));
    return parts;
  }

  /** @param {string[]} names */
  _sub(names) {
    for (const part of this._parts(names)) {
      const symbols = part[0] === "*" ? "*" : part;
      this._snapping.set(this._send({ t: "sub", symbols, ...this._shape }), part);
    }
    if (names.length) this._say({ state: "syncing" });
  }

  /** Take up what was held, and ask anew for what was not. */
  _restore() {
    const held = [...this._held].filter((name) => this._wanted.has(name));
    const fits = held.length <= this._perMessage;
    if (this.position && held.length && fits) {
      const id = this._send({ t: "resume", pos: this.position, symbols: held.includes("*") ? "*" : held, ...this._shape });
      this._snapping.set(id, held);
      this._sub([...this._wanted.keys()].filter((name) => !this._held.has(name)));
    } else {
      this._renew();
      this._sub([...this._wanted.keys()]);
    }
    this._settle();
  }

  _renew() {
    this.position = null;
    this._held.clear();
    this._renewed = new Set();
  }

  /** Say "live" once nothing is under way any more. */
  _settle() {
    if (this._snapping.size) {
      if (this.link.state !== "syncing") this._say({ state: "syncing" });
      return;
    }
    if (this._renewed) {
      for (const symbol of [...this.quotes.keys()]) {
        if (!this._renewed.has(symbol) && this.quotes.delete(symbol)) this._emit("remove", symbol);
      }
      this._renewed = null;
    }
    if (this.link.state !== "live") this._say({ state: "live" });
  }

  // -- what the gateway says ---------------------------------------------------------------------------------------

  /** @param {string} text */
  _receive(text) {
    this._heardAt = performance.now();
    /** @type {Message} */
    const message = JSON.parse(text);
    if (message.now !== undefined) this.clock.set(message.now, message.clock);
    if (message.retry_ms !== undefined) this._retryMs = message.retry_ms;
    const hear = HEAR[message.t];
    if (hear) hear(this, message);
  }

  /** @param {Quote} row a whole quote */
  _put(row) {
    if (this._ignored.has(row.symbol)) return;
    const before = this.quotes.get(row.symbol);
    this._renewed?.add(row.symbol);
    this.quotes.set(row.symbol, row);
    this._emit("change", { quote: row, before });
  }

  /** @param {Quote} row what changed of a quote; null: has no value now */
  _merge(row) {
    const before = this.quotes.get(row.symbol);
    if (!before || row.rev < before.rev || this._ignored.has(row.symbol)) return;
    const quote = merged(before, row);
    if (row.depth) quote.depth = merged(before.depth ?? {}, row.depth);
    this.quotes.set(row.symbol, quote);
    this._emit("change", { quote, before });
  }
}

/**
 * @template {object} T
 * @param {T} held
 * @param {object} news absolute values; null deletes
 * @returns {T}
 */
function merged(held, news) {
  /** @type {any} */
  const result = { ...held };
  for (const [name, value] of Object.entries(news)) {
    if (value === null) delete result[name];
    else result[name] = value;
  }
  return result;
}

/** @param {string} name */
function standsForMany(name) {
  return name === "*" || name.startsWith("group:") || name.endsWith("/members");
}

/**
 * One function per message of the protocol; a message that is not known here is of a newer gateway, and is passed over.
 * @type {Record<string, (self: Bhavcast, message: Message) => void>}
 */
const HEAR = {
  // {"t":"hello","v":1,"epoch":"…","now":…,"clock":{"virtual":true,"speed":1},"limits":{…},"heartbeat_ms":5000,…}
  hello(self, message) {
    self.hello = message;
    self._quietMs = 2.5 * (message.heartbeat_ms ?? 5000);
    self._emit("hello", message);
    self._restore();
  },

  // {"t":"ack","id":2,"ok":["500325"],"bad":[{"symbol":"999999","code":"unknown_symbol"}],"active":1}
  ack(self, message) {
    for (const [code, id] of self._ignored) if (id <= message.id) self._ignored.delete(code);
    for (const bad of message.bad ?? []) {
      self._wanted.delete(bad.symbol);
      self._emit("bad", bad);
    }
    const asked = self._snapping.get(message.id);
    if (!asked) return;
    const refused = new Set((message.bad ?? []).map((/** @type {Bad} */ bad) => bad.symbol));
    const accepted = asked.filter((name) => !refused.has(name));
    self._snapping.set(message.id, accepted);
    // Answers come in the order of the question, so they also tell the code of an id. (Two names of one scrip are
    // answered once; then the codes among the names tell themselves, and an id is settled by its quote.)
    const inOrder = accepted.length === message.ok.length;
    accepted.forEach((name, i) => {
      const code = inOrder ? message.ok[i] : name.toUpperCase();
      if (!standsForMany(name) && message.ok.includes(code)) self._wanted.get(name)?.add(code);
    });
  },

  // {"t":"snap","id":2,"q":[{…}]}
  snap(self, message) {
    // A snapshot that nobody asked for brings scrips that were added to a group.
    const asked = self._snapping.get(message.id);
    const many = asked?.length === 1 && standsForMany(asked[0]) ? self._wanted.get(asked[0]) : undefined;
    for (const row of message.q) {
      many?.add(row.symbol);
      self._put(row);
    }
  },

  // {"t":"sync","id":2,"count":1,"pos":"…"}
  sync(self, message) {
    const id = message.id ?? AFTER_RESET;
    for (const name of self._snapping.get(id) ?? []) if (self._wanted.has(name)) self._held.add(name);
    self._snapping.delete(id);
    self.position = message.pos;
    self._settle();
  },

  // {"t":"u","pos":"…","q":[{"symbol":"500325","current_price":1574.6,"rev":123470}]}
  u(self, message) {
    for (const row of message.q) self._merge(row);
    if (!message.pos) return;
    self.position = message.pos;
    if (self._catchingUp !== null) {
      self._snapping.delete(self._catchingUp);
      self._catchingUp = null;
      self._settle();
    }
  },

  // {"t":"resumed","id":6,"recovered":true,"changed":37}: one `u` with all of it follows; otherwise snapshots
  resumed(self, message) {
    for (const bad of message.bad ?? []) {
      self._wanted.delete(bad.symbol);
      self._emit("bad", bad);
    }
    if (message.recovered) self._catchingUp = message.id;
    else self._renew();
  },

  // {"t":"reset","epoch":"…"}: snapshots of everything follow
  reset(self) {
    self._renew();
    self._snapping.clear();
    if (self._wanted.size) self._snapping.set(AFTER_RESET, [...self._wanted.keys()]);
    self._settle();
  },

  hb(self, message) {
    if (message.pos) self.position = message.pos;
    self._emit("beat", message);
  },
  market: (self, message) => self._emit("market", message),
  feed: (self, message) => self._emit("feed", message),
  status: (self, message) => self._emit("status", message),
  lag: (self, message) => self._emit("notice", message),
  rate: (self, message) => self._emit("notice", message),
  error(self, message) {
    self._emit("error", message);
    if (self._snapping.delete(message.id)) self._settle();
  },
};
