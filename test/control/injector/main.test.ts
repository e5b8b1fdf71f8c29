import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withCertificates } from "../../../src/cli/install-certificates.ts";
import { parseInjectorFlags } from "../../../src/control/injector/flags.ts";
import { type Injector, startInjector } from "../../../src/control/injector/main.ts";
import { readValues } from "../../../src/control/injector/settings.ts";
import { DEFAULT_INJECTOR_VALUES } from "../../../src/control/injector/values.ts";
import { createLogger } from "../../../src/core/log.ts";
import { DEFAULT_VALUES, type Values } from "../../../src/install/values.ts";
import { type HttpServer, serveHttp } from "../../../src/runtime/http-server.ts";
import { pod } from "./pods.ts";

const SERVER_NAME = "linkerd-proxy-injector.linkerd.svc";
const log = createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} });

const dir = await mkdtemp(join(tmpdir(), "tulle-injector-"));
let values: Values;
let api: HttpServer;
let injector: Injector;
const asked: string[] = [];

const put = async (path: string, text: string) => {
  await writeFile(join(dir, path + ".new"), text);
  await rename(join(dir, path + ".new"), join(dir, path));
};
const putTls = async (of: { crtPEM: string; keyPEM: string }) => {
  await put("tls/tls.crt", of.crtPEM);
  await put("tls/tls.key", of.keyPEM);
};

test.before(async () => {
  for (const folder of ["tls", "account"]) await mkdir(join(dir, folder), { recursive: true });
  values = await withCertificates(DEFAULT_VALUES, Date.now());
  await putTls(values.proxyInjector);
  await put("values", JSON.stringify(DEFAULT_VALUES));
  await put("anchors", values.identityTrustAnchorsPEM);
  await put("account/token", "secret-token\n");
  api = await serveHttp({ ip: "127.0.0.1", port: 0 }, async (request) => {
    const { pathname } = new URL(request.url);
    asked.push(`${request.method} ${pathname} ${request.headers.get("authorization")}`);
    await request.text();
    if (pathname === "/api/v1/namespaces/shop") {
      return Response.json({ metadata: { annotations: { "linkerd.io/inject": "enabled" } } });
    }
    if (pathname.endsWith("/replicasets/web-1")) {
      return Response.json({
        metadata: { ownerReferences: [{ kind: "Deployment", name: "web", controller: true }] },
      });
    }
    return Response.json({}, { status: request.method === "POST" ? 201 : 404 });
  });
  injector = await startInjector(
    parseInjectorFlags([
      "--listen=127.0.0.1:0",
      "--admin-listen=127.0.0.1:0",
      `--values=${join(dir, "values")}`,
      `--anchors=${join(dir, "anchors")}`,
      `--tls=${join(dir, "tls")}`,
      `--service-account=${join(dir, "account")}`,
    ])!,
    `http://127.0.0.1:${api.addr.port}`,
    log,
  );
});
test.after(async () => {
  await injector.close();
  await api.close(0);
  await rm(dir, { recursive: true });
});

/** Asks as the API server does. Resolves with the answer, and the serial of the certificate. */
function review(object: unknown, ca: string): Promise<{ body: string; serial: string }> {
  return new Promise((resolve, reject) => {
    const request = https.request({
      host: "127.0.0.1",
      port: Number(injector.ready.webhook.split(":")[1]),
      method: "POST",
      path: "/",
      ca,
      servername: SERVER_NAME,
      agent: false,
      headers: { "content-type": "application/json" },
      timeout: 20_000,
    }, (response) => {
      const serial = (response.socket as TLSSocket).getPeerCertificate().serialNumber;
      let body = "";
      response.setEncoding("utf8").on("data", (part) => body += part)
        .on("end", () => resolve({ body, serial })).on("error", reject);
    });
    request.on("error", reject);
    request.end(JSON.stringify({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: { uid: "u", kind: { kind: "Pod" }, namespace: "shop", object },
    }));
  });
}
const web = () => {
  const object = pod(null);
  Object.assign(object.metadata as object, {
    ownerReferences: [{ kind: "ReplicaSet", name: "web-1", controller: true }],
  });
  return object;
};
const patchOf = (body: string) => atob(JSON.parse(body).response.patch);

test("a pod is injected over TLS, with what the API server knows of it", async () => {
  const { body } = await review(web(), values.proxyInjector.crtPEM);
  const patch = patchOf(body);
  assert.match(patch, /linkerd.io~1proxy-deployment","value":"web"/);
  assert.match(patch, /BEGIN CERTIFICATE/);
  assert.ok(asked.every((line) => line.endsWith("Bearer secret-token")), asked.join("\n"));
  for (let i = 0; i < 200 && !asked.some((line) => line.startsWith("POST")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.ok(asked.some((line) => line.startsWith("POST /api/v1/namespaces/shop/events")));
});

test("a changed certificate and changed values are used, a bad one is not", async () => {
  const before = values.proxyInjector;
  const after = (await withCertificates(DEFAULT_VALUES, Date.now())).proxyInjector;
  await put("tls/tls.key", "no key");
  await put("values", JSON.stringify({ ...DEFAULT_VALUES, controlPlaneNamespace: "mesh" }));
  const until = async (ca: string, done: (body: string) => boolean) => {
    for (let i = 0; i < 400; i++) {
      const answer = await review(web(), ca).catch(() => null);
      if (answer !== null && done(patchOf(answer.body))) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.unreachable("nothing changed within 20 s");
  };
  // still the old certificate, and the new values already
  await until(before.crtPEM, (patch) => patch.includes('control-plane-ns","value":"mesh"'));
  await putTls(after);
  await until(after.crtPEM, () => true);
  await put("values", "{");
  assert.match(patchOf((await review(web(), after.crtPEM)).body), /"value":"mesh"/);
});

test("its admin server says that it is ready, and what it counted", async () => {
  const get = async (path: string) => {
    const response = await fetch(`http://${injector.ready.admin}${path}`);
    return `${response.status} ${await response.text()}`;
  };
  assert.is(await get("/live"), "200 live\n");
  assert.is(await get("/ready"), "200 ready\n");
  assert.match(await get("/metrics"), /responses_total{outcome="injected"} [1-9]/);
  assert.match(await get("/x"), /^404 /);
});

test("bad flags and values are one line", () => {
  assert.is(parseInjectorFlags(["--help"]), null);
  const table: [string[], RegExp][] = [
    [["--listn", "x"], /Unknown flag "--listn"/],
    [["--listen"], /--listen needs a value/],
    [["--listen=x"], /^--listen: /],
    [["--log-level=loud"], /--log-level is not one of/],
    [["--api-server=ftp://x"], /--api-server is not/],
  ];
  for (const [argv, message] of table) assert.throws(() => parseInjectorFlags(argv), message);
  assert.equal(readValues("{}"), DEFAULT_INJECTOR_VALUES);
  assert.throws(() => readValues("{"), /not JSON/);
  assert.throws(() => readValues('{"proxy":7}'), /values.proxy is not an object/);
  assert.throws(() => readValues('{"proxy":{"uid":"x"}}'), /values.proxy.uid is not a number/);
  assert.throws(() => readValues('{"proxyInit":{"mode":"ebpf"}}'), /mode is not one of/);
});

test.run();
