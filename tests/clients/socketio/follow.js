// A program for socket.io-client, as anyone would write it: follows the symbols it is given, and says what it hears.
//   node follow.js URL TRANSPORT SYMBOL…       one JSON line per event on stdout; a line on stdin is an event to send
// KEY in the environment is shown as a header.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, transport, ...symbols] = process.argv.slice(2);
const transports = transport === "upgrade" ? ["polling", "websocket"] : [transport];
const extraHeaders = process.env.KEY ? { "X-API-Key": process.env.KEY } : {};
const socket = io(url, { transports, extraHeaders, reconnection: false });
const say = (event, told) => console.log(JSON.stringify([event, told]));

socket.on("connect", () => {
  say("connect", socket.io.engine.transport.name);
  socket.emit("subscribe", { symbols });
});
socket.io.on("open", () => socket.io.engine.on("upgrade", (now) => say("upgrade", now.name)));
socket.onAny(say);
socket.on("connect_error", (error) => say("connect_error", error.message));
socket.on("disconnect", (reason) => say("disconnect", reason));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [event, told] = JSON.parse(line);
    socket.emit(event, told, (answer) => say(`ack ${event}`, answer));
  })
  .on("close", () => socket.close());
