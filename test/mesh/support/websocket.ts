// A WebSocket server (RFC 6455) for tests, on the runtime's HTTP/1 server: echoes what it is told, and
// refuses or switches to something else by path. The client is the runtime's own.

import { createHash } from "node:crypto";
import http from "node:http";
import type net from "node:net";
import type { AddressInfo } from "node:net";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** One frame to a client, which is not masked. */
function frame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const head = length < 126
    ? [length]
    : length < 65_536
    ? [126, length >> 8, length & 255]
    : [127, 0, 0, 0, 0, ...new Uint8Array(Uint32Array.of(length).buffer).reverse()];
  return Buffer.concat([Uint8Array.from([0x80 | opcode, ...head]), payload]);
}

/** Takes whole frames off `buf`; what is left. */
function takeFrames(buf: Buffer, got: (opcode: number, payload: Uint8Array) => void): Buffer {
  for (;;) {
    if (buf.length < 2) return buf;
    let size = buf[1]! & 127;
    let at = 2;
    if (size === 126) {
      if (buf.length < 4) return buf;
      size = buf.readUInt16BE(2);
      at = 4;
    } else if (size === 127) {
      if (buf.length < 10) return buf;
      size = Number(buf.readBigUInt64BE(2));
      at = 10;
    }
    if (buf.length < at + 4 + size) return buf;
    const mask = buf.subarray(at, at + 4);
    const payload = buf.subarray(at + 4, at + 4 + size).map((byte, i) => byte ^ mask[i & 3]!);
    got(buf[0]! & 15, payload);
    buf = buf.subarray(at + 4 + size);
  }
}

export interface WebSocketApp {
  readonly port: number;
  /** What was asked for, oldest first. */
  readonly asked: http.IncomingMessage[];
  /** Sockets that were switched. */
  readonly sockets: net.Socket[];
  close(): Promise<void>;
}

/** `/refused`: 403; `/plain`: 200; `/raw`: switches to any protocol and echoes bytes; else a WebSocket. */
export async function webSocketApp(): Promise<WebSocketApp> {
  const asked: http.IncomingMessage[] = [];
  const sockets: net.Socket[] = [];
  const server = http.createServer((_request, response) => response.end("plain"));
  server.on("upgrade", (request: http.IncomingMessage, socket: net.Socket) => {
    asked.push(request);
    sockets.push(socket);
    socket.on("error", () => {});
    const { url, headers } = request;
    if (url === "/refused" || url === "/plain") {
      const line = url === "/refused" ? "403 Forbidden" : "200 OK";
      socket.end(`HTTP/1.1 ${line}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno`);
      return;
    }
    const protocol = headers["sec-websocket-protocol"];
    const key = headers["sec-websocket-key"] ?? "";
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${headers.upgrade}\r\n` +
        (protocol === undefined ? "" : `sec-websocket-protocol: ${protocol}\r\n`) +
        (url === "/raw" ? "\r\n" : `sec-websocket-accept: ${accept}\r\n\r\n`),
    );
    if (url === "/raw") {
      socket.on("data", (piece: Uint8Array) => socket.write(piece));
      socket.on("end", () => socket.end("bye"));
      return;
    }
    let kept: Buffer = Buffer.alloc(0);
    socket.on("data", (piece: Uint8Array) => {
      kept = takeFrames(Buffer.concat([kept, piece]), (opcode, payload) => {
        if (opcode === 8) socket.end(frame(8, payload));
        else if (opcode === 9) socket.write(frame(10, payload));
        else socket.write(frame(opcode, payload));
      });
    });
    socket.on("end", () => socket.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    sockets,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** The runtime's own WebSocket, opened; rejects when it does not open. */
export async function openWebSocket(url: string, protocols: string[] = []): Promise<WebSocket> {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error(`${url} did not open`)), {
      once: true,
    });
  });
  return socket;
}

/** The next message. */
export function nextMessage(socket: WebSocket): Promise<string | ArrayBuffer> {
  return new Promise((resolve) =>
    socket.addEventListener("message", ({ data }) => resolve(data), { once: true })
  );
}

/** Closes it in order. */
export async function closeWebSocket(socket: WebSocket): Promise<number> {
  const closed = new Promise<number>((resolve) =>
    socket.addEventListener("close", ({ code }) => resolve(code), { once: true })
  );
  socket.close(1000);
  return await closed;
}
