// The state of the JavaScript client behind a pipe: one JSON command a line, one JSON answer a line.
import { pathToFileURL } from "node:url";
import { createInterface } from "node:readline";

const lib = pathToFileURL(process.argv[2] + "/");
const { BadFrame, Disorder } = await import(new URL("frames.js", lib).href);
const { State } = await import(new URL("state.js", lib).href);
let state = new State();

const COMMANDS = {
  begin: (shape) => (state = new State(shape)),
  subscribe: (symbols) => state.subscribe(symbols),
  unsubscribe: (symbols) => state.unsubscribe(symbols),
  show: (shape) => state.show(shape),
  disconnected: () => state.disconnected(),
  begin_anew: () => state.beginAnew(),
  receive: (text) => state.receive(parsed(text)),
};

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadFrame("not JSON");
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = JSON.parse(line);
  let failed = null;
  try {
    COMMANDS[command](argument);
  } catch (error) {
    failed = error instanceof Disorder ? "Disorder" : error instanceof BadFrame ? "BadFrame" : String(error?.stack);
  }
  state.happened();
  const { position, complete, greeted, subscribed, heartbeatMs } = state;
  const told = { failed, position, complete, greeted, subscribed, heartbeat_ms: heartbeatMs, sent: state.outgoing(), quotes: Object.fromEntries(state.quotes) };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
