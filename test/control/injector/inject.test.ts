import { test } from "uvu";
import * as assert from "uvu/assert";
import { Field, FieldError } from "../../../src/control/field.ts";
import { annotateService, injectPod, skipText } from "../../../src/control/injector/inject.ts";
import { applyPatch } from "../../../src/control/injector/json-patch.ts";
import { DEFAULT_INJECTOR_VALUES } from "../../../src/control/injector/values.ts";
import { PROXY_ENV } from "../../../src/proxy/config/names.ts";
import { golden } from "../../support/golden.ts";
import { seeded } from "../../support/random.ts";
import { inject, inputOf, pod, POD_CASES } from "./pods.ts";

interface Injected {
  metadata: { annotations: Record<string, string>; labels: Record<string, string> };
  spec: {
    containers: Container[];
    initContainers: Container[];
    volumes: { name: string }[];
  };
}
interface Container {
  name: string;
  args: string[];
  restartPolicy?: string;
  env: { name: string; value?: string }[];
  securityContext: {
    allowPrivilegeEscalation: boolean;
    runAsNonRoot: boolean;
    privileged?: boolean;
    seccompProfile: { type: string };
    capabilities: { add?: string[]; drop: string[] };
  };
}
const applied = (row: Parameters<typeof inject>[0]) =>
  applyPatch(row.pod, inject(row).patch) as Injected;
const envOf = (of: Injected) =>
  Object.fromEntries(
    [...of.spec.initContainers, ...of.spec.containers].find((c) => c.name === "linkerd-proxy")!.env
      .map(({ name, value }) => [name, value]),
  );
const ENABLED = { "linkerd.io/inject": "enabled" };

for (const row of POD_CASES) {
  test(`the patch of the pod «${row.name}» is as reviewed`, async () => {
    const { patch, skipped, notes } = inject(row);
    await golden(
      new URL(`./golden/${row.name}.json`, import.meta.url),
      JSON.stringify({ skipped: skipText(skipped), notes, patch }, null, 2) + "\n",
    );
  });
  test(`injecting the pod «${row.name}» a second time changes nothing`, () => {
    const once = applyPatch(row.pod, inject(row).patch) as Record<string, unknown>;
    assert.equal(inject({ ...row, pod: once }).patch, []);
  });
}

test("whatever annotations say, a second injection changes nothing and no proxy gets what stops it", () => {
  const random = seeded(5);
  const { pick } = random;
  const keys = POD_CASES.flatMap((row) =>
    Object.keys((row.pod.metadata as { annotations?: object }).annotations ?? {})
  );
  const words = ["true", "1", "-1", "enabled", "", "x y", "8080", "1-9", "1.5", "10s", "{}", "[1]"];
  const some = () => {
    const out: Record<string, string> = {};
    for (let i = Math.floor(random() * 8); i > 0; i--) out[pick(keys)] = pick(words);
    return out;
  };
  for (let i = 0; i < 500; i++) {
    const row = {
      name: "",
      pod: pod(
        { ...some(), ...(random() < 0.8 ? ENABLED : {}) },
        random() < 0.2 ? { hostNetwork: true } : {},
      ),
      namespace: some(),
    };
    const once = applyPatch(row.pod, inject(row).patch) as Record<string, unknown>;
    assert.equal(inject({ ...row, pod: once }).patch, []);
  }
});

test("a proxy knows every variable that it is given", () => {
  for (const row of POD_CASES.filter((r) => inject(r).injected)) {
    for (const name of Object.keys(envOf(applied(row)))) {
      if (!/^(LINKERD2|TULLE)_/.test(name)) continue;
      assert.ok((PROXY_ENV as readonly string[]).includes(name), name);
    }
  }
});

test("containers fit the restricted pod security standard, but for what the init container needs", () => {
  for (const row of POD_CASES.filter((r) => inject(r).injected)) {
    if (row.name === "inherits" || row.name === "root-init-privileged") continue;
    const { spec } = applied(row);
    for (const c of [...spec.initContainers, ...spec.containers]) {
      if (!/^linkerd-(proxy|init|network)/.test(c.name)) continue;
      const context = c.securityContext;
      assert.is(context.allowPrivilegeEscalation, false, c.name);
      assert.is(context.runAsNonRoot, true);
      assert.is(context.privileged ?? false, false);
      assert.is(context.seccompProfile.type, "RuntimeDefault");
      assert.equal(context.capabilities.drop, ["ALL"]);
      const added = context.capabilities.add ?? [];
      assert.equal(added, c.name === "linkerd-init" ? ["NET_ADMIN", "NET_RAW"] : []);
    }
  }
});

test("a native sidecar stands second, so that later init containers are meshed", () => {
  const row = {
    name: "",
    pod: pod(ENABLED, { initContainers: [{ name: "migrate", image: "m" }] }),
  };
  const { spec } = applied(row);
  assert.equal(spec.initContainers.map((c) => c.name), [
    "linkerd-init",
    "linkerd-proxy",
    "migrate",
  ]);
  assert.is(spec.initContainers[1]?.restartPolicy, "Always");
});

test("without native sidecars the proxy starts before the application", () => {
  const { spec } = applied(POD_CASES.find((r) => r.name === "ordinary-containers")!);
  assert.equal(spec.initContainers.map((c) => c.name), ["migrate", "linkerd-init"]);
  assert.equal(spec.containers.map((c) => c.name), ["linkerd-proxy", "app"]);
});

test("nobody is injected who did not ask, and nobody is refused", () => {
  const on = "enabled";
  const table: [ns: string | null, pod: string | null, injected: boolean, why: string][] = [
    [on, on, true, ""],
    [on, null, true, ""],
    ["ingress", null, true, ""],
    [on, "disabled", false, 'pod has the annotation "linkerd.io/inject:disabled"'],
    ["disabled", on, true, ""],
    [null, "ingress", true, ""],
    [null, "disabled", false, 'pod has the annotation "linkerd.io/inject:disabled"'],
    [
      null,
      null,
      false,
      'neither the namespace nor the pod have the annotation "linkerd.io/inject:enabled"',
    ],
    ["yes", on, false, 'invalid value for annotation "linkerd.io/inject" at namespace'],
    [on, "yes", false, 'invalid value for annotation "linkerd.io/inject" at workload'],
  ];
  const at = (value: string | null) => value === null ? {} : { "linkerd.io/inject": value };
  for (const [ns, own, injected, why] of table) {
    const result = inject({ name: "", pod: pod(at(own)), namespace: at(ns) });
    assert.is(result.injected, injected, `${ns} ${own}`);
    assert.is(skipText(result.skipped), why);
  }
});

test("a malformed annotation is ignored and named", () => {
  const { notes, injected } = inject({
    name: "",
    pod: pod({
      ...ENABLED,
      "config.linkerd.io/proxy-uid": "root",
      "config.linkerd.io/inbound-port": "70000",
      "config.linkerd.io/proxy-additional-env": "{",
      "config.linkerd.io/close-wait-timeout": "1h",
      "config.linkerd.io/proxy-memory-limit": "much",
    }),
  });
  assert.ok(injected);
  assert.is(notes.length, 5);
  assert.match(notes.join("\n"), /proxy-uid "root" is not a whole number/);
  assert.match(notes.join("\n"), /close-wait-timeout "1h" needs proxyInit.runAsRoot/);
});

test("a Service gets the default opaque ports that its pods listen on", () => {
  const service = (ports: object[], annotations?: object) =>
    new Field({ metadata: { name: "db", annotations }, spec: { ports } }, []);
  const of = (field: Field, ns = {}) =>
    annotateService(field, ns, DEFAULT_INJECTOR_VALUES).map(({ path, value }) => [path, value]);
  const KEY = "/metadata/annotations/config.linkerd.io~1opaque-ports";
  assert.equal(
    of(service([{ port: 80, targetPort: 5432 }, { port: 25 }, { port: 587, targetPort: "x" }])),
    [
      ["/metadata/annotations", {}],
      [KEY, "5432,25"],
    ],
  );
  assert.equal(of(service([{ port: 80 }])), []);
  assert.equal(of(service([{ port: 25 }], { "config.linkerd.io/opaque-ports": "" })), []);
  assert.equal(of(service([{ port: 80 }]), { "config.linkerd.io/opaque-ports": "80" })[1], [
    KEY,
    "80",
  ]);
});

test("what is no pod is named by its field", () => {
  const bad: [unknown, RegExp][] = [
    [{}, /^spec: is missing/],
    [{ spec: { containers: 1 } }, /^spec.containers: is not a list/],
    [{ spec: { containers: [{ name: "a", ports: [{ containerPort: "80" }] }] } }, /containerPort/],
    [[], /is not an object/],
  ];
  for (const [value, message] of bad) {
    assert.throws(
      () => injectPod({ ...inputOf(POD_CASES[0]!), template: new Field(value, []) }),
      (e: unknown) => e instanceof FieldError && message.test(e.message),
    );
  }
});

test.run();
