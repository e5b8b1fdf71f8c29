// Collects what a filter's source declares while the transform walks it, and ends as the manifest.

import {
  ABI,
  type ConfigField,
  type HeaderUse,
  LIMITS,
  type Manifest,
  type ManifestBody,
  type ManifestEdit,
  type ManifestMetric,
} from "../abi.ts";

type HeadName = "request" | "response";

/** A manifest in the making. Methods throw an `Error` with a sentence when the source asks too much. */
export class ManifestBuilder {
  readonly #headers: string[] = [];
  readonly #reads = { request: new Set<number>(), response: new Set<number>() };
  readonly #writes = { request: new Set<number>(), response: new Set<number>() };
  readonly #params: Record<HeadName, readonly number[]> = { request: [], response: [] };
  readonly #edits: ManifestEdit[] = [];
  readonly #config: ConfigField[] = [];
  readonly #metrics: ManifestMetric[] = [];
  /** Set when a function other than the request hook reads the request. */
  keepsRequest = false;
  /** How often the tick is called; 0: there is none. */
  tickMs = 0;
  /** How body hooks want their bodies. */
  readonly bodies: Record<HeadName, Pick<ManifestBody, "wholeBytes" | "over">> = {
    request: { wholeBytes: 0, over: "pass" },
    response: { wholeBytes: 0, over: "pass" },
  };
  readonly bodyHooks = new Set<HeadName>();
  replacesBodies = false;
  readonly #callouts: string[] = [];

  /** The slot of a header. */
  header(name: string): number {
    const lower = name.toLowerCase();
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower)) {
      throw new Error(`"${name}" is not a header name`);
    }
    const known = this.#headers.indexOf(lower);
    if (known >= 0) return known;
    if (this.#headers.length >= LIMITS.headers) {
      throw new Error(`more than ${LIMITS.headers} headers`);
    }
    return this.#headers.push(lower) - 1;
  }

  reads(head: HeadName, name: string): number {
    const slot = this.header(name);
    this.#reads[head].add(slot);
    return slot;
  }

  writes(head: HeadName, name: string): number {
    const slot = this.header(name);
    this.#writes[head].add(slot);
    return slot;
  }

  isWritten(head: HeadName, name: string): boolean {
    return this.#writes[head].has(this.#headers.indexOf(name.toLowerCase()));
  }

  params(head: HeadName, slots: readonly number[]): void {
    this.#params[head] = slots;
  }

  /** The index of a constant edit; equal ones are one. */
  edit(head: HeadName, op: ManifestEdit["op"], name: string, value: string): number {
    if (/[\0\r\n]/.test(value)) throw new Error(`the value of "${name}" must be one line of text`);
    const header = this.writes(head, name);
    const same = this.#edits.findIndex((e) =>
      e.head === head && e.op === op && e.header === header && e.value === value
    );
    if (same >= 0) return same;
    if (this.#edits.length >= LIMITS.edits) throw new Error(`more than ${LIMITS.edits} edits`);
    return this.#edits.push({ head, op, header, value }) - 1;
  }

  /** The slot of a call-out target. */
  callout(name: string): number {
    if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) throw new Error(`"${name}" is not a target's name`);
    const known = this.#callouts.indexOf(name);
    if (known >= 0) return known;
    if (this.#callouts.length >= LIMITS.callouts) {
      throw new Error(`more than ${LIMITS.callouts} targets of call-outs`);
    }
    return this.#callouts.push(name) - 1;
  }

  /** The slot of a configuration key; it may be declared twice in the same way. */
  field(field: ConfigField): number {
    const slot = this.#config.findIndex((known) => known.key === field.key);
    if (slot >= 0) {
      if (JSON.stringify(this.#config[slot]) !== JSON.stringify(field)) {
        throw new Error(`the key "${field.key}" is declared in two ways`);
      }
      return slot;
    }
    if (this.#config.length >= LIMITS.config) throw new Error(`more than ${LIMITS.config} keys`);
    return this.#config.push(field) - 1;
  }

  fieldAt(slot: number): ConfigField {
    return this.#config[slot] as ConfigField;
  }

  fieldSlot(key: string): number {
    return this.#config.findIndex((known) => known.key === key);
  }

  metric(metric: ManifestMetric): number {
    if (this.#metrics.some((known) => known.name === metric.name)) {
      throw new Error(`the metric "${metric.name}" is declared twice`);
    }
    if (this.#metrics.length >= LIMITS.metrics) {
      throw new Error(`more than ${LIMITS.metrics} metrics`);
    }
    return this.#metrics.push(metric) - 1;
  }

  /** The manifest. Order follows the source, so that equal sources give equal bytes. */
  finish(build: string): Manifest {
    const use = (of: Record<HeadName, ReadonlySet<number>>): HeaderUse => ({
      request: [...of.request],
      response: [...of.response],
    });
    return {
      abi: ABI,
      ...(build === "" ? {} : { build }),
      headers: this.#headers,
      reads: use(this.#reads),
      writes: use(this.#writes),
      params: { request: this.#params.request, response: this.#params.response },
      keepsRequest: this.keepsRequest,
      edits: this.#edits,
      config: this.#config,
      metrics: this.#metrics,
      ...(this.#callouts.length === 0 ? {} : { callouts: this.#callouts }),
      ...(this.bodyHooks.size === 0 ? {} : {
        bodies: Object.fromEntries(
          [...this.bodyHooks].map((head) => [
            head,
            { ...this.bodies[head], replaces: this.replacesBodies },
          ]),
        ),
      }),
      ...(this.tickMs === 0 ? {} : { tickMs: this.tickMs }),
    };
  }
}

/** How many values of a label there is room for. */
export function labelSize(
  label: ManifestMetric["labels"][number],
  field: (slot: number) => ConfigField,
): number {
  if ("values" in label) return label.values.length;
  const of = field(label.config);
  return (of.type === "list" ? of.max : 1) + (label.or === null ? 0 : 1);
}
