import { test } from "uvu";
import * as assert from "uvu/assert";
import { runPlugin } from "../../src/cni/plugin.ts";
import { FakeHost, meshedPod, NETCONF, POD_PATH, RESULT } from "./fake-host.ts";

const nat = (host: FakeHost, kind = "iptables-nft") => (host.tables.get(kind) ?? []).join("\n");

async function added(annotations = {}, config: unknown = NETCONF) {
  const host = new FakeHost("ADD", config);
  host.objects[POD_PATH] = meshedPod(annotations);
  return { host, answer: await runPlugin(host) };
}

async function failure(host: FakeHost) {
  const { stdout, exit } = await runPlugin(host);
  assert.is(exit, 1, stdout);
  assert.is(stdout.split("\n").length, 2, stdout);
  return JSON.parse(stdout) as { cniVersion: string; code: number; msg: string; details?: string };
}

test("VERSION names the versions and repeats the one that was asked with", async () => {
  const supportedVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
  for (const cniVersion of ["0.3.1", "1.0.0", "1.1.0", "9.0.0"]) {
    const { stdout, exit } = await runPlugin(new FakeHost("VERSION", { cniVersion }));
    assert.is(exit, 0);
    assert.equal(JSON.parse(stdout), { cniVersion, supportedVersions });
  }
});

test("ADD redirects a meshed pod's traffic and answers what came before", async () => {
  const { host, answer } = await added();
  assert.is(answer.exit, 0, answer.stdout);
  assert.equal(JSON.parse(answer.stdout), RESULT);
  assert.match(nat(host), /-A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-ports 4143/);
  assert.match(nat(host), /-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140/);
  assert.match(nat(host), /-m owner --uid-owner 2102 -j RETURN/);
  assert.match(nat(host), /--dports 4191,4190 -j RETURN/);
  assert.ok(host.commands.every(([a, b]) => a === "nsenter" && b === "--net=/run/netns/a"));
});

test("a second ADD leaves the same rules, once", async () => {
  const { host } = await added();
  const before = nat(host).split("\n").sort();
  assert.is((await runPlugin(host)).exit, 0);
  assert.equal(nat(host).split("\n").sort(), before);
});

test("the result is given in every version that is spoken", async () => {
  for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
    const { answer } = await added({}, {
      ...NETCONF,
      cniVersion,
      prevResult: { ...RESULT, cniVersion },
    });
    assert.equal(JSON.parse(answer.stdout), { ...RESULT, cniVersion });
  }
  const { answer } = await added({}, { ...NETCONF, prevResult: undefined });
  assert.equal(JSON.parse(answer.stdout), { cniVersion: "1.0.0" });
});

test("IPv6 and legacy are written as the configuration says", async () => {
  const { host } = await added({}, {
    ...NETCONF,
    linkerd: { ...NETCONF.linkerd, ipv6: true, "iptables-mode": "legacy" },
  });
  assert.match(nat(host, "iptables-legacy"), "--to-ports 4143");
  assert.match(nat(host, "ip6tables-legacy"), "--to-ports 4143");
  assert.is(nat(host), "");
});

test("a mode that the host has not is replaced, and the log says so", async () => {
  const host = new FakeHost("ADD");
  host.objects[POD_PATH] = meshedPod();
  host.programs = new Set(["iptables-legacy-save", "iptables-legacy-restore"]);
  assert.is((await runPlugin(host)).exit, 0);
  assert.match(nat(host, "iptables-legacy"), "--to-ports 4143");
  assert.match(host.lines.join("\n"), "iptables mode nft cannot work here");
});

test("pods without our proxy, and those with an init container, are left alone", async () => {
  for (
    const spec of [
      { containers: [{ name: "app" }] },
      { containers: [{ name: "linkerd-proxy" }], initContainers: [{ name: "linkerd-init" }] },
    ]
  ) {
    const host = new FakeHost("ADD");
    host.objects[POD_PATH] = { metadata: {}, spec };
    const { stdout, exit } = await runPlugin(host);
    assert.is(exit, 0);
    assert.equal(JSON.parse(stdout), RESULT);
    assert.is(host.commands.length, 0);
  }
  const nobody = new FakeHost("ADD");
  nobody.env.set("CNI_ARGS", "IgnoreUnknown=1");
  assert.is((await runPlugin(nobody)).exit, 0);
  assert.equal(nobody.asked, []);
});

test("annotations of the pod win over its namespace's, and both over the configuration", async () => {
  const host = new FakeHost("ADD", {
    ...NETCONF,
    linkerd: { ...NETCONF.linkerd, "outbound-ports-to-ignore": ["25"] },
  });
  host.objects[POD_PATH] = meshedPod({
    "config.linkerd.io/skip-inbound-ports": "22,9000-9010,oops",
    "config.linkerd.io/proxy-uid": "5000",
    "config.linkerd.io/skip-subnets": "10.0.0.0/8,fd00::/8",
    "config.linkerd.io/skip-outbound-ports": "",
    "config.linkerd.io/inbound-port": "5143",
    "config.linkerd.io/admin-port": "5191",
  });
  host.objects["/api/v1/namespaces/shop"] = {
    metadata: {
      annotations: {
        "config.linkerd.io/skip-outbound-ports": "3306",
        "config.linkerd.io/proxy-uid": "1",
      },
    },
  };
  assert.is((await runPlugin(host)).exit, 0);
  assert.match(nat(host), "--dports 4191,4190,5191,22,9000:9010");
  assert.match(nat(host), "--dports 3306 ");
  assert.not.match(nat(host), "--dports 25");
  assert.match(nat(host), "--uid-owner 5000");
  assert.match(nat(host), "-s 10.0.0.0/8");
  assert.not.match(nat(host), "fd00");
  assert.match(nat(host), "--to-ports 5143");
  assert.match(host.lines.join("\n"), "oops");
});

test("the control plane reaches the API server without its proxy", async () => {
  const component = { "linkerd.io/control-plane-component": "destination" };
  const service = { spec: { ports: [{ port: 443, targetPort: 16443 }] } };
  for (
    const [object, ports] of [
      [service, "443,16443"],
      [new Error("down"), "443,6443"],
    ] as const
  ) {
    const host = new FakeHost("ADD");
    host.objects[POD_PATH] = meshedPod({}, component);
    host.objects["/api/v1/namespaces/default/services/kubernetes"] = object;
    assert.is((await runPlugin(host)).exit, 0);
    assert.match(nat(host), `--dports ${ports} -j RETURN`);
  }
});

test("an ADD that cannot know the pod fails and asks to be tried again", async () => {
  const unknown = await failure(new FakeHost("ADD"));
  assert.is(unknown.code, 11);
  assert.match(unknown.msg, "does not know the pod shop/web-1");
  const host = new FakeHost("ADD");
  host.objects[POD_PATH] = new Error("GET https://10.0.0.1/… failed: refused");
  assert.match((await failure(host)).msg, "The API server cannot be asked: GET https");
  const space = new FakeHost("ADD");
  space.objects[POD_PATH] = meshedPod();
  space.objects["/api/v1/namespaces/shop"] = new Error("refused");
  assert.is((await failure(space)).code, 11);
  const lost = new FakeHost("ADD", { ...NETCONF, kubernetes: { kubeconfig: "/none" } });
  const { code, msg, details } = await failure(lost);
  assert.is(code, 11);
  assert.match(msg, "Cannot read /none");
  assert.is(details, "With /none");
});

test("a host without iptables or nsenter is told by name", async () => {
  const host = new FakeHost("ADD");
  host.objects[POD_PATH] = meshedPod();
  host.programs = new Set();
  const { code, msg } = await failure(host);
  assert.is(code, 100);
  assert.match(msg, "No iptables mode works here");
  assert.match(msg, "iptables-nft-save is not installed on this host");
  host.run = () => Promise.resolve({ code: null, stdout: "", stderr: "", missing: true });
  assert.is((await failure(host)).msg, "nsenter is not on this host's PATH");
});

test("a wrong annotation fails the ADD by its name", async () => {
  for (
    const [name, value, said] of [
      ["proxy-uid", "root", "not a number"],
      ["skip-subnets", "10.0.0.0/99", "is not a valid CIDR address"],
      ["inbound-port", "70000", "not a number up to 65535"],
    ] as const
  ) {
    const { answer } = await added({ [`config.linkerd.io/${name}`]: value });
    const { code, msg } = JSON.parse(answer.stdout);
    assert.is(code, 102);
    assert.match(msg, said);
    assert.match(msg, name);
  }
});

test("CHECK is content behind an ADD, and says what is not as it should be", async () => {
  const { host } = await added({ "config.linkerd.io/skip-inbound-ports": "22,80" });
  host.env.set("CNI_COMMAND", "CHECK");
  assert.equal(await runPlugin(host), { stdout: "", exit: 0 });
  const rules = [...host.tables.get("iptables-nft")!];
  const broken = async (change: (lines: string[]) => string[]) => {
    host.tables.set("iptables-nft", change([...rules]));
    return await failure(host);
  };
  for (
    const [said, change] of [
      ["there are no rules for ipv4", () => []],
      ["nothing leads from OUTPUT", (l) => l.filter((r) => !r.startsWith("-A OUTPUT"))],
      ["rules and not", (l) => l.filter((r) => !r.includes("uid-owner"))],
      ["is not proxy-init/redirect-all-incoming", (l) => l.map((r) => r.replace("4143", "1"))],
      ["is not proxy-init/ignore-proxy-user-id", (l) => l.map((r) => r.replace("2102", "21"))],
    ] as [string, (lines: string[]) => string[]][]
  ) {
    const { code, msg } = await broken(change);
    assert.is(code, 101, said);
    assert.match(msg, said);
  }
});

test("DEL and GC succeed, whatever is wrong", async () => {
  for (const command of ["DEL", "GC"]) {
    const host = new FakeHost(command, "{{{");
    host.env.delete("CNI_NETNS");
    assert.equal(await runPlugin(host), { stdout: "", exit: 0 });
    assert.is(host.commands.length, 0);
  }
});

test("STATUS says whether an ADD could know its pod", async () => {
  assert.equal(await runPlugin(new FakeHost("STATUS")), { stdout: "", exit: 0 });
  const without = new FakeHost("STATUS", { ...NETCONF, kubernetes: { kubeconfig: "/none" } });
  assert.is((await failure(without)).code, 50);
});

test("hostile input gives one line that repeats none of it", async () => {
  const table: [number, string, (host: FakeHost) => void][] = [
    [4, "CNI_COMMAND is not set", (h) => h.env.delete("CNI_COMMAND")],
    [4, "is not a command", (h) => h.env.set("CNI_COMMAND", "add\n{}")],
    [4, "CNI_CONTAINERID", (h) => h.env.set("CNI_CONTAINERID", "../../x")],
    [4, "CNI_NETNS", (h) => h.env.delete("CNI_NETNS")],
    [4, "CNI_NETNS", (h) => h.env.set("CNI_NETNS", "run/netns/a")],
    [4, "CNI_NETNS", (h) => h.env.set("CNI_NETNS", "/a\u0000b")],
    [4, "CNI_IFNAME", (h) => h.env.set("CNI_IFNAME", "a/b")],
    [4, "CNI_IFNAME", (h) => h.env.set("CNI_IFNAME", "")],
    [
      4,
      "is not the name of a pod",
      (h) => h.env.set("CNI_ARGS", "K8S_POD_NAMESPACE=../x;K8S_POD_NAME=y"),
    ],
    [4, "too many", (h) => h.env.set("CNI_ARGS", "x".repeat(300_000))],
    [5, "it has over", (h) => h.stdin = () => Promise.reject(new Error("it has over 1 bytes"))],
    [6, "There is no network configuration", (h) => h.input = ""],
    [6, "is not JSON", (h) => h.input = '{"token":"secret'],
    [6, "is no object", (h) => h.input = "[1]"],
    [1, "cniVersion is missing", (h) => h.input = "{}"],
    [1, "is not supported", (h) => h.input = '{"cniVersion":"0.2.0"}'],
    [7, "cniVersion", (h) => h.input = '{"cniVersion":7}'],
  ];
  for (const [code, said, spoil] of table) {
    const host = new FakeHost("ADD");
    host.objects[POD_PATH] = meshedPod();
    spoil(host);
    const error = await failure(host);
    assert.is(error.code, code, error.msg);
    assert.match(error.msg, said);
    assert.not.match(error.msg, "secret");
    assert.is(host.commands.length, 0);
  }
});

test("a wrong field of the configuration is named", async () => {
  const table: [string, Record<string, unknown>, string][] = [
    ["linkerd.incoming-proxy-port", { "incoming-proxy-port": 70_000 }, "is not a port"],
    ["linkerd.proxy-uid", { "proxy-uid": "root" }, "is not a whole number"],
    ["linkerd.ports-to-redirect[0]", { "ports-to-redirect": ["80"] }, "is not a port"],
    ["linkerd.inbound-ports-to-ignore[1]", { "inbound-ports-to-ignore": ["1", "b"] }, "not PORT"],
    ["linkerd.subnets-to-ignore[0]", { "subnets-to-ignore": ["x"] }, "not a valid CIDR"],
    ["linkerd.iptables-mode", { "iptables-mode": "ebpf" }, "is not one of"],
    ["linkerd.ipv6", { ipv6: "yes" }, "not true or false"],
  ];
  for (const [field, change, said] of table) {
    const config = { ...NETCONF, linkerd: { ...NETCONF.linkerd, ...change } };
    const { code, msg } = await failure(new FakeHost("ADD", config));
    assert.is(code, 7);
    assert.ok(msg.startsWith(`${field}: `), msg);
    assert.match(msg, said);
  }
  assert.match(
    (await failure(new FakeHost("ADD", { ...NETCONF, prevResult: [] }))).msg,
    "prevResult",
  );
});

test("simulate says what would be written, and writes nothing", async () => {
  const { host, answer } = await added({}, {
    ...NETCONF,
    linkerd: { ...NETCONF.linkerd, simulate: true },
  });
  assert.is(answer.exit, 0);
  assert.is(host.commands.length, 0);
  assert.match(host.lines.join("\n"), "--to-port 4143");
});

test("an object that is no pod fails the ADD", async () => {
  for (
    const object of [7, { spec: { containers: "x" } }, { metadata: { labels: [1] }, spec: {} }]
  ) {
    const host = new FakeHost("ADD");
    host.objects[POD_PATH] = object;
    const { code, msg } = await failure(host);
    assert.is(code, 102, msg);
    assert.match(msg, "The pod shop/web-1: ");
  }
});

test.run();
