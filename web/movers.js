// @ts-check
/** Who moves most, and how many rise and fall. Asked for every few seconds while the page is in view. */

import { find, make, mark, write } from "./dom.js";
import { arrow, percent, price, quantity, short, way } from "./format.js";

/** @typedef {import("./lib/bhavcast.js").Quote} Quote */
/** @typedef {"gain"|"loss"|"volume"|"value"} Ranking */

const KEY = "bhavcast.movers";
const EVERY_MS = 3000;
const SHOWN = 10;
/** @type {[Ranking, string][]} */
const RANKINGS = [["gain", "Gain"], ["loss", "Loss"], ["volume", "Volume"], ["value", "Value"]];

export class Movers {
  /**
   * @param {import("./gateway.js").Gateway} gateway
   * @param {(symbol: string) => void} select
   */
  constructor(gateway, select) {
    this.gateway = gateway;
    this.select = select;
    /** @type {Ranking} */
    this.by = RANKINGS.find(([by]) => by === localStorage.getItem(KEY))?.[0] ?? "gain";
    this.buttons = RANKINGS.map(([by, text]) => ({ by, button: make("button", { type: "button", onclick: () => this._rank(by) }, text) }));
    find("ranking").append(...this.buttons.map(({ button }) => button));
    this.figure = make("th", { scope: "col" });
    this.body = make("tbody");
    this.note = make("p", { class: "empty" }, "Waiting for the gateway…");
    this.table = make(
      "table",
      { hidden: true },
      make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "name" }, "Scrip"), make("th", { scope: "col" }, "Price ₹"), make("th", { scope: "col" }, "%"), this.figure)),
      this.body,
    );
    find("ranked").append(this.table, this.note);
    this.bar = [make("span", { class: "up" }), make("span", { class: "same" }), make("span", { class: "down" })];
    this.counts = [make("span", { "data-way": "up" }), make("span", {}), make("span", { "data-way": "down" })];
    this.highs = make("p", { class: "label" });
    find("breadth").append(make("div", { class: "breadth", "aria-hidden": "true" }, ...this.bar), make("div", { class: "counts" }, ...this.counts), this.highs);
    find("breadth").hidden = true;
    this._press();
    setInterval(() => document.visibilityState === "visible" && this.refresh(), EVERY_MS);
  }

  /** @param {Ranking} by */
  _rank(by) {
    this.by = by;
    localStorage.setItem(KEY, by);
    this._press();
    this.refresh();
  }

  _press() {
    for (const { by, button } of this.buttons) mark(button, "aria-pressed", String(by === this.by));
    mark(this.table, "data-by", this.by);
    write(this.figure, this.by === "value" ? "Value ₹" : "Volume");
  }

  async refresh() {
    const by = this.by;
    try {
      const [ranked, breadth] = await Promise.all([this.gateway.movers(by, SHOWN), this.gateway.breadth()]);
      if (by !== this.by) return;
      this._draw(ranked);
      this._weigh(breadth);
    } catch (error) {
      // The header says that the gateway is lost; here it is enough not to look alive.
      write(this.note, `Not up to date: ${/** @type {Error} */ (error).message}`);
      this.note.hidden = false;
    }
  }

  /** @param {Quote[]} ranked */
  _draw(ranked) {
    this.table.hidden = !ranked.length;
    this.note.hidden = ranked.length > 0;
    write(this.note, "Nothing has traded yet.");
    this.body.replaceChildren(
      ...ranked.map((quote) =>
        make(
          "tr",
          { onclick: () => this.select(quote.symbol) },
          make("th", { scope: "row", class: "name" }, make("button", { type: "button", class: "link", title: quote.company_name }, quote.id ?? quote.symbol)),
          make("td", {}, price(quote.current_price)),
          make("td", { "data-way": way(quote.percent_change) ?? undefined }, `${arrow(quote.percent_change)} ${percent(quote.percent_change)}`.trim()),
          make("td", {}, this.by === "value" ? short(quote.value) : short(quote.volume)),
        ),
      ),
    );
  }

  /** @param {{advances: number, declines: number, unchanged: number, year_highs?: number, year_lows?: number}} breadth */
  _weigh({ advances, declines, unchanged, year_highs, year_lows }) {
    find("breadth").hidden = false;
    const all = [advances, unchanged, declines];
    this.bar.forEach((part, i) => part.style.setProperty("flex-grow", String(all[i])));
    write(this.counts[0], `▲ ${quantity(advances)} up`);
    write(this.counts[1], `${quantity(unchanged)} unchanged`);
    write(this.counts[2], `▼ ${quantity(declines)} down`);
    this.highs.hidden = year_highs === undefined;
    write(this.highs, `52-week: ${quantity(year_highs)} highs, ${quantity(year_lows)} lows`);
  }
}
