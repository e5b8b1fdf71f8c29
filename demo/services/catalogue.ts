// The catalogue: a list of things. One replica is told to be slow, another to fail now and then.

import { setTimeout as sleep } from "node:timers/promises";
import { POD_IP, reply, serve, wholeFromEnv } from "./pod.ts";
import { failureSchedule } from "./schedule.ts";

const ITEMS = ["apple", "bread", "cheese", "dates", "egg", "fig"].map((name, i) => ({
  id: i + 1,
  name,
  priceCents: 100 + i * 35,
}));

const delayMs = wholeFromEnv("DELAY_MS", 0);
const fails = failureSchedule(wholeFromEnv("FAIL_PERCENT", 0), wholeFromEnv("SEED", 1));

serve(8080, async (request, response) => {
  const path = request.url ?? "/";
  if (request.method !== "GET") return reply(response, 405, { error: "only GET" });
  if (delayMs > 0) await sleep(delayMs);
  if (fails()) return reply(response, 503, { error: "this replica fails now and then" });
  if (path === "/items") return reply(response, 200, { from: POD_IP, items: ITEMS });
  const item = ITEMS.find((one) => path === `/items/${one.id}`);
  if (item === undefined) return reply(response, 404, { error: "no such item" });
  reply(response, 200, { from: POD_IP, item });
});
