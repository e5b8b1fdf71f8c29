// Server-sent events to many pages: each message is encoded once, each client has a bounded queue, and
// one that does not read is dropped (its browser comes back by itself). Knows nothing of the mesh.

/** Bounds of the event streams. */
export interface HubLimits {
  readonly maxClients: number;
  /** What may wait for a client that reads slowly. */
  readonly maxQueuedBytes: number;
  /** Events kept for clients that come back. */
  readonly maxKept: number;
  /** Ids are above this: the time of start, so that they grow over a restart too. */
  readonly firstId: number;
}

const DEFAULT_LIMITS: HubLimits = {
  maxClients: 32,
  maxQueuedBytes: 4 * 1024 * 1024,
  maxKept: 100,
  firstId: 0,
};

interface Client {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
}

/** A set of open event streams. */
export class EventHub {
  readonly #limits: HubLimits;
  readonly #clients = new Set<Client>();
  readonly #kept: { readonly id: number; readonly message: string }[] = [];
  readonly #encoder = new TextEncoder();
  #lastId: number;
  #dropped = 0;

  constructor(limits: Partial<HubLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#lastId = this.#limits.firstId;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Clients that were cut since start because they did not read. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * A new stream that begins with `first` and the kept events after `lastEventId`. Null when there
   * are too many.
   */
  open(first: readonly string[], lastEventId: number): ReadableStream<Uint8Array> | null {
    if (this.#clients.size >= this.#limits.maxClients) return null;
    const missed = this.#kept.filter(({ id }) => id > lastEventId).map(({ message }) => message);
    let client: Client | null = null;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        client = { controller };
        this.#clients.add(client);
        const text = ["retry: 1000\n\n", ...first, ...missed].join("");
        this.#send(client, this.#encoder.encode(text));
      },
      cancel: () => {
        if (client !== null) this.#clients.delete(client);
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: this.#limits.maxQueuedBytes }));
  }

  /** Sends to all; what was sent is not kept. */
  send(message: string): void {
    if (this.#clients.size === 0) return;
    const bytes = this.#encoder.encode(message);
    for (const client of [...this.#clients]) this.#send(client, bytes);
  }

  /** Sends to all with an id, and keeps it for clients that come back. */
  keep(type: string, data: unknown): void {
    const id = ++this.#lastId;
    const message = `id: ${id}\n${eventText(type, data)}`;
    this.#kept.push({ id, message });
    if (this.#kept.length > this.#limits.maxKept) this.#kept.shift();
    this.send(message);
  }

  /** Ends all streams. */
  close(): void {
    for (const { controller } of this.#clients) controller.close();
    this.#clients.clear();
  }

  #send(client: Client, bytes: Uint8Array): void {
    if ((client.controller.desiredSize ?? 0) < bytes.length) {
      this.#clients.delete(client);
      this.#dropped++;
      client.controller.error(new Error("This client reads its events too slowly"));
      return;
    }
    client.controller.enqueue(bytes);
  }
}

/** One event as text. JSON has no bare line ends, so its data is one line. */
export function eventText(type: string, data: unknown): string {
  return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** A comment that keeps middle boxes from closing a quiet stream. */
export const HEARTBEAT = ": heartbeat\n\n";
