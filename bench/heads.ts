// What a head costs on its way from HTTP/2 to HTTP/2, without sockets: read and checked, then written as
// it came. For comparison every field decoded, not checked, looked up by its bytes and encoded again.

import { RequestHead } from "../src/core/head.ts";
import { INDEX, NO_INDEX } from "../src/proxy/http2/field-rules.ts";
import { type FieldSink, HpackDecoder } from "../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../src/proxy/http2/hpack-encoder.ts";
import { headReader } from "../src/proxy/http2/read-heads.ts";
import { writeRequestBlock } from "../src/proxy/http2/write-heads.ts";
import { machine, median, table } from "./support/table.ts";

const ROUNDS = 15;
const TURNS = 50_000;
const MAX_BYTES = 64 * 1024;

/** A call of gRPC; the last two are never the same, so that no client indexes them. */
const FIELDS: readonly (readonly [name: string, value: string])[] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/shop.Catalog/GetItem"],
  [":authority", "catalog.shop.svc.cluster.local:8080"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
  ["user-agent", "grpc-go/1.71.0"],
  ["grpc-accept-encoding", "gzip"],
  ["grpc-timeout", "4999962u"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
];

const out = new Uint8Array(8192);

/** Blocks of one client: its first, and what follows. */
function blocks(isLiteral: (name: string) => boolean): [first: Uint8Array, next: Uint8Array] {
  const encoder = new HpackEncoder();
  const block = () => {
    let at = encoder.begin(out, 0);
    for (const [name, value] of FIELDS) {
      const buf = Uint8Array.from(name + value, (c) => c.charCodeAt(0));
      const how = isLiteral(name) ? NO_INDEX : INDEX;
      at = encoder.field(buf, 0, name.length, name.length, buf.length, out, at, how);
    }
    return out.slice(0, at);
  };
  return [block(), block()];
}

/** Reads a block, and has `write` write what was read. Gives the microseconds of one turn. */
function measure(
  [first, next]: readonly [Uint8Array, Uint8Array],
  read: (block: Uint8Array, decoder: HpackDecoder) => void,
  write: () => void,
): number {
  const decoder = new HpackDecoder();
  read(first, decoder);
  write();
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const from = performance.now();
    for (let i = 0; i < TURNS; i++) {
      read(next, decoder);
      write();
    }
    rounds.push((performance.now() - from) * 1000 / TURNS);
  }
  return median(rounds);
}

const head = new RequestHead();
head.major = 2;

function readHead(block: Uint8Array, decoder: HpackDecoder): void {
  const sink = headReader.beginRequest(head, MAX_BYTES);
  if (!decoder.decode(block, 0, block.length, sink) || headReader.finishRequest(false) !== 0) {
    throw new Error("the block is not a request");
  }
}

/** Fields as bytes and offsets, the way that a codec which knows no tables keeps them. */
class Spans implements FieldSink {
  readonly buf = new Uint8Array(8192);
  readonly spans: number[] = [];
  #at = 0;

  begin(): this {
    this.#at = this.spans.length = 0;
    return this;
  }

  known(field: Parameters<FieldSink["known"]>[0]): void {
    this.#add(field.line, field.nameTo, field.line, field.valueFrom, field.valueTo);
  }

  literal(literal: Parameters<FieldSink["literal"]>[0]): void {
    this.#add(literal.nameBuf, literal.nameTo, literal.buf, literal.from, literal.to);
  }

  #add(nameBuf: Uint8Array, nameTo: number, buf: Uint8Array, from: number, to: number): void {
    let at = this.#at;
    this.spans.push(at, at + nameTo, at + nameTo + to - from);
    for (let i = 0; i < nameTo; i++) this.buf[at++] = nameBuf[i] as number;
    for (let i = from; i < to; i++) this.buf[at++] = buf[i] as number;
    this.#at = at;
  }

  write(encoder: HpackEncoder): void {
    let at = encoder.begin(out, 0);
    const { buf, spans } = this;
    for (let i = 0; i < spans.length; i += 3) {
      const [from, middle, to] = [spans[i], spans[i + 1], spans[i + 2]] as [number, number, number];
      const how = FIELDS[i / 3]?.[0] === "traceparent" ? NO_INDEX : INDEX;
      at = encoder.field(buf, from, middle, middle, to, out, at, how);
    }
  }
}

/** Runs the bench. Gives the exit status. */
export function heads(): Promise<number> {
  const unique = (name: string) => name === "grpc-timeout" || name === "traceparent";
  const rows: string[][] = [];
  for (
    const [name, isLiteral] of [
      ["two literals, the others by index", unique],
      ["nothing by index", () => true],
    ] as const
  ) {
    const came = blocks(isLiteral);
    const encoder = new HpackEncoder();
    const again = new HpackEncoder();
    const spans = new Spans();
    const read = measure(came, readHead, () => {});
    const written = measure(came, readHead, () => {
      writeRequestBlock(encoder, head, "", out, encoder.begin(out, 0));
    });
    const twice = measure(came, (block, decoder) => {
      decoder.decode(block, 0, block.length, spans.begin());
    }, () => spans.write(again));
    rows.push([name, read.toFixed(2), written.toFixed(2), twice.toFixed(2)]);
  }
  console.log(table(["µs a head", "read", "and as it came", "decoded, encoded again"], rows));
  console.log(`\n${FIELDS.length} fields of a gRPC call, medians of ${ROUNDS} rounds`);
  console.log(`Node ${process.versions.node}\n${machine()}`);
  return Promise.resolve(0);
}
