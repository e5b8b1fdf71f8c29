// What `tulle init` writes is what Linkerd's proxy-init writes, rule for rule, and what goes wrong is
// named by its cause. That the rules do what they say is in init-flags.test.ts.

import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { type Finished, Namespace, namespacesMissing, RUNTIME } from "./namespaces.ts";

const MISSING = namespacesMissing();
const FLAGS = ["-p", "4143", "-o", "4140", "--proxy-uid", "2102"];

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

/** A network namespace, gone afterwards. */
async function withPod(body: (pod: Namespace) => void | Promise<void>): Promise<void> {
  const pod = new Namespace(`tulle-a-${process.pid}`);
  try {
    await body(pod);
  } finally {
    await pod.remove();
  }
}

/** One line that names the cause: nothing before it in the log is an error. */
function assertRefused({ status, stderr }: Finished, why: RegExp): void {
  assert.is(status, 1, stderr);
  assert.match(stderr, why);
  assert.is(stderr.trim().split("\n").length, 1, stderr);
}

for (const mode of ["legacy", "nft", "plain"] as const) {
  testUnless(MISSING, test, `${mode}: a missing capability is named`, () =>
    withPod((pod) => {
      const bare = (...flags: string[]) =>
        pod.run(
          ...["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", "--reuid=65534"],
          ...["--regid=65534", "--clear-groups", "env", "DENO_DIR=/tmp/none"],
          ...["XTABLES_LOCKFILE=/tmp/none.lock", ...RUNTIME, "src/cli/main.ts", "init", ...flags],
        );
      const why = /the capabilities NET_ADMIN and NET_RAW are missing: add both/;
      assertRefused(bare(...FLAGS, "--iptables-mode", mode), why);
      assertRefused(bare("--undo", "--iptables-mode", mode), why);
      const place = ["--netns", `/run/netns/${pod.name}`];
      const enter = /network namespace \/run\/netns\/\S+ cannot be entered.*CAP_SYS_ADMIN/;
      assertRefused(bare(...FLAGS, "--iptables-mode", mode, ...place), enter);
    }));
}

testUnless(
  MISSING,
  test,
  "legacy and nft rules are not mixed, whatever plain is",
  () =>
    withPod((pod) => {
      const plain = pod.run("iptables-save", "--version").stdout.includes("nf_tables")
        ? "nft"
        : "legacy";
      for (const [first, other] of [["legacy", "nft"], ["nft", "legacy"]] as const) {
        assert.is(pod.tulle("init", ...FLAGS, "--iptables-mode", first).status, 0);
        const before = pod.saved(first);
        const why = new RegExp(
          `are there in mode ${first}: legacy and nft must not be mixed; run tulle init --undo first`,
        );
        assertRefused(pod.tulle("init", ...FLAGS, "--iptables-mode", other), why);
        const unnamed = pod.tulle("init", ...FLAGS, "--iptables-mode", "plain");
        if (plain === first) assert.is(unnamed.status, 0, unnamed.stderr);
        else assertRefused(unnamed, why);
        assert.is(pod.saved(first), before);
        const auto = pod.tulle("init", ...FLAGS, "--iptables-mode", "auto");
        assert.is(auto.status, 0, auto.stderr);
        assert.match(auto.stdout, `mode=${first}`);
        assert.is(pod.tulle("init", "--undo").status, 0);
      }
    }),
);

testUnless(
  MISSING,
  test,
  "a namespace that is not there is named",
  () =>
    withPod((pod) =>
      assertRefused(
        pod.tulle("init", ...FLAGS, "--netns", "/run/netns/tulle-none"),
        /The network namespace \/run\/netns\/tulle-none cannot be entered: .*No such file/,
      )
    ),
);

/** Programs of legacy mode that say what theirs say on a node without the module. */
const NO_MODULE = `#!/bin/sh
echo "\${0##*/} v1.8.9 (legacy): \${0##*/}: unable to initialize table 'nat'" >&2
echo "Error occurred at line: 1" >&2
exit 3
`;

testUnless(
  MISSING,
  test,
  "a missing module is named, and a mode that works is taken instead",
  () =>
    withPod(async (pod) => {
      const dir = await mkdtemp("/tmp/tulle-programs-");
      try {
        const put = async (...names: string[]) => {
          for (const name of names) {
            await writeFile(`${dir}/${name}`, NO_MODULE);
            await chmod(`${dir}/${name}`, 0o755);
          }
        };
        const init = (...flags: string[]) =>
          pod.run(
            ...["env", `PATH=${dir}:${process.env.PATH}`, ...RUNTIME, "src/cli/main.ts"],
            ...["init", ...FLAGS, ...flags],
          );
        await put("iptables-legacy-save", "iptables-legacy-restore");
        const instead = init("--iptables-mode", "legacy");
        assert.is(instead.status, 0, instead.stderr);
        assert.match(
          instead.stdout,
          /iptables mode legacy cannot work here: trying nft instead.*a kernel module is missing: load it/,
        );
        assert.match(instead.stdout, /installed in mode nft, since legacy cannot work here/);
        assert.match(pod.saved("nft"), "PROXY_INIT_OUTPUT");
        assert.is(pod.tulle("init", "--undo").status, 0);
        await put("iptables-nft-save", "iptables-save");
        assertRefused(
          init("--iptables-mode", "auto"),
          /No iptables mode works here: nft: .*a kernel module is missing.*; legacy: .*; plain: /,
        );
        // IPv6 alone: nothing of IPv4 stays behind
        await rm(`${dir}/iptables-nft-save`);
        await put("ip6tables-nft-save", "ip6tables-save", "ip6tables-legacy-save");
        const six = init("--iptables-mode", "nft");
        assertRefused(six, /a kernel module for IPv6 is missing: load it .* or give --ipv6=false/);
        assert.not.match(pod.saved("nft"), "-A PROXY_INIT");
        assert.is(init("--iptables-mode", "nft", "--ipv6=false").status, 0);
      } finally {
        await rm(dir, { recursive: true });
      }
    }),
);

test.run();
