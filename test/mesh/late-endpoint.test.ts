// Requests over HTTP/2 to what does not listen yet, and does a moment later: an endpoint without a proxy, a
// proxy, an application behind its proxy. Real processes and sockets; the bounds are far, so that a busy
// machine changes nothing.

import { once } from "node:events";
import http2 from "node:http2";
import { setTimeout as after } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { pod, service, unmeshed, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(128);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.4`, ports: [8080] };
const BARE_IP = `${NET}.5`;
/** How long what is asked for is not there. */
const LATE_MS = 300;
const FAILFAST = "60s";
const BACKOFF = {
  LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MIN: "100ms",
  LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MAX: "500ms",
};

let mesh: TestMesh;

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        pod("vote", VOTE.ip, "vote"),
        unmeshed(pod("bare", BARE_IP, "vote")),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        ...service("vote", `${NET}.104`, { vote: VOTE.ip }),
        ...service("bare", `${NET}.105`, { bare: BARE_IP }),
      ),
    },
    pods: [],
  });
  await mesh.startProxy(WEB, {
    LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT: FAILFAST,
    ...BACKOFF,
  });
  await mesh.startProxy(CATALOGUE, { LINKERD2_PROXY_INBOUND_HTTP_FAILFAST_TIMEOUT: FAILFAST });
});
test.after(() => mesh?.end());

/** An application of HTTP/2 that gives back what it is sent; ends with the mesh. */
async function listen(ip: string): Promise<void> {
  const server = http2.createServer();
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  server.listen(8080, ip);
  await once(server, "listening");
  mesh.onEnd(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((done) => server.close(done));
  });
}

/** What a POST to a service over HTTP/2 is answered, begun now; `text` is sent in two pieces. */
async function post(name: string, text: string): Promise<string> {
  const session = http2.connect(`http://${WEB.ip}:4140`);
  session.on("error", () => {});
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/",
      ":authority": `${name}.shop.svc.cluster.local:8080`,
    });
    let body = "";
    stream.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    stream.write(text.slice(0, 2));
    const head = once(stream, "response");
    const closed = once(stream, "close"); // it may come with the head
    stream.end(text.slice(2));
    const [headers] = await head as [http2.IncomingHttpHeaders];
    await closed;
    const why = headers["l5d-proxy-error"] ?? "";
    return `${headers[":status"]} ${why}${body}`;
  } finally {
    session.destroy();
  }
}

/** The request is out, and waits at the proxy of `web`. */
async function waits(answer: Promise<string>): Promise<void> {
  let isAnswered = false;
  void answer.then(() => (isAnswered = true), () => (isAnswered = true));
  await after(LATE_MS);
  assert.not.ok(isAnswered, "it waits");
}

test("an endpoint without a proxy that listens 300 ms later has the request, whole", async () => {
  const answer = post("bare", "late");
  await waits(answer);
  await listen(BARE_IP);
  assert.is(await answer, "200 late");
});

test("so has an application that listens later than its proxy", async () => {
  const answer = post("catalogue", "later");
  await waits(answer);
  await listen(CATALOGUE.ip);
  assert.is(await answer, "200 later");
});

test("a proxy that starts later has the request, and its time of waiting is counted", async () => {
  await listen(VOTE.ip);
  const answer = post("vote", "latest");
  await waits(answer);
  await eventually("the queue", async () => {
    assert.is(sum(await mesh.metrics(WEB), "outbound_http_balancer_queue_length", {}), 1);
  });
  await mesh.startProxy(VOTE);
  assert.is(await answer, "200 latest");
  const samples = await mesh.metrics(WEB);
  assert.is(sum(samples, "outbound_http_balancer_queue_length", {}), 0);
  assert.ok(sum(samples, "outbound_http_balancer_queue_latency_seconds_sum", {}) > LATE_MS / 1000);
});

test("a lone proxy that restarts while it is asked costs no request", async () => {
  const answers: string[] = [];
  let isOver = false;
  const asking = Array.from({ length: 4 }, async () => {
    while (!isOver) answers.push(await post("vote", "again"));
  });
  const asked = (more: number) => {
    const from = answers.length;
    return eventually("more answers", () => assert.ok(answers.length >= from + more));
  };
  await asked(20);
  await mesh.stopProxy(VOTE);
  await mesh.startProxy(VOTE);
  await asked(20);
  isOver = true;
  await Promise.all(asking);
  assert.equal([...new Set(answers)], ["200 again"], `${answers.length} answers`);
});

test.run();
