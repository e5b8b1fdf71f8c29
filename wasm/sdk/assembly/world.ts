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

  /** The client's address. */
  @external("tulle", "remote_ip")
  export declare function remoteIp(): Text;

  @external("tulle", "remote_port")
  export declare function remotePort(): i32;

  /** Where the client wanted to go. */
  @external("tulle", "target_ip")
  export declare function targetIp(): Text;

  @external("tulle", "target_port")
  export declare function targetPort(): i32;
}

/** A label of the endpoint that served the attempt, such as `zone`, or absent. */
@external("tulle", "endpoint_label")
export declare function endpointLabel(name: Text): Text;

@external("tulle", "choose_endpoint")
declare function hostChoose(name: externref, value: externref, strict: i32): void;

/** Before an attempt: asks an endpoint whose label `name` is `value`; any other when there is none,
 * unless `strict`. */
export function chooseEndpoint(name: Text, value: Text, strict: bool = false): void {
  hostChoose(name, value, strict ? 1 : 0);
}

/** How a gRPC call ended: its code, or -1 while that is not known and for what is no gRPC. */
@external("tulle", "grpc_status")
export declare function grpcStatus(): i32;

/** Before an attempt: ends it after `ms`. */
@external("tulle", "set_attempt_timeout")
export declare function setAttemptTimeout(ms: i32): void;

/** Milliseconds since 1970; may go back. */
@external("tulle", "wall_ms")
export declare function wallTime(): f64;

@external("tulle", "shared_take")
declare function hostTake(key: externref, rate: f64, burst: f64, cost: f64): i32;

@external("tulle", "shared_add")
declare function hostAdd(key: externref, by: f64): f64;

/** State that all instances of this filter share, in every thread of the proxy. */
export namespace shared {
  /**
   * Takes `cost` from the bucket of `key`, which fills with `rate` a second up to `burst`. False:
   * there is not enough, and nothing was taken.
   */
  export function take(key: Text, rate: f64, burst: f64, cost: f64 = 1): bool {
    return hostTake(key, rate, burst, cost) != 0;
  }
  /** Adds a whole number to the counter of `key`; the sum, or NaN when there are too many keys. */
  export function add(key: Text, by: f64): f64 {
    return hostAdd(key, by);
  }
}

/** Declares, as a top-level call, how often `onTick` is called: `tickEvery(1000)`, at least 10. */
export function tickEvery(ms: i32): void {}

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
