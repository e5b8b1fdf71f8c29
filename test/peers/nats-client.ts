// A NATS client that waits for the server's greeting before it says anything, in a process of its own:
// `IP PORT` prints the greeting's first word and the answer to a PING, or why there is none.

import net from "node:net";
import process from "node:process";

const [ip = "", port = "0"] = process.argv.slice(2);
const socket = net.connect(Number(port), ip);
const timer = setTimeout(() => done("timeout"), 30_000);
let heard = "";
let greeted = false;

function done(line: string): void {
  clearTimeout(timer);
  process.stdout.write(`${line}\n`);
  socket.destroy();
}

socket.setEncoding("utf8").on("data", (text: string) => {
  heard += text;
  if (!heard.endsWith("\r\n")) return;
  if (!greeted) {
    greeted = true;
    socket.write('CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n');
  } else if (heard.includes("PONG")) done(`${heard.slice(0, 4)} PONG`);
});
socket.on("error", (e: Error & { code?: string }) => done(e.code ?? e.message));
socket.on("end", () => done("end"));
