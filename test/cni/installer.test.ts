import { test } from "uvu";
import * as assert from "uvu/assert";
import { installPlan } from "../../src/cli/cni-install.ts";
import { type HostFiles, Installer, type InstallPlan } from "../../src/cni/installer.ts";
import { createLogger } from "../../src/core/log.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const NET = "/host/etc/cni/net.d";
const LIST = JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins: [{ type: "bridge" }] });
const OURS = { type: "linkerd-cni" };

/** A host's files in memory. */
class MemoryFiles implements HostFiles {
  readonly files = new Map<string, string>();
  readonly modes = new Map<string, number>();
  readonly writes: string[] = [];
  /** What a call on a path fails with. */
  readonly broken = new Map<string, string>();
  changed: () => void = () => {};
  watches = 0;

  list = (folder: string) => {
    this.#may(folder);
    return Promise.resolve(
      [...this.files.keys()].filter((p) => p.startsWith(`${folder}/`))
        .map((p) => p.slice(folder.length + 1)).sort(),
    );
  };
  read = (path: string) => Promise.resolve(this.files.get(path) ?? null);
  write = async (path: string, text: string, mode: number, exactly: boolean) => {
    this.#may(path);
    this.files.set(path, text);
    if (exactly || !this.modes.has(path)) this.modes.set(path, mode);
    this.writes.push(path);
    await Promise.resolve();
    this.changed();
  };
  install = (from: string, to: string) => {
    this.#may(to);
    const same = this.files.get(to) === this.files.get(from);
    this.files.set(to, this.files.get(from) ?? "");
    return Promise.resolve(!same);
  };
  remove = (path: string) => {
    this.#may(path);
    this.files.delete(path);
    return Promise.resolve();
  };
  watch = (_folder: string, changed: () => void) => {
    this.watches++;
    this.changed = changed;
    return () => {
      this.watches--;
      this.changed = () => {};
    };
  };
  #may(path: string): void {
    const why = this.broken.get(path);
    if (why !== undefined) throw new Error(why);
  }
}

const PLAN: InstallPlan = {
  source: "/opt/cni/bin/linkerd-cni",
  executable: "/host/opt/cni/bin/linkerd-cni",
  netDir: NET,
  kubeconfigName: "ZZZ-linkerd-cni-kubeconfig",
  plugin: OURS,
  apiHost: "10.96.0.1",
  apiPort: "443",
  tokenFile: "/sa/token",
  caFile: "/sa/ca.crt",
};
const KUBECONFIG = `${NET}/${PLAN.kubeconfigName}`;

function installation(networks: Record<string, string> = { "10-pods.conflist": LIST }) {
  const files = new MemoryFiles();
  files.files.set(PLAN.source, "ELF");
  files.files.set("/sa/token", "one\n");
  files.files.set("/sa/ca.crt", "PEM");
  for (const [name, text] of Object.entries(networks)) files.files.set(`${NET}/${name}`, text);
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLogger({
    level: "debug",
    format: "plain",
    wall: () => 0,
    write: (line) => lines.push(line.slice(25)),
  });
  const installer = new Installer(PLAN, files, clock, log);
  const plugins = (name = "10-pods.conflist"): string[] =>
    JSON.parse(files.files.get(`${NET}/${name}`) ?? '{"plugins":[]}').plugins
      .map((p: { type: string }) => p.type);
  const stop = new AbortController();
  return { files, clock, lines, installer, plugins, stop };
}

test("one pass installs executable, kubeconfig and plugin; a second changes nothing", async () => {
  const { files, installer, plugins } = installation();
  await installer.pass();
  assert.ok(installer.ready);
  assert.is(files.files.get(PLAN.executable), "ELF");
  assert.is(files.modes.get(KUBECONFIG), 0o600);
  assert.match(files.files.get(KUBECONFIG)!, '"token": "one"');
  assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  assert.not.match(files.files.get(`${NET}/10-pods.conflist`)!, "one");
  const before = files.writes.length;
  await installer.pass();
  assert.is(files.writes.length, before);
});

test("a file of one plugin becomes a list, and comes back as one when others write it again", async () => {
  const conf = JSON.stringify({ cniVersion: "0.3.1", name: "pods", type: "bridge" });
  const { files, installer, plugins } = installation({ "10-pods.conf": conf });
  for (let i = 0; i < 2; i++) {
    await installer.pass();
    assert.not(files.files.has(`${NET}/10-pods.conf`));
    assert.equal(plugins(), ["bridge", "linkerd-cni"]);
    files.files.set(`${NET}/10-pods.conf`, conf);
  }
});

test("it waits for a network, and takes it when it comes", async () => {
  const { files, clock, installer, plugins, stop, lines } = installation({});
  const run = installer.run(stop.signal);
  await clock.advanceAsync(60_000);
  assert.not(installer.ready);
  assert.is(lines.filter((line) => line.includes("waits for one")).length, 1);
  files.files.set(`${NET}/10-pods.conflist`, LIST);
  files.changed();
  await clock.advanceAsync(1_000);
  assert.ok(installer.ready);
  assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  stop.abort();
  await clock.advanceAsync(200);
  await run;
  assert.is(files.watches, 0);
  assert.is(clock.pending, 0);
});

test("what others rewrite or remove is put back, with and without a watch", async () => {
  const { files, clock, installer, plugins, stop } = installation();
  const run = installer.run(stop.signal);
  await clock.advanceAsync(1_000);
  for (const tell of [true, false]) {
    files.files.set(`${NET}/10-pods.conflist`, LIST);
    if (tell) files.changed();
    await clock.advanceAsync(tell ? 1_000 : 10_000);
    assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  }
  files.files.delete(PLAN.executable);
  files.files.delete(KUBECONFIG);
  await clock.advanceAsync(10_000);
  assert.is(files.files.get(PLAN.executable), "ELF");
  assert.ok(files.files.has(KUBECONFIG));
  stop.abort();
  await clock.advanceAsync(200);
  await run;
});

test("a token that is renewed is written within seconds", async () => {
  const { files, clock, installer, stop } = installation();
  const run = installer.run(stop.signal);
  await clock.advanceAsync(1_000);
  files.files.set("/sa/token", "two");
  await clock.advanceAsync(10_000);
  assert.match(files.files.get(KUBECONFIG)!, '"token": "two"');
  stop.abort();
  await clock.advanceAsync(200);
  await run;
});

test("somebody who keeps rewriting a list is not fought without end", async () => {
  const { files, clock, installer, lines, plugins, stop } = installation();
  const run = installer.run(stop.signal);
  await clock.advanceAsync(500);
  for (let i = 0; i < 100; i++) {
    files.files.set(`${NET}/10-pods.conflist`, LIST);
    files.changed();
    await clock.advanceAsync(300);
  }
  const rewrites = files.writes.filter((path) => path.endsWith("10-pods.conflist")).length;
  assert.ok(rewrites <= 11, `${rewrites}`);
  assert.is(lines.filter((line) => line.includes("Somebody else keeps")).length, 1);
  assert.not(installer.ready);
  await clock.advanceAsync(70_000);
  assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  stop.abort();
  await clock.advanceAsync(200);
  await run;
});

test("a list never names a plugin that is not there", async () => {
  for (const path of [PLAN.executable, KUBECONFIG]) {
    const { files, installer, plugins, lines } = installation();
    files.broken.set(path, "no space left");
    await installer.pass();
    await installer.pass();
    assert.equal(plugins(), ["bridge"]);
    assert.not(installer.ready);
    assert.is(lines.filter((line) => line.includes("no space left")).length, 1);
    files.broken.clear();
    await installer.pass();
    assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  }
  const { files, installer, lines } = installation();
  files.files.set("/sa/token", "");
  await installer.pass();
  assert.match(lines.join("\n"), "/sa/token is missing or empty");
});

test("a network that is not understood does not keep others from theirs", async () => {
  const { installer, plugins, lines } = installation({
    "00-broken.conflist": "{",
    "10-pods.conflist": LIST,
    "99-loopback.conf": '{"type":"loopback","name":"lo"}',
  });
  await installer.pass();
  assert.ok(installer.ready);
  assert.equal(plugins(), ["bridge", "linkerd-cni"]);
  assert.match(lines.join("\n"), "The network 00-broken.conflist is left as it is: it is not JSON");
  assert.not.match(lines.join("\n"), "loopback");
});

test("removing takes the plugin out of the lists before what it needs", async () => {
  const { files, installer } = installation();
  await installer.pass();
  await installer.remove();
  assert.equal(JSON.parse(files.files.get(`${NET}/10-pods.conflist`)!), JSON.parse(LIST));
  assert.not(files.files.has(KUBECONFIG));
  assert.not(files.files.has(PLAN.executable));

  const stuck = installation();
  await stuck.installer.pass();
  stuck.files.broken.set(`${NET}/10-pods.conflist`, "read-only");
  await stuck.installer.remove();
  assert.ok(stuck.files.files.has(PLAN.executable), "pods of this host still need it");
});

const ENV = {
  KUBERNETES_SERVICE_HOST: "10.96.0.1",
  CNI_NETWORK_CONFIG:
    '{"type":"linkerd-cni","kubernetes":{"kubeconfig":"__KUBECONFIG_FILEPATH__"}}',
};
const planOf = (env: Record<string, string>) =>
  installPlan(new Map(Object.entries(env)), (path) => Promise.resolve(`text of ${path}`));

test("Linkerd's variables and defaults make the plan", async () => {
  const { plan, keep } = await planOf(ENV);
  assert.equal(plan, {
    ...PLAN,
    plugin: {
      type: "linkerd-cni",
      kubernetes: { kubeconfig: "/etc/cni/net.d/ZZZ-linkerd-cni-kubeconfig" },
    },
    tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
    caFile: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
  });
  assert.not(keep);
  const other = await planOf({
    ...ENV,
    DEST_CNI_NET_DIR: "/var/lib/cni/",
    CONTAINER_MOUNT_PREFIX: "/",
    TULLE_CNI_ON_EXIT: "keep",
  });
  assert.is(other.plan.netDir, "/var/lib/cni");
  assert.ok(other.keep);
});

test("a variable that cannot be used is named", async () => {
  for (
    const [change, said] of [
      [{ KUBERNETES_SERVICE_HOST: "" }, "KUBERNETES_SERVICE_HOST is not set"],
      [{ CNI_NETWORK_CONFIG: "" }, "CNI_NETWORK_CONFIG is not set"],
      [{ CNI_NETWORK_CONFIG: "{" }, "CNI_NETWORK_CONFIG is not JSON"],
      [{ CNI_NETWORK_CONFIG: "", CNI_NETWORK_CONFIG_FILE: "/x" }, "is not JSON"],
      [{ DEST_CNI_NET_DIR: "etc" }, "DEST_CNI_NET_DIR etc is not absolute"],
      [{ KUBECONFIG_FILE_NAME: "../x" }, "is not the name of a file"],
      [{ TULLE_CNI_ON_EXIT: "stay" }, "is neither remove nor keep"],
    ] as [Record<string, string>, string][]
  ) {
    try {
      await planOf({ ...ENV, ...change });
      assert.unreachable(said);
    } catch (e) {
      assert.match((e as Error).message, said);
    }
  }
});

test.after(settle);
test.run();
