// What went over the bridge, as tcpdump wrote it: each direction of each TCP connection as its bytes in
// order. Says whether it is TLS, and which version the server chose.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";

/** One direction of a connection. */
export interface Flow {
  readonly from: string;
  readonly to: string;
  readonly toPort: number;
  readonly fromPort: number;
  readonly bytes: Buffer;
}

export class Capture {
  readonly #child: ChildProcess;
  readonly #file: string;

  private constructor(child: ChildProcess, file: string) {
    this.#child = child;
    this.#file = file;
  }

  /** Resolves when packets are being written. */
  static async start(device: string, file: string): Promise<Capture> {
    const args = ["-i", device, "--immediate-mode", "-U", "-n", "-s", "0", "-w", file, "tcp"];
    const child = spawn("tcpdump", args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes("listening on")) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`tcpdump ended: ${said}`)));
    await promise;
    return new Capture(child, file);
  }

  /** Ends it and gives what was seen. */
  async stop(): Promise<readonly Flow[]> {
    if (this.#child.exitCode === null && this.#child.pid !== undefined) {
      const gone = once(this.#child, "exit");
      process.kill(this.#child.pid, "SIGINT");
      await gone;
    }
    return readFlows(readFileSync(this.#file));
  }
}

/** Of a file in pcap's first format, with Ethernet frames. */
export function readFlows(pcap: Buffer): readonly Flow[] {
  const flows = new Map<string, Flow & { parts: Map<number, Buffer>; first: number }>();
  const little = pcap.readUInt32LE(0) === 0xa1b2c3d4;
  for (let at = 24; at + 16 <= pcap.length;) {
    const length = little ? pcap.readUInt32LE(at + 8) : pcap.readUInt32BE(at + 8);
    const frame = pcap.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    const packet = readPacket(frame);
    if (packet === null) continue;
    const { from, to, fromPort, toPort, sequence, data } = packet;
    const key = `${from} ${fromPort} ${to} ${toPort}`;
    let flow = flows.get(key);
    if (flow === undefined) {
      flow = { from, to, fromPort, toPort, bytes: data, parts: new Map(), first: sequence };
      flows.set(key, flow);
    }
    const before = flow.parts.get(sequence);
    // sent again: the longer one has the shorter one in it
    if (data.length > (before?.length ?? 0)) flow.parts.set(sequence, data);
  }
  return [...flows.values()].map(({ parts, first, ...flow }) => ({
    ...flow,
    bytes: Buffer.concat(
      [...parts].sort(([a], [b]) => ((a - first) >>> 0) - ((b - first) >>> 0)).map(([, p]) => p),
    ),
  }));
}

function readPacket(frame: Buffer) {
  const type = frame.readUInt16BE(12);
  const ip = frame.subarray(14);
  let tcp: Buffer;
  let from: string;
  let to: string;
  if (type === 0x0800 && ip[9] === 6) {
    const head = ((ip[0] ?? 0) & 15) * 4;
    from = ip.subarray(12, 16).join(".");
    to = ip.subarray(16, 20).join(".");
    tcp = ip.subarray(head, ip.readUInt16BE(2));
  } else if (type === 0x86dd && ip[6] === 6) {
    from = ip.toString("hex", 8, 24);
    to = ip.toString("hex", 24, 40);
    tcp = ip.subarray(40, 40 + ip.readUInt16BE(4));
  } else return null;
  return {
    from,
    to,
    fromPort: tcp.readUInt16BE(0),
    toPort: tcp.readUInt16BE(2),
    sequence: tcp.readUInt32BE(4),
    data: Buffer.from(tcp.subarray(((tcp[12] ?? 0) >> 4) * 4)),
  };
}

/** Whether it begins with a TLS record: a handshake, or what follows on a connection of before. */
export function isTls({ bytes }: Flow): boolean {
  // RFC 8446, section 5.1
  const type = bytes[0] ?? 0;
  return type >= 20 && type <= 23 && bytes[1] === 3;
}

/** The version that a server's first record chose (`supported_versions`), such as 0x0304. */
export function tlsVersion({ bytes }: Flow): number {
  // record 5, handshake 4, version 2, random 32, session 1 + n, suite 2, compression 1, extensions
  if (bytes[0] !== 22 || bytes[5] !== 2) return 0;
  let at = 5 + 4 + 2 + 32;
  at += 1 + (bytes[at] ?? 0) + 3;
  const end = at + 2 + bytes.readUInt16BE(at);
  for (at += 2; at + 4 <= end;) {
    const type = bytes.readUInt16BE(at);
    const length = bytes.readUInt16BE(at + 2);
    if (type === 43) return bytes.readUInt16BE(at + 4);
    at += 4 + length;
  }
  return bytes.readUInt16BE(9);
}
