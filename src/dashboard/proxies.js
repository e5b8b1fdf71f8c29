// The proxies: whether they answer, how their connections are secured, and when their certificate ends.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { clock, count, remaining } from "./format.js";

/**
 * @import { ProxyView, Snapshot } from "../api/admin.ts"
 */

/** @typedef {{ proxy: ProxyView, notAfter: number | undefined, at: number }} Row */

/** A certificate of a day that is this near its end was not renewed when it should have been. */
const SOON_MS = 2 * 3600 * 1000;

/**
 * @param {HTMLElement} table
 * @returns {(snapshot: Snapshot, notAfter: ReadonlyMap<string, number>) => void}
 */
export function proxiesTable(table) {
  const body = /** @type {HTMLElement} */ (table.querySelector("tbody"));
  const draw = keyed(body, (/** @type {Row} */ row) => row.proxy.id, proxyRow);
  return (snapshot, notAfter) => {
    table.hidden = snapshot.proxies.length === 0;
    draw(snapshot.proxies.map((proxy) => ({
      proxy,
      notAfter: proxy.identity === null ? undefined : notAfter.get(proxy.identity),
      at: snapshot.at,
    })));
  };
}

function proxyRow() {
  const cells = {
    pod: h("th", { scope: "row" }),
    state: h("td", { "data-label": "State" }),
    mtls: h("td", { "data-label": "mTLS", class: "num" }),
    plain: h("td", { "data-label": "Plain text", class: "num" }),
    memory: h("td", { "data-label": "Memory", class: "num" }),
    certificate: h("td", { "data-label": "Certificate" }),
  };
  return {
    element: h("tr", {}, ...Object.values(cells)),
    /** @param {Row} row */
    update({ proxy, notAfter, at }) {
      setText(cells.pod, proxy.id);
      setAttribute(cells.pod, "title", proxy.addr);
      const seen = proxy.seenAt === null ? "never seen" : `last seen ${clock(proxy.seenAt)}`;
      setText(cells.state, proxy.state === "up" ? "up" : `${proxy.state}, ${seen}: ${proxy.why}`);
      const is = { up: "good", starting: "warn", away: "bad" }[proxy.state];
      setAttribute(cells.state, "class", `is-${is}`);
      setText(cells.mtls, count(proxy.mtlsConnections));
      setText(cells.plain, count(proxy.plaintextConnections));
      setAttribute(cells.plain, "class", proxy.plaintextConnections > 0 ? "num is-bad" : "num");
      setText(cells.memory, proxy.seenAt === null ? "–" : `${count(proxy.rssMiB)} MiB`);
      const left = notAfter === undefined ? null : notAfter - at;
      setText(cells.certificate, left === null ? "none issued" : `ends in ${remaining(left)}`);
      setAttribute(cells.certificate, "class", left === null || left < SOON_MS ? "is-warn" : null);
      setAttribute(cells.certificate, "title", proxy.identity);
    },
  };
}
