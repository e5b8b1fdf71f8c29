// What a proxy tells of its process and of its certificate, as Linkerd's families: written into the main
// thread's sheet when it is scraped, never in between.

import type { Sheet } from "../core/sheet.ts";
import { VERSION } from "../core/version.ts";
import type { CredentialStats } from "./credentials.ts";

/** What the runtime knows of the process. */
export interface ProcessUsage {
  readonly rssBytes: number;
  readonly cpuSeconds: number;
}

/** The families of a process. */
export class ProcessMetrics {
  readonly #sheet: Sheet;
  readonly #gauges = new Map<string, number>();
  readonly #startedMs: number;
  readonly #credentials: (() => CredentialStats) | null;

  /** `wallMs`: when the process began; `credentials` null: it has none; `tls`: where there is any. */
  constructor(
    sheet: Sheet,
    wallMs: number,
    credentials: (() => CredentialStats) | null,
    tls: { readonly library: string; readonly suites: string } | null = null,
  ) {
    this.#sheet = sheet;
    this.#startedMs = wallMs;
    this.#credentials = credentials;
    this.#set("process_start_time_seconds", START, Math.floor(wallMs / 1000));
    const info = sheet.family("proxy_build_info", "gauge", "The proxy that runs");
    // As Linkerd's; when and from what it was built is not known to a package.
    const labels = { date: "", git_sha: "", profile: "release", vendor: "tulle", version: VERSION };
    sheet.set(sheet.cell(info, labels), 1);
    if (tls === null) return;
    const tlsInfo = sheet.family("tls_info", "gauge", "The TLS that the proxy has");
    sheet.set(sheet.cell(tlsInfo, { tls_library: tls.library, tls_suites: tls.suites }), 1);
  }

  /** Writes what is true at `wallMs`. */
  update({ rssBytes, cpuSeconds }: ProcessUsage, wallMs: number): void {
    this.#set("process_resident_memory_bytes", "Resident memory", rssBytes);
    this.#count("process_cpu_seconds_total", "CPU time used", cpuSeconds);
    const seconds = Math.max(0, wallMs - this.#startedMs) / 1000;
    this.#count("process_uptime_seconds_total", "Time since the process started", seconds);
    this.#set("process_clock_time_seconds", "The clock of the machine", wallMs / 1000);
    const stats = this.#credentials?.();
    if (stats === undefined) return;
    this.#set(`${CERT}_expiration_timestamp_seconds`, EXPIRES, stats.expiresMs / 1000);
    this.#set(`${CERT}_refresh_timestamp_seconds`, REFRESHED, stats.refreshedMs / 1000);
    this.#count(`${CERT}_refreshes_total`, REFRESHES, stats.refreshes, { result: "success" });
    this.#count(`${CERT}_refreshes_total`, REFRESHES, stats.failures, { result: "failure" });
  }

  #set(name: string, help: string, value: number): void {
    this.#write(name, "gauge", help, value, {});
  }

  /** A count that somebody else keeps. */
  #count(name: string, help: string, value: number, labels: Readonly<Record<string, string>> = {}) {
    this.#write(name, "counter", help, value, labels);
  }

  #write(
    name: string,
    type: "counter" | "gauge",
    help: string,
    value: number,
    labels: Readonly<Record<string, string>>,
  ): void {
    const key = name + JSON.stringify(labels);
    let cell = this.#gauges.get(key);
    if (cell === undefined) {
      cell = this.#sheet.cell(this.#sheet.family(name, type, help), labels);
      this.#gauges.set(key, cell);
    }
    this.#sheet.set(cell, value);
  }
}

const CERT = "control_identity_cert";
const START = "When the process started, seconds since the epoch";
const EXPIRES = "When the certificate ends, seconds since the epoch";
const REFRESHED = "When the certificate was taken, seconds since the epoch";
const REFRESHES = "Certificates that were asked for";
