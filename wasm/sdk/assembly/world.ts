// deno-fmt-ignore-file -- the formatter drops decorators of functions

// Who asks, what time it is, chance, and the log.

import { Text } from "./text";

/** The connection that the request came on. */
export namespace connection {
  /** The client's mesh identity, or absent. */
  @external("tulle", "peer_id")
  export declare function peer(): Text;

  /** True in the server's proxy, false in the client's. */
  @external("tulle", "is_inbound")
  export declare function inbound(): bool;
}

/** A label of the endpoint that served the attempt, such as `zone`, or absent. */
@external("tulle", "endpoint_label")
export declare function endpointLabel(name: Text): Text;

/** Milliseconds since an arbitrary start; never goes back. */
@external("tulle", "now_ms")
export declare function now(): f64;

/** At least 0, less than 1. */
@external("tulle", "random")
export declare function random(): f64;

@external("tulle", "log")
declare function hostLog(level: i32, message: externref): void;

@external("tulle", "log_number")
declare function hostLogNumber(level: i32, message: externref, value: f64): void;

/** The proxy's log, at most a few lines a second from each filter. Never log a secret. */
export namespace log {
  export function debug(message: Text): void {
    hostLog(0, message);
  }
  export function info(message: Text): void {
    hostLog(1, message);
  }
  export function warn(message: Text): void {
    hostLog(2, message);
  }
  export function error(message: Text): void {
    hostLog(3, message);
  }
  /** A message and a number. */
  export function number(message: Text, value: f64): void {
    hostLogNumber(1, message, value);
  }
}
