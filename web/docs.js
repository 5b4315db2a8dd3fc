// @ts-check
/** The reference of the API, made from the gateway's own /openapi.json, with a way to try each route. */

import { find, make, mark, write } from "./dom.js";
import { locate } from "./gateway.js";
import { Door } from "./signin.js";
import { themes } from "./theme.js";

/** @typedef {{name: string, in: string, required?: boolean, description?: string, schema?: any}} Parameter */
/** @typedef {{summary?: string, description?: string, tags?: string[], parameters?: Parameter[], responses?: Record<string, any>}} Operation */

const LONGEST_SHOWN = 20_000;
/** What to try first where a path needs a value. @type {Record<string, string>} */
const FIRST = { symbol: "RELIANCE", symbols: "RELIANCE,TCS,IDX:SENSEX" };

/** @type {any} */
let schemas = {};
/** @type {Door|null} */
let door = null;

/**
 * @param {any} schema
 * @returns {string} its type in a word or two
 */
function typeOf(schema) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return either.filter((/** @type {any} */ each) => each.type !== "null").map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.enum ? schema.enum.join(" | ") : (schema.type ?? "anything");
}

/** @param {any} schema */
function bounds(schema = {}) {
  const { minimum, maximum, maxLength } = schema;
  const inner = schema.default === undefined || schema.default === null || schema.default === "" ? "" : `, usually ${schema.default}`;
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}${inner}`;
  if (maximum !== undefined) return `, at most ${maximum}${inner}`;
  return (maxLength === undefined ? "" : `, at most ${maxLength} characters`) + inner;
}

/**
 * @param {string} text with `code` in it
 * @returns {(Node|string)[]}
 */
function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

/** @param {any} value */
function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Operation} operation
 * @param {string} origin
 */
function route(method, path, operation, origin) {
  const parameters = operation.parameters ?? [];
  const id = `${method}-${path}`;
  return make(
    "section",
    { class: "route", id },
    make("h3", {}, make("span", { class: "badge" }, method), " ", make("a", { href: `#${id}` }, path)),
    make("p", {}, ...prose(operation.description ?? operation.summary ?? "")),
    // What changes something is not for trying out.
    ...(method === "GET" ? attempt(path, parameters, origin) : []),
    ...Object.entries(operation.responses ?? {}).map(([status, response]) => answer(status, response)),
  );
}

/**
 * The parameters as a small form, and what the gateway says to it.
 * @param {string} path
 * @param {Parameter[]} parameters
 * @param {string} origin
 * @returns {HTMLElement[]}
 */
function attempt(path, parameters, origin) {
  const inputs = parameters
    .filter((parameter) => parameter.in === "path" || parameter.in === "query")
    .map((parameter) => ({
      parameter,
      input: make("input", { type: "search", id: `${path}-${parameter.name}`, value: FIRST[parameter.name] ?? "", autocomplete: "off", spellcheck: "false" }),
    }));
  const shown = make("code", { class: "url" });
  const said = make("pre", { hidden: true, tabindex: "0", "aria-live": "polite" });
  const url = () => {
    let filled = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      const value = input.value.trim();
      if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (value) query.set(parameter.name, value);
    }
    // Commas and colons may stand as they are, and are easier to read so.
    const asked = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    return `${origin}${filled}${asked && `?${asked}`}`;
  };
  const go = async () => {
    said.hidden = false;
    write(said, "…");
    try {
      const ask = () => fetch(url(), { credentials: "include", signal: AbortSignal.timeout(10_000) });
      let answered = await ask();
      if (answered.status === 401) {
        await door?.pass();
        answered = await ask();
      }
      const body = await answered.text();
      let text = body;
      if (answered.headers.get("content-type")?.includes("json")) text = pretty(JSON.parse(body));
      const cut = text.length > LONGEST_SHOWN ? `\n… ${text.length - LONGEST_SHOWN} characters more` : "";
      write(said, `${answered.status} ${answered.statusText}\n\n${text.slice(0, LONGEST_SHOWN)}${cut}`);
    } catch (error) {
      write(said, `No answer: ${/** @type {Error} */ (error).message}`);
    }
  };
  const show = () => write(shown, url());
  for (const { input } of inputs) {
    input.addEventListener("input", show);
    input.addEventListener("keydown", (event) => event.key === "Enter" && go());
  }
  show();
  return [
    make(
      "div",
      { class: "parameters" },
      ...inputs.map(({ parameter, input }) =>
        make(
          "div",
          {},
          make("label", { for: input.id }, make("code", {}, parameter.name), make("small", {}, parameter.required ? " required" : "")),
          input,
          make("p", {}, ...prose(`${parameter.description ?? ""} (${typeOf(parameter.schema)}${bounds({ ...parameter.schema, ...pick(parameter) })})`.trim())),
        ),
      ),
    ),
    make("div", { class: "try" }, make("button", { type: "button", onclick: go }, "Try it"), shown),
    said,
  ];
}

/** @param {any} parameter */
function pick({ minimum, maximum }) {
  return minimum === undefined && maximum === undefined ? {} : { minimum, maximum };
}

/**
 * @param {string} status
 * @param {any} response
 */
function answer(status, response) {
  const content = /** @type {any} */ (Object.values(response.content ?? {})[0]);
  const example = content?.example ?? /** @type {any} */ (Object.values(content?.examples ?? {})[0])?.value;
  const schema = content?.schema;
  const type = schema ? typeOf(schema) : "";
  const fields = schemas[typeOf(schema?.items ?? schema)]?.properties;
  const head = make("summary", {}, make("b", {}, status), ` ${response.description ?? ""} `, make("small", {}, type));
  if (!fields && example === undefined) return make("p", { class: "answer" }, ...head.childNodes);
  return make(
    "details",
    { class: "answer" },
    head,
    ...(example === undefined ? [] : [make("pre", {}, pretty(example))]),
    ...(fields ? [table(fields)] : []),
  );
}

/** @param {Record<string, any>} fields */
function table(fields) {
  return make(
    "div",
    { class: "scroll" },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...["Field", "Type", "Meaning"].map((text) => make("th", { scope: "col" }, text)))),
      make(
        "tbody",
        {},
        ...Object.entries(fields).map(([name, schema]) =>
          make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, typeOf(schema)), make("td", {}, described(schema))),
        ),
      ),
    ),
  );
}

/** @param {any} schema @returns {string} */
function described(schema) {
  return schema.description ?? (schema.oneOf ?? schema.anyOf ?? []).map(described).find(Boolean) ?? "";
}

async function begin() {
  themes();
  const gateway = await locate();
  door = new Door(gateway);
  mark(find("schema"), "href", `${gateway.origin}/openapi.json`);
  for (const block of document.querySelectorAll("[data-origin]")) {
    write(block, (block.textContent ?? "").replaceAll("//127.0.0.1:5000", gateway.origin.replace(/^https?:/, "")));
  }
  const schema = await gateway.get("/openapi.json");
  schemas = schema.components?.schemas ?? {};
  write(find("version"), `version ${schema.info.version}`);
  /** @type {Map<string, [string, string, Operation][]>} */
  const groups = new Map();
  for (const [path, methods] of Object.entries(schema.paths)) {
    for (const method of ["get", "post", "delete"]) {
      const operation = methods[method];
      if (!operation) continue;
      const group = operation.tags?.[0] ?? "Other";
      groups.set(group, [...(groups.get(group) ?? []), [method.toUpperCase(), path, operation]]);
    }
  }
  find("routes").replaceChildren(
    ...[...groups].map(([group, routes]) =>
      make("section", { id: `group-${group}` }, make("h2", {}, group), ...routes.map(([method, path, operation]) => route(method, path, operation, gateway.origin))),
    ),
  );
  find("routes-contents").replaceChildren(
    ...[...groups].flatMap(([group, routes]) => [
      make("a", { href: `#group-${group}` }, group),
      ...routes.map(([method, path]) => make("a", { href: `#${method}-${path}`, class: "path" }, method === "GET" ? path : `${method} ${path}`)),
    ]),
  );
  // What the address points to was not there yet when the browser looked for it.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

begin().catch((error) => {
  find("routes").replaceChildren(make("p", { class: "alarm", "data-tone": "bad" }, `The routes could not be read from the gateway: ${error.message}`));
});
