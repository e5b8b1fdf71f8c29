// The event stream, and what it knows of itself: connecting, live, quiet, lost. It never gives up.

/**
 * @import { AdminEvent, History, Snapshot } from "../api/admin.ts"
 */

/**
 * @typedef {"connecting" | "live" | "quiet" | "lost" | "refused"} LinkState
 * @typedef {{
 *   history: (history: History) => void,
 *   snapshot: (snapshot: Snapshot) => void,
 *   happened: (event: AdminEvent) => void,
 *   link: (state: LinkState) => void,
 * }} Listener
 */

/** Snapshots come each second; a scrape may take half of one. */
const QUIET_MS = 4000;
const AGAIN_MS = 5000;

/** @param {Listener} listener */
export function follow(listener) {
  let quiet = 0;
  let seen = false;
  let lastId = 0;

  /** @param {LinkState} state */
  const link = (state) => listener.link(state);
  const alive = () => {
    seen = true;
    clearTimeout(quiet);
    quiet = setTimeout(() => link("quiet"), QUIET_MS);
    link("live");
  };

  const connect = () => {
    const source = new EventSource("/api/events");
    /**
     * @param {string} type
     * @param {(data: any) => void} handle
     */
    const on = (type, handle) =>
      source.addEventListener(type, (event) => {
        handle(JSON.parse(event.data));
      });
    /** @param {AdminEvent["type"]} type */
    const once = (type) =>
      source.addEventListener(type, (event) => {
        // A new source asks from the beginning; ids grow, also over a restart of the server.
        const id = Number(event.lastEventId);
        if (id <= lastId) return;
        lastId = id;
        listener.happened({ type, data: JSON.parse(event.data) });
      });
    on("history", listener.history);
    on("snapshot", (data) => {
      alive();
      listener.snapshot(data);
    });
    once("swap");
    once("failure");
    once("endpoints");
    source.onerror = () => {
      clearTimeout(quiet);
      // Closed: the server answered, but not with a stream. Else the browser tries again by itself.
      if (source.readyState === EventSource.CLOSED) {
        link("refused");
        setTimeout(connect, AGAIN_MS);
      } else link(seen ? "lost" : "connecting");
    };
  };
  connect();
}
