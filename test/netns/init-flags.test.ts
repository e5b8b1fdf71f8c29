// Each flag of `tulle init`, in each mode, proved by traffic of both address families: which connections
// of an application that knows nothing the client's and the server's proxy saw.

import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { Namespace, namespacesMissing } from "./namespaces.ts";
import { answerOf, at, CLIENT, type Pods, SERVER, UID, withPods } from "./pods.ts";

const MISSING = namespacesMissing();
const PROXY = ["-p", "4143", "-o", "4140"];
const OWN = ["--proxy-uid", String(UID)];
const MODES = ["legacy", "nft", "plain"] as const;
type Mode = (typeof MODES)[number];

/** Which proxies a connection passes. */
type Passes = "both" | "client" | "server" | "none";

interface Case {
  readonly name: string;
  /** Flags beside the proxies' ports. */
  readonly client: readonly string[];
  readonly server: readonly string[];
  /** Who asks; an application as root when it is absent. */
  readonly as?: readonly [uid: number, gid: number];
  /** By port; `ipv6` where that differs. */
  readonly ports: Readonly<Record<number, Passes>>;
  readonly ipv6?: Readonly<Record<number, Passes>>;
}

const FIFTEEN = Array.from({ length: 15 }, (_, i) => String(9001 + i)).join(",");
/** Each one's rules replace those of the one before; so what leaves a family alone comes first. */
const CASES: readonly Case[] = [
  {
    name: "--ipv6=false: IPv6 is left alone",
    client: [...OWN, "--ipv6=false"],
    server: [...OWN, "--ipv6=false"],
    ports: { 8080: "both" },
    ipv6: { 8080: "none" },
  },
  {
    name: "--proxy-uid: all but the proxies' own goes through both",
    client: OWN,
    server: OWN,
    ports: { 8080: "both", 8081: "both", 5432: "both" },
  },
  {
    name: "--proxy-uid: the proxy's user is left alone",
    client: OWN,
    server: OWN,
    as: [UID, 3000],
    ports: { 8080: "server" },
  },
  {
    name: "--proxy-uid alone: the proxy's group means nothing",
    client: OWN,
    server: OWN,
    as: [3000, UID],
    ports: { 8080: "both" },
  },
  {
    name: "--proxy-gid alone: the proxy's group is left alone, whoever is in it",
    client: ["--proxy-gid", String(UID)],
    server: ["--proxy-gid", String(UID)],
    as: [3000, UID],
    ports: { 8080: "server" },
  },
  {
    name: "--proxy-gid alone: the proxy's user in another group is redirected",
    client: ["--proxy-gid", String(UID)],
    server: ["--proxy-gid", String(UID)],
    as: [UID, 3000],
    ports: { 8080: "both" },
  },
  {
    name: "--outbound-ports-to-ignore: ports and ranges",
    client: [...OWN, "--outbound-ports-to-ignore", "9,8081-8082"],
    server: OWN,
    ports: { 8080: "both", 8081: "server", 8082: "server", 5432: "both" },
  },
  {
    name: "--inbound-ports-to-ignore: ports and ranges",
    client: OWN,
    server: [...OWN, "--inbound-ports-to-ignore", "5432,8081-8082"],
    ports: { 8080: "both", 8081: "client", 8082: "client", 5432: "client" },
  },
  {
    name: "ports past the fifteen that one multiport match holds",
    client: [...OWN, "--outbound-ports-to-ignore", `${FIFTEEN},8081`],
    server: [...OWN, "--inbound-ports-to-ignore", `${FIFTEEN},8081`],
    ports: { 8080: "both", 8081: "none" },
  },
  {
    name: "--subnets-to-ignore: sources of one family",
    client: OWN,
    server: [...OWN, "--subnets-to-ignore", `${CLIENT[0]}/32`],
    ports: { 8080: "client" },
    ipv6: { 8080: "both" },
  },
  {
    name: "--subnets-to-ignore: both families, and others",
    client: OWN,
    server: [...OWN, "--subnets-to-ignore", "192.0.2.0/24, 10.77.0.0/24,fd77::/64"],
    ports: { 8080: "client" },
  },
  {
    name: "--ports-to-redirect: no other port",
    client: OWN,
    server: [...OWN, "--ports-to-redirect", "8081,8082"],
    ports: { 8080: "client", 8081: "both", 8082: "both" },
  },
  {
    name: "--ports-to-redirect: what is ignored stays ignored",
    client: OWN,
    server: [...OWN, "-r", "8081,8082", "--inbound-ports-to-ignore", "8082"],
    ports: { 8081: "both", 8082: "client" },
  },
  {
    name: "--use-wait-flag: the same rules",
    client: [...OWN, "--use-wait-flag"],
    server: [...OWN, "-w"],
    ports: { 8080: "both" },
  },
];

function modeFlags(mode: Mode): string[] {
  return ["--iptables-mode", mode];
}

/** Asks every port of `c`, and compares what came and which proxies saw it. */
function assertTraffic(pods: Pods, c: Pick<Case, "name" | "as" | "ports" | "ipv6">): void {
  for (const [family, ip] of SERVER.entries()) {
    const expected = Object.entries(family === 0 ? c.ports : c.ipv6 ?? c.ports)
      .map(([port, passes]) => [Number(port), passes] as const);
    const asked = expected.map(([port]) => [ip, port] as const);
    const answers = pods.client.getAll(asked, ...c.as ?? [0, 0]);
    assert.equal(answers, expected.map(([port]) => answerOf(port)), `${c.name}, ${ip}`);
    const through = (direction: "outbound" | "inbound", by: Passes) =>
      expected.filter(([, passes]) => passes === by || passes === "both")
        .map(([port]) => `${direction} ${at(ip, port)}`);
    assert.equal(pods.outbound(), through("outbound", "client"), `${c.name}, ${ip}`);
    assert.equal(pods.inbound(), through("inbound", "server"), `${c.name}, ${ip}`);
  }
}

function init(pod: Namespace, ...flags: string[]): string {
  const { status, stdout, stderr } = pod.tulle("init", ...flags);
  assert.is(status, 0, stdout + stderr);
  return stdout;
}

const UNTOUCHED = { name: "no rules", ports: { 8080: "none" } } as const;

for (const mode of MODES) {
  const MODE = modeFlags(mode);

  testUnless(
    MISSING,
    test,
    `${mode}: every flag decides what is redirected`,
    () =>
      withPods((pods) => {
        for (const c of CASES) {
          init(pods.client, ...PROXY, ...MODE, ...c.client);
          init(pods.server, ...PROXY, ...MODE, ...c.server);
          assertTraffic(pods, c);
        }
        for (const pod of [pods.client, pods.server]) {
          init(pod, "--undo", ...MODE);
          assert.not.match(pod.saved(mode), "PROXY_INIT");
        }
        assertTraffic(pods, UNTOUCHED);
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: rules that are written again are replaced at once`,
    () =>
      withPods((pods) => {
        for (const pod of [pods.client, pods.server]) init(pod, ...PROXY, ...MODE, ...OWN);
        init(pods.client, ...PROXY, ...MODE, ...OWN, "--outbound-ports-to-ignore", "8080");
        assertTraffic(pods, { name: "replaced", ports: { 8080: "server", 8081: "both" } });
        // what goes to another port than the proxy's, finds nobody
        init(pods.server, "-p", "5143", "-o", "4140", ...MODE, ...OWN);
        assert.equal(pods.client.getAll([[SERVER[0], 8080]]), ["ECONNREFUSED"]);
        // a pod speaks to itself without its proxy, and --undo finds the rules in whatever mode
        assert.equal(pods.server.getAll([[SERVER[0], 8080], ["127.0.0.1", 8080]]), [
          "port 8080",
          "port 8080",
        ]);
        for (const pod of [pods.client, pods.server]) init(pod, "--undo");
        assertTraffic(pods, UNTOUCHED);
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: --simulate prints what does it, and does nothing`,
    () =>
      withPods((pods) => {
        const flags = [...PROXY, ...MODE, ...OWN, "--outbound-ports-to-ignore", "8081"];
        const installs = init(pods.client, ...flags, "--simulate");
        assertTraffic(pods, UNTOUCHED);
        const done = pods.client.pipe(installs, "sh", "-e");
        assert.is(done.status, 0, done.stderr);
        assertTraffic(pods, { name: "its script", ports: { 8080: "client", 8081: "none" } });
        // without a mode: wherever there are some
        const removes = init(pods.client, "--undo", "--simulate");
        assertTraffic(pods, { name: "still", ports: { 8080: "client", 8081: "none" } });
        const undone = pods.client.pipe(removes, "sh", "-e");
        assert.is(undone.status, 0, undone.stderr);
        assert.not.match(pods.client.saved(mode), "PROXY_INIT");
        assertTraffic(pods, UNTOUCHED);
        init(pods.client, ...flags);
        const named = pods.client.pipe(
          init(pods.client, "--undo", ...MODE, "--simulate"),
          "sh",
          "-e",
        );
        assert.is(named.status, 0, named.stderr);
        assertTraffic(pods, UNTOUCHED);
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: --netns installs and removes from outside`,
    () =>
      withPods((pods) => {
        const other = new Namespace(`tulle-c-${process.pid}`);
        try {
          const place = ["--netns", `/run/netns/${pods.client.name}`];
          init(other, ...PROXY, ...MODE, ...OWN, ...place, "-w", "--ipv6=false");
          assertTraffic(pods, {
            name: "IPv4 alone",
            ports: { 8080: "client" },
            ipv6: { 8080: "none" },
          });
          init(other, ...PROXY, ...MODE, ...OWN, ...place);
          assertTraffic(pods, { name: "both families", ports: { 8080: "client" } });
          assert.not.match(other.saved(mode), "PROXY_INIT");
          init(other, "--undo", ...place);
          assertTraffic(pods, UNTOUCHED);
        } finally {
          void other.remove();
        }
      }),
  );
}

testUnless(
  MISSING,
  test,
  "Linkerd's old flags choose the mode, auto what works, no flag legacy",
  () =>
    withPods((pods) => {
      const through = { name: "through", ports: { 8080: "client" } } as const;
      for (
        const [flags, mode] of [
          [[], "legacy"],
          [["--iptables-mode", "auto"], "nft"],
          [["--firewall-bin-path", "iptables-nft"], "nft"],
          [["--firewall-bin-path", "iptables-legacy"], "legacy"],
          [["--firewall-bin-path=", "--firewall-save-bin-path="], "legacy"],
          [["--firewall-bin-path", "iptables-nft", "--iptables-mode", "legacy"], "legacy"],
        ] as const
      ) {
        assert.match(init(pods.client, ...PROXY, ...OWN, ...flags), `mode=${mode}`);
        for (const each of ["legacy", "nft"] as const) {
          assert.is(pods.client.saved(each).includes("PROXY_INIT"), each === mode, flags.join(" "));
        }
        assertTraffic(pods, through);
        init(pods.client, "--undo");
      }
      const plain = init(pods.client, ...PROXY, ...OWN, "--firewall-bin-path", "iptables");
      assert.match(plain, "mode=plain");
      assertTraffic(pods, through);
    }),
);

testUnless(MISSING, test, "--log-format, --log-level and --timeout-close-wait-secs", async () => {
  const pod = new Namespace(`tulle-a-${process.pid}`);
  try {
    const json = init(pod, ...PROXY, "--log-format", "json", "--log-level", "debug");
    const lines = json.trim().split("\n").map((line) => JSON.parse(line) as { level: string });
    assert.ok(lines.some((line) => /debug/i.test(line.level)), json);
    assert.is(init(pod, ...PROXY, "--log-level", "error"), "");
    const key = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
    init(pod, ...PROXY, "--timeout-close-wait-secs", "3600");
    assert.is(pod.run("cat", key).stdout.trim(), "3600");
  } finally {
    await pod.remove();
  }
});

test.run();
