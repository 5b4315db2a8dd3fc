// @ts-check
/** What must be known before a price is believed: the market, its clock, the age of the prices, their source, the link. */

import { find, make, mark, write } from "./dom.js";
import { age, date, instant, time } from "./format.js";
import { feedState, marketStatus, mode, modeMeaning, phase, TICKS_DUE } from "./words.js";

/** @typedef {import("./lib/bhavcast.js").Bhavcast} Bhavcast */
/** @typedef {import("./lib/bhavcast.js").Message} Message */
/** @typedef {import("./words.js").Said} Said */
/** @typedef {{tone: "warn"|"bad"|"unknown", text: string, act?: {label: string, run: () => void}}} Alarm */

/** Real time after which prices that should move count as stale. */
const STALE_MS = 10_000;

export class Header {
  /** @param {Bhavcast} stream */
  constructor(stream) {
    this.stream = stream;
    /** @type {Message|null} */
    this.market = null;
    /** @type {Map<string, {state?: string, mode?: string}>} */
    this.feeds = new Map();
    /** @type {number|null} the newest stamp of any price */
    this.newest = null;
    /** @type {string|undefined} */
    this.mode = undefined;
    /** The gateway's own link to its source. @type {string|undefined} */
    this.upstream = undefined;
    /** @type {number|null} `performance.now()` since which ticks have been due */
    this.dueSince = null;
    this.alarmed = "";
    this.slow = "";

    stream.on("hello", (hello) => {
      this.upstream = hello.link;
      this.market = { ...hello.market, t: "market" };
      this.feeds.clear();
      // A gateway that began at another time: what was newest is of a future that did not happen.
      if (this.newest !== null && this.newest > (stream.clock.now() ?? 0) + 1000) this.newest = null;
      this._feeds(hello.feeds);
    });
    stream.on("market", (market) => (this.market = { ...this.market, ...market }));
    stream.on("feed", ({ feed, link, state, mode: what }) => {
      if (link !== undefined) this.upstream = link;
      if (feed !== undefined) this._feeds({ [String(feed)]: { state, mode: what } });
    });
    stream.on("beat", (beat) => this._feeds(beat.feeds));
    stream.on("notice", (notice) => this._notice(notice));
    stream.on("link", () => this.show());
    setInterval(() => this.show(), 250);
  }

  /** @param {Record<string, string|{state: string, mode?: string}>|undefined} feeds */
  _feeds(feeds) {
    for (const [name, told] of Object.entries(feeds ?? {})) {
      const feed = typeof told === "string" ? { state: told } : told;
      this.feeds.set(name, { ...this.feeds.get(name), ...feed });
    }
  }

  /** @param {Message} notice */
  _notice(notice) {
    if (notice.t === "rate") this.slow = notice.why ? `The gateway sends at most ${notice.hz} updates a second: ${notice.why}.` : "";
  }

  /**
   * Take note of a price that arrived.
   * @param {import("./lib/bhavcast.js").Quote} quote
   */
  witness(quote) {
    if (quote.mode) this.mode = quote.mode;
    const stamp = instant(quote.timestamp);
    if (stamp === null) return;
    if (this.newest === null || stamp > this.newest) this.newest = stamp;
    this.stream.clock.witness(stamp);
  }

  /** Take the answer of /api/market/status. @param {any} status */
  learn(status) {
    this.market = { ...this.market, ...status };
    if (status.link !== undefined) this.upstream = status.link;
    this._feeds(status.feeds);
  }

  // -- what is shown -----------------------------------------------------------------------------------------------

  show() {
    const now = this.stream.clock.now();
    const alarms = [this._showLink(), ...this._showFeeds(), this._showAge(now)].filter((alarm) => alarm !== null);
    if (this.slow) alarms.push({ tone: "warn", text: this.slow });
    this._showMarket();
    this._showMode();
    this._showClock(now);
    this._showAlarms(alarms);
  }

  get _live() {
    return this.stream.link.state === "live";
  }

  /** @param {number|null} now */
  _showClock(now) {
    const { virtual, speed } = this.stream.clock;
    write(find("clock"), now === null ? "–" : time(now));
    write(find("date"), now === null ? "Market time" : date(now));
    const badge = find("virtual");
    badge.hidden = virtual !== true;
    mark(badge, "data-tone", "warn");
    write(badge, speed === 1 ? "virtual" : `virtual ×${speed}`);
    mark(badge, "title", "A simulated market at another time than the one on your wall.");
  }

  _showMarket() {
    const status = marketStatus(this.market?.status);
    const { standard, closing_auction } = this.market?.phases ?? {};
    const auction = this.market?.status === "closing_auction" && closing_auction;
    const main = auction || standard;
    const during = main && main !== "closed" ? phase(main).text : "";
    // "Pre-open, order entry" says it all; "Open" and "continuous trading" are two facts.
    const text = during.startsWith(status.text.toLowerCase()) ? [status.text.charAt(0) + during.slice(1)] : [status.text, during];
    if (auction && standard !== auction) text.push(`other scrips: ${phase(standard).text}`);
    if (this.market?.holiday) text.push(this.market.holiday);
    const cell = find("market");
    const parts = text.filter(Boolean).join(" · ");
    write(cell, this._live || !this.market ? parts : `${parts} (last known)`);
    mark(cell, "data-tone", this._live ? (main === "halted" ? "bad" : status.tone) : "unknown");
    const next = instant(this.market?.next?.at);
    const others = [...new Set(Object.values(this.market?.phases ?? {}))].filter((each) => each !== main).map((each) => phase(each).text);
    mark(
      cell,
      "title",
      [
        others.length ? `Some scrips: ${others.join("; ")}.` : "",
        next ? `Next change at ${time(next)} IST.` : "",
        this.market?.calendar === "assumed" ? "The calendar of this year is assumed, not known." : "",
      ].join(" ").trim() || null,
    );
  }

  _showMode() {
    const badge = find("mode");
    const said = this.mode ? mode(this.mode) : { text: "Source unknown", tone: "unknown" };
    write(badge, said.text);
    mark(badge, "data-tone", said.tone);
    mark(badge, "title", (this.mode && modeMeaning[this.mode]) || "It is not known what these prices are.");
  }

  /** @returns {Alarm|null} */
  _showLink() {
    const { state, retryAt, since, reason, code } = this.stream.link;
    const cell = find("link");
    /** @type {Said} */
    const said = { text: "live", tone: "ok" };
    const frozen = since && this.newest !== null ? ` Prices below are of ${time(this.newest)} IST, market time, and do not move.` : "";
    /** @type {Alarm|null} */
    let alarm = null;
    if (state === "waiting") {
      const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - performance.now()) / 1000));
      Object.assign(said, { text: `lost, again in ${seconds} s`, tone: "bad" });
      alarm = {
        tone: "bad",
        text: `${since ? "The gateway is lost." : `The gateway at ${this.stream.url} cannot be reached.`}${frozen} Reconnecting by itself.`,
        act: { label: "Reconnect now", run: () => this.stream.retryNow() },
      };
    } else if (state === "refused") {
      Object.assign(said, { text: "refused", tone: "bad" });
      alarm = {
        tone: "bad",
        text: `The gateway refuses this page (${code}${reason ? `: ${reason}` : ""}).${frozen}`,
        act: { label: "Try again", run: () => this.stream.connect() },
      };
    } else if (state === "connecting") {
      Object.assign(said, { text: "connecting…", tone: "warn" });
      if (since) alarm = { tone: "bad", text: `The gateway is lost.${frozen} Reconnecting by itself.` };
    } else if (state === "syncing") Object.assign(said, { text: "catching up…", tone: "warn" });
    else if (state !== "live") Object.assign(said, { text: "not connected", tone: "unknown" });
    write(cell, said.text);
    mark(cell, "data-tone", said.tone);
    return alarm;
  }

  /** @returns {Alarm[]} */
  _showFeeds() {
    const cell = find("feeds");
    /** @type {Alarm[]} */
    const alarms = [];
    const said = [...this.feeds].map(([name, feed]) => ({ name, ...feedState(feed.state) }));
    const order = ["bad", "unknown", "warn", "off", "ok"];
    const worst = order.find((tone) => said.some((each) => each.tone === tone)) ?? "unknown";
    const told = said.map(({ name, text }) => `${name} ${text}`).join(", ");
    write(cell, told ? told + (this._live ? "" : " (last known)") : "unknown");
    mark(cell, "data-tone", this._live ? worst : "unknown");
    if (!this._live) return alarms;
    for (const { name, text, tone } of said) {
      if (tone === "bad") alarms.push({ tone, text: `The source “${name}” is ${text}: the gateway answers, but no new prices reach it.` });
    }
    if (this.upstream !== undefined && this.upstream !== "ok") {
      alarms.push({ tone: "bad", text: `The gateway has lost its own source of prices (${this.upstream}): it shows the last it knew.` });
    }
    return alarms;
  }

  /** Whether prices should be moving: for the many scrips, not for the few with auctions of their own. */
  _due() {
    const { standard, closing_auction } = this.market?.phases ?? {};
    const feeds = [...this.feeds.values()];
    const idle = feeds.length > 0 && feeds.every(({ state }) => state === "not_due");
    return !idle && (TICKS_DUE.has(standard) || TICKS_DUE.has(closing_auction));
  }

  /**
   * @param {number|null} now
   * @returns {Alarm|null}
   */
  _showAge(now) {
    const cell = find("age");
    const due = this._due();
    if (!due) this.dueSince = null;
    else this.dueSince ??= performance.now();
    if (now === null || this.newest === null) {
      write(cell, this._live ? "no price yet" : "unknown");
      mark(cell, "data-tone", "unknown");
      return null;
    }
    const old = Math.max(0, now - this.newest);
    if (!due) {
      write(cell, `as of ${time(this.newest)}, no trading now`);
      mark(cell, "data-tone", this._live && this.market?.phases ? "off" : "unknown");
      return null;
    }
    const overdue = Math.min(old / this.stream.clock.speed, performance.now() - (this.dueSince ?? 0));
    const stale = overdue > STALE_MS;
    write(cell, stale ? `STALE, ${age(old)} old` : `${age(old)} old`);
    mark(cell, "data-tone", stale ? "bad" : this._live ? "ok" : "warn");
    if (!stale || !this._live) return null;
    return { tone: "bad", text: `No price has come for ${age(old)}, although the market is open. What you see is of ${time(this.newest)} IST.` };
  }

  /** @param {Alarm[]} alarms */
  _showAlarms(alarms) {
    const row = find("alarms");
    // Ages count up; only another kind of alarm is announced anew, by replacing the node.
    const kinds = alarms.map((alarm) => alarm.text.replace(/\d[\d.:]*/g, "#") + (alarm.act?.label ?? "")).join("|");
    if (kinds === this.alarmed) {
      alarms.forEach((alarm, i) => write(/** @type {Element} */ (row.children[i].firstElementChild), alarm.text));
      return;
    }
    this.alarmed = kinds;
    row.replaceChildren(
      ...alarms.map(({ tone, text, act }) =>
        make(
          "p",
          { class: "alarm", "data-tone": tone },
          make("span", {}, text),
          ...(act ? [make("button", { type: "button", onclick: act.run }, act.label)] : []),
        ),
      ),
    );
    document.body.classList.toggle("frozen", alarms.some((alarm) => alarm.tone === "bad"));
  }
}
