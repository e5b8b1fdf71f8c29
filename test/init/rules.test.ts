import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CliError } from "../../src/cli/failure.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { initCommand, initOptions } from "../../src/cli/init.ts";
import { networkValidatorCommand } from "../../src/cli/network-validator.ts";
import { explain } from "../../src/init/failure.ts";
import { kindOfPlain } from "../../src/init/modes.ts";
import { multiportLists, parsePortRange } from "../../src/init/ports.ts";
import { isClean, readState } from "../../src/init/restore.ts";
import { install, remove, type RunCommand, script } from "../../src/init/run.ts";
import { parseSubnet } from "../../src/init/subnets.ts";
import { mismatch, parseTimeout, randomToken } from "../../src/init/validator.ts";
import { createLogger, SILENT } from "../../src/core/log.ts";
import { fakeTerminal } from "../cli/fake-terminal.ts";

const BASE = ["-p", "4143", "-o", "4140"];
const notes: string[] = [];
const read = (...argv: string[]) =>
  initOptions(parseFlags(initCommand.flags, argv), (line) => notes.push(line));
const golden = (name: string) =>
  readFileSync(new URL(`golden/${name}.sh`, import.meta.url), "utf8").trimEnd();

function refusal(...argv: string[]): string {
  try {
    read(...argv);
  } catch (e) {
    assert.instance(e, CliError);
    return (e as CliError).message;
  }
  throw new Error(`${argv.join(" ")} was accepted`);
}

test("wrong flags are refused with one line that names them", () => {
  assert.is(refusal("-o", "1"), "--incoming-proxy-port must be a valid TCP port number");
  assert.is(
    refusal("-p", "1", "-o", "65536"),
    "--outgoing-proxy-port must be a valid TCP port number",
  );
  assert.match(
    refusal(...BASE, "--subnets-to-ignore", "10.0.0.0/33"),
    "is not a valid CIDR address",
  );
  assert.match(
    refusal(...BASE, "--subnets-to-ignore", "a;reboot/8"),
    "is not a valid CIDR address",
  );
  assert.match(
    refusal(...BASE, "--iptables-mode", "ebpf"),
    "is not one of legacy, nft, plain, auto",
  );
  assert.match(refusal(...BASE, "--firewall-bin-path", "/bin/sh"), "is none of iptables-legacy");
  assert.match(refusal(...BASE, "--ipv6=maybe"), "neither true nor false");
  assert.match(refusal(...BASE, "-r", "80,http"), "is not a whole number");
  assert.match(refusal(...BASE, "--log-level", "loud"), "is not one of");
  assert.match(refusal(...BASE, "--proxy-uid", "root"), "--proxy-uid");
});

test("as in proxy-init, ports that are none are left out and said", () => {
  notes.length = 0;
  const o = read(...BASE, "--inbound-ports-to-ignore", "80,abc,9-8,70000,,22-23");
  assert.equal(o.intercept.inboundIgnore, [{ lo: 80, hi: 80 }, { lo: 22, hi: 23 }]);
  assert.is(notes.length, 3);
  assert.match(notes[0]!, /"abc" is not PORT or LOW-HIGH and is left out/);
});

test("the defaults are those of proxy-init", () => {
  const o = read(...BASE);
  assert.equal(o.place, { mode: "legacy", ipv6: true, netns: null, wait: false });
  assert.equal([o.intercept.proxyUid, o.intercept.proxyGid], [null, null]);
  assert.is(read(...BASE, "--firewall-bin-path", "iptables-nft").place.mode, "nft");
  assert.is(read(...BASE, "--firewall-bin-path", "iptables").place.mode, "plain");
  assert.is(
    read(...BASE, "--firewall-bin-path", "iptables-nft", "--iptables-mode", "legacy").place.mode,
    "legacy",
  );
});

const CASES: Readonly<Record<string, readonly string[]>> = {
  plain: [...BASE, "--iptables-mode", "plain"],
  chart: [
    ...["--firewall-bin-path", "iptables-nft", "--firewall-save-bin-path", "iptables-nft-save"],
    ...["--ipv6=false", "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140"],
    ...["--proxy-uid", "2102", "--inbound-ports-to-ignore", "4190,4191,4567,4568"],
    ...["--outbound-ports-to-ignore", "443,6443"],
  ],
  every: [
    ...[...BASE, "-u", "2102", "-g", "2103", "-r", "80,443", "-w", "--netns", "/run/netns/pod"],
    ...["--inbound-ports-to-ignore", "1-2,3-4,5-6,7-8,9-10,11-12,13-14,15,16"],
    ...["--outbound-ports-to-ignore", "25", "--subnets-to-ignore", "10.0.0.0/8, fd00::/8"],
    ...["--timeout-close-wait-secs", "3600"],
  ],
  undo: ["--undo", "--iptables-mode", "legacy"],
  "undo-any": ["--undo"],
};

for (const [name, argv] of Object.entries(CASES)) {
  test(`--simulate prints the golden rules: ${name}`, async () => {
    const terminal = fakeTerminal();
    const flags = parseFlags(initCommand.flags, [...argv, "--simulate"]);
    assert.is(await initCommand.run(flags, terminal), 0);
    assert.is(terminal.stdout.join("\n"), golden(name));
  });
}

test("--simulate --undo prints for the mode that is asked for, in either spelling, and for no other", async () => {
  const programs = async (...argv: string[]) => {
    const terminal = fakeTerminal();
    const flags = parseFlags(initCommand.flags, ["--undo", "--simulate", ...argv]);
    assert.is(await initCommand.run(flags, terminal), 0);
    return [...new Set(terminal.stdout.join("\n").match(/^ip6?tables\S*-restore/gm))].sort();
  };
  const both = (mode: string) => [`ip6tables${mode}-restore`, `iptables${mode}-restore`];
  for (const [mode, suffix] of [["nft", "-nft"], ["legacy", "-legacy"], ["plain", ""]] as const) {
    assert.equal(await programs("--iptables-mode", mode), both(suffix), mode);
    const bin = ["--firewall-bin-path", `iptables${suffix}`];
    assert.equal(await programs(...bin), both(suffix), bin.join(" "));
    assert.equal(
      await programs("--iptables-mode", mode, "--ipv6=false"),
      [`iptables${suffix}-restore`],
    );
  }
});

test("a multiport match holds 15 references, a range counts twice", () => {
  const ports = Array.from({ length: 31 }, (_, i) => ({ lo: i, hi: i }));
  assert.equal(multiportLists(ports).map((list) => list.split(",").length), [15, 15, 1]);
  const ranges = Array.from({ length: 8 }, (_, i) => ({ lo: 2 * i, hi: 2 * i + 1 }));
  assert.equal(multiportLists(ranges).map((list) => list.split(",").length), [7, 1]);
  assert.equal(multiportLists([]), []);
  assert.equal(parsePortRange("5-5"), { lo: 5, hi: 5 });
  for (const bad of ["", "-1", "1-", "2-1", "65536", "1:2", " 1", "1e3"]) {
    assert.is(parsePortRange(bad), null, bad);
  }
});

test("subnets keep their family", () => {
  assert.is(parseSubnet(" 10.0.0.0/8 ").family, "ipv4");
  assert.is(parseSubnet("fd00::/8").family, "ipv6");
  for (const bad of ["10.0.0.0", "10.0.0.0/8/8", "::/129", "10.0.0/8", "x/8", "10.0.0.0/-1"]) {
    assert.throws(() => parseSubnet(bad), /is not a valid CIDR address/, bad);
  }
});

const SAVED = `*filter
:PROXY_INIT_REDIRECT - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:PROXY_INIT_REDIRECT - [0:0]
-A PREROUTING -m comment --comment "proxy-init/x" -j PROXY_INIT_REDIRECT
-A PREROUTING -j PROXY_INIT_REDIRECT_MORE
-A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-ports 4143
COMMIT
`;

test("what is there is read from the nat table alone", () => {
  const state = readState(SAVED);
  assert.equal(state.chains, ["PROXY_INIT_REDIRECT"]);
  assert.is(state.rules.length, 1);
  assert.is(state.jumps.length, 1);
  assert.ok(isClean(readState("*nat\nCOMMIT\n")));
});

/** A machine where programs answer by name. */
function machine(
  answer: (program: string) => { code?: number; stderr?: string; missing?: boolean },
) {
  const ran: { command: readonly string[]; stdin: string }[] = [];
  const run: RunCommand = (command, stdin) => {
    ran.push({ command, stdin });
    const { code = 0, stderr = "", missing = false } = answer(command[0] ?? "");
    return Promise.resolve({ code: missing ? null : code, stdout: "", stderr, missing });
  };
  return { run, ran };
}

test("a mode that cannot work is named in the log, with what was done instead", async () => {
  const lines: string[] = [];
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: () => 0,
    write: (line) => lines.push(line),
  });
  const { run } = machine((program) => ({ missing: program.includes("legacy") }));
  const o = read(...BASE);
  assert.is(await install(o.intercept, o.place, run, log), "nft");
  assert.match(lines[0]!, "iptables mode legacy cannot work here: trying nft instead");
  assert.match(lines[0]!, "iptables-legacy-save is not installed in this image");
  assert.match(lines[1]!, "Rules are installed in mode nft, since legacy cannot work here");
});

test("when the second family fails, the first one is put back", async () => {
  const { run, ran } = machine((program) =>
    program === "ip6tables-legacy-restore" ? { code: 1, stderr: "No such rule" } : {}
  );
  const o = read(...BASE);
  await install(o.intercept, o.place, run, SILENT).then(
    () => assert.unreachable(),
    (e: Error) => assert.match(e.message, "ip6tables-legacy-restore: it failed (No such rule)"),
  );
  const restores = ran.filter(({ command }) => command[0] === "iptables-legacy-restore");
  assert.is(restores.length, 2);
});

test("undo names it when no program works", async () => {
  const { run } = machine(() => ({ missing: true }));
  await remove(read("--undo").place, run, SILENT).then(
    () => assert.unreachable(),
    (e: Error) => assert.match(e.message, "No iptables program works here"),
  );
});

test("the programs' messages are told apart", () => {
  const of = (stderr: string, ipv6 = false) =>
    explain("iptables", { code: 1, stdout: "", stderr, missing: false }, ipv6);
  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      "Could not fetch rule set generation id: Permission denied (you must be root)",
      "no-permission",
      /NET_ADMIN and NET_RAW/,
    ],
    [
      "Fatal: can't open lock file /run/xtables.lock: Permission denied",
      "no-lock",
      /XTABLES_LOCKFILE/,
    ],
    ["Another app is currently holding the xtables lock.", "locked", /--use-wait-flag/],
    [
      "can't initialize iptables table `nat': Table does not exist (do you need to insmod?)",
      "no-module",
      /load it on the node/,
    ],
    [
      "Couldn't load match `owner':No such file or directory",
      "no-library",
      /match owner is not installed/,
    ],
    [
      "iptables: table `nat' is incompatible, use 'nft' tool.",
      "mixed",
      /legacy and nft rules are mixed/,
    ],
    ["something else", "other", /it failed \(something else\)/],
  ];
  for (const [stderr, kind, text] of cases) {
    assert.is(of(stderr).kind, kind, stderr);
    assert.match(of(stderr).message, text);
  }
  assert.match(of("Table does not exist", true).message, "--ipv6=false");
});

test("plain is the kind that its program says, and --netns names what cannot be entered", () => {
  assert.is(kindOfPlain("iptables-save v1.8.9 (nf_tables)"), "nft");
  assert.is(kindOfPlain("iptables-save v1.8.9 (legacy)"), "legacy");
  assert.is(kindOfPlain("iptables-save v1.6.1"), "legacy");
  assert.is(kindOfPlain("something else"), null);
  const of = (stderr: string, missing = false) =>
    explain("iptables-save", { code: missing ? null : 1, stdout: "", stderr, missing }, false, "/n")
      .message;
  assert.match(of("", true), "--netns needs nsenter");
  assert.match(
    of("nsenter: failed to execute iptables-save: No such file or directory"),
    "iptables-save is not installed in this image",
  );
  assert.match(of("nsenter: cannot open /n: No such file or directory"), "/n cannot be entered");
});

test("the script of auto is that of the first mode it would try", () => {
  const o = read(...BASE, "--iptables-mode", "auto", "--ipv6=false");
  assert.match(script(o.intercept, o.place, "install")[0]!, /^iptables-nft-restore --noflush /);
});

test("the validator's token, time-out and comparison", async () => {
  const token = randomToken((n) => new Uint8Array(n).map((_, i) => (i * 37) & 255));
  assert.match(token, /^[A-Za-z0-9]{63}\n$/);
  assert.is(mismatch(token, token), null);
  assert.match(mismatch(token, "")!, "without a byte");
  assert.match(mismatch(token, "HTTP/1.1 400")!, "somebody else answered");
  assert.equal(["0", "500ms", "10s", "2m", "1h", "1d"].map(parseTimeout), [
    0,
    500,
    1e4,
    12e4,
    36e5,
    864e5,
  ]);
  for (const bad of ["", "10", "1.5s", "-1s", "1w"]) assert.is(parseTimeout(bad), null);
  const flags = parseFlags(networkValidatorCommand.flags, ["--timeout", "soon"]);
  await networkValidatorCommand.run(flags, fakeTerminal()).then(
    () => assert.unreachable(),
    (e: Error) => assert.match(e.message, '--timeout "soon" is not a duration'),
  );
});

test.run();
