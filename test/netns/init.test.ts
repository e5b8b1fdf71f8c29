import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { join, Namespace, namespacesMissing, RUNTIME } from "./namespaces.ts";

const MISSING = namespacesMissing();
const UID = 2102;
const FLAGS = ["-p", "4143", "-o", "4140", "--proxy-uid", String(UID)];
const PORTS = ["8080", "8081", "8082", "5432"];
/** By family. */
const CLIENT = ["10.77.0.1", "fd77::1"];
const SERVER = ["10.77.0.2", "fd77::2"];
const at = (ip: string, port: number) => ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;

/** Two pods with proxies and an application, without rules yet. */
interface Pods {
  readonly client: Namespace;
  readonly server: Namespace;
  /** What the proxies saw since the last call. */
  outbound(): string[];
  inbound(): string[];
}

async function withPods(body: (pods: Pods) => void | Promise<void>): Promise<void> {
  const client = new Namespace(`tulle-a-${process.pid}`);
  const server = new Namespace(`tulle-b-${process.pid}`);
  let dir = "";
  try {
    join(client, server);
    // Not below TMPDIR, which may be closed to the proxy's user.
    dir = await mkdtemp("/tmp/tulle-netns-");
    await chmod(dir, 0o755);
    const files = [`${dir}/outbound`, `${dir}/inbound`] as const;
    for (const file of files) {
      await writeFile(file, "");
      await chown(file, UID, UID); // Deno appends to its own files only
    }
    await client.start(UID, "test/netns/proxy-process.ts", files[0], ...CLIENT);
    await server.start(UID, "test/netns/proxy-process.ts", files[1], ...SERVER);
    await server.start(0, "test/netns/app-process.ts", "serve", ...PORTS);
    await body({
      client,
      server,
      outbound: () => taken(files[0]),
      inbound: () => taken(files[1]),
    });
  } finally {
    await client.remove();
    await server.remove();
    if (dir !== "") await rm(dir, { recursive: true, force: true });
  }
}

/** The lines of a file, which is empty afterwards. */
function taken(file: string): string[] {
  const lines = readFileSync(file, "utf8").split("\n").filter((line) => line !== "");
  writeFileSync(file, "");
  return lines;
}

/** The commands that Linkerd's proxy-init runs, one by one, as its reference lists them. */
function referenceCommands(program: string): string[] {
  const nat = `${program} -t nat`;
  const say = (text: string) => `-m comment --comment proxy-init/${text}`;
  return [
    `${nat} -N PROXY_INIT_REDIRECT`,
    `${nat} -A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 4190,4191,4567:4568 -j RETURN ${
      say("ignore-port-4190,4191,4567:4568")
    }`,
    `${nat} -A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-port 4143 ${
      say("redirect-all-incoming-to-proxy-port")
    }`,
    `${nat} -A PREROUTING -j PROXY_INIT_REDIRECT ${say("install-proxy-init-prerouting")}`,
    `${nat} -N PROXY_INIT_OUTPUT`,
    `${nat} -A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN ${
      say("ignore-proxy-user-id")
    }`,
    `${nat} -A PROXY_INIT_OUTPUT -m owner --gid-owner 2103 -j RETURN ${
      say("ignore-proxy-group-id")
    }`,
    `${nat} -A PROXY_INIT_OUTPUT -o lo -j RETURN ${say("ignore-loopback")}`,
    `${nat} -A PROXY_INIT_OUTPUT -p tcp --match multiport --dports 443 -j RETURN ${
      say("ignore-port-443")
    }`,
    `${nat} -A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-port 4140 ${
      say("redirect-all-outgoing-to-proxy-port")
    }`,
    `${nat} -A OUTPUT -j PROXY_INIT_OUTPUT ${say("install-proxy-init-output")}`,
  ];
}

for (const mode of ["legacy", "nft"] as const) {
  const MODE = ["--iptables-mode", mode];

  testUnless(
    MISSING,
    test,
    `${mode}: an application without configuration goes through both proxies`,
    () =>
      withPods(({ client, server, outbound, inbound }) => {
        assert.is(client.get(SERVER[0]!, 8080), "port 8080", "before there are rules");
        assert.equal([outbound(), inbound()], [[], []]);
        for (const pod of [client, server]) {
          const { status, stdout, stderr } = pod.tulle("init", ...FLAGS, ...MODE);
          assert.is(status, 0, stdout + stderr);
        }
        for (const ip of SERVER) {
          assert.is(client.get(ip, 8080), "port 8080");
          assert.equal(outbound(), [`outbound ${at(ip, 8080)}`]);
          assert.equal(inbound(), [`inbound ${at(ip, 8080)}`]);
          assert.is(client.get(ip, 5432), "server first", "a server that speaks first");
          assert.equal(outbound(), [`outbound ${at(ip, 5432)}`]);
          assert.equal(inbound(), [`inbound ${at(ip, 5432)}`]);
          // the proxy's own user is left alone by its rules, and only by those
          assert.is(client.get(ip, 8080, UID), "port 8080");
          assert.equal(outbound(), []);
          assert.equal(inbound(), [`inbound ${at(ip, 8080)}`]);
          // what a pod says to itself is not redirected
          assert.is(server.get(ip, 8080), "port 8080");
          assert.equal(inbound(), []);
        }
        for (const pod of [client, server]) assert.is(pod.tulle("init", "--undo").status, 0);
        assert.not.match(client.saved(mode), "PROXY_INIT");
        for (const ip of SERVER) assert.is(client.get(ip, 8080), "port 8080");
        assert.equal([outbound(), inbound()], [[], []]);
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: ports, ranges and subnets that are skipped are not redirected`,
    () =>
      withPods(({ client, server, outbound, inbound }) => {
        const skip = [
          "--outbound-ports-to-ignore",
          "9,8081-8082",
          "--inbound-ports-to-ignore",
          "8082",
        ];
        for (const pod of [client, server]) {
          assert.is(pod.tulle("init", ...FLAGS, ...MODE, ...skip).status, 0);
        }
        for (const ip of SERVER) {
          for (const [port, out, into] of [[8080, 1, 1], [8081, 0, 1], [8082, 0, 0]] as const) {
            assert.is(client.get(ip, port), `port ${port}`);
            assert.is(outbound().length, out, `outbound ${ip} ${port}`);
            assert.is(inbound().length, into, `inbound ${ip} ${port}`);
          }
        }
        const subnets = ["--subnets-to-ignore", `${CLIENT[0]}/32, ${CLIENT[1]}/128`];
        assert.is(server.tulle("init", ...FLAGS, ...MODE, ...subnets).status, 0);
        for (const ip of SERVER) {
          assert.is(client.get(ip, 8080), "port 8080");
          assert.equal(inbound(), []);
        }
        assert.is(server.tulle("init", ...FLAGS, ...MODE, "-r", "8081").status, 0);
        for (const ip of SERVER) {
          client.get(ip, 8080);
          assert.equal(inbound(), []);
          client.get(ip, 8081);
          assert.equal(inbound(), [`inbound ${at(ip, 8081)}`]);
        }
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: --ipv6=false leaves IPv6, --netns and -w work from outside`,
    () =>
      withPods(({ client, outbound }) => {
        const other = new Namespace(`tulle-c-${process.pid}`);
        try {
          const path = `/run/netns/${client.name}`;
          const place = ["--netns", path, "-w", "--ipv6=false"];
          const done = other.tulle("init", ...FLAGS, ...MODE, ...place);
          assert.is(done.status, 0, done.stdout + done.stderr);
          assert.is(client.get(SERVER[0]!, 8080), "port 8080");
          assert.is(outbound().length, 1);
          assert.is(client.get(SERVER[1]!, 8080), "port 8080");
          assert.is(outbound().length, 0);
        } finally {
          void other.remove();
        }
      }),
  );

  testUnless(
    MISSING,
    test,
    `${mode}: the rules are those of the reference, also when run again`,
    async () => {
      const ours = new Namespace(`tulle-a-${process.pid}`);
      const reference = new Namespace(`tulle-b-${process.pid}`);
      try {
        for (const program of ["iptables", "ip6tables"]) {
          for (const command of referenceCommands(`${program}-${mode}`)) {
            const { status, stderr } = reference.run(...command.split(" "));
            assert.is(status, 0, `${command}: ${stderr}`);
          }
        }
        const flags = [...FLAGS, ...MODE, "--proxy-gid", "2103"];
        const ports = [
          ...["--inbound-ports-to-ignore", "4190,4191,4567-4568"],
          ...["--outbound-ports-to-ignore", "443"],
        ];
        for (let run = 0; run < 2; run++) {
          assert.is(ours.tulle("init", ...flags, ...ports).status, 0);
          assert.is(sorted(ours.saved(mode)), sorted(reference.saved(mode)));
        }
      } finally {
        await ours.remove();
        await reference.remove();
      }
    },
  );
}

/** Chains are saved in the order in which they were made, which says nothing. */
function sorted(saved: string): string {
  const lines = saved.split("\n");
  return [
    ...lines.filter((l) => l.startsWith(":")).sort(),
    ...lines.filter((l) => l.startsWith("-A P"))
      .sort((a, b) => {
        const chain = (l: string) => l.split(" ")[1] ?? "";
        return chain(a) < chain(b) ? -1 : chain(a) > chain(b) ? 1 : 0;
      }),
    ...lines.filter((l) => l.startsWith("-A OUTPUT")),
  ].join("\n");
}

testUnless(MISSING, test, "errors name their cause", async () => {
  const pod = new Namespace(`tulle-a-${process.pid}`);
  try {
    const bare = pod.run(
      ...["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", "--reuid=65534"],
      ...["--regid=65534", "--clear-groups", ...RUNTIME, "src/cli/main.ts"],
      ...["init", ...FLAGS, "--iptables-mode", "nft"],
    );
    assert.is(bare.status, 1);
    assert.match(bare.stderr, /the capabilities NET_ADMIN and NET_RAW are missing/);
    assert.is(pod.tulle("init", ...FLAGS, "--iptables-mode", "legacy").status, 0);
    const mixed = pod.tulle("init", ...FLAGS, "--iptables-mode", "nft");
    assert.is(mixed.status, 1);
    assert.match(mixed.stderr, /legacy and nft must not be mixed; run tulle init --undo first/);
    const auto = pod.tulle("init", ...FLAGS, "--iptables-mode", "auto");
    assert.is(auto.status, 0);
    assert.match(auto.stdout, "mode=legacy");
  } finally {
    await pod.remove();
  }
});

test.run();
