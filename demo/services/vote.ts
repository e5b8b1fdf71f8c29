// The vote: counts votes over HTTP, and tells the count over a line protocol of its own in which the
// server speaks first, as databases do.

import net from "node:net";
import { body, die, message, POD_IP, reply, serve } from "./pod.ts";

const TALLY_PORT = 7070;
const MAX_LINE = 256;
const MAX_ITEMS = 100;
const votes = new Map<string, number>();
let total = 0;

function count(item: string): boolean {
  if (!/^[a-z]{1,32}$/.test(item)) return false;
  if (!votes.has(item) && votes.size >= MAX_ITEMS) return false;
  votes.set(item, (votes.get(item) ?? 0) + 1);
  total++;
  return true;
}

serve(8080, async (request, response) => {
  if (request.method === "GET" && request.url === "/votes") {
    return reply(response, 200, { total, votes: Object.fromEntries(votes) });
  }
  if (request.method !== "POST" || request.url !== "/vote") {
    return reply(response, 404, { error: "GET /votes or POST /vote" });
  }
  const item = itemOf(await body(request));
  if (item === null || !count(item)) {
    return reply(response, 400, { error: 'send {"item":"apple"}' });
  }
  reply(response, 201, { item, votes: votes.get(item) });
});

function itemOf(text: string): string | null {
  try {
    const value: unknown = JSON.parse(text);
    const item = (value as { item?: unknown } | null)?.item;
    return typeof item === "string" ? item : null;
  } catch {
    return null;
  }
}

const tally = net.createServer((socket) => {
  let rest = "";
  socket.setEncoding("utf8");
  socket.on("error", () => {});
  socket.write("tally 1\n");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE || lines.length > MAX_LINE) return socket.destroy();
    for (const line of lines) {
      socket.write(line === "count" ? `count ${total}\n` : "error: say count\n");
    }
  });
});
tally.on("error", (e) => die(`cannot listen on ${POD_IP}:${TALLY_PORT}: ${message(e)}`));
tally.listen(TALLY_PORT, POD_IP);
