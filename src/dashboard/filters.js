// Filters: what is wanted and what runs where, what it costs, and a button a build to roll it out.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { count, nanoseconds, plural, rate, short, size } from "./format.js";

/**
 * @import { FilterView, Snapshot } from "../api/admin.ts"
 */

/**
 * @typedef {FilterView["running"][number]} Running
 * @typedef {FilterView["builds"][number]} Build
 * @typedef {{ filter: FilterView, callsPerSecond: number }} Shown
 * @typedef {(filter: string, sha256: string) => Promise<string>} RollOut
 */

/**
 * @param {HTMLElement} container
 * @param {RollOut} rollOut rejects with an `Error` that says why not
 * @returns {(snapshot: Snapshot, callsPerSecond: ReadonlyMap<string, number>) => void}
 */
export function filtersList(container, rollOut) {
  const draw = keyed(
    container,
    (/** @type {Shown} */ s) => s.filter.name,
    () => filterCard(rollOut),
  );
  return (snapshot, rates) =>
    draw(snapshot.filters.map((filter) => ({
      filter,
      callsPerSecond: rates.get(filter.name) ?? 0,
    })));
}

/** @param {RollOut} rollOut */
function filterCard(rollOut) {
  const name = h("h3");
  const state = h("span", { class: "badge" });
  const targets = h("p", { class: "muted" });
  const reason = h("p", { class: "reason", hidden: true });
  const failure = h("p", { class: "reason", hidden: true });
  const calls = stat("Calls");
  const cost = stat("Per call");
  const traps = stat("Traps");
  const digest = h("code", { class: "digest" });
  const spread = h("span", { class: "muted" });
  const bar = h("span", { class: "progress", "aria-hidden": "true" }, h("span"));
  const answer = h("p", { class: "answer", role: "status", hidden: true });
  const builds = h("ul", { class: "builds" });
  const noBuilds = h("p", { class: "empty" }, "The registry has no build of it.");
  const body = h("tbody");
  const heads = ["Proxy", "Module", "Calls", "Per call", "Traps", "State"];
  const head = h(
    "tr",
    {},
    ...heads.map((t, i) => h("th", { scope: "col", class: i > 1 && i < 5 ? "num" : null }, t)),
  );
  const running = h(
    "details",
    {},
    h("summary", {}, "In each proxy"),
    h("table", { class: "grid inner" }, h("thead", {}, head), body),
  );
  const drawRunning = keyed(
    body,
    (/** @type {Running} */ r) => `${r.proxy} ${r.sha256}`,
    runningRow,
  );

  /** @type {FilterView | null} */
  let shown = null;
  const drawBuilds = keyed(
    builds,
    (/** @type {Build & { served: boolean }} */ build) => build.sha256,
    () =>
      buildRow(async (sha256) => {
        if (shown === null) return;
        answer.hidden = false;
        setText(answer, `Rolling out ${short(sha256)}…`);
        try {
          setText(answer, await rollOut(shown.name, sha256));
          setAttribute(answer, "class", "answer");
        } catch (e) {
          setText(answer, e instanceof Error ? e.message : String(e));
          setAttribute(answer, "class", "answer is-bad");
        }
      }),
  );

  const element = h(
    "article",
    { class: "filter" },
    h("header", {}, name, state),
    targets,
    reason,
    h("dl", { class: "stats" }, ...[calls, cost, traps].map((s) => s.element)),
    failure,
    h("p", { class: "serving" }, digest, bar, spread),
    builds,
    noBuilds,
    answer,
    running,
  );
  return {
    element,
    /** @param {Shown} of */
    update({ filter, callsPerSecond }) {
      shown = filter;
      setText(name, filter.name);
      setText(state, filter.state);
      const is = { serving: "good", pending: "warn", refused: "bad" }[filter.state];
      setAttribute(state, "class", `badge is-${is}`);
      setText(targets, filter.targets.join(", ") || "no route names it");
      reason.hidden = filter.reason === "";
      setText(reason, filter.reason);
      const now = filter.running.filter((r) => r.current);
      const failed = now.find((r) => r.lastError !== "");
      failure.hidden = failed === undefined;
      setText(failure, failed === undefined ? "" : `In ${failed.proxy}: ${failed.lastError}`);
      calls.say(count(filter.calls), rate(callsPerSecond));
      cost.say(nanoseconds(filter.nsPerCall), "median");
      traps.say(
        count(filter.traps),
        filter.traps === 0 ? "none" : "the newest below",
        filter.traps > 0,
      );
      const served = filter.served?.sha256 ?? null;
      setText(digest, short(served));
      setAttribute(digest, "title", served);
      const proxies = new Set(now.map(({ proxy }) => proxy));
      const current = new Set(
        now.filter((r) => r.sha256 === served).map((r) => r.proxy),
      );
      const share = proxies.size === 0 ? 0 : current.size / proxies.size;
      /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${share * 100}%`;
      setText(
        spread,
        proxies.size === 0
          ? "no proxy runs it yet"
          : `runs in ${current.size} of ${plural(proxies.size, "proxy", "proxies")}`,
      );
      drawBuilds(filter.builds.map((build) => ({ ...build, served: build.sha256 === served })));
      noBuilds.hidden = filter.builds.length > 0;
      running.hidden = filter.running.length === 0;
      drawRunning(filter.running);
    },
  };
}

/** @param {string} label */
function stat(label) {
  const value = h("dd");
  const note = h("dd", { class: "muted" });
  return {
    element: h("div", {}, h("dt", {}, label), value, note),
    /**
     * @param {string} text
     * @param {string} more
     * @param {boolean} [bad]
     */
    say(text, more, bad = false) {
      setText(value, text);
      setText(note, more);
      setAttribute(value, "class", bad ? "is-bad" : null);
    },
  };
}

/** @param {(sha256: string) => Promise<void>} rollOut */
function buildRow(rollOut) {
  const digest = h("code", { class: "digest" });
  const label = h("span", { class: "muted build-label" });
  const served = h("span", { class: "muted served" }, "serving");
  let sha256 = "";
  const button = h("button", {
    type: "button",
    onclick: async () => {
      button.disabled = true;
      await rollOut(sha256);
      button.disabled = false;
    },
  }, "Roll out");
  return {
    element: h("li", {}, digest, label, button, served),
    /** @param {Build & { served: boolean }} build */
    update(build) {
      sha256 = build.sha256;
      setText(digest, short(sha256));
      setAttribute(digest, "title", sha256);
      setText(label, build.label);
      setAttribute(label, "title", `${build.label}, ${size(build.size)}`);
      setAttribute(button, "aria-label", `Roll out ${short(sha256)}, ${build.label}`);
      button.hidden = build.served;
      served.hidden = !build.served;
    },
  };
}

function runningRow() {
  const cells = {
    proxy: h("th", { scope: "row" }),
    module: h("td", { "data-label": "Module", class: "mono" }),
    calls: h("td", { "data-label": "Calls", class: "num" }),
    cost: h("td", { "data-label": "Per call", class: "num" }),
    traps: h("td", { "data-label": "Traps", class: "num" }),
    state: h("td", { "data-label": "State" }),
  };
  const element = h("tr", {}, ...Object.values(cells));
  return {
    element,
    /** @param {Running} running */
    update(running) {
      setText(cells.proxy, running.proxy.slice(running.proxy.indexOf("/") + 1));
      setAttribute(cells.proxy, "title", running.proxy);
      setText(cells.module, short(running.sha256));
      setAttribute(cells.module, "title", running.sha256);
      setText(cells.calls, count(running.calls));
      setText(cells.cost, nanoseconds(running.nsPerCall));
      setText(cells.traps, count(running.traps + running.fuelExhausted));
      setText(cells.state, running.state);
      const bad = running.current && running.lastError !== "";
      setAttribute(cells.state, "class", bad ? "is-bad" : null);
      setAttribute(element, "class", running.current ? null : "muted");
      setAttribute(cells.state, "title", running.lastError || null);
    },
  };
}
