// Which TLS this process has, for people and metrics. The runtime's own: OpenSSL under Node, rustls under
// Deno.

import process from "node:process";

/** What the proxy's TLS is made of. */
export interface TlsInfo {
  /** Library and version. */
  readonly library: string;
  /** What is offered, in order of preference, by the registry's names; empty: the library's choice. */
  readonly suites: string;
}

/** Of this process. TLS 1.3's suites are fixed by both libraries. */
export function tlsInfo(): TlsInfo {
  const { deno, openssl } = process.versions;
  return {
    library: deno !== undefined ? `rustls of Deno ${deno}` : `OpenSSL ${openssl ?? "unknown"}`,
    suites: "TLS_AES_256_GCM_SHA384,TLS_CHACHA20_POLY1305_SHA256,TLS_AES_128_GCM_SHA256",
  };
}
