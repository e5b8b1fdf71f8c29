import { test } from "uvu";
import * as assert from "uvu/assert";
import process from "node:process";
import { type ApiCall, apiEvents, apiReader } from "../../../src/control/injector/api-reader.ts";
import { InjectorCounters } from "../../../src/control/injector/counters.ts";
import { applyPatch, type PatchOp } from "../../../src/control/injector/json-patch.ts";
import type { Owner } from "../../../src/control/injector/inject.ts";
import { DEFAULT_INJECTOR_VALUES } from "../../../src/control/injector/values.ts";
import { createWebhook } from "../../../src/control/injector/webhook.ts";
import { createLogger } from "../../../src/core/log.ts";
import { pod } from "./pods.ts";

const ENABLED = { "linkerd.io/inject": "enabled" };

function fixture(namespaces: Record<string, Record<string, string>> = { shop: {} }) {
  const events: string[] = [];
  const lines: string[] = [];
  const counters = new InjectorCounters();
  const app = createWebhook({
    config: () =>
      Promise.resolve({
        values: DEFAULT_INJECTOR_VALUES,
        anchorsPem: "PEM",
        anchorsSha256: "00",
      }),
    cluster: {
      namespaceAnnotations: (name) => Promise.resolve(namespaces[name] ?? null),
      controllerOf: (_, kind, name) =>
        Promise.resolve<Owner | null>(
          kind === "ReplicaSet" ? { kind: "Deployment", name: name.slice(0, 3) } : null,
        ),
    },
    events: {
      injected: (ns, { kind, name }) => events.push(`${ns}/${kind}/${name} injected`),
      skipped: (ns, { kind, name }, why) => events.push(`${ns}/${kind}/${name} skipped: ${why}`),
    },
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l),
    }),
  });
  const post = (body: string, headers: Record<string, string> = {}) =>
    app.request("/", {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
  const ask = async (object: unknown, more: Record<string, unknown> = {}) => {
    const answer = await post(JSON.stringify({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: {
        uid: "u1",
        kind: { group: "", version: "v1", kind: "Pod" },
        namespace: "shop",
        operation: "CREATE",
        object,
        ...more,
      },
    }));
    assert.is(answer.status, 200);
    return await answer.json() as Answer;
  };
  return { app, post, ask, events, lines, counters };
}
interface Answer {
  apiVersion: string;
  kind: string;
  response: {
    uid: string;
    allowed: boolean;
    patchType?: string;
    patch?: string;
    status?: { message: string };
  };
}
const patchOf = ({ response }: Answer) =>
  JSON.parse(
    new TextDecoder().decode(Uint8Array.from(atob(response.patch!), (c) => c.charCodeAt(0))),
  ) as PatchOp[];
const owned = (kind: string, name: string, annotations: Record<string, string> | null) => {
  const object = pod(annotations);
  Object.assign(object.metadata as object, { ownerReferences: [{ kind, name, controller: true }] });
  return object;
};

test("a review of an enabled pod is answered with its patch", async () => {
  const { ask, events, counters } = fixture();
  const object = owned("ReplicaSet", "web-6d4cf56db6", ENABLED);
  const answer = await ask(object);
  assert.is(answer.apiVersion, "admission.k8s.io/v1");
  assert.equal({ ...answer.response, patch: "" }, {
    uid: "u1",
    allowed: true,
    patchType: "JSONPatch",
    patch: "",
  });
  const patched = applyPatch(object, patchOf(answer)) as { metadata: { labels: object } };
  assert.equal(patched.metadata.labels, {
    app: "web",
    "linkerd.io/control-plane-ns": "linkerd",
    "linkerd.io/proxy-deployment": "web",
    "linkerd.io/workload-ns": "shop",
  });
  assert.equal(events, ["shop/Deployment/web injected"]);
  assert.match(counters.metrics(), /responses_total{outcome="injected"} 1/);
  // asked again about what came out: nothing to do
  assert.is((await ask(patched)).response.patch, undefined);
});

test("a pod that is skipped is allowed, with an event that says why", async () => {
  const { ask, events, counters } = fixture();
  const { response } = await ask(owned("Job", "once", null));
  assert.equal(response, { uid: "u1", allowed: true });
  assert.is(events.length, 1);
  assert.match(events[0]!, /^shop\/Job\/once skipped: neither the namespace nor the pod/);
  assert.match(
    counters.metrics(),
    /skips_total{skip_reason="injection_enable_annotation_absent"} 1/,
  );
});

test("a dry run gets the same patch and no event", async () => {
  const { ask, events } = fixture();
  const object = owned("ReplicaSet", "web-1", ENABLED);
  assert.equal(
    (await ask(object, { dryRun: true })).response.patch,
    (await ask(object)).response.patch,
  );
  assert.is(events.length, 1);
});

test("what cannot be answered is not allowed, with the reason", async () => {
  const { ask } = fixture();
  const gone = await ask(pod(ENABLED), { namespace: "gone" });
  assert.equal(gone.response, {
    uid: "u1",
    allowed: false,
    status: { message: "The namespace gone is not found" },
  });
  const broken = await ask({ spec: { containers: 7 } });
  assert.is(broken.response.status?.message, "spec.containers: is not a list");
});

test("a request that is no review gets one clear line, and is counted", async () => {
  const { post, app, lines, counters } = fixture();
  const cases: [Promise<Response> | Response, number, RegExp][] = [
    [post("{"), 400, /not JSON/],
    [post("[]"), 400, /not an AdmissionReview: is not an object/],
    [post("{}"), 400, /apiVersion: is missing/],
    [post("\xff\xfe"), 400, /not JSON/],
    [
      post('{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}'),
      400,
      /request.uid: is missing/,
    ],
    [post("{}", { "content-type": "text/plain" }), 415, /content-type/],
    [post("x".repeat(4 * 1024 * 1024 + 1)), 413, /over 4194304 bytes/],
    [app.request("/"), 405, /POST only/],
    [app.request("/x", { method: "POST" }), 404, /no such path/],
  ];
  for (const [answer, status, line] of cases) {
    const got = await answer;
    assert.is(got.status, status);
    const text = await got.text();
    assert.match(text, line);
    assert.is(text.split("\n").length, 2);
  }
  assert.is(lines.length, 8);
  assert.match(counters.metrics(), /refused_requests_total{status="400"} 5/);
});

test("no more bodies are held at once than are allowed", async () => {
  const { post } = fixture();
  const answers = await Promise.all(Array.from({ length: 80 }, () => post("{")));
  assert.ok(answers.some(({ status }) => status === 503));
  assert.is((await post("{")).status, 400);
});

test("memory does not grow with pods", async () => {
  const { ask, counters } = fixture();
  for (let i = 0; i < 300; i++) await ask(owned("ReplicaSet", `web-${i}`, ENABLED));
  assert.is(counters.metrics().split("\n").length, 5);
});

test("memory does not grow with the pods that were asked about", async () => {
  // The parts of a process: nothing here but they can keep a pod.
  const counters = new InjectorCounters();
  const call: ApiCall = (method) =>
    Promise.resolve({ status: method === "POST" ? 201 : 200, text: '{"metadata":{}}' });
  const log = createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} });
  const app = createWebhook({
    config: () =>
      Promise.resolve({
        values: DEFAULT_INJECTOR_VALUES,
        anchorsPem: "PEM",
        anchorsSha256: "00",
      }),
    cluster: apiReader(call, log),
    events: apiEvents(call, () => 0, log),
    counters,
    log,
  });
  let n = 0;
  /** The least that the heap had in a round: what is left after a collection. */
  const round = async (): Promise<number> => {
    let least = Infinity;
    for (let i = 0; i < 1500; i++) {
      const name = `pod-${++n}`;
      const object = owned("ReplicaSet", `${name}-6d4cf56db6`, {
        ...ENABLED,
        "example.com/large": name.repeat(2000),
      });
      const answer = await app.request("/", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          apiVersion: "admission.k8s.io/v1",
          kind: "AdmissionReview",
          request: { uid: name, kind: { kind: "Pod" }, namespace: name, object },
        }),
      });
      assert.ok((await answer.json() as Answer).response.patch !== undefined);
      least = Math.min(least, process.memoryUsage().heapUsed);
    }
    return least / 1024 / 1024;
  };
  await round();
  const before = await round();
  for (let i = 0; i < 3; i++) await round();
  const after = await round();
  // Those pods have 16 KiB each: kept, they were 90 MiB.
  assert.ok(after - before < 20, `the heap grew from ${before} to ${after} MiB`);
  assert.match(counters.metrics(), /outcome="injected"} 9000/);
});

test.run();
