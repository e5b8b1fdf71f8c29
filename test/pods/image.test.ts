// The image itself: what is in it, how large it is, that it can be made again byte for byte, and that
// none of its programs needs a shell.

import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";
import { baseImage, buildImage, podman, podsMissing, ROOT, run } from "./podman.ts";

const check = (what: string, body: () => Promise<void>) =>
  testUnless(podsMissing(), test, what, body);
const MB = 1_000_000;

/** What `tulle init` and the proxy are started with: no root, no rights but what is given. */
async function runIn(image: string, args: readonly string[], more: readonly string[] = []) {
  return await run([
    ...["podman", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"],
    ...["--security-opt", "no-new-privileges", ...more, image, ...args],
  ], { timeoutMs: 60_000 });
}
const program = (name: string) => ["--entrypoint", `/usr/lib/linkerd/${name}`];

check("two builds of the same sources are one image", async () => {
  await buildImage("node");
  const id = (tag: string) => podman("image", "inspect", "-f", "{{.Id}}", tag);
  const first = await id("localhost/tulle-pods/tulle:node");
  const tag = "localhost/tulle-pods/tulle:again";
  const again = await run([
    ...["nice", "-n", "10", "k8s/image/build", tag, "--no-cache"],
    ...["--build-arg", `BASE=${baseImage("base")}`],
  ], { timeoutMs: 240_000 });
  assert.is(again.status, 0, again.stderr);
  assert.is(await id(tag), first);
  await podman("rmi", tag);
});

check("an image has the bundles that were built, and is as large as is said", async () => {
  const node = await buildImage("node");
  const built = createHash("sha256").update(await readFile(`${ROOT}dist/proxy.js`)).digest("hex");
  const { stdout } = await runIn(node, ["/app/dist/proxy.js"], ["--entrypoint", "sha256sum"]);
  assert.is(stdout.split(" ")[0], built);
  const size = async (image: string) =>
    Number(await podman("image", "inspect", "-f", "{{.Size}}", image));
  const base = await size(baseImage("base"));
  const above = await size(node) - base;
  assert.ok(above < 170 * MB, `${above} bytes above the base`);
  const more = await size(await buildImage("deno")) - base - above;
  assert.ok(more < 100 * MB, `Deno adds ${more} bytes`);
});

check("no program of it needs a shell", async () => {
  const image = await buildImage("node");
  await using dir = await tempDir("no-shell");
  const empty = dir.join("empty");
  await writeFile(empty, "");
  const lockDir = dir.join("run");
  await mkdir(lockDir);
  await chmod(lockDir, 0o777);
  const masked = ["/usr/bin/dash", "/usr/bin/bash"]
    .flatMap((path) => ["--volume", `${empty}:${path}:ro`]);
  const shell = await runIn(image, ["-c", "true"], ["--entrypoint", "/bin/sh", ...masked]);
  assert.is.not(shell.status, 0, "there still is a shell");

  // The rules of a pod, written for good in a network namespace of their own.
  const ports = ["-p", "4143", "-o", "4140", "--proxy-uid", "2102", "--iptables-mode"];
  const rights = ["--user", "65534:65534", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
  for (const mode of ["nft", "legacy"]) {
    // the volume that the manifests give for the lock file
    const lock = ["--volume", `${lockDir}:/run`];
    const done = await runIn(image, [...ports, mode], [
      ...[...program("linkerd2-proxy-init"), ...rights, ...lock, ...masked],
    ]);
    assert.is(done.status, 0, `${mode}: ${done.stdout}${done.stderr}`);
  }
  const validator = await runIn(
    image,
    ["--timeout", "1s", "--listen-addr", "0.0.0.0:4140", "--connect-addr", "127.0.0.1:20001"],
    [...program("linkerd2-network-validator"), "--user", "65534", ...masked],
  );
  assert.is(validator.status, 95, validator.stdout + validator.stderr);
  // The entry point is the proxy, which says what it misses.
  const proxy = await runIn(image, [], masked);
  assert.is(proxy.status, 64, proxy.stderr);
  assert.match(proxy.stderr, /LINKERD2_PROXY_/);
  const waited = await runIn(image, ["--timeout=1s"], [...program("linkerd-await"), ...masked]);
  assert.match(waited.stderr, /not ready in time/);
  for (const name of ["tulle-control", "tulle-injector", "tulle"]) {
    const { status, stdout } = await runIn(image, ["--help"], [...program(name), ...masked]);
    assert.is(status, 0, name);
    assert.match(stdout, /Usage/, name);
  }
});

check("the proxy on Deno has the rights that it names, and no others", async () => {
  const image = await buildImage("deno");
  const entry: string[] = JSON.parse(
    await podman("image", "inspect", "-f", "{{json .Config.Entrypoint}}", image),
  );
  assert.equal(entry.filter((word) => word.startsWith("--allow")).map((w) => w.split("=")[0]), [
    "--allow-net",
    "--allow-env",
    "--allow-read",
    "--allow-write",
    "--allow-ffi",
  ]);
  for (const word of entry) {
    assert.not.match(word, /^(-A|--allow-all|--allow-(ffi|write|read|run|sys))$/);
  }
  const started = await runIn(image, []);
  assert.is(started.status, 64, started.stderr);
  // what was not granted is refused, in the same words of permission
  const tries = [
    "Deno.readTextFileSync('/etc/passwd')",
    "Deno.writeTextFileSync('/tmp/x', '')",
    "new Deno.Command('/bin/true').outputSync()",
    "Deno.dlopen('/lib/x86_64-linux-gnu/libm.so.6', {})",
    "Deno.env.get('HOME')",
  ];
  await using dir = await tempDir("rights");
  const script = dir.join("tries.js");
  await writeFile(
    script,
    tries.map((t) => `try { ${t}; console.log("may") } catch (e) { console.log(e.name) }`).join(
      "\n",
    ),
  );
  const flags = entry.slice(1, -1);
  const tried = await run([
    ...["podman", "run", "--rm", "--network", "none", "--volume", `${script}:/app/tries.js:ro`],
    ...["--entrypoint", entry[0] ?? "", image, ...flags, "/app/tries.js"],
  ]);
  assert.equal(tried.stdout.trim().split("\n"), tries.map(() => "NotCapable"), tried.stderr);
});

check("its bill of materials names Node, Deno, what is bundled and what Debian gave", async () => {
  const image = await buildImage("deno");
  const format = "${Package}\\t${Version}\\t${Architecture}\\n";
  const { stdout } = await runIn(image, ["-W", "-f", format], ["--entrypoint", "dpkg-query"]);
  await using dir = await tempDir("sbom");
  await writeFile(dir.join("dpkg"), stdout);
  const printed = await run([
    ...[process.execPath, "tools/sbom.ts", "--deno", "--dpkg", dir.join("dpkg")],
  ]);
  assert.is(printed.status, 0, printed.stderr);
  const { bomFormat, components } = JSON.parse(printed.stdout) as {
    bomFormat: string;
    components: { name: string; version: string }[];
  };
  assert.is(bomFormat, "CycloneDX");
  const versions = new Map(components.map(({ name, version }) => [name, version]));
  assert.is(versions.get("node"), "26.10.0");
  const { stdout: deno } = await runIn(image, ["--version"], [
    "--entrypoint",
    "/usr/local/bin/deno",
  ]);
  assert.match(deno, `deno ${versions.get("deno")} `);
  for (const name of ["iptables", "libatomic1", "libc6", "@connectrpc/connect", "undici"]) {
    assert.ok(versions.has(name), name);
  }
});

test.run();
