// The page: follows the event stream and hands each snapshot to its parts. Draws at most once a frame,
// and not at all while nobody looks.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { filtersList } from "./filters.js";
import { clock, count, health, percent, plural, rate, short } from "./format.js";
import { graph } from "./graph.js";
import { eventLog } from "./log.js";
import { proxiesTable } from "./proxies.js";
import { servicesNote, servicesTable } from "./services.js";
import { POINTS } from "./sparkline.js";
import { follow } from "./stream.js";

/**
 * @import { History, Snapshot } from "../api/admin.ts"
 * @import { LinkState } from "./stream.js"
 */

/** Calls per second of a filter are over this many snapshots. */
const RATE_STEPS = 5;
/** Certificates live for a day; their dates change seldom. */
const IDENTITIES_EVERY_MS = 15_000;

/** @type {Map<string, { rps: number[], successRate: (number | null)[], p95Ms: (number | null)[] }>} */
let past = new Map();
/** @type {Map<string, { at: number, calls: number }[]>} */
const calls = new Map();
/** @type {Map<string, number>} */
const notAfter = new Map();
/** @type {Snapshot | null} */
let latest = null;
let drawing = false;

const drawGraph = graph(byId("graph"));
const drawServices = servicesTable(byId("services"));
const drawFilters = filtersList(byId("filters"), rollOut);
const drawProxies = proxiesTable(byId("proxies"));
const drawTiles = tiles(byId("tiles"));
const drawProblems = problems(byId("problems"));

follow({
  history: takeHistory,
  snapshot: (snapshot) => {
    latest = snapshot;
    remember(snapshot);
    drawSoon();
  },
  happened: eventLog(byId("log"), byId("log-empty")),
  link: showLink,
});
document.addEventListener("visibilitychange", drawSoon);
void readIdentities();
setInterval(() => void readIdentities(), IDENTITIES_EVERY_MS);

function drawSoon() {
  if (drawing || document.hidden) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (latest !== null) draw(latest);
  });
}

/** @param {Snapshot} snapshot */
function draw(snapshot) {
  drawTiles(snapshot);
  drawProblems(snapshot);
  drawGraph.update(snapshot);
  drawServices(snapshot, past);
  drawFilters(snapshot, callRates());
  drawProxies(snapshot, notAfter);
  setText(byId("services-note"), servicesNote(snapshot));
  const none = snapshot.services.length === 0;
  say("graph-empty", none && snapshot.edges.length === 0 && "No service is known yet.");
  say("services-empty", none && "The control plane knows no services. Apply one to see it here.");
  const filters = snapshot.filters.length === 0;
  say("filters-empty", filters && "No filter is known. Apply a WasmFilter to see it here.");
  const proxies = snapshot.proxies.length === 0;
  say("proxies-empty", proxies && "No pod with a proxy is known: nothing is meshed yet.");
}

/**
 * @param {string} id
 * @param {string | false} words
 */
function say(id, words) {
  const element = byId(id);
  element.hidden = words === false;
  if (words !== false) setText(element, words);
}

/** @param {History} history */
function takeHistory(history) {
  past = new Map(
    Object.entries(history.services).map(([id, { rps, successRate, p95Ms }]) => [
      id,
      { rps: [...rps], successRate: [...successRate], p95Ms: [...p95Ms] },
    ]),
  );
}

/** @param {Snapshot} snapshot */
function remember(snapshot) {
  for (const { id, golden } of snapshot.services) {
    const line = past.get(id) ?? { rps: [], successRate: [], p95Ms: [] };
    past.set(id, line);
    line.rps.push(golden.rps);
    line.successRate.push(golden.successRate);
    line.p95Ms.push(golden.p95Ms);
    for (const values of Object.values(line)) if (values.length > POINTS) values.shift();
  }
  for (const filter of snapshot.filters) {
    const seen = calls.get(filter.name) ?? [];
    calls.set(filter.name, seen);
    seen.push({ at: snapshot.at, calls: filter.calls });
    if (seen.length > RATE_STEPS) seen.shift();
  }
}

/** @returns {Map<string, number>} */
function callRates() {
  return new Map([...calls].map(([name, seen]) => {
    const [first, last] = [seen[0], seen.at(-1)];
    const ms = (last?.at ?? 0) - (first?.at ?? 0);
    // A swap begins to count anew.
    const grown = Math.max(0, (last?.calls ?? 0) - (first?.calls ?? 0));
    return [name, ms > 0 ? grown / (ms / 1000) : 0];
  }));
}

/** @param {LinkState} state */
function showLink(state) {
  const since = latest === null ? "" : ` Showing what was seen at ${clock(latest.at)}.`;
  const words = {
    connecting: "Connecting to the control plane…",
    live: "Live",
    quiet: `The control plane is quiet.${since}`,
    lost: `Connection lost, trying again.${since}`,
    refused: `The control plane refused the stream, trying again in 5 s.${since}`,
  }[state];
  setAttribute(document.body, "data-link", state);
  setText(byId("link"), words);
}

/** @param {HTMLElement} list */
function tiles(list) {
  const success = tile("Success after retries");
  const requests = tile("Requests");
  const mtls = tile("Mutual TLS");
  const proxies = tile("Proxies");
  list.append(success.element, requests.element, mtls.element, proxies.element);
  return (/** @type {Snapshot} */ { services, edges, proxies: all, total }) => {
    const busy = services.filter(({ golden }) => golden.rps > 0);
    /** @param {(service: Snapshot["services"][number]) => number | null} of */
    const mean = (of) => {
      const known = busy.filter((service) => of(service) !== null);
      const rps = known.reduce((sum, { golden }) => sum + golden.rps, 0);
      if (rps === 0) return null;
      // All of them: then it is not a matter of rounding.
      if (known.every((service) => of(service) === 1)) return 1;
      return known.reduce((sum, s) => sum + s.golden.rps * (of(s) ?? 0), 0) / rps;
    };
    const effective = mean(({ golden }) => golden.successRate);
    const actual = mean(({ golden }) => golden.actualSuccessRate);
    success.say(
      percent(effective),
      actual === null ? "no requests in 10 s" : `${percent(actual)} per attempt`,
      health(effective),
    );
    requests.say(
      rate(busy.reduce((sum, { golden }) => sum + golden.rps, 0)),
      total.services === 0
        ? "no service is known"
        : `to ${busy.length} of ${plural(total.services, "service")}`,
    );
    const secured = mean((service) => service.mtls);
    const plain = all.reduce((sum, proxy) => sum + proxy.plaintextConnections, 0);
    const openPlain = edges.some((edge) => edge.mtls !== null && edge.mtls < 1);
    mtls.say(
      percent(secured),
      all.length === 0
        ? "no proxy is known"
        : plain === 0
        ? "no plain connection between pods"
        : plural(plain, "plain connection"),
      secured === null ? "idle" : secured < 1 || openPlain ? "bad" : "good",
    );
    const up = all.filter(({ state }) => state === "up").length;
    proxies.say(
      `${count(up)} of ${count(total.proxies)}`,
      all.length === 0
        ? "none is known"
        : up === all.length
        ? "all answer"
        : `${plural(all.length - up, "does", "do")} not answer`,
      all.length === 0 ? "idle" : up < all.length ? "warn" : "good",
    );
  };
}

/** @param {string} label */
function tile(label) {
  const value = h("dd", { class: "tile-value" }, "–");
  const note = h("dd", { class: "muted" }, "");
  return {
    element: h("div", { class: "tile" }, h("dt", {}, label), value, note),
    /**
     * @param {string} text
     * @param {string} more
     * @param {string} [is]
     */
    say(text, more, is = "idle") {
      setText(value, text);
      setAttribute(value, "class", `tile-value is-${is}`);
      setText(note, more);
    },
  };
}

/** @param {HTMLElement} list */
function problems(list) {
  /** @typedef {Snapshot["problems"][number]} Problem */
  const draw = keyed(list, (/** @type {Problem} */ p) => `${p.source} ${p.message}`, (problem) => ({
    element: h("li", {}, h("strong", {}, problem.source), ` ${problem.message}`),
    update: () => {},
  }));
  return (/** @type {Snapshot} */ snapshot) => {
    list.hidden = snapshot.problems.length === 0;
    draw(snapshot.problems);
  };
}

/**
 * @param {string} filter
 * @param {string} sha256
 */
async function rollOut(filter, sha256) {
  const answer = await fetch(`/api/filters/${encodeURIComponent(filter)}/rollout`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ sha256 }),
  }).catch(() => {
    throw new Error("The control plane does not answer: nothing was rolled out.");
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return `Rolled out ${short(body.sha256)}; before it ran ${short(body.previous)}.`;
  throw new Error(`Refused: ${body.error ?? `status ${answer.status}`}`);
}

async function readIdentities() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/api/identities");
    if (!answer.ok) return;
    const { identities, trustDomain } = await answer.json();
    notAfter.clear();
    for (const { name, notAfter: end } of identities) notAfter.set(name, end);
    setText(byId("mesh"), trustDomain);
    drawSoon();
  } catch {
    // The stream says that the connection is lost; the dates that are known stay.
  }
}
