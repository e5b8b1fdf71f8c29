// The table of golden metrics, a group of rows a service: its figures with lines of the last two
// minutes, and, opened by its button, its endpoints as the proxies that balance over them see them.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { count, duration, health, percent, plural, rate } from "./format.js";
import { sparkline } from "./sparkline.js";

/**
 * @import { EndpointView, History, ServiceView, Snapshot } from "../api/admin.ts"
 */

/**
 * @typedef {History["services"][string]} Past
 * @typedef {{ service: ServiceView, past: Past | undefined, alone: boolean }} Row
 */

const COLUMNS = 9;

/**
 * @param {HTMLElement} table
 * @returns {(snapshot: Snapshot, past: ReadonlyMap<string, Past>) => void}
 */
export function servicesTable(table) {
  const draw = keyed(
    table,
    (/** @type {Row | null} */ row) => row?.service.id ?? "",
    (row) =>
      row === null
        ? kept(/** @type {HTMLElement} */ (table.querySelector("thead")))
        : serviceRows(),
  );
  return (snapshot, past) => {
    const spaces = new Set(snapshot.services.map(({ namespace }) => namespace));
    table.hidden = snapshot.services.length === 0;
    draw([
      null,
      ...snapshot.services.map((service) => ({
        service,
        past: past.get(service.id),
        alone: spaces.size === 1,
      })),
    ]);
  };
}

/** @param {HTMLElement} element */
function kept(element) {
  return { element, update: () => {} };
}

function serviceRows() {
  const toggle = h("button", {
    class: "toggle",
    type: "button",
    "aria-expanded": "false",
    onclick: () => {
      const open = toggle.getAttribute("aria-expanded") !== "true";
      setAttribute(toggle, "aria-expanded", String(open));
      detail.hidden = !open;
    },
  });
  const success = figure("Success");
  const actual = figure("Actual", false);
  const requests = figure("Requests");
  const p50 = figure("p50", false);
  const p95 = figure("p95");
  const p99 = figure("p99", false);
  const mtls = figure("mTLS", false);
  const ready = h("td", { "data-label": "Endpoints" });
  const name = h("th", { scope: "row" }, toggle);
  const row = h(
    "tr",
    {},
    name,
    ...[success, actual, requests, p50, p95, p99, mtls].map((f) => f.cell),
    ready,
  );
  const endpoints = endpointsTable();
  const detail = h(
    "tr",
    { class: "detail", hidden: true },
    h("td", { colspan: COLUMNS }, endpoints.element),
  );
  const element = h("tbody", {}, row, detail);
  return {
    element,
    /** @param {Row | null} of */
    update(of) {
      if (of === null) return;
      const { service, past, alone } = of;
      const { golden } = service;
      element.id = `service-${service.id}`;
      setText(toggle, alone ? service.name : service.id);
      success.say(percent(golden.successRate), health(golden.successRate));
      actual.say(percent(golden.actualSuccessRate));
      requests.say(rate(golden.rps));
      p50.say(duration(golden.p50Ms));
      p95.say(duration(golden.p95Ms));
      p99.say(duration(golden.p99Ms));
      mtls.say(
        percent(service.mtls),
        service.mtls !== null && service.mtls < 1 ? "bad" : undefined,
      );
      const rates = past?.successRate ?? [];
      // From 90 %, or lower where it was: a dip of one in a thousand must not look like a cliff.
      const low = Math.min(0.9, ...rates.map((r) => r ?? 1));
      success.line(rates, low, 1 + (1 - low) / 3);
      requests.line(past?.rps ?? []);
      p95.line(past?.p95Ms ?? []);
      const up = service.endpoints.filter((e) => e.ready).length;
      setText(ready, `${up} of ${service.endpoints.length} ready`);
      setAttribute(ready, "class", up < service.endpoints.length ? "is-warn" : null);
      endpoints.update(service.endpoints);
    },
  };
}

/**
 * A cell with a figure and perhaps a line.
 * @param {string} label
 * @param {boolean} [withLine]
 */
function figure(label, withLine = true) {
  const text = h("span", { class: "figure" });
  const line = withLine ? sparkline() : null;
  const cell = h("td", { class: "num", "data-label": label }, line?.element, text);
  return {
    cell,
    /**
     * @param {string} value
     * @param {string} [is]
     */
    say(value, is) {
      setText(text, value);
      setAttribute(text, "class", is === undefined ? "figure" : `figure is-${is}`);
    },
    /**
     * @param {readonly (number | null)[]} values
     * @param {number} [low]
     * @param {number} [high]
     */
    line: (values, low, high) => line?.update(values, low, high),
  };
}

function endpointsTable() {
  const body = h("tbody");
  const heads = ["Address", "Pod", "State", "EWMA", "In flight", "Weight", "Identity"];
  const head = h("thead", {}, h("tr", {}, ...heads.map((t) => h("th", { scope: "col" }, t))));
  const empty = h("p", { class: "empty" }, "This service has no endpoints: its callers get 504.");
  const table = h("table", { class: "grid inner" }, head, body);
  const draw = keyed(body, (/** @type {EndpointView} */ e) => e.addr, endpointRow);
  return {
    element: h("div", {}, table, empty),
    /** @param {readonly EndpointView[]} endpoints */
    update(endpoints) {
      table.hidden = endpoints.length === 0;
      empty.hidden = endpoints.length > 0;
      draw(endpoints);
    },
  };
}

function endpointRow() {
  const cells = {
    addr: h("th", { scope: "row", class: "mono" }),
    pod: h("td", { "data-label": "Pod" }),
    state: h("td", { "data-label": "State" }),
    ewma: h("td", { "data-label": "EWMA" }),
    pending: h("td", { "data-label": "In flight" }),
    weight: h("td", { "data-label": "Weight" }),
    identity: h("td", { "data-label": "Identity", class: "identity" }),
  };
  return {
    element: h("tr", {}, ...Object.values(cells)),
    /** @param {EndpointView} endpoint */
    update(endpoint) {
      const { loads } = endpoint;
      setText(cells.addr, endpoint.addr);
      setText(cells.pod, endpoint.pod ?? "–");
      const odd = loads.filter(({ state }) => state !== "ready")
        .map(({ state, proxy }) => `${state} in ${proxy}`);
      setText(cells.state, [endpoint.ready ? "ready" : "not ready", ...odd].join(", "));
      setAttribute(cells.state, "class", endpoint.ready && odd.length === 0 ? null : "is-warn");
      setText(cells.ewma, range(loads.map(({ ewmaMs }) => ewmaMs), duration));
      setText(cells.pending, loads.length === 0 ? "–" : count(sum(loads.map((l) => l.pending))));
      setText(cells.weight, range(loads.map(({ weight }) => weight), weightText));
      setText(cells.identity, endpoint.identity ?? "not meshed");
      setAttribute(cells.identity, "title", endpoint.identity);
      setAttribute(
        cells.ewma,
        "title",
        loads.map((l) => `${l.proxy}: ${duration(l.ewmaMs)}`).join("\n") || null,
      );
    },
  };
}

/** @param {number} weight */
const weightText = (weight) =>
  weight >= 100 ? count(weight) : String(Math.round(weight * 100) / 100);

/**
 * One figure, or from the least to the most where proxies differ.
 * @param {readonly number[]} values
 * @param {(value: number) => string} format
 */
function range(values, format) {
  if (values.length === 0) return "–";
  const [low, high] = [format(Math.min(...values)), format(Math.max(...values))];
  return low === high ? low : `${low} – ${high}`;
}

/** @param {readonly number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/**
 * What stands under the heading.
 * @param {Snapshot} snapshot
 */
export function servicesNote({ services, total }) {
  const note = "over the last 10 s, lines show two minutes";
  return services.length < total.services
    ? `the busiest ${services.length} of ${plural(total.services, "service")}, ${note}`
    : note;
}
