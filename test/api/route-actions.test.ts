import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HttpLocalRateLimitSchema } from "../../src/api/gen/inbound_pb.ts";
import { GrpcRoute_FilterSchema, HttpRoute_FilterSchema } from "../../src/api/gen/outbound_pb.ts";
import { MATCH_ALL } from "../../src/api/http-match.ts";
import { actionsFromWire, rateLimitFromWire } from "../../src/api/route-actions.ts";
import type { WireError } from "../../src/api/wire-error.ts";
import type { RequestMatch } from "../../src/model/route.ts";

type Filter = MessageInitShape<typeof HttpRoute_FilterSchema>;
const read = (filter: Filter, match: RequestMatch = MATCH_ALL) =>
  actionsFromWire([create(HttpRoute_FilterSchema, filter)], match, "filters")[0];
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** The field that is named in the refusal. */
function refused(work: () => unknown): string {
  try {
    work();
  } catch (e) {
    return (e as WireError).field;
  }
  throw new Error("it was taken");
}

test("header names are in lower case, values are bytes, a name that comes twice has both", () => {
  const headers = [
    { name: "X-A", value: bytes("1") },
    { name: "x-a", value: bytes("\xe9") },
  ];
  assert.equal(
    read({
      kind: { case: "responseHeaderModifier", value: { add: { headers }, remove: ["Via"] } },
    }),
    { kind: "response-headers", set: {}, add: { "x-a": "1, \xe9" }, remove: ["via"] },
  );
});

test("a redirect has 301 and nothing replaced by default", () => {
  assert.equal(read({ kind: { case: "redirect", value: {} } }), {
    kind: "redirect",
    scheme: "",
    hostname: "",
    port: 0,
    path: { replace: "nothing" },
    status: 301,
  });
});

test("a redirect's prefix is the one that its rule matches", () => {
  const filter: Filter = {
    kind: { case: "redirect", value: { path: { replace: { case: "prefix", value: "/b" } } } },
  };
  const match: RequestMatch = {
    kind: "all",
    of: [{ kind: "method", method: "GET" }, { kind: "path-prefix", prefix: "/a" }],
  };
  const action = read(filter, match);
  assert.equal(action?.kind === "redirect" && action.path, {
    replace: "prefix",
    by: "/b",
    matched: "/a",
  });
  const exact: RequestMatch = { kind: "path-exact", path: "/a" };
  assert.is(refused(() => read(filter, exact)), "filters[0].path.prefix");
});

test("what a filter cannot carry out is refused by field", () => {
  const set = (name: string, value: string): Filter => ({
    kind: {
      case: "requestHeaderModifier",
      value: { set: { headers: [{ name, value: bytes(value) }] } },
    },
  });
  const cases: [Filter, string][] = [
    [set("a b", "1"), "filters[0].set.headers[0].name"],
    [set("", "1"), "filters[0].set.headers[0].name"],
    [set("a", "1\r\nb: 2"), "filters[0].set.headers[0].value"],
    [set("a", "1\0"), "filters[0].set.headers[0].value"],
    [{ kind: { case: "redirect", value: { host: "a/b" } } }, "filters[0].host"],
    [{ kind: { case: "redirect", value: { port: 70_000 } } }, "filters[0].port"],
    [{ kind: { case: "redirect", value: { status: 200 } } }, "filters[0].status"],
    [{
      kind: {
        case: "redirect",
        value: { scheme: { type: { case: "unregistered", value: "ftp" } } },
      },
    }, "filters[0].scheme"],
    [{
      kind: { case: "redirect", value: { path: { replace: { case: "full", value: "/a\r\n" } } } },
    }, "filters[0].path.full"],
    [{ kind: { case: "failureInjector", value: { status: 101 } } }, "filters[0].status"],
    [{
      kind: { case: "failureInjector", value: { status: 500, ratio: { numerator: 1 } } },
    }, "filters[0].ratio.denominator"],
    [{ kind: { case: undefined } }, "filters[0]"],
  ];
  for (const [filter, field] of cases) assert.is(refused(() => read(filter)), field);
});

test("a gRPC failure has a code, a ratio over the whole is the whole", () => {
  const fail = (code: number) =>
    actionsFromWire(
      [create(GrpcRoute_FilterSchema, {
        kind: {
          case: "failureInjector",
          value: { code, message: "no\nline", ratio: { numerator: 3, denominator: 2 } },
        },
      })],
      MATCH_ALL,
      "filters",
    )[0];
  assert.equal(fail(14), {
    kind: "fail",
    status: 200,
    grpcStatus: 14,
    message: "no?line",
    ratio: 1,
  });
  const unknown = fail(500);
  assert.is(unknown?.kind === "fail" ? unknown.grpcStatus : null, 2, "no code of gRPC's");
});

test("a rate limit is cut to what the filter takes, its identities are names", () => {
  const limit = (names: readonly string[], requestsPerSecond = 5) =>
    rateLimitFromWire(
      create(HttpLocalRateLimitSchema, {
        total: { requestsPerSecond: 4_000_000_000 },
        overrides: [{
          limit: { requestsPerSecond },
          clients: { identities: names.map((name) => ({ name })) },
        }],
      }),
      "limit",
    );
  assert.equal(limit(["a.b"]), {
    total: 1_000_000,
    identity: 0,
    overrides: [{ limit: 5, identities: ["a.b"] }],
  });
  assert.is(limit(["a.b"], 0)?.overrides[0]?.limit, 1);
  assert.is(refused(() => limit(["a b"])), "limit.overrides[0].clients");
  assert.is(
    refused(() => limit(Array.from({ length: 257 }, (_, i) => `a${i}`))),
    "limit.overrides",
  );
  assert.is(rateLimitFromWire(undefined, "limit"), null);
});

test.run();
