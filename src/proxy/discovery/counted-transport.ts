// `control_…`: calls to the control plane, counted around the transport that makes them. Unary calls end with
// their answer, streams with their last message. Not on the path of requests.

import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { formatSocketAddr } from "../../core/addr.ts";
import type { Clock } from "../../core/clock.ts";
import type { Labels } from "../../core/sheet.ts";
import { LATENCY_MS, type ProxyMetrics } from "../metrics.ts";

/** A service of the control plane, as it is configured. */
export interface ControlTarget {
  readonly host: string;
  readonly port: number;
  /** Who must answer; null: clear text. */
  readonly identity: string | null;
}

/** `transport`, with each of its calls counted under `control_request_total` and its kin. */
export function countedTransport(
  transport: Transport,
  target: ControlTarget,
  metrics: ProxyMetrics,
  clock: Pick<Clock, "now">,
): Transport {
  const { sheet } = metrics;
  const labels: Labels = {
    addr: target.host.includes(":")
      ? formatSocketAddr({ ip: target.host, port: target.port })
      : `${target.host}:${target.port}`,
    ...(target.identity === null
      ? { tls: "no_identity", no_tls_reason: "loopback" }
      : { tls: "true", server_id: target.identity }),
  };
  const requests = sheet.family(
    "control_request_total",
    "counter",
    "Calls to the control plane",
  );
  const responses = sheet.family(
    "control_response_total",
    "counter",
    "Ended calls to the control plane, by class and status",
  );
  const latency = sheet.family(
    "control_response_latency_ms",
    "histogram",
    "From a call's begin to its end, in milliseconds",
    LATENCY_MS,
  );
  /** Counts a call; returns what its end is told. */
  const begin = () => {
    const startedMs = clock.now();
    metrics.count(requests, labels);
    let isOver = false;
    return (why: unknown) => {
      if (isOver) return;
      isOver = true;
      const code = why === null ? 0 : ConnectError.from(why).code;
      // Without an answer of the server there is no status of HTTP.
      const status_code = code === Code.Unavailable ? "" : "200";
      metrics.count(responses, {
        ...labels,
        status_code,
        classification: code === 0 ? "success" : "failure",
        grpc_status: String(code),
        error: "",
      });
      const cell = sheet.cell(latency, { ...labels, status_code });
      sheet.observe(latency, cell, Math.floor(clock.now() - startedMs));
    };
  };
  return {
    async unary(...call) {
      const ended = begin();
      try {
        const answer = await transport.unary(...call);
        ended(null);
        return answer;
      } catch (e) {
        ended(e);
        throw e;
      }
    },
    async stream(...call) {
      const ended = begin();
      try {
        const answer = await transport.stream(...call);
        return { ...answer, message: counted(answer.message, ended) };
      } catch (e) {
        ended(e);
        throw e;
      }
    },
  };
}

/** Counts the names that a control-plane client looks up, under `control_dns_resolutions_total`. */
export function countedResolutions(
  client: string,
  metrics: ProxyMetrics,
): (record_type: "SRV" | "A/AAAA", isFound: boolean) => void {
  const family = metrics.sheet.family(
    "control_dns_resolutions_total",
    "counter",
    "Names of the control plane that were looked up",
  );
  return (record_type, isFound) => {
    const result = isFound ? "ok" : "not_found";
    metrics.count(family, { client, record_type, result });
  };
}

/** The messages, with their end told, also when nobody reads on. */
async function* counted<T>(
  messages: AsyncIterable<T>,
  ended: (why: unknown) => void,
): AsyncGenerator<T> {
  try {
    yield* messages;
    ended(null);
  } catch (e) {
    ended(e);
    throw e;
  } finally {
    ended(null);
  }
}
