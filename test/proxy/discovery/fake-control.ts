// A control plane for tests of discovery: every stream that a proxy opens is a pipe that the test feeds,
// fails or ends. Spoken over Connect's router transport, so that messages really are encoded.

import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import {
  Destination,
  type DestinationProfile,
  type Update,
} from "../../../src/api/gen/destination_pb.ts";
import { InboundServerPolicies, type Server } from "../../../src/api/gen/inbound_pb.ts";
import { OutboundPolicies, type OutboundPolicy } from "../../../src/api/gen/outbound_pb.ts";
import { Registry } from "../../../src/api/gen/tulle/filter_pb.ts";
import { bytesToHex, sha256Hex } from "../../../src/api/hex.ts";
import { settle } from "../../support/fake-clock.ts";

/** One open stream, seen from the server. */
export class Pipe<T> {
  readonly subject: string;
  /** The client is gone. */
  cancelled = false;
  #queue: (T | Error | null)[] = [];
  #wake: (() => void) | null = null;

  constructor(subject: string) {
    this.subject = subject;
  }

  send(message: T): void {
    this.#push(message);
  }

  fail(code: Code, text = "scripted"): void {
    this.#push(new ConnectError(text, code));
  }

  end(): void {
    this.#push(null);
  }

  async *read(signal: AbortSignal): AsyncIterable<T> {
    signal.addEventListener("abort", () => {
      this.cancelled = true;
      this.#wake?.();
    });
    for (;;) {
      while (this.#queue.length > 0) {
        const next = this.#queue.shift() as T | Error | null;
        if (next === null) return;
        if (next instanceof Error) throw next;
        yield next;
      }
      if (this.cancelled || signal.aborted) return;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  #push(item: T | Error | null): void {
    this.#queue.push(item);
    this.#wake?.();
  }
}

/** All streams of one method, in the order in which they were opened. */
export class Method<T> {
  readonly opened: Pipe<T>[] = [];

  open(subject: string): Pipe<T> {
    const pipe = new Pipe<T>(subject);
    this.opened.push(pipe);
    return pipe;
  }

  /** The newest open stream of a subject; fails the test when there is none. */
  at(subject: string): Pipe<T> {
    const pipe = this.opened.findLast((p) => p.subject === subject && !p.cancelled);
    if (pipe === undefined) {
      const seen = this.opened.map((p) => p.subject).join(", ");
      throw new Error(`no open stream of ${subject}; opened were: ${seen}`);
    }
    return pipe;
  }

  count(subject: string): number {
    return this.opened.filter((p) => p.subject === subject).length;
  }
}

export class FakeControl {
  readonly get = new Method<Update>();
  readonly profile = new Method<DestinationProfile>();
  readonly outbound = new Method<OutboundPolicy>();
  readonly inbound = new Method<Server>();
  /** Modules by digest. */
  readonly modules = new Map<string, Uint8Array>();
  readonly fetched: string[] = [];
  /** When set, `GetModule` fails with it. */
  moduleError: ConnectError | null = null;
  readonly tokens = new Set<string>();
  readonly workloads = new Set<string>();
  readonly transport: Transport;

  constructor() {
    this.transport = createRouterTransport((router) => {
      router.service(Destination, {
        get: ({ path, contextToken }, { signal }) => {
          this.tokens.add(contextToken);
          return this.get.open(path).read(signal);
        },
        getProfile: ({ path, contextToken }, { signal }) => {
          this.tokens.add(contextToken);
          return this.profile.open(path).read(signal);
        },
      });
      router.service(OutboundPolicies, {
        watch: ({ target, sourceWorkload }, { signal }) => {
          this.workloads.add(sourceWorkload);
          const { ip, port = 0 } = target.case === "addr" ? target.value : {};
          const v4 = Number(ip?.ip.value ?? 0);
          const subject = target.case === "authority"
            ? target.value
            : `${[24, 16, 8, 0].map((s) => (v4 >>> s) & 255).join(".")}:${port}`;
          return this.outbound.open(subject).read(signal);
        },
      });
      router.service(InboundServerPolicies, {
        watchPort: ({ port, workload }, { signal }) => {
          this.workloads.add(workload);
          return this.inbound.open(String(port)).read(signal);
        },
      });
      router.service(Registry, {
        getModule: (request) => this.#module(bytesToHex(request.sha256)),
      });
    });
  }

  /** Puts a module into the registry; gives its digest. */
  async publish(text: string): Promise<{ sha256: string; size: number }> {
    const module = new TextEncoder().encode(text);
    const sha256 = await sha256Hex(module);
    this.modules.set(sha256, module);
    return { sha256, size: module.length };
  }

  async *#module(sha256: string) {
    this.fetched.push(sha256);
    if (this.moduleError !== null) throw this.moduleError;
    const module = this.modules.get(sha256);
    if (module === undefined) throw new ConnectError(`no module ${sha256}`, Code.NotFound);
    for (let at = 0; at < module.length; at += 7) {
      yield { data: module.slice(at, at + 7) };
    }
    await settle();
  }
}
