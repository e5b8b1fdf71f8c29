// What the filter tests share: exchanges made of text, references to modules, an engine on a fake clock.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type ConnInfo, Exchange } from "../../src/core/exchange.ts";
import type { FailurePolicy, FilterRef } from "../../src/core/filter.ts";
import { headerName, ResponseHead } from "../../src/core/head.ts";
import { parseRequest, parseResponse } from "../../src/proxy/http1/parse.ts";

const CONN: ConnInfo = {
  direction: "outbound",
  remote: { ip: "127.0.0.1", port: 40000 },
  target: { ip: "127.0.0.1", port: 80 },
  tls: { identity: "web.default.serviceaccount.identity.linkerd.cluster.local", alpn: null },
};

const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** An exchange whose request head is `lines`; one code unit per byte. */
export function exchange(lines: string, conn: Partial<ConnInfo> = {}): Exchange {
  const x = new Exchange({ ...CONN, ...conn });
  x.begin(0);
  const bytes = bytesOf(lines.trimEnd().replaceAll("\n", "\r\n") + "\r\n\r\n");
  if (parseRequest(x.request, bytes, 0, bytes.length, 65536) !== bytes.length) {
    throw new Error("the test's request is not well-formed");
  }
  return x;
}

/** `GET /path` with headers. */
export function get(path: string, headers: Record<string, string> = {}): Exchange {
  const lines = Object.entries({ host: "svc", ...headers }).map(([k, v]) => `${k}: ${v}`);
  return exchange(`GET ${path} HTTP/1.1\n${lines.join("\n")}`);
}

/** A response head. */
export function responseHead(status: number, headers: Record<string, string> = {}): ResponseHead {
  const head = new ResponseHead();
  const lines = Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join("");
  const bytes = bytesOf(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n${lines}\r\n`);
  if (parseResponse(head, bytes, 0, bytes.length, 65536, false, false) !== bytes.length) {
    throw new Error("the test's response is not well-formed");
  }
  return head;
}

/** The header that the next hop would see. */
export function seen(head: Exchange["request"] | ResponseHead, name: string): string | null {
  return head.get(headerName(name));
}

/** A committed module: a filter's name, or a fixture's. */
export function moduleBytes(name: string): Uint8Array {
  const folder = name.startsWith("fixtures/") ? "./" : "../../filters/build/";
  return new Uint8Array(readFileSync(new URL(`${folder}${name}.wasm`, import.meta.url)));
}

/** A reference to `module` with `config`. */
export function refTo(
  module: Uint8Array,
  config: unknown = null,
  more: Partial<FilterRef> & { failurePolicy?: FailurePolicy } = {},
): FilterRef {
  return {
    name: "test",
    sha256: createHash("sha256").update(module).digest("hex"),
    size: module.length,
    config: config === null ? new Uint8Array(0) : new TextEncoder().encode(JSON.stringify(config)),
    failurePolicy: "closed",
    fuelPerHook: 0,
    memoryPages: 0,
    ...more,
  };
}

/** The message of what `work` rejects with. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (e) {
    return e instanceof Error ? `${e.name}: ${e.message}` : String(e);
  }
  return "nothing was refused";
}
