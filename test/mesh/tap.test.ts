// Requests observed live, as `tap` does it: over mesh TLS by the one identity that may, from both
// proxies of a request, while traffic goes on unharmed.

import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ObserveRequestSchema,
  Tap,
  type TapEvent,
  TapEvent_ProxyDirection,
} from "../../src/api/gen/tap_pb.ts";
import { createGrpcClient } from "../../src/runtime/grpc-client.ts";
import { identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { pod, service, yaml } from "./support/objects.ts";
import { certify, type Material } from "./support/peer.ts";

const NET = loopbackNet(106);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.3`, ports: [8080] };
/** Serves in several threads. */
const WIDE: MeshPod = { name: "wide", app: "load", ip: `${NET}.5`, ports: [8080] };
/** Observes. */
const VIZ: MeshPod = { name: "viz", app: "catalogue", ip: `${NET}.4`, ports: [] };
const URL = "http://vote.shop.svc.cluster.local:8080/votes?x=1";

let mesh: TestMesh;
test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote"),
        pod("viz", VIZ.ip, "catalogue"),
        pod("wide", WIDE.ip, "load"),
        ...service("wide", `${NET}.105`, { wide: WIDE.ip }),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }),
      ),
    },
    pods: [],
  });
  for (const one of [WEB, VOTE]) {
    await mesh.startProxy(one, {
      LINKERD2_PROXY_CONTROL_LISTEN_ADDR: `${one.ip}:4190`,
      LINKERD2_PROXY_TAP_SVC_NAME: identityOf(VIZ),
    });
  }
  await mesh.startProxy(WIDE, {
    LINKERD2_PROXY_CONTROL_LISTEN_ADDR: `${WIDE.ip}:4190`,
    LINKERD2_PROXY_TAP_SVC_NAME: identityOf(VIZ),
    LINKERD2_PROXY_CORES: "2",
  });
  await mesh.serve(WIDE.ip, 8080, () => ({ status: 200 }));
  await mesh.serve(VOTE.ip, 8080, ({ method }) => ({
    status: method === "GET" ? 200 : 404,
    headers: { "x-answer": "42" },
    body: "votes",
  }));
});
test.after(() => mesh?.end());

/** Observes a pod's proxy until `limit` requests are over. `as`: a client certificate; null: in clear text. */
async function observe(
  of: MeshPod,
  as: Material | null,
  request: MessageInitShape<typeof ObserveRequestSchema>,
  traffic: () => Promise<unknown>,
): Promise<TapEvent[]> {
  const context = as === null ? null : tls.createSecureContext({
    key: as.keyPem,
    cert: as.certPem,
    ca: as.anchorsPem,
    minVersion: "TLSv1.3",
  });
  const target = { host: of.ip, port: 4190, identity: as === null ? null : identityOf(of) };
  const client = createGrpcClient(target, () => context);
  const stop = AbortSignal.timeout(20_000);
  try {
    const events: TapEvent[] = [];
    const all = (async () => {
      for await (
        const event of createClient(Tap, client.transport).observe(request, { signal: stop })
      ) events.push(event);
    })();
    let over = false;
    const ended = all.finally(() => over = true);
    ended.catch(() => {});
    // Only what begins after the observer came is seen.
    while (!over) {
      await traffic();
      await Promise.race([ended.catch(() => {}), new Promise((r) => setTimeout(r, 20))]);
    }
    await ended.catch((e: unknown) => {
      const why = ConnectError.from(e);
      throw new ConnectError(`${events.length} events, then: ${why.message}`, why.code);
    });
    return events;
  } finally {
    client.close();
  }
}

const ALL = { limit: 1, match: { match: { case: "all" as const, value: { matches: [] } } } };
const HEADERS = {
  extract: {
    extract: {
      case: "http" as const,
      value: { extract: { case: "headers" as const, value: {} } },
    },
  },
};
const get = () => mesh.call(WEB, URL, { headers: { "x-tapped": "yes" } });

test("the identity that may observe sees a request from its head to its end, on both sides", async () => {
  const viz = await certify(mesh, VIZ);
  const outbound = await observe(WEB, viz, { ...ALL, ...HEADERS }, get);
  const inbound = await observe(VOTE, viz, { ...ALL, ...HEADERS }, get);
  for (const [events, direction] of [[outbound, "OUTBOUND"], [inbound, "INBOUND"]] as const) {
    const kinds = events.map((e) => e.event.value?.event.case);
    assert.equal(kinds, ["requestInit", "responseInit", "responseEnd"], direction);
    for (const event of events) {
      assert.is(event.proxyDirection, TapEvent_ProxyDirection[direction]);
      assert.is(
        event.event.value?.event.value?.id?.base,
        events[0]!.event.value?.event.value?.id?.base,
      );
      assert.is(
        event.event.value?.event.value?.id?.stream,
        events[0]!.event.value?.event.value?.id?.stream,
      );
    }
    const begin = events[0]!.event.value!.event;
    assert.ok(begin.case === "requestInit");
    assert.is(begin.value.path, "/votes");
    assert.is(begin.value.authority, "vote.shop.svc.cluster.local:8080");
    const header = begin.value.headers?.headers.find((h) => h.name === "x-tapped");
    assert.is(new TextDecoder().decode(header?.value), "yes");
    const answer = events[1]!.event.value!.event;
    assert.ok(answer.case === "responseInit");
    assert.is(answer.value.httpStatus, 200);
    assert.ok(answer.value.headers?.headers.some((h) => h.name === "x-answer"));
  }
  assert.equal(outbound[0]?.destinationMeta?.labels["server_id"], identityOf(VOTE));
  assert.is(outbound[0]?.destinationMeta?.labels["pod"], "vote");
  assert.is(inbound[0]?.sourceMeta?.labels["client_id"], identityOf(WEB));
  assert.is(inbound[0]?.destination?.port, 8080);
});

test("only what is wanted is shown, and headers only when they are asked for", async () => {
  const viz = await certify(mesh, VIZ);
  const events = await observe(
    WEB,
    viz,
    {
      limit: 2,
      match: {
        match: {
          case: "http",
          value: { match: { case: "method", value: { type: { case: "registered", value: 1 } } } },
        },
      },
    },
    async () => {
      await get();
      await mesh.call(WEB, URL, { method: "POST", body: "1" });
    },
  );
  const heads = events.flatMap(({ event }) =>
    event.value?.event.case === "requestInit" ? [event.value.event.value] : []
  );
  assert.is(heads.length, 2);
  assert.ok(heads.every((h) => h.method?.type.value === 1 && h.headers === undefined));
});

test("nobody else observes, by TLS or in clear text, and what is not valid is refused", async () => {
  const refusal = (as: Material | null, request: MessageInitShape<typeof ObserveRequestSchema>) =>
    observe(WEB, as, request, () => Promise.resolve()).then(
      (): ConnectError => {
        throw new Error("it was let in");
      },
      (e) => ConnectError.from(e),
    );
  const vote = await refusal(await certify(mesh, VOTE), ALL);
  assert.is(vote.code, Code.Unauthenticated, vote.message);
  const viz = await certify(mesh, VIZ);
  const none = await refusal(viz, { ...ALL, limit: 0 });
  assert.is(none.code, Code.InvalidArgument);
  assert.match(none.message, "say how many requests are wanted");
  assert.is((await refusal(viz, { limit: 1 })).code, Code.InvalidArgument);
});

test("an observer of a proxy with workers sees the requests of all of them", async () => {
  const viz = await certify(mesh, VIZ);
  const limit = 24;
  let asked = 0;
  // The application's own side: each connection is one worker's, which the system chooses.
  const traffic = () =>
    Promise.all(
      Array.from({ length: 8 }, () =>
        mesh.call(WIDE, `http://wide.shop.svc.cluster.local:8080/${asked++}`)),
    );
  const events = await observe(WIDE, viz, { ...ALL, limit }, traffic);
  const of = (kind: string) => events.filter((e) => e.event.value?.event.case === kind);
  assert.is(of("requestInit").length, limit);
  assert.is(of("responseEnd").length, limit);
  const streams = new Set(events.map((e) => e.event.value?.event.value?.id?.stream));
  assert.is(streams.size, limit, "each request has its own number");
});

test.run();
