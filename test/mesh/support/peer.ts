// Ends of a mesh connection that are not our proxy: a client and a server made of the runtime's TLS,
// with a certificate of the mesh or of somebody else. What a proxy does with them is tested from here.

import { createPrivateKey } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import * as assert from "uvu/assert";
import { parseSocketAddr } from "../../../src/core/addr.ts";
import { SILENT } from "../../../src/core/log.ts";
import { keepCredentials } from "../../../src/proxy/credentials.ts";
import { decodeTransportHeader, encodeTransportHeader } from "../../../src/api/transport-header.ts";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  Frame,
  HEADERS,
  PREFACE,
  SETTINGS,
  writeFrameHeader,
} from "../../../src/proxy/http2/frames.ts";
import { createGrpcClient } from "../../../src/runtime/grpc-client.ts";
import { SYSTEM_CLOCK } from "../../../src/runtime/process.ts";
import { openSecrets } from "../../../src/runtime/secrets.ts";
import { identityOf, type MeshPod, type TestMesh } from "../../support/mesh.ts";
import { createTestCa, keyObject, newKeys } from "../../support/test-ca.ts";

export const TRANSPORT = "transport.l5d.io/v1";

/** PEM texts. */
export interface Material {
  readonly keyPem: string;
  readonly certPem: string;
  /** Whom this end trusts. */
  readonly anchorsPem: string;
}

/** A certificate for a pod, from the mesh's own identity service, as its proxy would ask for it. */
export async function certify(mesh: TestMesh, pod: MeshPod): Promise<Material> {
  const id = identityOf(pod);
  const anchorsPem = mesh.control.trustAnchors;
  const { ip: host, port } = parseSocketAddr(mesh.control.identity);
  const client = createGrpcClient({ host, port, identity: null }, () => null);
  const keeper = keepCredentials({
    identity: {
      id,
      serverName: id,
      minRefreshMs: 3_600_000,
      maxRefreshMs: 3_600_000,
      svc: { backoff: { minMs: 100, maxMs: 1000, jitter: 0 } },
    },
    secrets: await openSecrets({ ...await mesh.identityFiles(pod), name: id, anchorsPem }),
    transport: client.transport,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    log: SILENT,
  });
  try {
    const { credentials } = keeper;
    while (credentials.value === null) await credentials.changed(null);
    return credentials.value;
  } finally {
    keeper.close();
    client.close();
  }
}

/** A certificate with the same name from another CA, whose holder trusts the mesh. */
export async function forge(name: string, anchorsPem: string): Promise<Material> {
  const ca = await createTestCa("somebody else");
  const keys = await newKeys();
  const leaf = await ca.issue({
    publicKey: keys.publicKey,
    names: [{ type: "dns", value: name }],
  });
  const key = createPrivateKey(await keyObject(keys).then((k) => k.export(PKCS8)));
  return { keyPem: String(key.export(PKCS8)), certPem: leaf.toString("pem"), anchorsPem };
}

const PKCS8 = { format: "pem", type: "pkcs8" } as const;

/** Where a raw client connects from and to. */
export interface Way {
  readonly from: string;
  readonly ip: string;
  readonly port: number;
}

/** Sends bytes in clear text and resolves with all that came back until the end. */
export function sendPlain(way: Way, bytes: Uint8Array | string): Promise<string> {
  const socket = net.connect({ host: way.ip, port: way.port, localAddress: way.from });
  return untilEnd(socket, () => socket.write(bytes));
}

/**
 * Sends an HTTP request to port 8080 behind a mesh port, and resolves with all that came back until
 * the end; empty when nothing did. Null: without a client certificate.
 */
export async function sendMeshed(
  way: Way,
  serverName: string,
  material: Material | null,
  anchorsPem: string,
  path: string,
): Promise<string> {
  const raw = net.connect({ host: way.ip, port: way.port, localAddress: way.from });
  await new Promise((resolve, reject) => raw.once("connect", resolve).once("error", reject));
  const socket = tls.connect({
    socket: raw,
    servername: serverName,
    ALPNProtocols: [TRANSPORT],
    ca: anchorsPem,
    ...(material === null ? {} : { key: material.keyPem, cert: material.certPem }),
    minVersion: "TLSv1.3",
    // the server's name is looked at by the tests that are about it
    checkServerIdentity: () => undefined,
  });
  const header = encodeTransportHeader({ port: 8080, name: "", protocol: "http1" });
  return await untilEnd(socket, () => {
    socket.write(header);
    socket.write(`GET ${path} HTTP/1.1\r\nhost: raw\r\nconnection: close\r\n\r\n`);
  }, "secureConnect");
}

function untilEnd(socket: net.Socket, send: () => void, open = "connect"): Promise<string> {
  return new Promise((resolve) => {
    const got: Uint8Array[] = [];
    const timer = setTimeout(() => socket.destroy(), 10_000);
    socket.once(open, send);
    socket.on("data", (bytes: Uint8Array) => got.push(bytes));
    socket.on("error", () => {}); // a reset is an answer, too
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(got).toString("latin1"));
    });
  });
}

/** A server at a mesh port that answers `body` to whatever is asked. */
export interface FakeProxy {
  /** Bytes that came out of TLS. */
  received(): number;
  close(): Promise<void>;
}

/** Whether a HEADERS frame is there. */
function hasHead(buf: Uint8Array, at: number): boolean {
  const frame = new Frame();
  for (; at + 9 <= buf.length; at = frame.to) {
    frame.read(buf, at);
    if (frame.type === HEADERS) return frame.to <= buf.length;
  }
  return false;
}

/** SETTINGS, and 200 with a body on stream 1. */
function answerOf(body: string): Uint8Array {
  const out = new Uint8Array(28 + body.length);
  writeFrameHeader(out, 0, 0, SETTINGS, 0, 0);
  out[writeFrameHeader(out, 9, 1, HEADERS, END_HEADERS, 1)] = 0x88; // :status: 200
  const at = writeFrameHeader(out, 19, body.length, DATA, END_STREAM, 1);
  out.set(new TextEncoder().encode(body), at);
  return out;
}

export async function serveMeshed(
  ip: string,
  port: number,
  material: Material,
  body: string,
): Promise<FakeProxy> {
  let received = 0;
  const open = new Set<net.Socket>();
  const server = tls.createServer({
    key: material.keyPem,
    cert: material.certPem,
    ca: material.anchorsPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ALPNProtocols: [TRANSPORT],
  }, (socket) => {
    let got = new Uint8Array();
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => {
      received += bytes.length;
      got = Uint8Array.from([...got, ...bytes]);
      const found = decodeTransportHeader(got, 0, got.length);
      if (found === null || !hasHead(got, found.bytes + PREFACE.length)) return;
      assert.is(found.header.protocol, "http2");
      socket.write(answerOf(body));
    });
  });
  server.on("tlsClientError", () => {});
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: ip, port }, () => resolve());
  });
  return {
    received: () => received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
