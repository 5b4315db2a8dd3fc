// @ts-check
/** The few steps by which the page touches the document. Text only, never markup: nothing that arrives can be run. */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string|boolean|((event: any) => void)|undefined>} [attributes] `onclick` and the like: listeners
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/**
 * @param {string} id
 * @returns {HTMLElement} of the page; it must be there
 */
export function find(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Write text only where it differs: an unchanged node costs no layout, and no announcement.
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string|null} value null removes it
 */
export function mark(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/**
 * Tint an element for a moment. Two names of the same animation, so that it starts anew each time.
 * @param {Element} element
 * @param {"up"|"down"} way
 */
export function flash(element, way) {
  mark(element, "data-flash", element.getAttribute("data-flash") === `${way}-1` ? `${way}-2` : `${way}-1`);
}
