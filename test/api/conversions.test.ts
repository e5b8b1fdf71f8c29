import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  addrFromWire,
  addrToWire,
  ipFromWire,
  ipToWire,
  networkFromWire,
  networkToWire,
} from "../../src/api/addr.ts";
import { durationFromWire, durationToWire } from "../../src/api/duration.ts";
import { IPAddressSchema } from "../../src/api/gen/net_pb.ts";
import { bytesToHex } from "../../src/api/hex.ts";
import { methodFromWire, methodToWire } from "../../src/api/http-method.ts";
import { defaultOrigin, originFromWire, originToWire } from "../../src/api/origin.ts";
import {
  decodeTransportHeader,
  encodeTransportHeader,
  TRANSPORT_ALPN,
  type TransportHeader,
} from "../../src/api/transport-header.ts";
import { WireError } from "../../src/api/wire-error.ts";
import { contextFromWire, workloadFromWire, workloadToWire } from "../../src/api/workload.ts";

const field = (run: () => unknown): string => {
  try {
    run();
  } catch (e) {
    assert.instance(e, WireError);
    return (e as WireError).field;
  }
  return "accepted";
};

test("IP addresses go both ways, IPv4 as one big-endian integer", () => {
  for (
    const ip of [
      "0.0.0.0",
      "192.0.2.1",
      "255.255.255.255",
      "::",
      "::1",
      "2001:db8::1",
      "fe80::1:2:3",
    ]
  ) {
    const wire = fromBinary(IPAddressSchema, toBinary(IPAddressSchema, ipToWire(ip)));
    assert.is(ipFromWire(wire, "ip"), ip);
  }
  assert.is(bytesToHex(toBinary(IPAddressSchema, ipToWire("192.0.2.1"))), "0d010200c0");
  assert.equal(ipToWire("2001:db8::1").ip.value, {
    $typeName: "io.linkerd.proxy.net.IPv6",
    first: 0x20010db800000000n,
    last: 1n,
  });
  const mapped = create(IPAddressSchema, {
    ip: { case: "ipv6", value: { first: 0n, last: 0xffff0a000001n } },
  });
  assert.is(ipFromWire(mapped, "ip"), "10.0.0.1");
});

test("addresses and networks that cannot be are refused by field", () => {
  assert.equal(addrFromWire(addrToWire({ ip: "::1", port: 80 }), "a"), { ip: "::1", port: 80 });
  assert.is(field(() => addrFromWire(undefined, "a")), "a");
  assert.is(field(() => addrFromWire(addrToWire({ ip: "::1", port: 0 }), "a")), "a.port");
  assert.is(field(() => addrFromWire(addrToWire({ ip: "::1", port: 70000 }), "a")), "a.port");
  assert.is(field(() => ipFromWire(create(IPAddressSchema), "a.ip")), "a.ip");
  for (const cidr of ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8"]) {
    assert.is(networkFromWire(networkToWire(cidr), "n"), cidr);
  }
  assert.is(networkFromWire(networkToWire("10.1.2.3"), "n"), "10.1.2.3/32");
  const wide = networkToWire("10.0.0.0/8");
  wide.prefixLen = 33;
  assert.is(field(() => networkFromWire(wide, "n")), "n.prefix_len");
  assert.throws(() => networkToWire("10.0.0.0/40"), /not a network/);
  assert.throws(() => ipToWire("localhost"), /not an IP/);
});

test("durations keep their fractions and refuse what is negative or absurd", () => {
  for (const ms of [0, 0.5, 1, 999.999, 10_000, 86_400_000]) {
    assert.is(durationFromWire(durationToWire(ms), "d"), ms);
  }
  assert.is(field(() => durationFromWire(durationToWire(-1), "d")), "d");
  assert.is(field(() => durationFromWire(durationToWire(1e15), "d")), "d");
});

test("origins go both ways", () => {
  const service = { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 };
  assert.equal(originFromWire(originToWire(service), "m"), service);
  assert.equal(originFromWire(originToWire(defaultOrigin("http")), "m"), defaultOrigin("http"));
  assert.is(field(() => originFromWire(undefined, "m")), "m");
});

test("methods go both ways, those without a number too", () => {
  for (const method of ["GET", "TRACE", "PROPFIND"]) {
    assert.is(methodFromWire(methodToWire(method), "m"), method);
  }
  assert.is(methodToWire("GET").type.case, "registered");
  assert.is(field(() => methodFromWire(methodToWire("a b"), "m")), "m");
  assert.is(field(() => methodFromWire(undefined, "m")), "m");
});

test("a transport header is preface, length and message, and comes back from any split", () => {
  const headers: TransportHeader[] = [
    { port: 8080, name: "", protocol: "http1" },
    { port: 1, name: "web.shop.svc.cluster.local", protocol: "http2" },
    { port: 65535, name: "", protocol: "opaque" },
  ];
  for (const header of headers) {
    const bytes = encodeTransportHeader(header);
    const padded = new Uint8Array([9, 9, ...bytes, 7, 7]);
    for (let to = 2; to < padded.length; to++) {
      const decoded = decodeTransportHeader(padded, 2, to);
      if (to < bytes.length + 2) assert.is(decoded, null);
      else assert.equal(decoded, { header, bytes: bytes.length });
    }
  }
  const http1 = encodeTransportHeader({ port: 8080, name: "", protocol: "http1" });
  assert.is(new TextDecoder().decode(http1.subarray(0, 23)), `${TRANSPORT_ALPN}\r\n\r\n`);
  assert.is(bytesToHex(http1.subarray(23)), "00000007" + "08903f" + "1a020a00");
});

test("what is no transport header is refused at the first wrong byte", () => {
  const good = encodeTransportHeader({ port: 80, name: "", protocol: "opaque" });
  assert.is(field(() => decodeTransportHeader(new Uint8Array([71]), 0, 1)), "preface");
  const long = good.slice();
  long[23] = 1;
  assert.is(field(() => decodeTransportHeader(long, 0, long.length)), "length");
  const none = encodeTransportHeader({ port: 0, name: "", protocol: "opaque" });
  assert.is(field(() => decodeTransportHeader(none, 0, none.length)), "port");
  const broken = good.slice();
  broken[27] = 0xff;
  assert.is(field(() => decodeTransportHeader(broken, 0, broken.length)), "header");
  // A session protocol of the future must not be taken for opaque.
  const future = new Uint8Array([...good.subarray(0, 23), 0, 0, 0, 6, 8, 80, 26, 2, 0x1a, 0]);
  assert.is(field(() => decodeTransportHeader(future, 0, future.length)), "session_protocol");
});

test("workloads are read from JSON and from the old forms", () => {
  const web = { namespace: "shop", pod: "web", node: "n1" };
  assert.equal(workloadFromWire(workloadToWire(web)), web);
  assert.equal(workloadFromWire('{"ns":"shop", "pod":"web"}\n'), { ...web, node: "" });
  assert.equal(workloadFromWire('{"ns":"a","external_workload":"vm"}')?.pod, "vm");
  assert.equal(workloadFromWire("shop:web"), { ...web, node: "" });
  for (const bad of ["", "{}", "[]", "null", "{", '{"ns":"a"}', "a:b:c", "x".repeat(5000)]) {
    assert.is(workloadFromWire(bad), null, bad.slice(0, 10));
  }
  assert.equal(contextFromWire("ns:shop"), { namespace: "shop", pod: "", node: "" });
  assert.equal(contextFromWire("garbage"), { namespace: "", pod: "", node: "" });
  assert.is(contextFromWire('{"ns":"a","nodeName":"n","more":1}').node, "n");
});

test.run();
