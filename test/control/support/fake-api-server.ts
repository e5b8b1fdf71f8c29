// An API server of a few kinds over real HTTP: lists in chunks, watches with bookmarks, versions that
// expire, and faults on demand. Written after the API's documentation, independent of the client.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FakeObject {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

interface Event {
  readonly version: number;
  readonly path: string;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: FakeObject;
}

interface Watch {
  readonly path: string;
  readonly response: ServerResponse;
}

export class FakeApiServer {
  readonly #server: Server;
  readonly #objects = new Map<string, Map<string, FakeObject>>();
  readonly #watches = new Set<Watch>();
  #events: Event[] = [];
  #version = 100;
  /** Watches from before this are 410. */
  #compacted = 0;
  /** Answers instead of the real ones; the first that fits is used up. */
  readonly faults: ((path: string, response: ServerResponse) => boolean)[] = [];
  /** Paths of kinds that are not installed. */
  readonly missing = new Set<string>();
  /** Every request that came: method, path with query, authorization. */
  readonly requests: { method: string; url: string; authorization: string; body: string }[] = [];
  /** Answers POST; null: 404. */
  post: ((path: string, body: unknown) => unknown) | null = null;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeApiServer> {
    const server = createServer();
    const fake = new FakeApiServer(server);
    server.on("request", (request, response) => void fake.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  objects(path: string): readonly FakeObject[] {
    return [...this.#of(path).values()];
  }

  put(path: string, object: FakeObject): void {
    const key = keyOf(object);
    const all = this.#of(path);
    const type = all.has(key) ? "MODIFIED" : "ADDED";
    const version = ++this.#version;
    const stored = {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(version) },
    };
    all.set(key, stored);
    this.#tell({ version, path, type, object: stored });
  }

  delete(path: string, namespace: string, name: string): void {
    const stored = this.#of(path).get(`${namespace}/${name}`);
    if (stored === undefined) return;
    this.#of(path).delete(`${namespace}/${name}`);
    const version = ++this.#version;
    const metadata = { ...stored.metadata, resourceVersion: String(version) };
    this.#tell({ version, path, type: "DELETED", object: { ...stored, metadata } });
  }

  /** Forgets the past, as etcd does. Watches that run go on. */
  compact(): void {
    this.#compacted = this.#version;
    this.#events = [];
  }

  /** Sends a bookmark to every watch. */
  bookmark(): void {
    for (const watch of this.#watches) {
      const metadata = { resourceVersion: String(this.#version) };
      send(watch, { type: "BOOKMARK", object: { metadata } });
    }
  }

  /** Sends a line, or a part of one, to every watch. */
  raw(text: string): void {
    for (const { response } of this.#watches) response.write(text);
  }

  /** Breaks every watch's connection. */
  cut(): void {
    for (const { response } of this.#watches) response.destroy();
    this.#watches.clear();
  }

  /** Ends every watch in order, as their time does. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
    this.#watches.clear();
  }

  get watches(): readonly string[] {
    return [...this.#watches].map((w) => w.path).sort();
  }

  #of(path: string): Map<string, FakeObject> {
    let all = this.#objects.get(path);
    if (all === undefined) this.#objects.set(path, all = new Map());
    return all;
  }

  #tell(event: Event): void {
    this.#events.push(event);
    for (const watch of this.#watches) if (watch.path === event.path) send(watch, event);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += String(chunk);
    this.requests.push({
      method: request.method ?? "",
      url: request.url ?? "",
      authorization: request.headers.authorization ?? "",
      body,
    });
    const fault = this.faults[0];
    if (fault?.(url.pathname, response) === true) return void this.faults.shift();
    if (request.method === "POST") {
      const answer = this.post?.(url.pathname, JSON.parse(body)) ?? null;
      return answer === null ? status(response, 404, "no such path") : json(response, 201, answer);
    }
    if (this.missing.has(url.pathname)) {
      response.writeHead(404, { "content-type": "text/plain" }).end("404 page not found\n");
    } else if (url.searchParams.get("watch") === "true") this.#watch(url, response);
    else this.#list(url, response);
  }

  #list(url: URL, response: ServerResponse): void {
    const limit = Number(url.searchParams.get("limit") ?? "0");
    const all = this.objects(url.pathname);
    const [version, from] = (url.searchParams.get("continue") ?? `${this.#version}-0`)
      .split("-").map(Number) as [number, number];
    if (version < this.#compacted) return status(response, 410, "The continue token is too old");
    // Items have neither kind nor apiVersion, as the real one's.
    const items = limit === 0 ? all.slice(from) : all.slice(from, from + limit);
    const more = from + items.length < all.length;
    json(response, 200, {
      kind: "List",
      metadata: {
        resourceVersion: String(version),
        ...more ? { continue: `${version}-${from + items.length}` } : {},
      },
      items,
    });
  }

  #watch(url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get("resourceVersion") ?? "0");
    if (from < this.#compacted && from % 2 === 0) return status(response, 410, "too old");
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const watch = { path: url.pathname, response };
    if (from < this.#compacted) {
      const object = { kind: "Status", code: 410, reason: "Expired", message: "too old" };
      send(watch, { type: "ERROR", object });
      return void response.end();
    }
    for (const event of this.#events) {
      if (event.path === url.pathname && event.version > from) send(watch, event);
    }
    this.#watches.add(watch);
    response.on("close", () => this.#watches.delete(watch));
  }
}

function keyOf({ metadata }: FakeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function send({ response }: Watch, event: { type: string; object: unknown }): void {
  response.write(JSON.stringify({ type: event.type, object: event.object }) + "\n");
}

function json(response: ServerResponse, code: number, value: unknown): void {
  response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/** A refusal as the API server writes it. */
export function status(response: ServerResponse, code: number, message: string): void {
  json(response, code, { kind: "Status", apiVersion: "v1", status: "Failure", code, message });
}
