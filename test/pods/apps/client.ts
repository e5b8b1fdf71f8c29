// The clients of the suite, which know of no mesh: one command, one line of JSON.
// Usage: client http URL [HEADER:VALUE …] | h2 URL | grpc URL | ws URL | greet HOST PORT | say HOST PORT |
// load URL STOPFILE

import { existsSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import process from "node:process";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Echo } from "../../support/echo-rpc.ts";

const PATIENCE_MS = 20_000;

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

function get(url: string, headers: Record<string, string>, agent?: http.Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { headers, timeout: PATIENCE_MS, ...(agent === undefined ? {} : { agent }) };
    const request = http.get(url, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => text += part);
      response.once(
        "end",
        () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
      response.once("error", reject);
    });
    request.once("timeout", () => request.destroy(new Error("no answer in time")));
    request.once("error", reject);
  });
}

function h2(url: string): Promise<unknown> {
  const session = http2.connect(url);
  return new Promise((resolve, reject) => {
    session.once("error", reject);
    const stream = session.request({ ":path": new URL(url).pathname });
    let status = 0;
    let text = "";
    stream.once("response", (headers) => status = Number(headers[":status"]));
    stream.setEncoding("utf8").on("data", (part: string) => text += part);
    stream.once("error", reject);
    stream.once("end", () => resolve({ status, text }));
  }).finally(() => session.close());
}

async function grpc(baseUrl: string): Promise<unknown> {
  const client = createClient(Echo, createGrpcTransport({ baseUrl }));
  let trailer = "";
  const options = {
    timeoutMs: PATIENCE_MS,
    onTrailer: (trailers: Headers) => trailer = trailers.get("x-trailer") ?? "",
  };
  const { text } = await client.unary({ text: "pods" }, options);
  const repeated: string[] = [];
  for await (const message of client.repeat({ text: "3" })) repeated.push(message.text);
  const talked: string[] = [];
  async function* words() {
    yield { text: "one" };
    yield { text: "two" };
  }
  for await (const message of client.talk(words())) talked.push(message.text);
  const failed = await client.unary({ text: "fail:5" }).then(() => 0, (e) => Number(e.code));
  return { text, trailer, repeated, talked, failed };
}

function ws(url: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    const heard: string[] = [];
    socket.onerror = () => reject(new Error("the WebSocket failed"));
    socket.onopen = () => socket.send("first");
    socket.onmessage = ({ data }) => {
      heard.push(String(data));
      if (heard.length === 1) socket.send("second");
      else socket.close();
    };
    socket.onclose = () => resolve({ heard });
  });
}

/** Says nothing until it was spoken to, when `waits`. */
function talk(host: string, port: number, waits: boolean): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host);
    const startMs = performance.now();
    let greeting = "";
    let greetedMs = 0;
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("nothing came in time")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    if (!waits) socket.once("connect", () => socket.write("a secret word"));
    socket.on("data", (data) => {
      if (waits && greeting === "") {
        greeting = data.toString().trim();
        greetedMs = performance.now() - startMs;
        socket.write("a secret word");
        return;
      }
      resolve({ greeting, greetedMs: Math.round(greetedMs), answer: data.toString() });
      socket.destroy();
    });
  });
}

/** Asks one after the other over connections that are kept, and counts, until a file is there. */
async function load(url: string, stop: string): Promise<unknown> {
  const agent = new http.Agent({ keepAlive: true });
  const pods: Record<string, number> = {};
  const failures: string[] = [];
  let requests = 0;
  while (!existsSync(stop)) {
    requests++;
    try {
      const { status, text } = await get(url, {}, agent);
      if (status !== 200) failures.push(`${status} ${text}`);
      else {
        const { pod } = JSON.parse(text) as { pod: string };
        pods[pod] = (pods[pod] ?? 0) + 1;
      }
    } catch (e) {
      failures.push(String(e));
    }
    await new Promise((next) => setTimeout(next, 5));
  }
  agent.destroy();
  return { requests, pods, failures };
}

const [what = "", first = "", ...rest] = process.argv.slice(2);

function main(): Promise<unknown> {
  switch (what) {
    case "http":
      return get(
        first,
        Object.fromEntries(rest.map((h) => h.split(/:(.*)/).slice(0, 2) as [string, string])),
      );
    case "h2":
      return h2(first);
    case "grpc":
      return grpc(first);
    case "ws":
      return ws(first);
    case "greet":
      return talk(first, Number(rest[0]), true);
    case "say":
      return talk(first, Number(rest[0]), false);
    case "load":
      return load(first, rest[0] ?? "");
  }
  throw new Error(`There is no client ${what}`);
}

try {
  process.stdout.write(JSON.stringify(await main()) + "\n");
  process.exit(0);
} catch (e) {
  process.stdout.write(JSON.stringify({ error: String(e) }) + "\n");
  process.exit(1);
}
