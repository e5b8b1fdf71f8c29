import { test } from "uvu";
import * as assert from "uvu/assert";
import { isNetworkFile, withoutPlugin, withPlugin } from "../../src/cni/conflist.ts";
import { kubeconfigText, pluginObject } from "../../src/cni/kubeconfig.ts";
import { readKubeconfig } from "../../src/control/k8s/kubeconfig.ts";

const OURS = { type: "linkerd-cni", log_level: "info" };
const BRIDGE = { type: "bridge", bridge: "cni0", ipam: { type: "host-local" } };
const LIST = { cniVersion: "1.0.0", name: "pods", plugins: [BRIDGE, { type: "portmap" }] };

const put = (value: unknown, name = "10-pods.conflist") =>
  withPlugin(name, typeof value === "string" ? value : JSON.stringify(value), OURS);

function written(value: unknown, name?: string) {
  const rewrite = put(value, name);
  if (rewrite.kind !== "write") throw new Error(JSON.stringify(rewrite));
  return { ...rewrite, value: JSON.parse(rewrite.text) };
}

test("files that a runtime reads are told from all others", () => {
  for (const name of ["10-a.conf", "a.conflist"]) assert.ok(isNetworkFile(name), name);
  for (const name of ["a.json", ".a.conf", "conf", "a.conf.bak", "ZZZ-linkerd-cni-kubeconfig"]) {
    assert.not(isNetworkFile(name), name);
  }
});

test("the plugin goes to the end of a list, and nothing else changes", () => {
  const { value, name, instead, text } = written({ ...LIST, disableCheck: true });
  assert.equal(value, { ...LIST, disableCheck: true, plugins: [...LIST.plugins, OURS] });
  assert.is(name, "10-pods.conflist");
  assert.is(instead, null);
  assert.equal(put(text), { kind: "same" });
});

test("an entry of an older installation is replaced where it stands", () => {
  const old = { type: "linkerd-cni", log_level: "debug" };
  assert.equal(
    written({ ...LIST, plugins: [BRIDGE, old, { type: "portmap" }] }).value.plugins,
    [BRIDGE, OURS, { type: "portmap" }],
  );
  assert.equal(written({ ...LIST, plugins: [BRIDGE, old, old] }).value.plugins, [BRIDGE, OURS]);
  assert.equal(written({ ...LIST, plugins: [OURS, BRIDGE] }).value.plugins, [BRIDGE, OURS]);
  assert.equal(put({ ...LIST, plugins: [BRIDGE, OURS, { type: "x" }] }), { kind: "same" });
});

test("a file of one plugin becomes a list with the same name and version", () => {
  const { value, name, instead } = written(
    { cniVersion: "0.4.0", name: "pods", ...BRIDGE },
    "10-pods.conf",
  );
  assert.equal(value, { cniVersion: "0.4.0", name: "pods", plugins: [BRIDGE, OURS] });
  assert.is(name, "10-pods.conflist");
  assert.is(instead, "10-pods.conf");
  assert.is(written({ name: "old", cniVersion: "0.2.0", ...BRIDGE }).value.cniVersion, "0.3.1");
  assert.is(written(BRIDGE).value.name, "k8s-pod-network");
});

test("what is not understood is left, with a reason", () => {
  for (
    const [value, why] of [
      ["{", "it is not JSON"],
      ["[]", "it is no object"],
      ["{}", "it names no plugin"],
      [{ ...LIST, plugins: [] }, "its list has no other plugin"],
      [{ ...LIST, cniVersion: "0.2.0" }, "knows no chained plugins"],
    ] as const
  ) {
    const rewrite = put(value);
    assert.is(rewrite.kind, "leave");
    assert.match(String((rewrite as { why: string }).why), why);
  }
  assert.equal(put({ type: "loopback", name: "lo" }), { kind: "leave", why: null });
});

test("taking it out leaves what was there before", () => {
  const { text } = written(LIST);
  const out = withoutPlugin("a.conflist", text);
  assert.is(out.kind, "write");
  assert.equal(JSON.parse((out as { text: string }).text), LIST);
  for (const other of [JSON.stringify(LIST), "{", "[]", JSON.stringify(BRIDGE)]) {
    assert.equal(withoutPlugin("a.conflist", other), { kind: "same" });
  }
});

test("the kubeconfig is one that our clients read", () => {
  const text = kubeconfigText({ host: "fd00::1", port: "443", token: "a.b.c", ca: "PEM" });
  const read = readKubeconfig({
    text,
    path: "k",
    context: "linkerd-cni-context",
    resolve: (p) => p,
  });
  assert.is(read.server, "https://[fd00::1]");
  assert.is(read.ca.data, "PEM");
  assert.is(read.user.token, "a.b.c");
});

test("a template's placeholders are filled in, but for the token", () => {
  const template = JSON.stringify({
    name: "linkerd-cni",
    type: "linkerd-cni",
    cniVersion: "0.3.1",
    policy: { k8s_auth_token: "__SERVICEACCOUNT_TOKEN__" },
    kubernetes: { kubeconfig: "__KUBECONFIG_FILEPATH__" },
  });
  assert.equal(pluginObject(template, '/etc/"x', { host: "10.0.0.1", port: "443" }), {
    type: "linkerd-cni",
    policy: { k8s_auth_token: "" },
    kubernetes: { kubeconfig: '/etc/"x' },
  });
  for (const [bad, why] of [["{", "is not JSON"], ["[]", "no object"], ["{}", "type is not"]]) {
    assert.throws(() => pluginObject(bad!, "/x", { host: "h", port: "1" }), new RegExp(why!));
  }
});

test.run();
