// The part of kube-dns: answers names of Services with their cluster addresses, headless ones with the
// addresses of their pods. Over UDP, for as long as a test; knows nothing beyond the cluster.

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

const A = 1;
const AAAA = 28;
const NOT_THERE = 3;

/** Addresses of a name, in lower case and without the last dot; null: there is no such name. */
export type Lookup = (name: string) => readonly string[] | null;

export class Dns {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Answers on port 53 of `ip`. */
  static async listen(ip: string, lookup: Lookup): Promise<Dns> {
    const socket = createSocket("udp4");
    socket.on("message", (question, from) => {
      const reply = answer(question, lookup);
      if (reply !== null) socket.send(reply, from.port, from.address);
    });
    socket.bind(53, ip);
    await once(socket, "listening");
    return new Dns(socket);
  }

  close(): void {
    this.#socket.close();
  }
}

/** RFC 1035, section 4: one question, addresses only. Null for what is no question. */
export function answer(question: Buffer, lookup: Lookup): Buffer | null {
  if (question.length < 17 || question.readUInt16BE(4) !== 1) return null;
  const labels: string[] = [];
  let at = 12;
  for (;;) {
    const length = question[at++] ?? 0;
    if (length === 0) break;
    labels.push(question.toString("latin1", at, at + length).toLowerCase());
    at += length;
  }
  const type = question.readUInt16BE(at);
  const found = lookup(labels.join("."));
  const ips = (found ?? []).filter((ip) => ip.includes(":") ? type === AAAA : type === A);
  const head = Buffer.from(question.subarray(0, at + 4));
  // an answer, authoritative, recursion is there as asked for
  head.writeUInt16BE(0x8580 | (found === null ? NOT_THERE : 0), 2);
  head.writeUInt16BE(ips.length, 6);
  head.writeUInt32BE(0, 8);
  const records = ips.map((ip) => {
    const data = bytesOf(ip);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0); // the question's name
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(5, 6); // seconds
    record.writeUInt16BE(data.length, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([head, ...records]);
}

/** Of an address of either family. */
export function bytesOf(ip: string): Buffer {
  if (!ip.includes(":")) return Buffer.from(ip.split(".").map(Number));
  const [left = "", right] = ip.split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":").map((g) => parseInt(g, 16));
  const [first, last] = [groups(left), groups(right ?? "")];
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
  const bytes = Buffer.alloc(16);
  all.forEach((group, i) => bytes.writeUInt16BE(group, 2 * i));
  return bytes;
}
