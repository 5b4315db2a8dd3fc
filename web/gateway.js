// @ts-check
/** The gateway over REST: what the page asks now and then rather than being told. */

/** @typedef {import("./lib/bhavcast.js").Quote} Quote */
/**
 * A scrip or index as /api/stocks lists it.
 * @typedef {{symbol: string, id: string, company_name: string, isin?: string, group?: string, kind: string}} Listed
 */

export class Refused extends Error {
  /** @param {{status: number, title?: string, detail?: string}} problem RFC 9457 */
  constructor(problem) {
    super(problem.detail ?? problem.title ?? `status ${problem.status}`);
    this.status = problem.status;
  }
}

export class Gateway {
  /** @param {string} origin as `http://127.0.0.1:5000` */
  constructor(origin) {
    this.origin = origin;
  }

  get socket() {
    return `${this.origin.replace(/^http/, "ws")}/ws`;
  }

  /**
   * @param {string} path
   * @param {Record<string, string|number>} [query]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async get(path, query = {}, signal) {
    const url = new URL(path, this.origin);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    return this._ask(url, {}, signal);
  }

  /**
   * Ask as who is signed in: the frontend's page is of another origin than its gateway.
   * @param {URL} url
   * @param {RequestInit} options
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async _ask(url, options, signal) {
    const deadline = AbortSignal.timeout(10_000);
    const answer = await fetch(url, { credentials: "include", signal: signal ? AbortSignal.any([signal, deadline]) : deadline, ...options }).catch(() => {
      throw new Error("the gateway does not answer"); // a browser's own words differ, and say less
    });
    if (answer.status === 204) return null;
    if (answer.ok) return answer.json();
    throw new Refused(await answer.json().catch(() => ({ status: answer.status })));
  }

  /** @returns {Promise<{name: string, role: string, csrf: string|null}>} who this page is to the gateway */
  session() {
    return this.get("/api/session");
  }

  /** @param {string} key */
  signIn(key) {
    return this._ask(new URL("/api/session", this.origin), { method: "POST", headers: { Authorization: `Bearer ${key}` } });
  }

  async signOut() {
    const { csrf } = await this.session();
    return this._ask(new URL("/api/session", this.origin), { method: "DELETE", headers: { "X-CSRF-Token": csrf ?? "" } });
  }

  /** @returns {Promise<any>} */
  status() {
    return this.get("/api/market/status");
  }

  /** @returns {Promise<Quote[]>} */
  indices() {
    return this.get("/api/indices");
  }

  /**
   * @param {string} by
   * @param {number} limit
   * @returns {Promise<Quote[]>}
   */
  movers(by, limit) {
    return this.get("/api/market/movers", { by, limit });
  }

  /** @returns {Promise<any>} */
  breadth() {
    return this.get("/api/market/breadth");
  }

  /**
   * @param {string} query
   * @param {number} limit
   * @param {AbortSignal} signal
   * @returns {Promise<Listed[]>}
   */
  async search(query, limit, signal) {
    return (await this.get("/api/stocks", { q: query, limit }, signal)).stocks;
  }

  /**
   * Everything there is, page by page.
   * @returns {Promise<Listed[]>}
   */
  async stocks() {
    const all = [];
    for (let cursor = ""; ; ) {
      const page = await this.get("/api/stocks", cursor ? { limit: 1000, cursor } : { limit: 1000 });
      all.push(...page.stocks);
      if (!page.next) return all;
      cursor = page.next;
    }
  }
}

/** All names of this machine: a page opened by one of them may use no other, by its own policy. */
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

/** @returns {Promise<{gateway: string}>} what the server of this page says of its gateway */
async function whereabouts() {
  const answer = await fetch("/config.json").catch(() => {
    throw new Error("the server that it came from does not answer");
  });
  if (!answer.ok) throw new Error(`the server that it came from does not say where the gateway is (status ${answer.status})`);
  return answer.json();
}

/**
 * Where the gateway is: the server of this page says so, be it the gateway itself or the frontend.
 * @returns {Promise<Gateway>}
 */
export async function locate() {
  const { gateway } = await whereabouts();
  const url = new URL(gateway, location.href);
  const here = LOOPBACK.includes(url.hostname) && LOOPBACK.includes(location.hostname) && url.port === location.port;
  return new Gateway(here ? location.origin : url.origin);
}
