// @ts-check
/**
 * What a client of Bhavcast holds, and what every frame does to it; no socket, no clock.
 *
 * The rules are those of docs/explanation/state.md, "Positions". In short: a position says that everything subscribed is
 * complete to it; only `sync`, `u` and `hb` move it; a `snap` row replaces the held row; null deletes a field; a row
 * older than the held one is dropped; what was unsubscribed is ignored, also where the service has not heard of it yet.
 *
 * The Python client (src/bhavcast/client/state.py) is the same machine, method by method: tests give both the same
 * frames, and want the same quotes, positions and messages.
 *
 * Use: give every received message to `receive`, and send what `outgoing` returns after each call of any method.
 */

import { BadFrame, Disorder, epochOf, idOf, isObject, isWide, merged, positionOf, refusedBy, revOf, rowsOf, termsOf, textsOf } from "./frames.js";

/** @typedef {import("./frames.js").Row} Row */
/** @typedef {import("./frames.js").Message} Message */
/** @typedef {string|string[]} Fields a preset or a list of names */

/**
 * Something that happened.
 * @typedef {{kind: "update", symbol: string, quote: Row, before: Row|undefined}
 *   | {kind: "gone", symbol: string}
 *   | {kind: "synced"}
 *   | {kind: "resumed", recovered: boolean}
 *   | {kind: "reset", epoch: string}
 *   | {kind: "dropped", symbol: string, code: string, message: string}
 *   | {kind: "said", message: Message}} Happening `said`: hello, market, feed, status, lag, rate, hb or error
 */

/** One client's subscriptions, quotes and position, over any number of connections. */
export class State {
  /** @param {{fields?: Fields, depth?: number, hz?: number, key?: string}} [options] `key`: sent before anything else */
  constructor({ fields = "full", depth = 0, hz = 10, key } = {}) {
    this._key = key;
    this.fields = fields;
    this.depth = depth;
    this.hz = hz;
    /** @type {Map<string, Row>} by scrip code; a quote is never altered, only replaced */
    this.quotes = new Map();
    /** @type {string|null} everything held is complete to here */
    this.position = null;
    this.greeted = false;
    // The newest revision ever held, which may be past the position: a gateway below it makes us wait, not go back.
    this._seen = 0;
    // What is subscribed as the service calls it (codes, "group:A", "*"), and what it has not answered yet.
    /** @type {Set<string>} */ this._items = new Set();
    /** @type {Set<string>} those of the items that stand for more than one symbol */ this._wide = new Set();
    /** @type {Set<string>} */ this._asked = new Set();
    /** @type {Map<number, string[]>} what was asked, by the id of its message, until that is answered */
    this._sent = new Map();
    /** @type {Map<string, string>} what the service calls what was asked by another name */ this._codes = new Map();
    /** @type {Map<string, Set<string>>} the symbols that came with a wide item */ this._members = new Map();
    // Of the items: complete to the position; and by the id of their message, those whose `sync` is still to come.
    /** @type {Set<string>} */ this._held = new Set();
    /** @type {Map<number, string[]>} */ this._coming = new Map();
    /** @type {Set<string>} after a reset, under no id */ this._comingAgain = new Set();
    /** @type {Map<number, Set<string>>} between unsub and its ack */ this._leaving = new Map();
    /** @type {Set<string>} all of `_leaving` */ this._ignored = new Set();
    /** @type {Set<string>} rows of an older position, that come again or are gone */ this._unconfirmed = new Set();
    /** @type {Map<number, [Fields, number]>} what was shown before, until that is answered */ this._reshaping = new Map();
    this._resumeId = 0;
    this._resuming = false;
    this._lastId = 0;
    const [most, heartbeatMs] = termsOf({ t: "hello" });
    this._most = most;
    this.heartbeatMs = heartbeatMs;
    /** @type {Message[]} */ this._outgoing = [];
    /** @type {Happening[]} */ this._happened = [];
  }

  // -- what the user wants -----------------------------------------------------------------------------------------

  /** What is asked for, as the service calls it where it has answered. */
  get subscribed() {
    return [...new Set([...this._items, ...this._asked])];
  }

  /** Whether everything that is subscribed is held, complete to the position. */
  get complete() {
    return this.position !== null && !this._asked.size && this._held.size === this._items.size;
  }

  /**
   * Whether nothing is asked for that has not come yet. (Unlike `complete`, true also where nothing is subscribed.)
   */
  get settled() {
    return this.greeted && !this._asked.size && !this._resuming && this._held.size === this._items.size;
  }

  /**
   * Ask for more: codes, ids, ISINs, `IDX:SENSEX`, `IDX:SENSEX/members`, `group:A` or `*`.
   * @param {Iterable<string>} symbols
   */
  subscribe(symbols) {
    const fresh = [...new Set(symbols)].filter((text) => !this._items.has(text) && !this._asked.has(text));
    for (const text of fresh) this._asked.add(text);
    if (this.greeted) this._sub(fresh);
  }

  /**
   * Ask for fewer; their quotes are gone at once.
   * @param {Iterable<string>} symbols
   */
  unsubscribe(symbols) {
    const gone = new Set([...symbols].map((text) => this._code(text)));
    for (const [text, item] of this._codes) if (gone.has(item)) this._codes.delete(text);
    const known = new Set([...this._wide, ...[...this._asked].filter(isWide)]);
    for (const text of gone) this._asked.delete(text);
    const wide = minus(known, gone);
    const again = [...wide].sort();
    for (const text of again) this._asked.delete(text);
    // Whether a group that stays has a symbol that goes cannot be told from here: the group comes anew.
    if (this.greeted && gone.size) this._unsub([...[...gone].sort(), ...again]);
    if (known.size) {
      this._forget(wide);
      this._forget(minus(this.quotes.keys(), this._items));
    }
    this._forget(gone);
    this.subscribe(again);
  }

  /**
   * Change what quotes show, or how often they come; a change of what they show sends them all anew.
   * @param {{fields?: Fields, depth?: number, hz?: number}} shape
   */
  show({ fields = this.fields, depth = this.depth, hz = this.hz }) {
    /** @type {[Fields, number]} */
    const before = [this.fields, this.depth];
    const reshaped = JSON.stringify(before) !== JSON.stringify([fields, depth]);
    [this.fields, this.depth, this.hz] = [fields, depth, hz];
    if (!this.greeted) {
      if (reshaped) this._dropPosition();
      return;
    }
    this._show();
    // Until the answer everything comes as before, and the position is good for that.
    if (reshaped) this._reshaping.set(this._lastId, before);
  }

  /**
   * @param {string[]} texts
   * @param {number} [seen]
   */
  _sub(texts, seen = 0) {
    // Each group in a message of its own, so that it is clear which rows came with it.
    const narrow = texts.filter((text) => !isWide(text));
    for (const piece of [...this._pieces(narrow), ...texts.filter(isWide).map((text) => [text])]) {
      this._send({ t: "sub", symbols: piece, ...(seen ? { seen } : {}) });
      this._sent.set(this._lastId, piece);
      seen = 0; // once is enough: they are answered in order
    }
  }

  /**
   * As many at once as one message may name.
   * @param {string[]} texts
   * @returns {string[][]}
   */
  _pieces(texts) {
    const pieces = [];
    for (let at = 0; at < texts.length; at += this._most) pieces.push(texts.slice(at, at + this._most));
    return pieces;
  }

  /** @param {string[]} texts */
  _unsub(texts) {
    for (const piece of this._pieces(texts)) {
      this._send({ t: "unsub", symbols: piece });
      this._leaving.set(this._lastId, new Set(piece));
    }
    for (const text of texts) this._ignored.add(text);
  }

  _show() {
    this._send({ t: "set", fields: this.fields, depth: this.depth, hz: this.hz });
  }

  /** @param {Message} message */
  _send({ t, ...rest }) {
    this._outgoing.push({ t, id: ++this._lastId, ...rest });
  }

  /**
   * What is to be sent now, once.
   * @returns {Message[]}
   */
  outgoing() {
    const sent = this._outgoing;
    this._outgoing = [];
    return sent;
  }

  /**
   * What the service calls a symbol, as far as its answers and the quotes tell.
   * @param {string} text
   */
  _code(text) {
    if (this._items.has(text)) return text;
    const told = this._codes.get(text);
    if (told !== undefined) return told;
    const upper = text.toUpperCase();
    for (const [symbol, { id, isin }] of this.quotes) {
      if (upper === symbol || upper === String(id ?? "").toUpperCase() || upper === isin) return symbol;
    }
    return text;
  }

  /** @param {Iterable<string>} items */
  _forget(items) {
    const gone = new Set(items);
    for (const item of gone) {
      this._members.delete(item);
      for (const set of [this._items, this._wide, this._held, this._comingAgain, this._unconfirmed]) set.delete(item);
      this._lose(item);
    }
    for (const [id, coming] of this._coming) this._coming.set(id, coming.filter((item) => !gone.has(item)));
  }

  /** @param {string} symbol */
  _lose(symbol) {
    if (this.quotes.delete(symbol)) this._tell({ kind: "gone", symbol });
  }

  // -- connections -------------------------------------------------------------------------------------------------

  /** Note that the connection is gone: what is held stays, and what was under way is asked for again. */
  disconnected() {
    this.greeted = false;
    if (this._reshaping.size) this._dropPosition();
    for (const each of [this._sent, this._coming, this._comingAgain, this._leaving, this._ignored, this._reshaping]) each.clear();
    this._outgoing = [];
    this._resuming = false;
  }

  /** Trust nothing that is held: the next connection asks for everything. */
  beginAnew() {
    this._dropPosition();
  }

  /** @param {Message} message */
  _greet(message) {
    this.greeted = true;
    [this._most, this.heartbeatMs] = termsOf(message);
    this._tell({ kind: "said", message });
    if (message.auth === "required" && this._key !== undefined) this._send({ t: "auth", key: this._key });
    this._show();
    const resumable = this._resumable();
    if (!resumable.size) this._dropPosition();
    const again = [...this._items].filter((item) => !resumable.has(item));
    if (again.some((item) => this._wide.has(item))) this._unconfirmed = minus(this.quotes.keys(), resumable);
    else for (const item of again) this._unconfirmed.add(item);
    // The service's answer says what they are called now.
    this._asked = new Set([...again, ...this._asked]);
    this._items = resumable;
    for (const item of again) this._wide.delete(item);
    this._held = new Set(resumable);
    if (resumable.size) this._resume([...resumable]);
    this._sub([...this._asked], resumable.size ? 0 : this._seen);
  }

  /** @param {string[]} items */
  _resume(items) {
    const pieces = this._pieces(items);
    pieces.forEach((symbols, at) => {
      const rest = at + 1 < pieces.length ? { more: true } : { seen: this._seen };
      this._send({ t: "resume", pos: this.position, symbols, ...rest });
    });
    this._resumeId = this._lastId;
    this._resuming = true;
    this._coming.set(this._lastId, items);
  }

  /**
   * What may be resumed: what is held.
   * @returns {Set<string>}
   */
  _resumable() {
    if (this.position === null) return new Set();
    let held = [...this._items].filter((item) => this._held.has(item));
    // Else whose a row is could not be told.
    const all = new Set(held);
    if (![...this._wide].every((item) => all.has(item))) held = held.filter((item) => !this._wide.has(item));
    return new Set(held);
  }

  // -- what the service says ---------------------------------------------------------------------------------------

  /**
   * Take in one message and return what happened, also by calls since the message before.
   * @param {unknown} message
   * @returns {Happening[]}
   * @throws {BadFrame} it is not a message of the protocol. What was held stands.
   * @throws {Disorder} messages came out of order. What is held cannot be trusted.
   */
  receive(message) {
    if (!isObject(message)) throw new BadFrame("expected a message as an object");
    this._handle(/** @type {Message} */ (message));
    return this.happened();
  }

  /**
   * What happened since this was asked last.
   * @returns {Happening[]}
   */
  happened() {
    const happened = this._happened;
    this._happened = [];
    return happened;
  }

  /** @param {Happening} happening */
  _tell(happening) {
    this._happened.push(happening);
  }

  /** @param {Message} message */
  _handle(message) {
    const kind = message.t;
    if (!this.greeted && kind !== "hello" && kind !== "error") throw new BadFrame(`expected hello first, got ${kind}`);
    switch (kind) {
      case "u": {
        const position = this._readPosition(message);
        this._rows(message, false);
        return this._move(position);
      }
      case "snap":
        return this._rows(message, true);
      case "hb":
        this._move(this._readPosition(message));
        return this._tell({ kind: "said", message });
      case "sync":
        return this._sync(message);
      case "ack":
        return this._ack(message);
      case "resumed":
        return this._resumed(message);
      case "reset":
        return this._reset(message);
      case "hello":
        if (this.greeted) throw new BadFrame("expected one hello, got another");
        return this._greet(message);
      case "status":
        return this._status(message);
      case "error":
        return this._error(message);
      case "market":
      case "feed":
      case "lag":
      case "rate":
        return this._tell({ kind: "said", message });
      default:
        // A newer service may say more than this client knows.
        if (typeof kind !== "string") throw new BadFrame("expected a message with its type t");
    }
  }

  /**
   * @param {Message} message
   * @param {boolean} whole
   */
  _rows(message, whole) {
    const rows = rowsOf(message);
    const members = whole ? this._membersOf(idOf(message)) : undefined;
    for (const row of rows) {
      if (!this._wants(row.symbol)) continue;
      members?.add(row.symbol);
      if (whole) this._replace(row.symbol, row);
      else this._merge(row.symbol, row);
    }
  }

  /**
   * The symbols of the wide item that a snapshot is for; undefined where it is not for one alone.
   * @param {number|null} id none: it brings what was added to a group, or everything after a reset
   */
  _membersOf(id) {
    const items = id === null ? [...this._wide] : (this._coming.get(id) ?? []);
    if (items.length !== 1 || !this._wide.has(items[0])) return undefined;
    const members = this._members.get(items[0]) ?? new Set();
    this._members.set(items[0], members);
    return members;
  }

  /**
   * The codes that a name stands for, as far as their quotes have arrived.
   * @param {string} name
   * @returns {string[]}
   */
  codes(name) {
    const members = this._members.get(name);
    return members ? [...members].filter((code) => this.quotes.has(code)) : [this._code(name)].filter((code) => this.quotes.has(code));
  }

  /** @param {string} symbol */
  _wants(symbol) {
    return (this._items.has(symbol) || this._wide.size > 0) && !this._ignored.has(symbol);
  }

  /**
   * @param {string} symbol
   * @param {Row} quote
   */
  _replace(symbol, quote) {
    this._unconfirmed.delete(symbol);
    this._seen = Math.max(this._seen, quote.rev);
    const before = this.quotes.get(symbol);
    this.quotes.set(symbol, quote);
    this._tell({ kind: "update", symbol, quote, before });
  }

  /**
   * @param {string} symbol
   * @param {Row} row
   */
  _merge(symbol, row) {
    const before = this.quotes.get(symbol);
    if (before === undefined) return; // its quote was let go of, and comes again as a whole
    if (row.rev < before.rev || this._unconfirmed.has(symbol)) return;
    this._seen = Math.max(this._seen, row.rev);
    const quote = merged(before, row);
    if (isObject(row.depth)) quote.depth = merged(before.depth ?? {}, row.depth);
    this.quotes.set(symbol, quote);
    this._tell({ kind: "update", symbol, quote, before });
  }

  /**
   * @param {Message} message
   * @returns {string|null}
   */
  _readPosition(message) {
    const position = positionOf(message);
    const held = this.position;
    if (position !== null && held !== null && (epochOf(position) !== epochOf(held) || revOf(position) < revOf(held))) {
      throw new Disorder(`${position} came after ${held}`);
    }
    return position;
  }

  /**
   * Move the position, if the message carries one and there is one to move.
   * @param {string|null} position
   */
  _move(position) {
    if (position === null || this.position === null) return;
    this.position = position;
    this._seen = Math.max(this._seen, Number(revOf(position)));
  }

  /** @param {Message} message */
  _sync(message) {
    const position = this._readPosition(message);
    if (position === null) throw new BadFrame("expected a sync with pos");
    const id = idOf(message);
    /** @type {Set<string>} */
    let covered = new Set();
    if (id === null) {
      covered = this._comingAgain;
      this._comingAgain = new Set();
    } else {
      // Commands are answered in order; a snapshot that a change of fields overtook is part of that one's.
      for (const [each, items] of [...this._coming]) {
        if (each > id) continue;
        this._coming.delete(each);
        for (const item of items) covered.add(item);
      }
    }
    const anew = this.position === null;
    this.position = position;
    for (const item of covered) if (this._items.has(item)) this._held.add(item);
    this._dropUnconfirmed(covered);
    // Begun anew: what was seen before counts no more, it may have been lost.
    this._seen = anew ? 0 : this._seen;
    if (anew) for (const { rev } of this.quotes.values()) this._seen = Math.max(this._seen, rev);
    this._seen = Math.max(this._seen, Number(revOf(position)));
    this._tell({ kind: "synced" });
  }

  /**
   * Let go of rows that should have come again by now, and did not.
   * @param {Set<string>} covered
   */
  _dropUnconfirmed(covered) {
    const all = this.complete && !this._coming.size;
    for (const symbol of [...this._unconfirmed]) {
      if (!all && !covered.has(symbol)) continue;
      this._lose(symbol);
      this._unconfirmed.delete(symbol);
    }
  }

  _dropPosition() {
    this.position = null;
    this._held = new Set();
    this._unconfirmed = new Set(this.quotes.keys());
  }

  /** @param {Message} message */
  _ack(message) {
    const id = idOf(message);
    if (id === null) throw new BadFrame("expected an ack with the id of what it answers");
    const ok = textsOf(message, "ok");
    const leaving = this._leaving.get(id);
    if (leaving !== undefined) {
      const wide = [...leaving].some(isWide);
      this._left(id);
      this._forget(ok.filter((item) => !this._asked.has(item)));
      // What came with it until now.
      if (wide && !this._wide.size) this._forget(minus(this.quotes.keys(), this._items));
    } else if (this._reshaping.delete(id)) {
      this._dropPosition();
      this._coming = new Map([[id, [...this._items]]]);
    } else if (this._sent.has(id)) {
      const taken = this._answered(id, ok, refusedBy(message));
      this._coming.set(id, taken);
      for (const item of taken) this._items.add(item);
      for (const item of taken) if (isWide(item)) this._wide.add(item);
      this._refused(message);
    }
  }

  /**
   * Take note of the answer to a `sub`; return what is subscribed by it and has not been unsubscribed since.
   * @param {number} id
   * @param {string[]} ok
   * @param {Set<string>} bad
   */
  _answered(id, ok, bad) {
    const texts = this._sent.get(id) ?? [];
    this._sent.delete(id);
    const again = new Set([...this._sent.values()].flat());
    for (const text of texts) if (!again.has(text)) this._asked.delete(text);
    // The service shortens what it does not know.
    const good = texts.filter((text) => !bad.has([...text].slice(0, 64).join("")));
    // Else two names are of one scrip, and the quotes tell.
    if (good.length === ok.length) good.forEach((text, at) => text !== ok[at] && this._codes.set(text, ok[at]));
    const left = new Set(this._ignored);
    good.forEach((text, at) => {
      if (at < ok.length && this._ignored.has(text)) left.add(ok[at]);
    });
    return ok.filter((item) => !left.has(item));
  }

  /** @param {number} id */
  _left(id) {
    this._leaving.delete(id);
    this._ignored = new Set([...this._leaving.values()].flatMap((each) => [...each]));
  }

  /** @param {Message} message */
  _refused({ bad }) {
    for (const each of Array.isArray(bad) ? bad : []) {
      if (!isObject(each) || typeof each.symbol !== "string") continue;
      this._forget([each.symbol]);
      const { symbol, code = "", message = "" } = each;
      this._tell({ kind: "dropped", symbol, code: String(code), message: String(message) });
    }
  }

  /** @param {Message} message */
  _resumed(message) {
    const id = idOf(message);
    if (id === null || id !== this._resumeId) throw new BadFrame("expected a resumed with the id of the resume");
    this._resuming = false;
    const recovered = message.recovered === true;
    if (recovered) this._coming.delete(id);
    else this._dropPosition();
    this._refused(message);
    this._tell({ kind: "resumed", recovered });
  }

  /** @param {Message} message */
  _reset(message) {
    this._dropPosition();
    // A resume that is not answered yet was not heard before the reset: what it names comes under its id.
    const asked = this._resuming ? (this._coming.get(this._resumeId) ?? []) : [];
    this._coming = new Map(asked.length ? [[this._resumeId, asked]] : []);
    this._comingAgain = minus(this._items, new Set(asked));
    this._tell({ kind: "reset", epoch: String(message.epoch ?? "") });
  }

  /** @param {Message} message */
  _status(message) {
    const { symbol, state } = message;
    if (typeof symbol !== "string" || state !== "unknown_symbol") return this._tell({ kind: "said", message });
    this._forget([symbol]);
    this._tell({ kind: "dropped", symbol, code: "unknown_symbol", message: "it does not exist in the new epoch" });
  }

  /** @param {Message} message */
  _error(message) {
    const id = idOf(message) ?? -1;
    const before = this._reshaping.get(id);
    if (this._leaving.has(id)) {
      this._left(id);
    } else if (before !== undefined) {
      [this.fields, this.depth] = before;
      this._reshaping.delete(id);
    } else if (this._sent.has(id)) {
      for (const symbol of this._sent.get(id) ?? []) {
        this._asked.delete(symbol);
        this._tell({ kind: "dropped", symbol, code: String(message.code ?? ""), message: String(message.message ?? "") });
      }
      this._sent.delete(id);
    } else if (id === this._resumeId && this._coming.has(id)) {
      this._resuming = false;
      const texts = this._coming.get(id) ?? [];
      this._coming.delete(id);
      this._dropPosition();
      for (const text of texts) this._asked.add(text);
      this._sub(texts);
    }
    this._tell({ kind: "said", message });
  }
}

/**
 * @param {Iterable<string>} all
 * @param {Set<string>} without
 */
function minus(all, without) {
  return new Set([...all].filter((each) => !without.has(each)));
}
