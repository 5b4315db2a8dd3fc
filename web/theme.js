// @ts-check
/** The browser's own colours unless the reader wants others. */

import { find, mark, write } from "./dom.js";

const KEY = "bhavcast.theme";
const NAMES = ["auto", "light", "dark"];

export function themes() {
  const button = find("theme");
  let theme = NAMES.find((name) => name === localStorage.getItem(KEY)) ?? "auto";
  const apply = () => {
    mark(document.documentElement, "data-theme", theme === "auto" ? null : theme);
    write(button, `Theme: ${theme}`);
  };
  button.addEventListener("click", () => {
    theme = NAMES[(NAMES.indexOf(theme) + 1) % NAMES.length];
    localStorage.setItem(KEY, theme);
    apply();
  });
  apply();
}
