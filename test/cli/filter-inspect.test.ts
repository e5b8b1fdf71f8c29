// `tulle filter inspect`, `keygen`, `sign` and `verify`: what a module is, whether a proxy loads it, and
// whose it is.

import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tempDir } from "../support/temp-dir.ts";
import { tulleFilter as tulle } from "./support/tulle-filter.ts";

const at = (path: string) => fileURLToPath(new URL("../../" + path, import.meta.url));

test("inspect says what a module is, with its cost", async () => {
  const { status, out } = await tulle("inspect", at("filters/build/route-metrics.wasm"));
  assert.is(status, 0);
  for (
    const line of [
      /^ {2}abi {6}tulle_abi_1$/m,
      /^ {2}sha256 {3}[0-9a-f]{64}$/m,
      /^ {2}hooks {4}.*end/m,
      /^ {2}metrics {2}.*counter filter_route_requests_total\{/m,
      /^ {2}imports {2}.*tulle request_path/m,
      /^ {2}limits {3}memory \d+ of 16 pages, \d+ functions, fuel 1000000 a hook$/m,
      /^ {2}cost {5}.*onEnd \d+ instructions$/m,
      /^ {2}verdict {2}a proxy loads it$/m,
    ]
  ) assert.match(out, line);
  const asks = await tulle("inspect", at("test/wasm/fixtures/auth.wasm"));
  assert.match(asks.out, /^ {2}asks {5}auth$/m);
  assert.match(asks.out, /^ {2}verdict {2}a proxy loads it$/m);
  const json = await tulle("inspect", at("filters/build/retry.wasm"), "--json");
  const document = JSON.parse(json.out);
  assert.is(document.refused, null);
  assert.ok(document.info.hooks.includes("outcome"));
});

test("inspect names the line of a byte that a trap told", async () => {
  await using dir = await tempDir("filter-at");
  const filters = dir.join("filters");
  await tulle("new", "gate", "--filters", filters);
  await writeFile(
    join(filters, "gate/assembly/index.ts"),
    `import { Action, request } from "@tulle/filter";
export function onRequest(): Action {
  return 10 / (request.attempt() + 1) / request.attempt();
}
`,
  );
  await tulle("build", "--filters", filters);
  const wasm = join(filters, "build/gate.wasm");
  // without its map a trap has the offset only
  await rename(`${wasm}.map`, `${wasm}.aside`);
  const bare = await tulle("inspect", wasm);
  await rename(`${wasm}.aside`, `${wasm}.map`);
  const offset = /byte (0x[0-9a-f]+) of the module/.exec(bare.out)?.[1] ?? "";
  assert.match(
    (await tulle("inspect", wasm, "--at", offset)).out,
    /gate\/assembly\/index\.ts:3:\d+$/,
  );
  assert.match((await tulle("inspect", wasm)).out, /refused: .* at \S*index\.ts:3:\d+/);
  assert.is((await tulle("inspect", wasm, "--at", "line 3")).status, 2);
  assert.match((await tulle("inspect", wasm, "--at", "3")).err, /Byte 3 of .* is in no function/);
});

test("what is no module is told as what it is", async () => {
  await using dir = await tempDir("filter-inspect");
  assert.match(
    (await tulle("inspect", dir.path)).err,
    /is a folder, not a module\n {2}tulle filter build/,
  );
  assert.match((await tulle("inspect", dir.join("no.wasm"))).err, /no\.wasm does not exist/);
});

test("inspect says why a proxy would refuse a module, and where", async () => {
  await using dir = await tempDir("filter-inspect");
  const good = await readFile(at("filters/build/retry.wasm"));
  const wrong = dir.join("wrong.wasm");
  await writeFile(wrong, good.subarray(0, 700));
  const cut = await tulle("inspect", wrong);
  assert.is(cut.status, 1);
  assert.match(cut.out, /verdict {2}refused: .*(at byte|byte \d|0x)/);
  // a host function that does not exist, in a module that parses
  const bytes = Buffer.from(good);
  const name = bytes.indexOf("request_method");
  bytes.write("request_metho1", name, "latin1");
  await writeFile(wrong, bytes);
  const foreign = await tulle("inspect", wrong);
  assert.is(foreign.status, 1);
  assert.match(
    foreign.out,
    /refused: imports "tulle" "request_metho1": not allowed; .*at byte \d+/,
  );
  assert.match(foreign.out, /imports {2}.*request_metho1/, "what can be read is shown");
  const config = dir.join("config.json");
  await writeFile(config, '{"maxRetries": 11}');
  const refused = await tulle("inspect", at("filters/build/retry.wasm"), "--config", config);
  assert.is(refused.status, 1);
  assert.match(refused.out, /refused: .*"maxRetries" must be a whole number from 0 to 10, not 11/);
  await writeFile(config, "[]");
  assert.is(
    (await tulle("inspect", at("filters/build/retry.wasm"), "--config", config)).status,
    64,
  );
  assert.match((await tulle("inspect", dir.join("no.wasm"))).err, /no\.wasm does not exist/);
});

test("sign and verify tell whose module it is", async () => {
  await using dir = await tempDir("filter-sign");
  const wasm = dir.join("retry.wasm");
  await writeFile(wasm, await readFile(at("filters/build/retry.wasm")));
  const me = await tulle("keygen", dir.join("me"));
  assert.is(me.status, 0, me.err);
  assert.is((await stat(dir.join("me.key"))).mode & 0o777, 0o600);
  assert.match((await tulle("keygen", dir.join("me"))).err, /me\.key exists already/);
  assert.match(
    (await tulle("keygen", dir.join("no/me"))).err,
    /no\/me\.key lies in a folder that does not exist$/,
  );
  const signed = await tulle("sign", wasm, "--key", dir.join("me.key"));
  assert.is(signed.status, 0, signed.err);
  assert.match(signed.out, /signature {2}[A-Za-z0-9+/]{86}==/);
  const verified = await tulle("verify", wasm, "--key", dir.join("me.pub"));
  assert.is(verified.status, 0, verified.err);
  assert.match(verified.out, /was signed by [0-9a-f]{8}$/);
  assert.match(me.out, verified.out.slice(-8));

  const other = await tulle("sign", wasm, "--new-key", dir.join("other"));
  assert.is(other.status, 0, other.err);
  const foreign = await tulle("verify", wasm, "--key", dir.join("me.pub"));
  assert.is(foreign.status, 1);
  assert.match(foreign.err, /was not signed by/);
  const both = ["--key", dir.join("me.pub"), "--key", dir.join("other.pub")];
  assert.is((await tulle("verify", wasm, ...both)).status, 0);
  const text = /signature {2}(\S+)/.exec(signed.out)?.[1] ?? "";
  const mine = ["--key", dir.join("me.pub"), "--signature", text];
  assert.is((await tulle("verify", wasm, ...mine)).status, 0);
  await writeFile(wasm, Buffer.concat([await readFile(wasm), Buffer.of(0, 2, 1, 65)]));
  assert.is((await tulle("verify", wasm, ...both)).status, 1, "another module");

  const asPrivate = await tulle("verify", wasm, "--key", dir.join("me.key"));
  assert.match(asPrivate.err, /private key in it/);
  const secret = (await readFile(dir.join("me.key"), "utf8")).split("\n")[1] ?? "";
  assert.not.match(asPrivate.err + signed.out, secret);
  assert.is((await tulle("sign", wasm)).status, 2);
  assert.match((await tulle("sign", dir.join("me.key"), ...mine.slice(0, 2))).err, /not a WebAss/);
});

test.run();
