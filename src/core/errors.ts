// What can go wrong with a request or a connection, as one closed list. Raised where it happens,
// turned into a status in one file (`proxy/http/respond.ts`).

/** Every way in which a request or connection can fail. A new kind must be placed in both tables. */
export type ErrorKind =
  | "bad-request" // what arrived is not HTTP that we may forward
  | "head-too-large" // a head over its bound
  | "unsupported" // legal, but not spoken here (an unknown transfer coding)
  | "no-route" // the destination exists and no route matches
  | "no-service" // the destination does not exist
  | "unauthorized" // the inbound policy does not allow this client
  | "failfast" // no endpoint became ready in time
  | "overload" // a queue or in-flight bound is reached
  | "connect" // the endpoint refused or reset the connection, or TLS failed
  | "connect-timeout" // the endpoint did not answer the connection in time
  | "upstream-closed" // the endpoint closed before a whole response
  | "upstream-protocol" // the endpoint answered what is not HTTP
  | "identity" // the peer is not who it should be
  | "response-timeout" // one of the time limits of a policy's route
  | "head-timeout" // no response began in the time that a ServiceProfile or a filter gives
  | "identity-required" // the client wants an endpoint of another identity (l5d-require-id)
  | "no-backend" // the route leads its share of the requests nowhere
  | "gateway-name" // this gateway does not serve that name
  | "gateway-loop" // the request came through this gateway before
  | "filter" // a filter failed and its failure policy is closed
  | "policy" // the policy received cannot be used
  | "client-gone" // the client went away; nobody is left to tell
  | "shutdown" // this proxy is draining
  | "internal"; // a defect of ours

/**
 * An error of the data plane.
 *
 * `message` says action, value and what to do; it holds addresses and names, never header values,
 * tokens or keys. It is what `l5d-proxy-error` carries.
 */
export class MeshError extends Error {
  readonly kind: ErrorKind;
  /** The HTTP/2 error code with which the endpoint reset the stream, passed on to a client that speaks
   * HTTP/2; null: this is answered with a status. */
  readonly reset: number | null;
  /** Which time-out it was, where there are several; for metrics. */
  readonly timeout: "request" | "headers" | "response" | "idle" | null;
  constructor(
    kind: ErrorKind,
    message: string,
    options?: { cause?: unknown; reset?: number | null; timeout?: MeshError["timeout"] },
  ) {
    super(message, options);
    this.name = "MeshError";
    this.kind = kind;
    this.reset = options?.reset ?? null;
    this.timeout = options?.timeout ?? null;
  }
}

/** Whether another endpoint may be asked although this attempt failed. Nothing was processed, or the
 * filter that decides on retries may say so. */
export const RETRYABLE: Readonly<Record<ErrorKind, boolean>> = {
  "bad-request": false,
  "head-too-large": false,
  "unsupported": false,
  "no-route": false,
  "no-service": false,
  "unauthorized": false,
  "failfast": true,
  "overload": false,
  "connect": true,
  "connect-timeout": true,
  "upstream-closed": true,
  "upstream-protocol": false,
  "identity": true,
  "response-timeout": false,
  "head-timeout": false,
  "identity-required": false,
  "no-backend": false,
  "gateway-name": false,
  "gateway-loop": false,
  "filter": false,
  "policy": false,
  "client-gone": false,
  "shutdown": false,
  "internal": false,
};

/** The text of anything thrown, in one line. */
export function errorText(e: unknown): string {
  const text = e instanceof Error ? e.message : String(e);
  return text.replace(/\s*\n\s*/g, " ").trim();
}
