// @ts-check
/** Signing in: the key is exchanged for a cookie that no script can read, and kept nowhere. */

import { find, make, write } from "./dom.js";
import { Refused } from "./gateway.js";

/** @typedef {import("./gateway.js").Gateway} Gateway */

export class Door {
  /** @param {Gateway} gateway */
  constructor(gateway) {
    this.gateway = gateway;
    /** @type {Promise<void>|null} while somebody is asked */
    this._asking = null;
    this._out = make("button", { type: "button", hidden: true, onclick: () => this.leave() });
    find("theme").before(this._out);
  }

  /**
   * Resolve once the gateway lets this page in: at once, or when somebody has signed in.
   * @returns {Promise<boolean>} whether somebody had to
   */
  async pass() {
    for (let asked = false; ; asked = true) {
      try {
        const { name, csrf } = await this.gateway.session();
        this._out.hidden = csrf === null;
        write(this._out, `Sign out ${name}`);
        return asked;
      } catch (error) {
        // A gateway that is not there is another matter, and told elsewhere.
        if (!(error instanceof Refused) || error.status !== 401) return asked;
      }
      await (this._asking ??= this._ask().finally(() => (this._asking = null)));
    }
  }

  async leave() {
    await this.gateway.signOut();
    location.reload();
  }

  /** @returns {Promise<void>} when a key was good */
  _ask() {
    const key = make("input", { type: "password", id: "key", name: "key", autocomplete: "current-password", required: true, spellcheck: "false" });
    const said = make("p", { role: "alert" });
    const form = make(
      "form",
      {},
      make("h2", {}, "Sign in"),
      make("p", {}, "This gateway answers those who have a key. Whoever runs it makes one: ", make("code", {}, "bhavcast keys create")),
      make("label", { for: "key" }, "Key"),
      key,
      said,
      make("button", { type: "submit" }, "Sign in"),
    );
    const dialog = make("dialog", { id: "door", oncancel: (event) => event.preventDefault() }, form);
    document.body.append(dialog);
    dialog.showModal();
    return new Promise((resolve) => {
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          await this.gateway.signIn(key.value.trim());
        } catch (error) {
          write(said, /** @type {Error} */ (error).message);
          key.select();
          return;
        }
        dialog.remove();
        resolve();
      });
    });
  }
}
