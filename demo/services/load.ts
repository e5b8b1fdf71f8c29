// The load: asks the web front at a fixed rate, whatever it answers (an open loop), and keeps a
// record. Commands come as lines on stdin; results go out as JSON lines.

import process from "node:process";
import { createInterface } from "node:readline";
import { call, message, say, wholeFromEnv } from "./pod.ts";
import { LoadRecord } from "./load-record.ts";

const WEB = "web.shop.svc.cluster.local:8080";
const ITEMS = ["apple", "bread", "cheese", "dates", "egg", "fig"];
const TIMEOUT_MS = 10_000;
/** More at once than this are not sent and count as failed: the mesh is that far behind. */
const MAX_IN_FLIGHT = wholeFromEnv("MAX_IN_FLIGHT", 256);
const PROBE_EVERY_MS = 25;
const PROBE_FOR_MS = 30_000;
const MAX_FAILURES_TOLD = 20;

const record = new LoadRecord(() => performance.now());
let turn = 0;
let told = 0;
let ticking: ReturnType<typeof setInterval> | null = null;

/** One request of the mix: every fifth is a vote. Resolves with "" or why it failed. */
async function one(n: number): Promise<string> {
  const vote = n % 5 === 4;
  try {
    const answer = vote
      ? await call("POST", WEB, "/vote", {
        body: JSON.stringify({ item: ITEMS[(n / 5 | 0) % ITEMS.length] }),
        timeoutMs: TIMEOUT_MS,
      })
      : await call("GET", WEB, "/", { timeoutMs: TIMEOUT_MS });
    if (answer.status === (vote ? 201 : 200)) return "";
    const why = answer.proxyError === "" ? answer.body.slice(0, 200) : answer.proxyError;
    return `${vote ? "POST /vote" : "GET /"} was answered ${answer.status}: ${why}`;
  } catch (e) {
    return message(e);
  }
}

/** A request whose end is written down. */
async function measured(n: number): Promise<void> {
  const seen = record.begin();
  tell(record.end(seen, await one(n)));
}

function tell(failure: string): void {
  if (failure !== "" && told++ < MAX_FAILURES_TOLD) say({ failure });
}

/** Asks until one page comes through the whole graph. */
async function probe(): Promise<void> {
  const until = performance.now() + PROBE_FOR_MS;
  let why = "";
  do {
    why = await one(0);
    if (why === "") return say({ probe: "ok" });
    await new Promise((again) => setTimeout(again, PROBE_EVERY_MS));
  } while (performance.now() < until);
  say({ probe: "failed", why });
}

/** Sends `rate` requests a second, paced by the clock and not by the answers. */
function go(rate: number): void {
  stop();
  const started = performance.now();
  let sent = 0;
  ticking = setInterval(() => {
    const due = Math.floor((performance.now() - started) * rate / 1000);
    while (sent < due) {
      sent++;
      if (record.inFlight >= MAX_IN_FLIGHT) tell(record.refuse(`${MAX_IN_FLIGHT} are in flight`));
      else void measured(turn++);
    }
  }, Math.max(1, Math.min(20, 1000 / rate)));
}

function stop(): void {
  if (ticking !== null) clearInterval(ticking);
  ticking = null;
}

/** Waits for what is in flight, then tells the whole record. */
async function finish(): Promise<void> {
  stop();
  await record.idle();
  say({ final: record.summary() });
}

setInterval(() => say({ load: record.summary() }), 1_000).unref();

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, argument = ""] = line.split(" ");
  if (command === "probe") void probe();
  else if (command === "go") go(Math.max(1, Math.min(10_000, Number(argument) || 1)));
  else if (command === "stop") void finish();
  else if (command === "swap-begin") record.beginSwap(argument);
  else if (command === "swap-end") {
    void record.endSwap(argument).then((swap) => say({ swap }));
  }
});
