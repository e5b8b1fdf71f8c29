import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parse } from "yaml";
import { COMMANDS, runTulle } from "../../src/cli/main.ts";
import { golden } from "../support/golden.ts";
import { fakeTerminal } from "./fake-terminal.ts";

const dir = await mkdtemp(join(tmpdir(), "tulle-inject-"));
test.after(() => rm(dir, { recursive: true }));
const file = async (name: string, text: string) => {
  await writeFile(join(dir, name), text);
  return join(dir, name);
};
async function tulle(...argv: string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(argv, COMMANDS, terminal);
  return { status, text: terminal.raw.join(""), report: terminal.stderr.join("\n").trim() };
}

const APP = `# the shop's front
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 2 # enough
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: app
          image: shop/web
          ports:
            - containerPort: 8080
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports: [{port: 80}]
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: clean
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers: [{name: clean, image: shop/clean}]
---
apiVersion: example.org/v1
kind: Strange
metadata: {name: thing}
spec: {template: 7}
`;
const ANCHORS = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

test("inject annotates templates, keeps comments and what it does not know, and reports", async () => {
  const path = await file("app.yaml", APP);
  const { text, report, status } = await tulle("inject", path);
  assert.is(status, 0);
  await golden(new URL("./golden/inject.yaml", import.meta.url), text);
  assert.is(
    report,
    'deployment "web" injected\nservice "web" skipped\ncronjob "clean" injected\n' +
      'strange "thing" skipped',
  );
});

test("inject --manual puts in what the webhook would", async () => {
  const path = await file("app.yaml", APP);
  const anchors = await file("ca.pem", ANCHORS);
  const { text } = await tulle(
    "inject",
    "--manual",
    "--trust-anchors",
    anchors,
    "--set",
    "proxyInit.mode=legacy",
    "--proxy-log-level",
    "debug",
    path,
  );
  await golden(new URL("./golden/inject-manual.yaml", import.meta.url), text);
});

test("injecting twice is injecting once, and uninject gives back the input", async () => {
  const path = await file("app.yaml", APP);
  const anchors = await file("ca.pem", ANCHORS);
  for (const flags of [[], ["--manual", "--trust-anchors", anchors]]) {
    const once = (await tulle("inject", ...flags, path)).text;
    const twice = (await tulle("inject", ...flags, await file("once.yaml", once))).text;
    assert.is(twice, once);
    const back = (await tulle("uninject", await file("once.yaml", once))).text;
    const plain = (await tulle("uninject", path)).text;
    assert.equal(
      back.split("---\n").map((d) => parse(d)),
      plain.split("---\n").map((d) => parse(d)),
    );
    assert.match(back, /# enough/);
  }
});

test("flags become annotations, on namespaces too; a Service has only its opaque ports", async () => {
  const path = await file(
    "list.yaml",
    "kind: List\nitems:\n" +
      "- {kind: Namespace, metadata: {name: shop}}\n" +
      "- {kind: Service, metadata: {name: db}, spec: {}}\n" +
      "- {kind: Pod, metadata: {name: p}, spec: {containers: []}}\n",
  );
  const { text, report } = await tulle(
    "inject",
    "--ingress",
    "--opaque-ports",
    "5432",
    "--skip-outbound-ports=25",
    "-o",
    "json",
    path,
  );
  const { items } = JSON.parse(text);
  const all = {
    "linkerd.io/inject": "ingress",
    "config.linkerd.io/skip-outbound-ports": "25",
    "config.linkerd.io/opaque-ports": "5432",
  };
  assert.equal(items[0].metadata.annotations, all);
  assert.equal(items[1].metadata.annotations, { "config.linkerd.io/opaque-ports": "5432" });
  assert.equal(items[2].metadata.annotations, all);
  assert.is(report, 'namespace "shop" annotated\nservice "db" annotated\npod "p" injected');
});

test("what cannot be injected is skipped with its reason", async () => {
  const pods = (spec: string, more = "") =>
    `kind: Pod\nmetadata: {name: p${more}}\nspec: {containers: []${spec}}\n`;
  const table: [string, RegExp][] = [
    [pods(", hostNetwork: true"), /pod\/p: hostNetwork is enabled\n\npod "p" skipped/],
    [
      pods("", ", annotations: {linkerd.io/inject: disabled}"),
      /inject:disabled"\n\npod "p" skipped/,
    ],
    [
      pods("", ", labels: {linkerd.io/control-plane-component: identity}"),
      /needs --manual\n\npod "p" skipped/,
    ],
    [pods(", initContainers: [{name: istio-init}]"), /already\n\npod "p" skipped/],
  ];
  for (const [text, report] of table) {
    assert.match((await tulle("inject", await file("p.yaml", text))).report, report);
  }
});

const emptyFolder = async () => {
  await mkdir(join(dir, "none"), { recursive: true });
  return join(dir, "none");
};

test("bad input is one line and prints nothing", async () => {
  const table: [string[], RegExp][] = [
    [[join(dir, "gone.yaml")], /gone.yaml does not exist/],
    [[await file("text.yaml", "hello\n")], /text.yaml has a document that is no Kubernetes object/],
    [[await emptyFolder()], /none has no \*\.yaml, \*\.yml or \*\.json/],
    [[await file("bad.yaml", "a: b\nc: [\n")], /bad.yaml:3 is not YAML/],
    [["--inbound-port", "99999", await file("ok.yaml", APP)], /^tulle: --inbound-port "99999" is/],
    [["--proxy-uid=-1", await file("ok.yaml", APP)], /^tulle: --proxy-uid "-1" is/],
    [["--native-sidecar", "maybe", await file("ok.yaml", APP)], /^tulle: --native-sidecar "maybe"/],
    [["--default-inbound-policy", "x", await file("ok.yaml", APP)], /inbound-policy "x" is/],
    [
      ["--skip-subnets", "10.0.0.0/99", await file("ok.yaml", APP)],
      /--skip-subnets: "10\.0\.0\.0\/99" is not/,
    ],
    [["--skip-inbound-ports", "25,80-70", await file("ok.yaml", APP)], /-ports: "80-70" is not as/],
    [["--opaque-ports", "99999", await file("ok.yaml", APP)], /--opaque-ports: "99999" is not/],
    [["--manual", await file("ok.yaml", APP)], /--manual needs --trust-anchors/],
    [
      [await file("odd.yaml", "kind: Pod\nmetadata: {name: x}\nspec: 7\n")],
      /inject pod\/x: spec: is not/,
    ],
    [[], /An argument is missing/],
  ];
  for (const [argv, message] of table) {
    const { status, text, report } = await tulle("inject", ...argv);
    assert.ok(status > 0);
    assert.is(text, "");
    assert.match(report, message);
  }
});

test("a pipe goes through, manifests apart from the report", () => {
  const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
  const deno = "Deno" in globalThis;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...(deno ? ["run", "-A"] : []), main, "inject", "-"],
    { input: APP, encoding: "utf8", timeout: 50_000 },
  );
  assert.is(status, 0, stderr);
  assert.match(stdout, /linkerd\.io\/inject: enabled/);
  assert.not.match(stdout, /injected/);
  assert.match(stderr, /deployment "web" injected/);
});

test.run();
