// An application of the suite, which knows of no mesh: HTTP/1 with WebSocket, HTTP/2, gRPC and plain TCP
// on ports of their own. Each answer says what arrived. Ends after what is in flight when it is asked to.

import { createHash } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { hostname } from "node:os";
import process from "node:process";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { serveEcho } from "../../support/echo-rpc.ts";

/** HTTP/1: the ordinary port, one that a policy guards, one that is opaque, one that is skipped. */
const HTTP1 = [8080, 8085, 9000, 9101];
const HTTP2 = 8081;
const GRPC = 8082;
/** Plain TCP: one where the server speaks first, one that a policy guards. */
const GREETING = 7000;
const GUARDED_TCP = 8086;
/** RFC 6455, section 1.3. */
const WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function seen(version: string, path: string, headers: object, body: string) {
  return JSON.stringify({ pod: hostname(), version, path, headers, body });
}

const handle: http.RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const wait = Number(/[?&]ms=(\d+)/.exec(request.url ?? "")?.[1] ?? 0);
    const body = Buffer.concat(chunks).toString();
    setTimeout(() => {
      response.setHeader("content-type", "application/json");
      response.end(seen(request.httpVersion, request.url ?? "", request.headers, body));
    }, wait);
  });
};

const servers: { close(): void }[] = [];
for (const port of HTTP1) {
  const server = http.createServer(handle);
  server.on("upgrade", (request, socket) => {
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}${WEBSOCKET_KEY}`).digest("base64");
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
        `sec-websocket-accept: ${accept}\r\n\r\n`,
    );
    socket.on("data", (frame: Buffer) => {
      socket.write(echoFrame(frame));
      // who is asked to close closes the connection, too
      if (((frame[0] ?? 0) & 15) === 8) socket.end();
    });
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
  });
  server.listen(port, "::");
  servers.push(server);
}

/** Of one small masked text frame: the same text, not masked, after `echo `. */
function echoFrame(frame: Buffer): Buffer {
  const length = (frame[1] ?? 0) & 127;
  const mask = frame.subarray(2, 6);
  const text = frame.subarray(6, 6 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  if (((frame[0] ?? 0) & 15) === 8) return Buffer.concat([Buffer.from([0x88, length]), text]);
  const answer = Buffer.concat([Buffer.from("echo "), text]);
  return Buffer.concat([Buffer.from([0x81, answer.length]), answer]);
}

const plain = http2.createServer();
plain.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
  stream.respond({ ":status": 200, "content-type": "application/json" });
  const path = String(headers[":path"]);
  stream.end(seen("2.0", path, headers, ""));
});
plain.listen(HTTP2, "::");

const seenCalls = { aborted: 0, deadlines: [] };
http2.createServer(connectNodeAdapter({ routes: (router) => serveEcho(router, seenCalls) }))
  .listen(GRPC, "::");

net.createServer((socket) => {
  socket.write(`220 ${hostname()} greets first\r\n`);
  socket.on("data", (data) => socket.write(`you said ${data.toString()}`));
  socket.on("error", () => {});
}).listen(GREETING, "::");
net.createServer((socket) => {
  socket.on("data", (data) => socket.write(`you said ${data.toString()}`));
  socket.on("error", () => {});
}).listen(GUARDED_TCP, "::");

process.on("SIGTERM", () => {
  for (const server of servers) server.close();
  setTimeout(() => process.exit(0), 500);
});
process.stdout.write("serving\n");
