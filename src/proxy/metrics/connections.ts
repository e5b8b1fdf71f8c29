// `tcp_*` of one side of a kind of connections. Made at target rate; connections and their bytes add to
// cells that are known. While one is open its series stay.

import type { Meter } from "../../core/driver.ts";
import { formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** Where an endpoint is, seen from here, for `outbound_tcp_transfer_cost_bytes_total`. */
export type ZoneLocality = "Local" | "Remote" | "Unknown";

/** What an endpoint's `zone_locality` says. */
export function localityOf(labels: Labels): ZoneLocality {
  const { zone_locality } = labels;
  return zone_locality === "local" ? "Local" : zone_locality === "remote" ? "Remote" : "Unknown";
}

/** The series of connections with the same labels. */
export class ConnectionSeries implements Meter {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #key: string;
  readonly #locality: ZoneLocality | null;
  #group: SeriesGroup;
  #open = -1;
  #now = -1;
  #read = -1;
  #write = -1;
  #received = -1;
  #sent = -1;
  #closed = -1;
  /** Why the connection failed whose `closed` comes next. */
  #errno = "";

  /** `locality`: of endpoints, whose bytes may cost something. */
  constructor(metrics: ProxyMetrics, labels: Labels, locality: ZoneLocality | null = null) {
    this.#m = metrics;
    this.#labels = labels;
    this.#locality = locality;
    this.#key = `tcp ${formatLabels(labels)}`;
    this.#group = metrics.sheet.group(this.#key);
    this.#renew();
  }

  #renew(): void {
    const m = this.#m;
    const labels = this.#labels;
    this.#group = m.sheet.group(this.#key);
    this.#open = this.#group.cell(m.tcpOpen, labels);
    this.#now = this.#group.cell(m.tcpOpenNow, labels);
    this.#read = this.#group.cell(m.tcpRead, labels);
    this.#write = this.#group.cell(m.tcpWrite, labels);
    this.#closed = -1;
    if (this.#locality === null) return;
    const cost = (op: string) => ({ op, zone_locality: this.#locality ?? "" });
    this.#received = m.sheet.cell(m.transferCost, cost("Recv"));
    this.#sent = m.sheet.cell(m.transferCost, cost("Send"));
  }

  read(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#read, bytes);
    if (this.#received >= 0) this.#m.sheet.add(this.#received, bytes);
  }

  wrote(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#write, bytes);
    if (this.#sent >= 0) this.#m.sheet.add(this.#sent, bytes);
  }

  /** The system's name of an error, such as `ECONNRESET`, that ends a connection now. */
  lost(errno: string): void {
    this.#errno = errno;
  }

  opened(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#open, 1);
    this.#m.sheet.add(this.#now, 1);
  }

  closed(): void {
    const errno = this.#errno;
    this.#errno = "";
    let cell = this.#closed;
    if (cell < 0 || errno !== "") {
      cell = this.#group.cell(this.#m.tcpClose, { ...this.#labels, errno });
      if (errno === "") this.#closed = cell;
    }
    this.#m.sheet.add(cell, 1);
    this.#m.sheet.add(this.#now, -1);
  }
}
