import { createHash } from "node:crypto";
import { copyFile, writeFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CliError } from "../../src/cli/failure.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { proxyCommand, staticOptions } from "../../src/cli/proxy.ts";
import { signatureText } from "../../src/core/signature.ts";
import { generateKeys, readPrivateKey, signModule } from "../../wasm/host/signature.ts";
import { tempDir } from "../support/temp-dir.ts";

const BASE = ["--listen", "127.0.0.1:9000", "--to", "127.0.0.1:8080"];
const options = (...argv: string[]) => staticOptions(parseFlags(proxyCommand.flags, argv));

async function failure(...argv: string[]): Promise<CliError> {
  try {
    await options(...argv);
  } catch (e) {
    assert.instance(e, CliError);
    return e as CliError;
  }
  throw new Error("it was accepted");
}

test("tulle proxy takes addresses and leaves the rest at its defaults", async () => {
  assert.equal(await options("--listen", "[::1]:9000", "--to", "127.0.0.1:1, 127.0.0.1:2"), {
    listen: { ip: "::1", port: 9000 },
    to: [{ ip: "127.0.0.1", port: 1 }, { ip: "127.0.0.1", port: 2 }],
    admin: null,
    filters: [],
    callouts: [],
    upstreamProtocol: "same",
    identityDir: null,
    requireId: null,
    inbound: false,
    workers: 1,
  });
});

test("tulle proxy reads filters and their configuration, in order", async () => {
  await using dir = await tempDir("cli");
  await writeFile(dir.join("retry.wasm"), "abc");
  await writeFile(dir.join("retry.json"), '{"max":2}');
  const { filters, inbound, admin, identityDir } = await options(
    ...BASE,
    ...["--filter", `${dir.join("retry.wasm")}=${dir.join("retry.json")}`],
    ...["--filter", dir.join("retry.wasm"), "--inbound", "--admin", "127.0.0.1:0"],
    ...[
      "--identity",
      dir.path,
      "--require-id",
      "web.shop.serviceaccount.identity.linkerd.cluster.local",
    ],
  );
  assert.equal(filters.map((f) => f.name), ["retry", "retry"]);
  assert.is(new TextDecoder().decode(filters[0]!.module), "abc");
  assert.is(new TextDecoder().decode(filters[0]!.config), '{"max":2}');
  assert.is(filters[1]!.config.length, 0);
  assert.ok(inbound);
  assert.equal(admin, { ip: "127.0.0.1", port: 0 });
  assert.is(identityDir, dir.path);
});

for (
  const [what, argv, message] of [
    ["no --listen", ["--to", "127.0.0.1:1"], "--listen is missing"],
    [
      "no --workers at all",
      ["--listen", "127.0.0.1:1", "--to", "127.0.0.1:2", "--workers", "0"],
      '--workers "0" is not a number from 1 to 64',
    ],
    ["no --to", ["--listen", "127.0.0.1:1"], "--to is missing"],
    [
      "a name in --to",
      ["--listen", "127.0.0.1:1", "--to", "localhost:80"],
      '--to: "localhost:80" is not an address: write IP:PORT, or [IPV6]:PORT',
    ],
    [
      "port 0 in --to",
      ["--listen", "127.0.0.1:1", "--to", "127.0.0.1:0"],
      "--to 127.0.0.1:0 has no port to connect to",
    ],
    [
      "a loop",
      ["--listen", "127.0.0.1:1", "--to", "127.0.0.1:1"],
      "--to 127.0.0.1:1 is the proxy's own --listen address: it would loop",
    ],
    [
      "admin at listen",
      [...BASE, "--admin", "127.0.0.1:9000"],
      "--admin and --listen are the same address: 127.0.0.1:9000",
    ],
    [
      "an unknown protocol",
      [...BASE, "--upstream-protocol", "spdy"],
      '--upstream-protocol "spdy" is not one of http1, http2, same',
    ],
    ["--require-id alone", [...BASE, "--require-id", "web.shop"], "--require-id needs --identity"],
    [
      "a strange --require-id",
      [...BASE, "--require-id", "a b"],
      '--require-id "a b" is not an identity',
    ],
    [
      "an empty filter",
      [...BASE, "--filter", "=x.json"],
      '--filter "=x.json" is not FILE.wasm or FILE.wasm=CONFIG.json',
    ],
  ] as const
) {
  test(`tulle proxy with ${what} is a usage error`, async () => {
    const e = await failure(...argv);
    assert.is(e.message, message);
    assert.is(e.exit, 2);
  });
}

test("tulle proxy names a file that it cannot use, with status 64", async () => {
  await using dir = await tempDir("cli");
  await writeFile(dir.join("a.wasm"), "abc");
  await writeFile(dir.join("bad.json"), "{");
  const missing = await failure(...BASE, "--filter", dir.join("none.wasm"));
  assert.is(missing.message, `--filter: ${dir.join("none.wasm")} does not exist`);
  assert.is(missing.exit, 64);
  const config = await failure(
    ...BASE,
    "--filter",
    `${dir.join("a.wasm")}=${dir.join("bad.json")}`,
  );
  assert.match(config.message, /bad\.json is not JSON/);
  assert.is(config.exit, 64);
  assert.match((await failure(...BASE, "--filter", dir.path)).message, /is a folder/);
  assert.match(
    (await failure(...BASE, "--identity", dir.join("a.wasm"))).message,
    /is not a folder/,
  );
  assert.match((await failure(...BASE, "--identity", dir.join("none"))).message, /does not exist/);
});

test("tulle proxy finds the map beside a filter, for the lines of its traps", async () => {
  await using dir = await tempDir("cli-map");
  await writeFile(dir.join("gate.wasm"), "abc");
  const filter = ["--filter", dir.join("gate.wasm")];
  assert.is((await options(...BASE, ...filter)).filters[0]!.locate!(5, 4), null, "there is none");
  const map = { version: 3, sources: ["../gate/assembly/index.ts"], names: [], mappings: "IAAA" };
  await writeFile(dir.join("gate.wasm.map"), JSON.stringify(map));
  const { filters } = await options(...BASE, ...filter);
  assert.match(filters[0]!.locate!(5, 4)!, /gate\/assembly\/index\.ts:1:1$/);
  await writeFile(dir.join("gate.wasm.map"), "{");
  assert.match((await failure(...BASE, ...filter)).message, /gate\.wasm\.map: /);
});

test("tulle proxy takes only filters that a key has signed, when it is given keys", async () => {
  await using dir = await tempDir("cli-keys");
  const keys = await generateKeys();
  await writeFile(dir.join("gate.wasm"), "abc");
  await writeFile(dir.join("ours.pub"), keys.publicPem);
  const argv = [
    ...["--filter", dir.join("gate.wasm")],
    ...["--filter-keys", dir.join("ours.pub")],
  ];
  const unsigned = await failure(...BASE, ...argv);
  assert.match(unsigned.message, /^--filter: .*gate\.wasm: module [0-9a-f]{12} is not signed/);
  assert.is(unsigned.exit, 64);
  const sign = async (text: string) => {
    const sha256 = createHash("sha256").update(text).digest("hex");
    const signature = await signModule(await readPrivateKey(keys.privatePem), sha256);
    await writeFile(dir.join("gate.wasm.sig"), signatureText(signature));
  };
  await sign("another");
  assert.match((await failure(...BASE, ...argv)).message, /was not made by a key that is trusted/);
  await sign("abc");
  assert.is((await options(...BASE, ...argv)).filters.length, 1);
  await writeFile(dir.join("ours.pub"), keys.privatePem);
  assert.match((await failure(...BASE, ...argv)).message, /private key in it/);
});

test("tulle proxy hands each filter the call-outs that it asks", async () => {
  await using dir = await tempDir("cli");
  const auth = dir.join("auth.wasm");
  await copyFile(new URL("../wasm/fixtures/auth.wasm", import.meta.url), auth);
  await writeFile(dir.join("other.wasm"), "abc");
  const filters = ["--filter", auth, "--filter", dir.join("other.wasm")];
  const read = await options(...BASE, ...filters, "--callout", "auth=127.0.0.1:81,[::1]:82");
  assert.equal(read.callouts, [{
    name: "auth",
    authority: "127.0.0.1:81",
    addrs: [{ ip: "127.0.0.1", port: 81 }, { ip: "::1", port: 82 }],
  }]);
  assert.equal(read.filters.map((f) => f.callouts), [{ auth: "127.0.0.1:81" }, {}]);
  for (
    const [flags, message] of [
      [[], '--filter: auth asks "auth", which is not allowed'],
      [["--callout", "auth"], '--callout "auth" is not NAME=ADDR, such as auth=127.0.0.1:8081'],
      [["--callout", "auth="], '--callout "auth=" is not NAME=ADDR, such as auth=127.0.0.1:8081'],
      [["--callout", "a b=127.0.0.1:1"], '--callout "a b=127.0.0.1:1" is not NAME=ADDR'],
      [["--callout", "auth=here:1"], '--callout auth: "here:1" is not an address'],
      [["--callout", "auth=127.0.0.1:0"], "--callout auth: 127.0.0.1:0 has no port to connect to"],
      [
        ["--callout", "auth=127.0.0.1:1", "--callout", "auth=127.0.0.1:2"],
        "--callout auth is given twice",
      ],
      [
        ["--callout", "auth=127.0.0.1:1", "--callout", "users=127.0.0.1:1,127.0.0.1:2"],
        "--callout auth and users begin with 127.0.0.1:1 and go on differently",
      ],
      [
        ["--callout", "auth=127.0.0.1:1", "--callout", "users=127.0.0.1:2"],
        "--callout users is asked by none of the filters: they ask auth",
      ],
    ] as const
  ) {
    const e = await failure(...BASE, ...filters, ...flags);
    assert.ok(e.message.startsWith(message), e.message);
  }
});

test.run();
