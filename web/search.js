// @ts-check
/** The search box: finds scrips as one types; arrows and Enter choose one. */

import { make, mark } from "./dom.js";

/** @typedef {import("./gateway.js").Listed} Listed */

const PAUSE_MS = 120;
const MOST = 8;

export class Search {
  /**
   * @param {HTMLInputElement} input
   * @param {HTMLElement} list
   * @param {(query: string, limit: number, signal: AbortSignal) => Promise<Listed[]>} find
   * @param {(scrip: Listed) => void} choose
   */
  constructor(input, list, find, choose) {
    this.input = input;
    this.list = list;
    this.find = find;
    this.choose = choose;
    /** @type {Listed[]} */
    this.found = [];
    this.active = -1;
    this.asking = new AbortController();
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.pause = undefined;
    /** Enter came before the answer: take the first one. */
    this.eager = false;

    input.addEventListener("input", () => this._typed());
    input.addEventListener("keydown", (event) => this._key(event));
    input.addEventListener("blur", () => this.hide());
    input.addEventListener("focus", () => input.value.trim() && this._typed());
  }

  hide() {
    this.list.hidden = true;
    mark(this.input, "aria-expanded", "false");
    mark(this.input, "aria-activedescendant", null);
  }

  _typed() {
    this.asking.abort();
    clearTimeout(this.pause);
    this.found = [];
    this.active = -1;
    this.eager = false;
    const query = this.input.value.trim();
    if (!query) return this.hide();
    this.pause = setTimeout(() => this._ask(query), PAUSE_MS);
  }

  /** @param {string} query */
  async _ask(query) {
    const asking = (this.asking = new AbortController());
    try {
      this.found = await this.find(query, MOST, asking.signal);
    } catch (error) {
      if (!asking.signal.aborted) this._show([this._word(`Search failed: ${/** @type {Error} */ (error).message}`)]);
      return;
    }
    if (asking.signal.aborted) return;
    if (!this.found.length) return this._show([this._word(`No scrip is called “${query}”.`)]);
    if (this.eager) return this._take(0);
    this._show(
      this.found.map((scrip, i) =>
        make(
          "li",
          {
            role: "option",
            id: `found-${i}`,
            "aria-selected": "false",
            onmousedown: (/** @type {MouseEvent} */ event) => {
              event.preventDefault(); // the box keeps the focus
              this._take(i);
            },
          },
          make("b", {}, scrip.id),
          make("span", {}, scrip.company_name),
          make("small", {}, `${scrip.symbol}${scrip.group ? ` · ${scrip.group}` : ""}`),
        ),
      ),
    );
    this._point(0);
  }

  /** @param {string} text */
  _word(text) {
    return make("li", { class: "word", role: "option", "aria-disabled": "true" }, text);
  }

  /** @param {HTMLElement[]} rows */
  _show(rows) {
    this.list.replaceChildren(...rows);
    this.list.hidden = false;
    mark(this.input, "aria-expanded", "true");
  }

  /** @param {number} index */
  _point(index) {
    this.active = (index + this.found.length) % this.found.length;
    [...this.list.children].forEach((row, i) => mark(row, "aria-selected", String(i === this.active)));
    mark(this.input, "aria-activedescendant", `found-${this.active}`);
    this.list.children[this.active]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index */
  _take(index) {
    const scrip = this.found[index];
    if (!scrip) return;
    this.input.value = "";
    this._typed();
    this.choose(scrip);
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.key === "Escape") {
      if (this.list.hidden) this.input.blur();
      this.hide();
    } else if (event.key === "ArrowDown" && this.found.length) this._point(this.active + 1);
    else if (event.key === "ArrowUp" && this.found.length) this._point(this.active - 1);
    else if (event.key === "Enter" && this.found.length) this._take(Math.max(0, this.active));
    else if (event.key === "Enter") this.eager = this.input.value.trim() !== "";
    else return;
    event.preventDefault();
  }
}
