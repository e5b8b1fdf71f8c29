// What happened, newest first: swaps, errors, endpoints. Proxies that swap the same module at nearly the
// same time are one line.

import { h, setText } from "./dom.js";
import { clock, plural, short } from "./format.js";

/**
 * @import { AdminEvent } from "../api/admin.ts"
 */

const MAX_LINES = 100;
const TOGETHER_MS = 10_000;

/**
 * @typedef {{ key: string, at: number, last: number, served: boolean, proxies: Set<string>, from: string | null, text: HTMLElement }} SwapLine
 */

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} empty
 * @returns {(event: AdminEvent) => void}
 */
export function eventLog(list, empty) {
  /** @type {SwapLine[]} */
  let swaps = [];

  /**
   * @param {number} at
   * @param {string} is
   * @param {string} label
   * @param {HTMLElement} text
   */
  function add(at, is, label, text) {
    empty.hidden = true;
    const time = h("time", { datetime: new Date(at).toISOString() }, clock(at));
    list.prepend(h("li", { class: `is-${is}` }, time, h("span", { class: "kind" }, label), text));
    while (list.childElementCount > MAX_LINES) list.lastElementChild?.remove();
  }

  return (event) => {
    if (event.type === "swap") {
      const { at, filter, proxy, from, to } = event.data;
      const key = `${filter} ${to}`;
      swaps = swaps.filter((line) => at - line.last < TOGETHER_MS);
      let line = swaps.find((l) => l.key === key);
      if (line === undefined) {
        line = { key, at, last: at, served: false, proxies: new Set(), from, text: h("span") };
        swaps.push(line);
        add(at, "swap", from === null ? "load" : "swap", line.text);
      }
      line.last = at;
      line.from ??= from;
      if (proxy === null) line.served = true;
      else line.proxies.add(proxy);
      setText(line.text, swapText(filter, to, line));
    } else if (event.type === "failure") {
      const { at, source, message } = event.data;
      add(at, "error", "error", h("span", {}, `${source}: ${message}`));
    } else {
      const { at, service, added, removed, ready, notReady } = event.data;
      const parts = [
        added.length > 0 ? `joined ${some(added)}` : "",
        removed.length > 0 ? `left ${some(removed)}` : "",
        ready.length > 0 ? `ready again ${some(ready)}` : "",
        notReady.length > 0 ? `no longer ready ${some(notReady)}` : "",
      ].filter((part) => part !== "");
      add(at, "endpoints", "endpoints", h("span", {}, `${service}: ${parts.join("; ")}`));
    }
  };
}

/**
 * @param {string} filter
 * @param {string} to
 * @param {SwapLine} line
 */
function swapText(filter, to, { served, proxies, from }) {
  const what = from === null ? `${filter} ${short(to)}` : `${filter} ${short(from)} → ${short(to)}`;
  const where = [
    served ? "served" : "",
    proxies.size > 0 ? `running in ${plural(proxies.size, "proxy", "proxies")}` : "",
  ].filter((part) => part !== "");
  return `${what}: ${where.join(", ")}`;
}

/** @param {readonly string[]} addrs */
function some(addrs) {
  return addrs.length <= 3
    ? addrs.join(", ")
    : `${addrs.slice(0, 3).join(", ")} and ${addrs.length - 3} more`;
}
