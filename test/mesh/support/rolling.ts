// A workload whose only pod is replaced again and again while requests go on: real proxies, and a load
// over HTTP/1, HTTP/2 and gRPC that does not wait for answers before it asks again.

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../../support/mesh.ts";
import { type NamedPort, pod, service, yaml } from "./objects.ts";
import { eventually, pause } from "./waiting.ts";

const PORTS: readonly NamedPort[] = [{ name: "http", port: 8080 }, { name: "h2c", port: 8081 }];
const HOST = "catalogue.shop.svc.cluster.local";
/** Each protocol sends one request in so many milliseconds, whatever became of those before. */
const EVERY_MS = 25;
/** The application takes up to so long, so that some request is always under way. */
const MAX_WORK_MS = 60;
/** An answer that takes longer is a failure. */
const ANSWER_WITHIN_MS = 15_000;
/** A pod's address is used again after so many restarts; long after the process there has ended. */
const ADDRESSES = 8;

/** What became of the requests. */
export interface RollingResult {
  /** Answers by protocol. */
  readonly done: Readonly<Record<Protocol, number>>;
  /** One line for each request that had no good answer. */
  readonly failures: readonly string[];
}

type Protocol = "http1" | "http2" | "grpc";

/**
 * Replaces the server's pod `restarts` times under load: the new one starts and is ready, joins the
 * endpoints; the old one leaves them, is asked to end by SIGTERM at once, and must end by itself with 0.
 * `half` is the test file's own number, see `loopbackNet`.
 */
export async function rollingRestarts(half: number, restarts: number): Promise<RollingResult> {
  const net = loopbackNet(half);
  const web: MeshPod = { name: "web", app: "web", ip: `${net}.2`, ports: [] };
  const server = (n: number): MeshPod => ({
    name: `catalogue-${n}`,
    app: "catalogue",
    ip: `${net}.${10 + n % ADDRESSES}`,
    ports: PORTS.map(({ port }) => port),
  });
  const files = (...pods: readonly MeshPod[]) =>
    yaml(
      pod("web", web.ip, "web"),
      ...pods.map((p) => pod(p.name, p.ip, "catalogue", PORTS)),
      ...service(
        "catalogue",
        `${net}.103`,
        Object.fromEntries(pods.map((p) => [p.name, p.ip])),
        PORTS,
      ),
    );
  const mesh = await TestMesh.start({
    net,
    files: { "mesh.yaml": files(server(0)) },
    pods: [web, server(0)],
  });
  let load: OpenLoad | null = null;
  let app = await serveBoth(server(0).ip);
  try {
    load = await startOpenLoad(web.ip);
    const { done, failures } = load;
    await eventually("the load", () => assert.ok(Object.values(done).every((n) => n > 5)), 30_000);
    for (let n = 1; n <= restarts; n++) {
      const [before, next] = [server(n - 1), server(n)];
      const nextApp = await serveBoth(next.ip);
      const oldApp = app;
      app = nextApp;
      try {
        await mesh.startProxy(next);
        await mesh.write("mesh.yaml", files(before, next));
        await eventually(`requests reach ${next.name}`, () => assert.ok(nextApp.hits > 0), 30_000);
        await mesh.write("mesh.yaml", files(next));
        await mesh.stopProxy(before);
      } finally {
        await oldApp.close();
      }
      if (failures.length > 0) {
        throw new Error(`restart ${n} of ${restarts}:\n${failures.slice(0, 20).join("\n")}`);
      }
    }
    // The last one serves alone.
    const then = { ...done };
    await eventually("every protocol goes on", () => {
      assert.ok((Object.keys(done) as Protocol[]).every((p) => done[p] > then[p] + 5));
    }, 30_000);
    await load.stop();
    return { done, failures };
  } catch (e) {
    throw new Error(`${(e as Error).message}\n${mesh.log.slice(-12).join("\n")}`, { cause: e });
  } finally {
    await load?.stop();
    await mesh.end();
    await app.close();
  }
}

/** The application: HTTP/1 at 8080, HTTP/2 in clear text and gRPC at 8081. */
async function serveBoth(ip: string): Promise<{ readonly hits: number; close(): Promise<void> }> {
  let hits = 0;
  const work = () => pause(hits++ * 7 % MAX_WORK_MS);
  const one = http.createServer((request, response) => {
    request.resume();
    void work().then(() => response.end("ok"));
  });
  const two = http2.createServer();
  const sessions = new Set<http2.ServerHttp2Session>();
  two.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  two.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    void work().then(() => {
      if (stream.destroyed) return;
      if (headers["content-type"] !== "application/grpc") {
        stream.respond({ ":status": 200 });
        stream.end("ok");
        return;
      }
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, {
        waitForTrailers: true,
      });
      stream.end(Uint8Array.of(0, 0, 0, 0, 0)); // an empty message
    });
  });
  one.listen({ host: ip, port: 8080 });
  await once(one, "listening");
  two.listen({ host: ip, port: 8081 });
  await once(two, "listening");
  return {
    get hits() {
      return hits;
    },
    async close() {
      const closed = [one, two].map((server) =>
        new Promise<void>((resolve) => server.close(() => resolve()))
      );
      one.closeAllConnections();
      for (const session of sessions) session.destroy();
      await Promise.all(closed);
    },
  };
}

interface OpenLoad extends RollingResult {
  stop(): Promise<void>;
}

async function startOpenLoad(ip: string): Promise<OpenLoad> {
  const done = { http1: 0, http2: 0, grpc: 0 };
  const failures: string[] = [];
  const open = new Set<Promise<void>>();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  const session = http2.connect(`http://${ip}:4140`);
  session.on("error", (e) => failures.push(`the client's session: ${(e as Error).message}`));
  await once(session, "connect");
  const asks: Readonly<Record<Protocol, () => Promise<void>>> = {
    http1: () => askHttp1(agent, ip),
    http2: () => askHttp2(session, null),
    grpc: () => askHttp2(session, "application/grpc"),
  };
  const timer = setInterval(() => {
    for (const protocol of Object.keys(asks) as Protocol[]) {
      const asked: Promise<void> = asks[protocol]()
        .catch((e) => void failures.push(`${protocol}: ${(e as Error).message}`))
        .then(() => {
          done[protocol]++;
          open.delete(asked);
        });
      open.add(asked);
    }
  }, EVERY_MS);
  return {
    done,
    failures,
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
      agent.destroy();
      session.destroy();
    },
  };
}

function askHttp1(agent: http.Agent, ip: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = http.request({
      agent,
      host: ip,
      port: 4140,
      path: `http://${HOST}:8080/`,
      headers: { host: `${HOST}:8080` },
    });
    sent.setTimeout(ANSWER_WITHIN_MS, () => sent.destroy(new Error("no answer in time")));
    sent.on("error", reject);
    sent.on("response", (response) => {
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve();
        else {
          const why = String(response.headers["l5d-proxy-error"] ?? "");
          reject(new Error(`${response.statusCode} ${why}`));
        }
      });
      response.resume();
    });
    sent.end();
  });
}

function askHttp2(session: http2.ClientHttp2Session, type: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": type === null ? "GET" : "POST",
      ":path": "/test.echo.v1.Echo/Unary",
      ":authority": `${HOST}:8081`,
      ...(type === null ? {} : { "content-type": type, te: "trailers" }),
    }, { endStream: type === null });
    let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let grpcStatus: unknown = null;
    let bytes = 0;
    const late = setTimeout(() => {
      reject(new Error("no answer in time"));
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }, ANSWER_WITHIN_MS);
    stream.on("error", reject);
    stream.on("response", (headers) => {
      head = headers;
      grpcStatus = headers["grpc-status"] ?? null;
    });
    stream.on("trailers", (trailers) => grpcStatus = trailers["grpc-status"] ?? null);
    stream.on("data", (chunk: Uint8Array) => bytes += chunk.length);
    stream.on("close", () => {
      clearTimeout(late);
      const isGood = head[":status"] === 200 && bytes > 0 && (type === null || grpcStatus === "0");
      if (isGood) resolve();
      else {
        const why = String(head["l5d-proxy-error"] ?? head["grpc-message"] ?? "");
        reject(new Error(`${head[":status"]}, grpc-status ${grpcStatus}, ${bytes} bytes ${why}`));
      }
    });
    if (type !== null) stream.end(Uint8Array.of(0, 0, 0, 0, 0));
  });
}
