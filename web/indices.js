// @ts-check
/** The strip of indices. */

import { find, flash, make, mark, write } from "./dom.js";
import { arrow, percent, price, signed, way } from "./format.js";

/** @typedef {import("./lib/bhavcast.js").Quote} Quote */

export class Indices {
  /**
   * @param {import("./lib/bhavcast.js").Bhavcast} stream
   * @param {(symbol: string) => void} select
   */
  constructor(stream, select) {
    this.stream = stream;
    this.select = select;
    /** @type {Map<string, {element: HTMLElement, name: HTMLElement, value: HTMLElement, change: HTMLElement}>} */
    this.cells = new Map();
    stream.on("change", ({ quote, before }) => this._draw(quote, before));
    this.show([{ symbol: "IDX:SENSEX", id: "SENSEX" }]);
  }

  /** @returns {string[]} */
  symbols() {
    return [...this.cells.keys()];
  }

  /** @param {{symbol: string, id?: string}[]} indices */
  show(indices) {
    for (const { symbol, id } of indices) {
      if (this.cells.has(symbol)) continue;
      const name = make("span", { class: "label" }, id ?? symbol.slice(4));
      const value = make("b", {}, "–");
      const change = make("span", {});
      const element = make("button", { type: "button", onclick: () => this.select(symbol) }, name, value, change);
      this.cells.set(symbol, { element, name, value, change });
      find("indices").append(element);
      const quote = this.stream.quotes.get(symbol);
      if (quote) this._draw(quote, undefined);
    }
  }

  /**
   * @param {Quote} quote
   * @param {Quote|undefined} before
   */
  _draw(quote, before) {
    const cell = this.cells.get(quote.symbol);
    if (!cell) return;
    write(cell.value, price(quote.current_price ?? quote.previous_close));
    write(cell.change, quote.change === undefined ? quote.previous_close === undefined ? "no value yet" : "previous close" : `${arrow(quote.change)} ${signed(quote.change)} (${percent(quote.percent_change)})`.trim());
    mark(cell.change, "data-way", way(quote.change));
    mark(cell.element, "title", quote.company_name ?? null);
    const [was, is] = [before?.current_price, quote.current_price];
    if (was !== undefined && is !== undefined && was !== is) flash(cell.value, is > was ? "up" : "down");
  }
}
