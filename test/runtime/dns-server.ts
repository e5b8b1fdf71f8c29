// A name server of one zone on loopback, over UDP: SRV, A and AAAA records, NXDOMAIN for other names.
// Writes only what the tests of control addresses need of RFC 1035 and RFC 2782.

import dgram from "node:dgram";

/** Records of one name. */
export interface Records {
  readonly srv?: readonly { readonly target: string; readonly port: number }[];
  readonly a?: readonly string[];
  readonly ttlSeconds: number;
}

/** A running server; `zone` is by lower-case name without final dot, and may change. */
export interface DnsServer {
  readonly at: string;
  readonly zone: Map<string, Records>;
  /** `TYPE name`, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

const TYPES: ReadonlyMap<number, string> = new Map([[1, "A"], [28, "AAAA"], [33, "SRV"]]);

/** Listens on a free port of 127.0.0.1. */
export async function serveDns(): Promise<DnsServer> {
  const zone = new Map<string, Records>();
  const asked: string[] = [];
  const socket = dgram.createSocket("udp4");
  socket.on("message", (query, { address, port }) => {
    const { name, type, end } = question(query);
    asked.push(`${TYPES.get(type) ?? type} ${name}`);
    const records = zone.get(name);
    const answers = records === undefined ? [] : recordsOf(records, type);
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8580 | (records === undefined ? 3 : 0), 2); // an answer, with authority
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answers.length, 6);
    socket.send(Buffer.concat([head, query.subarray(12, end), ...answers]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
  return {
    at: `127.0.0.1:${socket.address().port}`,
    zone,
    asked,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function question(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (;;) {
    const length = query[at] ?? 0;
    at++;
    if (length === 0) break;
    labels.push(query.toString("latin1", at, at + length).toLowerCase());
    at += length;
  }
  return { name: labels.join("."), type: query.readUInt16BE(at), end: at + 4 };
}

function recordsOf({ srv = [], a = [], ttlSeconds }: Records, type: number): Buffer[] {
  const datas = type === 33
    ? srv.map(({ target, port }) => Buffer.concat([words(0, 0, port), encodeName(target)]))
    : type === 1
    ? a.map((ip) => Buffer.from(ip.split(".").map(Number)))
    : [];
  return datas.map((data) => {
    const fixed = words(0xc00c, type, 1, ttlSeconds >> 16, ttlSeconds & 0xffff, data.length);
    return Buffer.concat([fixed, data]);
  });
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, i) => bytes.writeUInt16BE(value, i * 2));
  return bytes;
}

function encodeName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)]));
  return Buffer.concat([...parts, Buffer.from([0])]);
}
