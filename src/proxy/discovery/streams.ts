// The four streams that a proxy reads, each with its request, its final statuses and its service's
// back-off and limits. The only file of discovery that calls the control plane's watch APIs.

import { Code, createClient, type Transport } from "@connectrpc/connect";
import { addrToWire } from "../../api/addr.ts";
import { Destination, type DestinationProfile, type Update } from "../../api/gen/destination_pb.ts";
import { InboundServerPolicies, type Server } from "../../api/gen/inbound_pb.ts";
import { OutboundPolicies, type OutboundPolicy } from "../../api/gen/outbound_pb.ts";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { backoffOf, type ControlAddr, type ProxyConfig } from "../config.ts";
import { type LookedUpTarget, profilePath } from "./combine.ts";
import { ControlHealth, keepStream, type StreamOptions, type StreamStats } from "./stream.ts";

/** What the reader of a stream does. */
export type StreamReader<T> = Pick<StreamOptions<T>, "connected" | "message" | "failed">;

/** Methods that are read, as they are called in `stats`. */
export type StreamMethod = "Get" | "GetProfile" | "Watch" | "WatchPort";

const REFUSED = [Code.InvalidArgument, Code.FailedPrecondition];
const NO_POLICY = [...REFUSED, Code.NotFound, Code.Unimplemented];

export interface StreamsOptions {
  readonly config: Pick<ProxyConfig, "destination" | "policy">;
  readonly destination: Transport;
  readonly policy: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Opens streams. One per proxy. */
export class Streams {
  readonly log: Logger;
  readonly stats: Readonly<Record<StreamMethod, StreamStats>> = {
    Get: newStats(),
    GetProfile: newStats(),
    Watch: newStats(),
    WatchPort: newStats(),
  };
  readonly #o: StreamsOptions;
  readonly #destination;
  readonly #outbound;
  readonly #inbound;
  readonly #destinationHealth: ControlHealth;
  readonly #policyHealth: ControlHealth;

  constructor(o: StreamsOptions) {
    this.#o = o;
    this.log = o.log;
    this.#destination = createClient(Destination, o.destination);
    this.#outbound = createClient(OutboundPolicies, o.policy);
    this.#inbound = createClient(InboundServerPolicies, o.policy);
    this.#destinationHealth = new ControlHealth("destination", o.log);
    this.#policyHealth = new ControlHealth("policy", o.log);
  }

  /** Endpoints of a path. `NotFound` is tried again: the service may come. */
  destinationGet(path: string, reader: StreamReader<Update>): () => void {
    const request = { path, contextToken: this.#o.config.destination.context };
    return this.#keep("Get", path, reader, REFUSED, (signal) => {
      return this.#destination.get(request, { signal });
    });
  }

  profile(target: LookedUpTarget, reader: StreamReader<DestinationProfile>): () => void {
    const path = profilePath(target);
    const request = { path, contextToken: this.#o.config.destination.context };
    return this.#keep("GetProfile", path, reader, REFUSED, (signal) => {
      return this.#destination.getProfile(request, { signal });
    });
  }

  outboundPolicy(target: LookedUpTarget, reader: StreamReader<OutboundPolicy>): () => void {
    const request = {
      sourceWorkload: this.#o.config.policy.workload,
      target: target.kind === "addr"
        ? { case: "addr" as const, value: addrToWire(target.addr) }
        : { case: "authority" as const, value: target.key },
    };
    return this.#keep("Watch", target.key, reader, NO_POLICY, (signal) => {
      return this.#outbound.watch(request, { signal });
    });
  }

  inboundPolicy(port: number, reader: StreamReader<Server>): () => void {
    const request = { workload: this.#o.config.policy.workload, port };
    return this.#keep("WatchPort", String(port), reader, REFUSED, (signal) => {
      return this.#inbound.watchPort(request, { signal });
    });
  }

  #keep<T>(
    method: StreamMethod,
    subject: string,
    reader: StreamReader<T>,
    finalCodes: readonly Code[],
    open: (signal: AbortSignal) => AsyncIterable<T>,
  ): () => void {
    const { clock, random, log, config } = this.#o;
    const onDestination = method === "Get" || method === "GetProfile";
    const svc: ControlAddr = onDestination ? config.destination.svc : config.policy.svc;
    return keepStream({
      name: `${method} ${subject}`,
      open,
      finalCodes,
      ...reader,
      limits: svc,
      backoff: backoffOf(svc.backoff, random),
      clock,
      log,
      health: onDestination ? this.#destinationHealth : this.#policyHealth,
      stats: this.stats[method],
    });
  }
}

function newStats(): StreamStats {
  return { kept: 0, opened: 0, messages: 0, failures: 0 };
}
