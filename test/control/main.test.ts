import { test } from "uvu";
import * as assert from "uvu/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { EndpointFold } from "../../src/api/endpoint.ts";
import { Destination } from "../../src/api/gen/destination_pb.ts";
import { Identity } from "../../src/api/gen/identity_pb.ts";
import { InboundServerPolicies } from "../../src/api/gen/inbound_pb.ts";
import { Registry } from "../../src/api/gen/tulle/filter_pb.ts";
import { hexToBytes, sha256Hex } from "../../src/api/hex.ts";
import { profileFromWire } from "../../src/api/profile.ts";
import { importTokenKey, issueToken, TOKEN_KEY_FILE } from "../../src/api/service-account-token.ts";
import type { ControlReady } from "../../src/control/main.ts";
import { tempDir } from "../support/temp-dir.ts";
import { pod, SERVICE } from "./support/mesh-fixture.ts";
import { reading } from "./support/streams.ts";

const MAIN = fileURLToPath(new URL("../../src/control/main.ts", import.meta.url));
const BUILD = fileURLToPath(new URL("../../filters/build/", import.meta.url));
const never = (why: Error) => assert.unreachable(why.message);

/** A control plane in a process of its own, in this test's runtime. */
interface Started {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly exited: Promise<number | null>;
}

function run(args: readonly string[]): Started {
  const runtime = process.versions.deno === undefined ? [] : ["run", "-A", "--quiet"];
  const child = spawn(process.execPath, [...runtime, MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (part: string) => text[name] += part);
  }
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, stdout: () => text.stdout, stderr: () => text.stderr, exited };
}

async function ready(started: Started): Promise<ControlReady> {
  const deadline = performance.now() + 20_000;
  while (!started.stdout().includes("\n")) {
    if (performance.now() > deadline) throw new Error(`not ready: ${started.stderr()}`);
    await new Promise((again) => setTimeout(again, 20));
  }
  return JSON.parse(started.stdout()) as ControlReady;
}

/** `process.kill`, since Deno's `ChildProcess.kill` takes a child that handles the signal for dead. */
async function stop(started: Started): Promise<{ code: number | null; ms: number }> {
  const from = performance.now();
  process.kill(started.child.pid ?? 0, "SIGTERM");
  const code = await started.exited;
  return { code, ms: performance.now() - from };
}

const flags = (folder: string, state: string) => [
  ...["--folder", folder, "--state", state],
  ...["destination", "policy", "identity", "admin"].flatMap((
    n,
  ) => [`--${n}-listen`, "127.0.0.1:0"]),
];

function connect(addr: string) {
  const baseUrl = `http://${addr}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  return {
    transport: createGrpcTransport({ baseUrl, sessionManager }),
    close: () => sessionManager.abort(),
  };
}

const filter = (sha256: string) => `
apiVersion: tulle.dev/v1alpha1
kind: WasmFilter
metadata: { name: retry, namespace: shop }
spec:
  targetRef: { kind: Service, name: web }
  module: { sha256: ${sha256}, file: retry.wasm }
`;
const PROFILE = `
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: { name: web.shop.svc.cluster.local, namespace: shop }
spec: { routes: [{ name: all, condition: { pathRegex: /.* } }] }
`;

test("the process serves every API, follows the folder, and ends within a second", async () => {
  await using dir = await tempDir("control");
  const v1 = new Uint8Array(await readFile(`${BUILD}retry.wasm`));
  const v2 = new Uint8Array(await readFile(`${BUILD}retry.v2.wasm`));
  const [sha1, sha2] = await Promise.all([sha256Hex(v1), sha256Hex(v2)]);
  await writeFile(dir.join("retry.wasm"), v1);
  await writeFile(dir.join("shop.yaml"), [SERVICE, pod("a", "10.1.0.1"), PROFILE].join("---"));
  await writeFile(dir.join("filter.yaml"), filter(sha1));
  const started = run(flags(dir.path, dir.join("state")));
  const closes: (() => void)[] = [];
  try {
    const at = await ready(started);
    const client = (addr: string) => {
      const { transport, close } = connect(addr);
      closes.push(close);
      return transport;
    };
    const destination = createClient(Destination, client(at.destination));
    const path = "web.shop.svc.cluster.local:80";

    const get = reading((signal) => destination.get({ path }, { signal }));
    const fold = new EndpointFold(never);
    assert.is(fold.apply(await get.next())?.endpoints.length, 1);
    const profiles = reading((signal) => destination.getProfile({ path }, { signal }));
    const digests = async () =>
      profileFromWire(await profiles.next(), never).routes[0]?.filters.map((f) => f.sha256);
    assert.equal(await digests(), [sha1]);

    // An edit reaches the stream within 200 ms.
    const edited = performance.now();
    await writeFile(
      dir.join("shop.yaml"),
      [SERVICE, pod("a", "10.1.0.1"), pod("b", "10.1.0.2"), PROFILE].join("---"),
    );
    assert.is(fold.apply(await get.next())?.endpoints.length, 2);
    const tookMs = performance.now() - edited;
    assert.ok(tookMs < 200, `${tookMs.toFixed()} ms`);

    // So does a module that is replaced, as editors and compilers do it.
    await writeFile(dir.join("retry.wasm.new"), v2);
    await rename(dir.join("retry.wasm.new"), dir.join("retry.wasm"));
    assert.equal(await digests(), [sha2]);
    const registry = createClient(Registry, client(at.destination));
    let bytes = 0;
    for await (const { data } of registry.getModule({ sha256: hexToBytes(sha2) })) {
      bytes += data.length;
    }
    assert.is(bytes, v2.length);

    const inbound = createClient(InboundServerPolicies, client(at.policy));
    const server = await inbound.getPort({ workload: '{"ns":"shop","pod":"a"}', port: 8080 });
    assert.is(server.labels["name"], "all-unauthenticated");

    const identity = createClient(Identity, client(at.identity));
    const pem = await readFile(dir.join("state", TOKEN_KEY_FILE), "utf8");
    const token = await issueToken(await importTokenKey(pem), {
      namespace: "shop",
      serviceAccount: "web",
      nowMs: Date.now(),
      lifetimeMs: 60_000,
    });
    const refused = await identity.certify({
      identity: "web.shop.serviceaccount.identity.linkerd.cluster.local",
      token: new TextEncoder().encode(token),
      certificateSigningRequest: new Uint8Array([1]),
    }).then(() => "issued", (e) => String(e));
    assert.match(refused, /PKCS#10/);

    assert.match(await readFile(at.trustAnchors, "utf8"), /BEGIN CERTIFICATE/);
    for (const name of [TOKEN_KEY_FILE, "ca.key", "ca.crt"]) {
      assert.is((await stat(dir.join("state", name))).mode & 0o077, 0, name);
    }
    assert.is((await stat(dir.join("state"))).mode & 0o077, 0);
    const services = await fetch(`http://${at.admin}/api/services`).then((r) => r.json());
    assert.match(JSON.stringify(services), /"web"/);

    const { code, ms } = await stop(started);
    assert.is(code, 0, started.stderr());
    assert.ok(ms < 1000, `${ms.toFixed()} ms`);
    assert.is(await get.status(), null, "a stream ends in order");
    await get.end();
    await profiles.end();
  } finally {
    for (const close of closes) close();
    started.child.kill("SIGKILL");
  }
});

test("the CA and what was rolled out survive a restart", async () => {
  await using dir = await tempDir("control");
  const v1 = new Uint8Array(await readFile(`${BUILD}retry.wasm`));
  const v2 = new Uint8Array(await readFile(`${BUILD}retry.v2.wasm`));
  await writeFile(dir.join("retry.wasm"), v1);
  await writeFile(dir.join("shop.yaml"), [SERVICE, filter(await sha256Hex(v1))].join("---"));
  const anchors: string[] = [];
  for (const round of [1, 2]) {
    const started = run(flags(dir.path, dir.join("state")));
    try {
      const at = await ready(started);
      anchors.push(await readFile(at.trustAnchors, "utf8"));
      if (round === 1) {
        const answer = await fetch(`http://${at.admin}/api/filters/retry/rollout`, {
          method: "POST",
          headers: { "content-type": "application/wasm" },
          body: v2,
        });
        assert.is(answer.status, 200, await answer.text());
      }
      const filters = await fetch(`http://${at.admin}/api/filters`).then((r) => r.json());
      assert.is(filters.filters[0].served.sha256, await sha256Hex(v2));
      assert.is((await stop(started)).code, 0);
    } finally {
      started.child.kill("SIGKILL");
    }
  }
  assert.is(anchors[0], anchors[1]);
});

test("what is wrong at start is one line and a status", async () => {
  await using dir = await tempDir("control");
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, "127.0.0.1", done));
  const { port } = taken.address() as { port: number };
  const cases: [string[], number, RegExp][] = [
    [["--nonsense"], 2, /^Unknown flag "--nonsense"/],
    [
      [...flags(dir.path, dir.join("s1")).slice(0, -1), `127.0.0.1:${port}`],
      1,
      /^Listen on 127\.0\.0\.1:\d+ failed: the port is taken/,
    ],
    [flags(dir.join("nowhere"), dir.join("s2")), 1, /^Cannot read the folder .*nowhere/],
    [
      [...flags(dir.path, dir.join("s3")), "--filter-keys", dir.path],
      1,
      /^--filter-keys \S+ has no \*\.pub or \*\.pem/,
    ],
    [[...flags(dir.path, "/proc/nowhere")], 1, /^Cannot use the state folder \/proc\/nowhere/],
  ];
  try {
    for (const [args, status, why] of cases) {
      const started = run(args);
      assert.is(await started.exited, status, args.join(" "));
      assert.is(started.stdout(), "");
      const lines = started.stderr().trim().split("\n");
      assert.match(lines.at(-1) ?? "", why);
      assert.is(lines.length, 1, started.stderr());
    }
  } finally {
    taken.close();
  }
});

test.run();
