import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { FilterRef } from "../../src/core/filter.ts";
import { filtersFromWire, filtersToWire } from "../../src/api/filter-ref.ts";
import { bytesToHex, hexToBytes } from "../../src/api/hex.ts";
import { file_destination, RouteSchema } from "../../src/api/gen/destination_pb.ts";
import {
  GrpcRoute_RuleSchema as InboundGrpcRule,
  HttpRoute_RuleSchema as InboundHttpRule,
  ServerSchema,
} from "../../src/api/gen/inbound_pb.ts";
import {
  GrpcRoute_RuleSchema,
  HttpRoute_RuleSchema,
  OpaqueRoute_RuleSchema,
  TlsRoute_RuleSchema,
} from "../../src/api/gen/outbound_pb.ts";
import { ChainSchema, type FailurePolicy } from "../../src/api/gen/tulle/filter_pb.ts";
import { WireError } from "../../src/api/wire-error.ts";

const RETRY: FilterRef = {
  name: "retry",
  sha256: "ab".repeat(32),
  size: 1234,
  config: new TextEncoder().encode("{}"),
  failurePolicy: "closed",
  fuelPerHook: 0,
  memoryPages: 0,
};

const chain = filtersToWire([RETRY]);
// Chain{ filters=1: { name=1 "retry", module=2 { sha256=1, size=2 1234 }, config=3 "{}", failure_policy=4 2 } }
const CHAIN_BYTES = "0a34" + "0a057265747279" + "1225" + "0a20" + "ab".repeat(32) + "10d209" +
  "1a027b7d" + "2002";
// Field 2048, wire type 2: (2048 << 3) | 2 = 16386 as a varint, then the length.
const FIELD = "828001" + "36" + CHAIN_BYTES;

test("the filter messages are these bytes", () => {
  assert.is(bytesToHex(toBinary(ChainSchema, create(ChainSchema, chain))), CHAIN_BYTES);
});

test("field 2048 is these bytes in every message that carries filters", () => {
  const schemas: DescMessage[] = [
    RouteSchema,
    ServerSchema,
    InboundHttpRule,
    InboundGrpcRule,
    HttpRoute_RuleSchema,
    GrpcRoute_RuleSchema,
    OpaqueRoute_RuleSchema,
    TlsRoute_RuleSchema,
  ];
  for (const schema of schemas) {
    const message = create(schema, { filterChain: chain } as unknown as Message);
    assert.is(bytesToHex(toBinary(schema, message)), FIELD, schema.typeName);
  }
});

/** `schema` as a stock peer has it: without field 2048. */
function stock(schema: DescMessage): DescMessage {
  const files = [
    schema.file,
    ...schema.file.dependencies.flatMap(function all(f): typeof f[] {
      return [f, ...f.dependencies.flatMap(all)];
    }),
  ];
  const set = create(FileDescriptorSetSchema, {
    file: [...new Set(files)].map((f) => f.proto).reverse(),
  });
  for (const file of set.file) {
    for (const message of file.messageType) {
      message.field = message.field.filter((f) => f.number !== 2048);
      for (const nested of message.nestedType) {
        nested.field = nested.field.filter((f) => f.number !== 2048);
      }
    }
  }
  const found = createFileRegistry(set).getMessage(schema.typeName);
  assert.ok(found);
  return found as DescMessage;
}

test("a decoder without the field reads the rest unchanged", () => {
  const rest = create(RouteSchema, {
    condition: { match: { case: "path", value: { regex: "/x" } } },
    metricsLabels: { route: "x" },
    isRetryable: true,
    timeout: { seconds: 3n, nanos: 0 },
  });
  const bare = toBinary(RouteSchema, rest);
  const withFilters = toBinary(RouteSchema, create(RouteSchema, { ...rest, filterChain: chain }));
  const old = stock(RouteSchema);
  assert.not(old.fields.some((f) => f.number === 2048));
  assert.is(file_destination.messages.find((m) => m.name === "Route")?.fields.length, 6);

  const read = fromBinary(old, withFilters);
  const unknown = read.$unknown ?? [];
  assert.is(unknown.length, 1);
  assert.is(unknown[0]?.no, 2048);
  delete read.$unknown;
  assert.equal(bytesToHex(toBinary(old, read)), bytesToHex(bare));

  // And one that keeps unknown fields passes them on.
  assert.is(bytesToHex(toBinary(old, fromBinary(old, withFilters))), bytesToHex(withFilters));
});

test("filters come back from the wire as they were", () => {
  const all: FilterRef[] = [
    RETRY,
    { ...RETRY, name: "b.c", failurePolicy: "open", fuelPerHook: 5_000_000, memoryPages: 32 },
    { ...RETRY, name: "d", cpuPercent: 7, callouts: { auth: "auth.shop:80" } },
  ];
  assert.equal(filtersFromWire(filtersToWire(all), "filters"), all);
  assert.is(filtersToWire([]), undefined);
  assert.equal(filtersFromWire(undefined, "filters"), []);
});

test("a filter whose module is not known here has size 0, so that no download can fit", () => {
  const unknown = { ...RETRY, size: 0 };
  assert.equal(filtersFromWire(filtersToWire([unknown]), "filters"), [unknown]);
});

test("filtersFromWire() names the field of what it refuses", () => {
  const cases: [Partial<FilterRef>, string][] = [
    [{ name: "" }, "f.filters[0].name"],
    [{ name: "Not A Name" }, "f.filters[0].name"],
    [{ sha256: "ab" }, "f.filters[0].module.sha256"],
    [{ size: 3 }, "f.filters[0].module.size"],
    [{ size: 64 * 1024 * 1024 }, "f.filters[0].module.size"],
    [{ config: new Uint8Array(100_000) }, "f.filters[0].config"],
    [{ memoryPages: 70_000 }, "f.filters[0].limits.memory_pages"],
  ];
  for (const [change, field] of cases) {
    try {
      filtersFromWire(filtersToWire([{ ...RETRY, ...change }]), "f");
      assert.unreachable(field);
    } catch (e) {
      assert.instance(e, WireError);
      assert.is((e as WireError).field, field);
    }
  }
  assert.throws(() => filtersFromWire(filtersToWire(new Array(33).fill(RETRY)), "f"), /over 32/);
});

test("a module's signature travels with its filter, whole or not at all", () => {
  const signature = new Uint8Array(64).fill(7);
  const [there] = filtersFromWire(filtersToWire([{ ...RETRY, signature }]), "f");
  assert.equal(there?.signature, signature);
  assert.is(filtersFromWire(filtersToWire([RETRY]), "f")[0]?.signature, undefined);
  const short = filtersToWire([{ ...RETRY, signature: signature.subarray(1) }]);
  assert.throws(
    () => filtersFromWire(short, "f"),
    /signature.* has 63 bytes, not 64/,
  );
});

test("a failure policy that is not known counts as closed", () => {
  const wire = filtersToWire([RETRY]);
  assert.ok(wire?.filters[0]);
  wire.filters[0].failurePolicy = 77 as FailurePolicy;
  assert.is(filtersFromWire(wire, "f")[0]?.failurePolicy, "closed");
});

test("hex goes both ways", () => {
  assert.is(bytesToHex(hexToBytes("00ff10")), "00ff10");
  assert.throws(() => hexToBytes("0"));
  assert.throws(() => hexToBytes("zz"));
});

test.run();
