import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { clientPolicyFromWire, clientPolicyToWire } from "../../src/api/client-policy.ts";
import { OutboundPolicySchema } from "../../src/api/gen/outbound_pb.ts";
import { HashSchema } from "../../src/api/gen/tulle/balance_pb.ts";
import { hashFromWire, hashToWire } from "../../src/api/hash-key.ts";
import { bytesToHex } from "../../src/api/hex.ts";
import { MATCH_ALL } from "../../src/api/http-match.ts";
import type { HashKey } from "../../src/model/hash-key.ts";
import type { ClientPolicy } from "../../src/model/profile.ts";

const KEYS: readonly HashKey[] = [
  { kind: "header", name: "x-user" },
  { kind: "cookie", name: "SID", ttlMs: 0 },
  { kind: "cookie", name: "sid", ttlMs: 3_600_000 },
  { kind: "source" },
];

const POLICY: ClientPolicy = {
  origin: { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 },
  protocol: "detect",
  routes: [{
    name: "http",
    match: MATCH_ALL,
    responseClasses: [],
    labels: {},
    retry: null,
    timeoutMs: 0,
    filters: [],
  }],
  destination: "web.shop.svc.cluster.local:80",
  forward: null,
  defaultRttMs: 30,
  decayMs: 10_000,
  accrual: null,
};

test("a key comes back from the wire as it was, by itself and in a policy", () => {
  for (const hash of KEYS) {
    assert.equal(hashFromWire(hashToWire(hash), "hash"), hash);
    const bytes = toBinary(OutboundPolicySchema, clientPolicyToWire({ ...POLICY, hash }, 10_000));
    assert.equal(clientPolicyFromWire(fromBinary(OutboundPolicySchema, bytes)).hash, hash);
  }
});

test("without a key the message is what a stock control plane sends", () => {
  const bare = toBinary(OutboundPolicySchema, clientPolicyToWire(POLICY, 10_000));
  const none = toBinary(
    OutboundPolicySchema,
    clientPolicyToWire({ ...POLICY, hash: null }, 10_000),
  );
  assert.is(bytesToHex(none), bytesToHex(bare));
  // Field 2048, length-delimited: (2048 << 3) | 2 = 16386 as a varint.
  assert.not.match(bytesToHex(bare), "828001");
  const some = clientPolicyToWire({ ...POLICY, hash: { kind: "source" } }, 10_000);
  assert.match(bytesToHex(toBinary(OutboundPolicySchema, some)), "828001021a00");
  assert.is(clientPolicyFromWire(clientPolicyToWire(POLICY, 10_000)).hash, undefined);
});

test("a key of a kind that is not known here is none; a name that is none is refused by field", () => {
  assert.is(hashFromWire(create(HashSchema), "hash"), null);
  assert.is(hashFromWire(undefined, "hash"), null);
  for (const name of ["", "a b", "a\r\nb", "ü", "x".repeat(129)]) {
    const header = create(HashSchema, { key: { case: "header", value: { name } } });
    assert.throws(() => hashFromWire(header, "hash"), /^hash\.header\.name: /);
    const cookie = create(HashSchema, { key: { case: "cookie", value: { name } } });
    assert.throws(() => hashFromWire(cookie, "hash"), /^hash\.cookie\.name: /);
  }
});

test.run();
