import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire } from "../../src/api/client-policy.ts";
import { MetadataSchema } from "../../src/api/gen/meta_pb.ts";
import { OutboundPolicySchema, ProxyProtocolSchema } from "../../src/api/gen/outbound_pb.ts";
import type { WireError } from "../../src/api/wire-error.ts";
import { matches } from "../../src/model/route.ts";

const resource = (kind: string, name: string) => ({
  kind: {
    case: "resource" as const,
    value: { group: "core", kind, namespace: "shop", name, port: 5432 },
  },
});

const backend = (path: string) => ({
  backend: {
    metadata: resource("Service", path),
    queue: { capacity: 1, failfastTimeout: { seconds: 3n } },
    kind: {
      case: "balancer" as const,
      value: {
        discovery: { kind: { case: "dst" as const, value: { path } } },
        load: {
          case: "peakEwma" as const,
          value: { defaultRtt: { nanos: 30_000_000 }, decay: { seconds: 10n } },
        },
      },
    },
  },
});

const weighted = (...parts: readonly (readonly [path: string, weight: number])[]) => ({
  backends: {
    kind: {
      case: "randomAvailable" as const,
      value: { backends: parts.map(([path, weight]) => ({ backend: backend(path), weight })) },
    },
  },
});

const first = (...paths: readonly string[]) => ({
  backends: {
    kind: { case: "firstAvailable" as const, value: { backends: paths.map(backend) } },
  },
});

type Protocol = MessageInitShape<typeof ProxyProtocolSchema>;
type Kind = Exclude<Protocol["kind"], undefined>;

const read = (kind: Kind) => {
  const protocol = create(ProxyProtocolSchema, { kind });
  const metadata = create(MetadataSchema, resource("Service", "db"));
  return clientPolicyFromWire(create(OutboundPolicySchema, { metadata, protocol }));
};

function refusal(kind: Kind): string {
  try {
    read(kind);
  } catch (e) {
    return (e as WireError).message;
  }
  return "";
}

test("opaque bytes over several backends are shared by weight, per connection", () => {
  const policy = read({
    case: "opaque",
    value: {
      routes: [{
        metadata: resource("TCPRoute", "canary"),
        rules: [weighted(["old:5432", 9], ["new:5432", 1])],
      }],
    },
  });
  assert.is(policy.protocol, "opaque");
  const [route, ...more] = policy.routes;
  assert.is(more.length, 0);
  assert.is(route?.origin?.name, "canary");
  assert.is(route?.split?.pick, "random");
  assert.equal(route?.split?.backends.map(({ authority, weight }) => [authority, weight]), [
    ["old:5432", 9],
    ["new:5432", 1],
  ]);
});

test("opaque bytes take the first route, and one place needs no split", () => {
  const policy = read({
    case: "opaque",
    value: { routes: [{ rules: [first("a:1")] }, { rules: [first("b:1")] }] },
  });
  assert.equal([policy.destination, policy.routes], ["a:1", []]);
});

test("routes of TLS are chosen by name", () => {
  const policy = read({
    case: "tls",
    value: {
      routes: [
        {
          metadata: resource("TLSRoute", "exact"),
          snis: [{ match: { case: "exact", value: "db.example.com" } }],
          rules: [first("a:1")],
        },
        {
          metadata: resource("TLSRoute", "wild"),
          snis: [{ match: { case: "suffix", value: { reverseLabels: ["com", "example"] } } }],
          rules: [weighted(["b:1", 1], ["c:1", 1])],
        },
      ],
    },
  });
  assert.is(policy.protocol, "tls");
  assert.equal(policy.routes.map((r) => r.snis), [
    [{ kind: "exact", name: "db.example.com" }],
    [{ kind: "suffix", name: "example.com" }],
  ]);
  assert.equal(policy.routes.map((r) => r.split?.backends.map((b) => b.authority)), [["a:1"], [
    "b:1",
    "c:1",
  ]]);
});

test("a filter on a route of bytes closes it", () => {
  const rule = (kind: "forbidden" | "invalid") => ({
    ...first("a:1"),
    filters: [{ kind: { case: kind, value: {} } }],
  });
  for (const kind of ["forbidden", "invalid"] as const) {
    const tls = read({ case: "tls", value: { routes: [{ rules: [rule(kind)] }] } });
    const opaque = read({ case: "opaque", value: { routes: [{ rules: [rule(kind)] }] } });
    for (const { routes } of [tls, opaque]) {
      assert.equal(routes.map((r) => r.refuses), [kind]);
      assert.equal(routes[0]?.actions?.map((a) => a.kind), ["fail"], "requests are refused too");
    }
  }
});

test("a request is for no route of TLS that asks for a name", () => {
  const { routes } = read({
    case: "tls",
    value: {
      routes: [
        { snis: [{ match: { case: "exact", value: "a.b" } }], rules: [first("a:1")] },
        { rules: [first("b:1")] },
      ],
    },
  });
  const view = { method: "GET", path: "/", header: () => null };
  assert.equal(routes.map((r) => matches(r.match, view)), [false, true]);
});

test("what cannot be carried out is refused with its place", () => {
  assert.match(
    refusal({ case: "tls", value: { routes: [{ snis: [{}], rules: [first("a:1")] }] } }),
    /protocol\.tls\.routes\[0\]\.snis\[0\]/,
  );
  assert.match(
    refusal({
      case: "tls",
      value: {
        routes: [{
          snis: [{ match: { case: "exact", value: "a b" } }],
          rules: [first("a:1")],
        }],
      },
    }),
    /snis\[0\].*is not a host name/,
  );
  assert.match(refusal({ case: "opaque", value: { routes: [{ rules: [] }] } }), /has 0 entries/);
});

test.run();
