// What `@tulle/filter` exports as far as the transform must know it: hooks, and the functions with
// arguments that it replaces. The library itself is in assembly/.

import type { HookName } from "../abi.ts";

/** The SDK's import path. */
export const SDK_PATH = "@tulle/filter";

/** Hooks as a filter writes them: parameters in order, and the type that must be returned. */
export const HOOKS: Readonly<
  Record<
    string,
    { hook: HookName; params: readonly (readonly [string, string])[]; returns: string[] }
  >
> = {
  configure: { hook: "configure", params: [], returns: ["void"] },
  onRequest: { hook: "request", params: [], returns: ["Action", "i32"] },
  onOutcome: {
    hook: "outcome",
    params: [["status", "i32"], ["error", "i32"], ["attempt", "i32"], ["elapsedMs", "f64"]],
    returns: ["Retry", "i32"],
  },
  onResponse: { hook: "response", params: [["status", "i32"]], returns: ["Action", "i32"] },
  onAttempt: { hook: "attempt", params: [["attempt", "i32"]], returns: ["void"] },
  onRequestBody: {
    hook: "requestBody",
    params: [["length", "i32"], ["last", "bool"]],
    returns: ["Action", "i32"],
  },
  onResponseBody: {
    hook: "responseBody",
    params: [["length", "i32"], ["last", "bool"]],
    returns: ["Action", "i32"],
  },
  onCallout: {
    hook: "callout",
    params: [["context", "i32"], ["status", "i32"], ["length", "i32"]],
    returns: ["Action", "i32"],
  },
  onTrailers: { hook: "trailers", params: [], returns: ["void"] },
  onTick: { hook: "tick", params: [], returns: ["void"] },
  onConnection: { hook: "connection", params: [], returns: ["Action", "i32"] },
  onConnectionEnd: {
    hook: "connectionEnd",
    params: [["bytesIn", "f64"], ["bytesOut", "f64"], ["elapsedMs", "f64"]],
    returns: ["void"],
  },
  onEnd: { hook: "end", params: [["status", "i32"], ["elapsedMs", "f64"]], returns: ["void"] },
};

/** What a literal argument becomes. */
export type Arg = "callout" | "reads" | "writes" | "text" | "key" | "any";

/** SDK functions with arguments that the transform replaces. */
export const CALLS: Readonly<Record<string, readonly Arg[]>> = {
  "request.header": ["reads"],
  "request.headerAt": ["reads", "any"],
  "request.set": ["writes", "text"],
  "request.add": ["writes", "text"],
  "request.remove": ["writes"],
  "request.setPath": ["text"],
  "request.setAuthority": ["text"],
  "response.header": ["reads"],
  "response.headerAt": ["reads", "any"],
  "response.set": ["writes", "text"],
  "response.add": ["writes", "text"],
  "response.remove": ["writes"],
  "trailers.get": ["reads"],
  "trailers.set": ["writes", "text"],
  "trailers.remove": ["writes"],
  "reply": ["any", "text"],
  "replyHeader": ["writes", "text"],
  "is": ["text", "text"],
  "startsWith": ["text", "text"],
  "endsWith": ["text", "text"],
  "indexOf": ["text", "text", "any"],
  "toInt": ["text", "any"],
  "length": ["text"],
  "byteAt": ["text", "any"],
  "copy": ["text"],
  "endpointLabel": ["text"],
  "shared.take": ["text", "any", "any", "any"],
  "shared.add": ["text", "any"],
  "body.replaceText": ["text"],
  "callout.start": ["callout", "text", "text", "text", "any", "any"],
  "callout.header": ["text", "text"],
  "callout.responseHeader": ["text"],
  "chooseEndpoint": ["text", "text", "any"],
  "log.debug": ["text"],
  "log.info": ["text"],
  "log.warn": ["text"],
  "log.error": ["text"],
  "log.number": ["text", "any"],
  "config.refuse": ["key", "text"],
};

/** SDK functions that return a text which lasts as long as the hook. */
export const TEXTS: ReadonlySet<string> = new Set([
  "request.method",
  "request.path",
  "request.authority",
  "request.header",
  "request.headerAt",
  "request.route",
  "response.header",
  "response.headerAt",
  "trailers.get",
  "connection.peer",
  "connection.remoteIp",
  "connection.targetIp",
  "endpointLabel",
  "callout.responseHeader",
  "callout.text",
  "lend",
]);
/** Those whose text lasts as long as the instance. */
export const LASTING_TEXTS: ReadonlySet<string> = new Set(["text", "config.text"]);

/** Reads of the request that later hooks can make only when the host keeps the head. */
export const REQUEST_READS = /^request\.(method|path|authority|header|headerAt)$/;
