// Routes of random parts, good and bad: each is refused with a field, or becomes a policy that a proxy can
// read, for clients and for servers. The seed is printed when it fails.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire, clientPolicyToWire } from "../../../src/api/client-policy.ts";
import { serverPolicyFromWire, serverPolicyToWire } from "../../../src/api/server-policy.ts";
import { FieldError } from "../../../src/control/field.ts";
import { Reads } from "../../../src/control/join.ts";
import { serverPolicyOf } from "../../../src/control/policy/inbound.ts";
import { clientPolicyOf } from "../../../src/control/policy/outbound.ts";
import { readResource } from "../../../src/control/resource.ts";
import { seeded } from "../../support/random.ts";
import { meshOf, pod } from "../support/mesh-fixture.ts";
import { BASE } from "../support/routes.ts";

const SERVER = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web, namespace: shop }
spec: { podSelector: {}, port: 8080 }
`;
const ROUNDS = 3000;

type Pick = <T>(...of: readonly T[]) => T;

/** An object that is mostly right. */
function randomRoute(random: () => number) {
  const pick: Pick = (...of) => of[Math.floor(random() * of.length)]!;
  const some = <T>(max: number, make: () => T): T[] =>
    Array.from({ length: Math.floor(random() * (max + 1)) }, make);
  /** Seldom something else altogether. */
  const odd = <T>(value: T): unknown =>
    random() < 0.004
      ? pick<unknown>(null, 7, "", "x", [], {}, true, -1, 1e9, "\0", "é".repeat(9))
      : value;
  const text = () =>
    pick("a", "b-c", "X-Long-Name", "__proto__", "constructor", "*", "/", "ä", "a b", "", "1s");
  const value = () => ({
    type: odd(pick("Exact", "RegularExpression", undefined)),
    name: odd(pick("a", "X-B", text())),
    value: odd(pick("v", "v.*", "(a|b)+", "[a-z]{2,}", "(", text())),
  });
  const duration = () => pick("1s", "0s", "5m", "100000h", "1500ms", "1", "999999999d", "-1s");
  const modifier = () => ({
    set: some(3, () => ({ name: odd(pick("a", "B", text())), value: odd(text()) })),
    add: odd(some(3, () => ({ name: odd(pick("a", "c")), value: odd("1") }))),
    remove: odd(some(2, () => odd(pick("a", "D")))),
  });
  const filter = (): unknown =>
    odd(
      pick<() => unknown>(
        () => ({ type: "RequestHeaderModifier", requestHeaderModifier: odd(modifier()) }),
        () => ({ type: "ResponseHeaderModifier", responseHeaderModifier: odd(modifier()) }),
        () => ({
          type: "RequestRedirect",
          requestRedirect: {
            scheme: odd(pick("http", "https", undefined)),
            hostname: odd(pick("new.example", undefined)),
            port: odd(pick(80, undefined)),
            statusCode: odd(pick(301, 302, 307, undefined)),
            path: odd(pick<unknown>(
              undefined,
              { type: "ReplaceFullPath", replaceFullPath: odd(pick("/x", "", "x y")) },
              { type: "ReplacePrefixMatch", replacePrefixMatch: odd(pick("/x", "")) },
            )),
          },
        }),
      )(),
    );
  const backend = () => ({
    ...pick<object>(
      { name: "v1", port: 80 },
      { name: "v2", port: odd(80), namespace: odd("shop") },
      { name: "gone", port: 80 },
      { name: "x", group: "x.example", kind: "Bucket" },
      { name: "x", group: "policy.linkerd.io", kind: "EgressNetwork" },
      { name: "portless" },
    ),
    weight: odd(pick(0, 1, 9, undefined)),
    filters: odd(random() < 0.8 ? undefined : some(1, filter)),
  });
  const grpc = random() < 0.3;
  const match = () =>
    grpc
      ? {
        method: odd(pick<unknown>(
          undefined,
          { service: odd(pick("shop.Cart", "a.b.C")), method: odd(pick("Add", undefined)) },
          { method: odd("Add") },
        )),
        headers: odd(some(2, value)),
      }
      : {
        path: odd(pick<unknown>(
          undefined,
          { type: odd(pick("Exact", "PathPrefix")), value: odd(pick("/", "/a", "/a/b", "/%20")) },
          { type: "RegularExpression", value: odd(pick("/a.*", "/(x|y)", "/\\d+")) },
        )),
        headers: odd(some(2, value)),
        queryParams: odd(some(2, value)),
        method: odd(pick("GET", "DELETE", undefined)),
      };
  const parents = pick<unknown>(
    [{ group: "core", kind: "Service", name: "web", port: odd(80) }],
    [{ group: "core", kind: "Service", name: "web" }],
    [{ group: "policy.linkerd.io", kind: "Server", name: "web" }],
    [
      { group: "core", kind: "Service", name: "web", port: 80 },
      { group: "policy.linkerd.io", kind: "Server", name: "web" },
      odd({ name: "edge" }),
    ],
  );
  const group = grpc || random() < 0.5
    ? "gateway.networking.k8s.io/v1"
    : "policy.linkerd.io/v1beta3";
  return {
    apiVersion: group,
    kind: grpc ? "GRPCRoute" : "HTTPRoute",
    metadata: {
      ...{ name: "r", namespace: "shop" },
      annotations: random() < 0.7 ? {} : {
        "retry.linkerd.io/http": odd(pick("5xx", "gateway-error,429", "500-599")),
        "retry.linkerd.io/grpc": odd(pick("internal", "unavailable,cancelled")),
        "retry.linkerd.io/limit": odd(pick("0", "2", "999999")),
        "retry.linkerd.io/timeout": duration(),
        "timeout.linkerd.io/request": odd(duration()),
      },
    },
    spec: odd({
      parentRefs: odd(parents),
      hostnames: odd(some(2, () => odd(pick("a.example", "*.b.example", "*", "A.B")))),
      rules: odd(some(3, () =>
        odd({
          matches: odd(pick<unknown>(undefined, some(3, match))),
          filters: odd(random() < 0.6 ? [] : some(2, filter)),
          backendRefs: odd(some(3, () => odd(backend()))),
          timeouts: odd(random() < 0.7 ? undefined : { request: odd(duration()) }),
        }))),
    }),
  };
}

test("a route is refused by field, or a proxy can read what it becomes", () => {
  const mesh = meshOf([BASE, SERVER, pod("a", "10.1.0.1")].join("---"));
  const client = { kind: "address" as const, addr: { ip: "10.0.0.1", port: 80 } };
  const workload = { namespace: "shop", pod: "a" };
  let [refused, attached, served] = [0, 0, 0];
  for (let seed = 1; seed <= ROUNDS; seed++) {
    const object = randomRoute(seeded(seed));
    try {
      for (const kind of ["HTTPRoute", "GRPCRoute"]) {
        for (const group of ["policy.linkerd.io", "gateway.networking.k8s.io"]) {
          mesh.cluster.remove({ group, kind, namespace: "shop", name: "r" });
        }
      }
      mesh.cluster.apply(readResource(JSON.parse(JSON.stringify(object)), ""));
    } catch (e) {
      assert.instance(e, FieldError, `seed ${seed}: ${e}`);
      assert.not.match((e as Error).message, /[\r\n]/);
      refused++;
      continue;
    }
    try {
      const answer = clientPolicyOf(mesh, new Reads(), client, "shop");
      assert.is(answer.kind, "policy");
      if (answer.kind === "policy") {
        if (answer.policy.attached !== undefined) attached++;
        clientPolicyFromWire(clientPolicyToWire(answer.policy, 10_000, answer.h2c));
      }
      const policy = serverPolicyOf(mesh, new Reads(), workload, 8080);
      assert.ok(policy);
      if (policy.attached !== undefined) served++;
      serverPolicyFromWire(serverPolicyToWire(policy));
    } catch (e) {
      throw new Error(`seed ${seed}: ${e}\n${JSON.stringify(object)}`);
    }
  }
  // All of it happens.
  for (const n of [refused, attached, served]) {
    assert.ok(n > 200, `${refused} ${attached} ${served}`);
  }
});

test.run();
