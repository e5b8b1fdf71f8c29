// The front: one page out of what the catalogue and the vote say, and a connection to the vote's
// tally that stays open. It knows the mesh only as the proxy in its settings.

import { body, call, reply, say, serve } from "./pod.ts";
import { openTally } from "./tally.ts";

const CATALOGUE = "catalogue.shop.svc.cluster.local:8080";
const VOTE = "vote.shop.svc.cluster.local:8080";
const TIMEOUT_MS = 8_000;

const tally = openTally("vote.shop.svc.cluster.local:7070");
setInterval(() => say({ tally: tally.state() }), 1_000).unref();

serve(8080, async (request, response) => {
  const path = request.url ?? "/";
  if (request.method === "POST" && path === "/vote") {
    const sent = await body(request);
    const { status, body: text } = await call("POST", VOTE, "/vote", {
      body: sent,
      timeoutMs: TIMEOUT_MS,
    });
    return reply(response, status, JSON.parse(text));
  }
  if (request.method !== "GET" || path !== "/") {
    return reply(response, 404, { error: "GET / or POST /vote" });
  }
  const [catalogue, vote] = await Promise.all([
    call("GET", CATALOGUE, "/items", { timeoutMs: TIMEOUT_MS }),
    call("GET", VOTE, "/votes", { timeoutMs: TIMEOUT_MS }),
  ]);
  for (const [name, answer] of [["catalogue", catalogue], ["vote", vote]] as const) {
    if (answer.status !== 200) {
      const why = answer.proxyError === "" ? "" : `: ${answer.proxyError}`;
      return reply(response, 502, { error: `${name} answered ${answer.status}${why}` });
    }
  }
  reply(response, 200, {
    catalogue: JSON.parse(catalogue.body),
    vote: JSON.parse(vote.body),
    tally: tally.state(),
  });
});
