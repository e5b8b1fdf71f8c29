import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { FilterRef } from "../../src/core/filter.ts";
import { ServerSchema } from "../../src/api/gen/inbound_pb.ts";
import { defaultOrigin } from "../../src/api/origin.ts";
import {
  DEFAULT_ROUTE,
  serverPolicyFromWire,
  serverPolicyToWire,
} from "../../src/api/server-policy.ts";
import type { WireError } from "../../src/api/wire-error.ts";
import type { ServerPolicy } from "../../src/model/policy.ts";

const FILTER: FilterRef = {
  name: "headers",
  sha256: "01".repeat(32),
  size: 100,
  config: new Uint8Array([123, 125]),
  failurePolicy: "open",
  fuelPerHook: 10,
  memoryPages: 2,
};

const SERVER: ServerPolicy = {
  origin: { group: "policy.linkerd.io", kind: "server", namespace: "", name: "web", port: 0 },
  protocol: "http1",
  detectMs: 0,
  authorizations: [
    {
      origin: {
        group: "policy.linkerd.io",
        kind: "authorizationpolicy",
        namespace: "shop",
        name: "from-load",
        port: 0,
      },
      networks: [{ cidr: "0.0.0.0/0", except: ["10.1.0.0/16"] }, { cidr: "::/0", except: [] }],
      authentication: { kind: "identities", names: ["a.b"], suffixes: ["", "shop.x"] },
    },
    {
      origin: defaultOrigin("all-unauthenticated"),
      networks: [{ cidr: "10.0.0.0/8", except: [] }],
      authentication: { kind: "unauthenticated" },
    },
    {
      origin: defaultOrigin("tls"),
      networks: [{ cidr: "10.0.0.0/8", except: [] }],
      authentication: { kind: "mesh-tls-unauthenticated" },
    },
  ],
  routes: [DEFAULT_ROUTE],
  filters: [FILTER],
};

const inbound = (policy: ServerPolicy) =>
  fromBinary(ServerSchema, toBinary(ServerSchema, serverPolicyToWire(policy)));

test("a server policy comes back from the wire as it was", () => {
  for (
    const policy of [
      SERVER,
      { ...SERVER, protocol: "detect", detectMs: 10_000 } as const,
      { ...SERVER, protocol: "opaque", routes: [] } as const,
      { ...SERVER, protocol: "tls", routes: [] } as const,
      { ...SERVER, origin: defaultOrigin("deny"), authorizations: [] },
    ]
  ) assert.equal(serverPolicyFromWire(inbound(policy)), policy);
  assert.equal(
    serverPolicyFromWire(inbound({ ...SERVER, routes: [] })).routes.map((r) => r.name),
    ["default"],
  );
});

test("a server policy that cannot be converted is refused by field", () => {
  const cases: [string, (p: ReturnType<typeof inbound>) => void][] = [
    ["protocol", (p) => p.protocol = undefined],
    ["labels", (p) => p.labels = {}],
    ["authorizations[0].networks", (p) => p.authorizations[0]!.networks = []],
    ["authorizations[0].authentication", (p) => p.authorizations[0]!.authentication = undefined],
    [
      "authorizations[0].authentication.permit",
      (p) => p.authorizations[0]!.authentication!.permit = { case: undefined },
    ],
    ["filter_chain.filters[0].module.sha256", (p) => p.filterChain!.filters[0]!.module = undefined],
  ];
  for (const [name, spoil] of cases) {
    const wire = inbound(SERVER);
    spoil(wire);
    try {
      serverPolicyFromWire(wire);
      assert.unreachable(name);
    } catch (e) {
      assert.is((e as WireError).field, name);
    }
  }
});

test.run();
