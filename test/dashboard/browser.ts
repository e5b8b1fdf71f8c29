// A headless Chromium, spoken to by its DevTools protocol: enough to open a page, look at it, press
// keys and take a picture. One process and one fresh profile each.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where Chromium is, or null: then tests of the page are skipped. */
export const CHROMIUM: string | null = PLACES.find((path) => existsSync(path)) ?? null;

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--hide-scrollbars",
  "--remote-debugging-port=0",
];

type Message = {
  readonly id?: number;
  readonly method?: string;
  // deno-lint-ignore no-explicit-any -- the protocol's own shapes
  readonly params?: any;
  // deno-lint-ignore no-explicit-any -- as above
  readonly result?: any;
  readonly error?: { readonly message: string };
};

export interface Look {
  readonly width: number;
  readonly height: number;
  readonly dark?: boolean;
  readonly mobile?: boolean;
  readonly scale?: number;
}

export class Browser {
  readonly #child: ReturnType<typeof spawn>;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #lastId = 0;
  #session = "";
  /** What the page complained of: exceptions, errors on its console, blocked by its policy. */
  readonly complaints: string[] = [];

  private constructor(child: ReturnType<typeof spawn>, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(String(data)));
    // Who waits for an answer learns that none will come.
    socket.onclose = () => {
      for (const answer of this.#waiting.values()) {
        answer({ error: { message: "Chromium is gone" } });
      }
      this.#waiting.clear();
    };
  }

  static async start(path: string): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), "tulle-browser-"));
    const child = spawn(path, [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let text = "";
      child.stderr?.on("data", (chunk) => {
        text += String(chunk);
        const found = /DevTools listening on (ws:\S+)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`Chromium ended: ${text.slice(-400)}`)));
    });
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error(`Connect to ${url} failed`));
    });
    const browser = new Browser(child, profile, socket);
    const { targetId } = await browser.#call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.#call("Target.attachToTarget", { targetId, flatten: true });
    browser.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Log"]) await browser.#call(`${domain}.enable`);
    return browser;
  }

  async look({ width, height, dark = false, mobile = false, scale = 1 }: Look): Promise<void> {
    await this.#call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      mobile,
      deviceScaleFactor: scale,
    });
    await this.#call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  async open(url: string): Promise<void> {
    this.complaints.length = 0;
    await this.#call("Page.navigate", { url });
  }

  /** The value of an expression in the page, as JSON. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value as T;
  }

  /** Resolves when the expression is truthy; rejects, with what the page shows, after `timeoutMs`. */
  async until(expression: string, timeoutMs = 10_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!await this.value(`Boolean(${expression})`)) {
      if (performance.now() > endMs) {
        const text = await this.value<string>("document.body.innerText");
        throw new Error(`${expression} did not become true; the page says:\n${text}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async press(key: "Tab" | "Enter"): Promise<void> {
    const code = { Tab: 9, Enter: 13 }[key];
    const text = key === "Enter" ? { text: "\r" } : {};
    const event = { key, code: key, windowsVirtualKeyCode: code };
    await this.#call("Input.dispatchKeyEvent", { type: "keyDown", ...event, ...text });
    await this.#call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  /** A PNG of what is seen, or of the whole page. */
  async picture(wholePage = false): Promise<Uint8Array> {
    const { data } = await this.#call("Page.captureScreenshot", {
      format: "png",
      captureBeyondViewport: wholePage,
    });
    return Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    // In order, so that none of its processes still writes to the profile.
    this.#session = "";
    // Chromium may end before it has answered: what counts is that it ended.
    this.#call("Browser.close").catch(() => {});
    await ended;
    clearTimeout(late);
    this.#socket.close();
    for (let tries = 0;; tries++) {
      try {
        return await rm(this.#profile, { recursive: true, force: true });
      } catch (e) {
        if (tries === 20) throw e;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  // deno-lint-ignore no-explicit-any -- the protocol's own shapes
  async #call(method: string, params: object = {}): Promise<any> {
    const id = ++this.#lastId;
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    const session = this.#session === "" ? {} : { sessionId: this.#session };
    this.#socket.send(JSON.stringify({ id, method, params, ...session }));
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  #receive(message: Message): void {
    if (message.id !== undefined) {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    } else if (message.method === "Runtime.exceptionThrown") {
      const { exceptionDetails: d } = message.params;
      this.complaints.push(d.exception?.description ?? d.text);
    } else if (message.method === "Log.entryAdded" && message.params.entry.level === "error") {
      this.complaints.push(`${message.params.entry.text} ${message.params.entry.url ?? ""}`);
    } else if (message.method === "Runtime.consoleAPICalled" && message.params.type === "error") {
      this.complaints.push(JSON.stringify(message.params.args));
    }
  }
}
