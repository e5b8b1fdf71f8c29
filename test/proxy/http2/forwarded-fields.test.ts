// What a field keeps of how it came, from one HTTP/2 connection to another.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { headerName } from "../../../src/core/head.ts";
import { INDEX, NEVER_INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { hpackField } from "../../../src/proxy/http2/hpack-field.ts";
import type { Fields } from "../../support/decoded.ts";
import { as, bytes, Client, Endpoint, GET, type Sent } from "./transcode-fixture.ts";

test("edits hold whatever form the field came in", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  for (const how of [INDEX, INDEX, NO_INDEX, NEVER_INDEX]) {
    const head = client.request(as(how, [...GET, ["x-a", "1"], ["x-b", "2"], ["x-c", "3"]]));
    head.set(headerName("X-A"), "new");
    head.remove(headerName("x-b"));
    head.add(headerName("x-c"), "4");
    assert.is(head.get(headerName("x-c")), "3");
    assert.equal(endpoint.request(head), [...GET, ["x-c", "3"], ["x-a", "new"], ["x-c", "4"]]);
    head.newPath = "/other";
    head.newAuthority = "other";
    assert.equal(endpoint.request(head).slice(2, 4), [[":path", "/other"], [
      ":authority",
      "other",
    ]]);
  }
});

test("a field that came by its index goes out by its index", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  const all: Fields = [...GET, ["x-a", "a value of some length"], ["user-agent", "grpc-go/1.71.0"]];
  for (let i = 0; i < 3; i++) endpoint.request(client.request(as(INDEX, all)));
  assert.is(client.sent, 6);
  assert.is(endpoint.block.length, 6);
  assert.ok(endpoint.block.every((b) => b >= 0x80));
  // and after what evicts it, as a literal once
  endpoint.encoder.limit(0);
  endpoint.encoder.limit(4096);
  assert.equal(endpoint.request(client.request(as(INDEX, all))), all);
  assert.ok(endpoint.block.length > 20);
  endpoint.request(client.request(as(INDEX, all)));
  assert.is(endpoint.block.length, 6);
});

test("clients that say the same share an endpoint's entries", () => {
  const endpoint = new Endpoint();
  const all: Fields = [...GET.slice(0, 3), [":authority", "shared.test"], ["x-shared", "1"]];
  for (let i = 0; i < 20; i++) endpoint.request(new Client().request(as(INDEX, all)));
  assert.is(endpoint.block.length, 5);
});

test("a literal that no hop may keep stays one, and one that was not kept is not kept", () => {
  const endpoint = new Endpoint();
  endpoint.request(new Client().request(as(INDEX, GET)));
  const first = (block: Uint8Array) => (block[0] as number) & 0xf0;
  for (
    const [name, value] of [["x-pin", "1234"], ["accept", "a/b"], ["content-length", "0"]] as const
  ) {
    for (const how of [NO_INDEX, NEVER_INDEX]) {
      for (let i = 0; i < 2; i++) {
        const head = new Client().request([...as(INDEX, GET), [name, value, how]], false);
        const all = endpoint.request(head);
        assert.equal(all.at(-1), [name, value]);
        const rest = endpoint.block.slice(4);
        assert.is(first(rest), how === NEVER_INDEX ? 0x10 : 0, `${name} ${how}`);
      }
    }
  }
  for (const at of [2, 3]) {
    const fields = as(INDEX, GET).map((f, i): Sent =>
      i === at ? [f[0], "/secret", NEVER_INDEX] : f
    );
    if (at === 3) fields[3] = [":authority", "secret", NEVER_INDEX];
    endpoint.request(new Client().request(fields));
    endpoint.request(new Client().request(fields));
    assert.is(first(endpoint.block.slice(at)), 0x10, String(at));
  }
});

test("secrets are never kept by us, and their objects never shared", () => {
  const endpoint = new Endpoint();
  const client = new Client();
  const all = as(INDEX, [...GET, ["authorization", "Bearer abc"], ["cookie", "a=1"]]);
  for (let i = 0; i < 3; i++) endpoint.request(client.request(all));
  assert.is(client.sent, 6);
  assert.is((endpoint.block[4] as number) & 0xf0, 0x10);
  const field = (name: string, value: string) => {
    const buf = bytes(name + value);
    return hpackField(buf, 0, name.length, buf, name.length, buf.length);
  };
  assert.is(field("x-shared-object", "1"), field("x-shared-object", "1"));
  assert.is.not(field("authorization", "1"), field("authorization", "1"));
});

test("an entry that may stand in no message is refused each time it is named", () => {
  for (
    const [name, value] of [
      ...[["x-a", "a\0b"], ["x-a", " b"], ["x-a", "b\r\nc: d"], ["X-A", "b"], ["", "b"], [
        ":x",
        "b",
      ]],
      ...[["connection", "close"], ["transfer-encoding", "chunked"], ["te", "gzip"], ["a b", "c"]],
    ] as [string, string][]
  ) {
    const client = new Client();
    for (const how of [NO_INDEX, INDEX, INDEX]) {
      assert.is(client.refused([...as(INDEX, GET), [name, value, how]]), -1, JSON.stringify(name));
    }
    assert.is(client.request(as(INDEX, GET)).path, "/");
  }
  for (
    const [at, value] of [[0, "G T"], [0, ""], [1, "ftp"], [2, "a"], [2, "/ "], [3, "a b"], [
      3,
      "",
    ]] as const
  ) {
    const client = new Client();
    for (const how of [NO_INDEX, INDEX, INDEX]) {
      const fields = as(INDEX, GET).map((f, i): Sent => i === at ? [f[0], value, how] : f);
      assert.is(client.refused(fields), -1, `${GET[at]?.[0]} ${value}`);
    }
  }
});

test("a field that would take half of the table is not kept", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  const small: Fields = [...GET, ["x-a", "1"], ["x-b", "2"]];
  endpoint.request(client.request(as(INDEX, small)));
  const large = "x".repeat(3000);
  endpoint.request(client.request([...as(INDEX, GET), ["x-large", large, INDEX]]));
  endpoint.request(client.request([...as(INDEX, GET), ["x-large", large, NO_INDEX]]));
  endpoint.request(new Client().request(as(INDEX, small)));
  assert.is(endpoint.block.length, 6);
});

test("layers read the same, whatever form the fields came in; a table's string is made once", () => {
  const client = new Client();
  const name = headerName("x-once");
  const value = "v".repeat(300); // longer than what is interned
  const fields: Fields = [...GET.slice(0, 2), [":path", "/p"], [":authority", "h"], [
    "x-once",
    value,
  ]];
  for (const how of [NO_INDEX, INDEX, INDEX, NEVER_INDEX]) {
    const head = client.request(as(how, fields));
    assert.equal([head.method, head.path, head.authority], ["GET", "/p", "h"]);
    assert.is(head.get(name), value);
    assert.is(head.get(headerName("host")), "h");
    const at = head.find(name);
    assert.equal([head.nameAt(at), head.valueAt(at)], ["x-once", value]);
  }
});

test("Host without an authority is it, in every form; beside one it must be the same", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  for (const how of [INDEX, INDEX, NO_INDEX, NEVER_INDEX]) {
    const head = client.request([...as(INDEX, GET.slice(0, 3)), ["host", "h.test", how]]);
    assert.is(head.authority, "h.test");
    assert.equal(endpoint.request(head).at(-1), [":authority", "h.test"]);
    assert.is(client.refused([...as(INDEX, GET), ["host", "h.test", how]]), -1);
    assert.equal(endpoint.request(client.request([...as(how, GET), ["host", "a", how]])), GET);
  }
});

test("responses go back by index and status", () => {
  const server = new Client();
  const client = new Endpoint();
  const all: Fields = [[":status", "200"], ["content-type", "application/grpc"], ["x-b", "1"]];
  for (let i = 0; i < 3; i++) assert.equal(client.response(server.response(as(INDEX, all))), all);
  assert.is(client.block.length, 3);
  for (const status of ["204", "299", "503"]) {
    assert.equal(client.response(server.response([[":status", status, INDEX]])), [[
      ":status",
      status,
    ]]);
  }
});

test.run();

test.run();
