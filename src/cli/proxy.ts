// `tulle proxy`: reads flags and files into `StaticOptions` and hands them to the proxy. Nothing of
// the data plane is here.

import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { formatSocketAddr, parseSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { isDnsLike } from "../model/identity.ts";
import { parseSignature, type SignatureCheck } from "../core/signature.ts";
import { sha256Hex } from "../../wasm/host/digest.ts";
import { signatureCheck } from "../../wasm/host/signature.ts";
import { positionText } from "../../wasm/host/source-map.ts";
import type { StaticFilter, StaticOptions } from "../proxy/static-options.ts";
import type { Command } from "./command.ts";
import { entryPath } from "./entries.ts";
import { CliError, EXIT_CONFIG, fileTrouble, usageError } from "./failure.ts";
import { readMapBeside } from "./filter-project.ts";
import { type Flags, quote } from "./flags.ts";
import { checkAsked, readCallouts, withCallouts } from "./proxy-callouts.ts";

/** More than any module that a proxy accepts; a wrong file is refused before it is read. */
const MAX_MODULE_BYTES = 8 * 1024 * 1024;
const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_KEY_BYTES = 64 * 1024;
const MAX_FILTERS = 32;
const MAX_TARGETS = 1024;
/** More than the CPUs of a machine serve no faster. */
const MAX_WORKERS = 64;

/** Runs one proxy with what the command line says, without a control plane. */
export const proxyCommand: Command = {
  name: "proxy",
  summary: "Run one proxy with static configuration and no control plane",
  usage: "--listen ADDR --to ADDR[,ADDR…] [flags]",
  flags: [
    { name: "--listen", value: "ADDR", summary: "Where clients connect, such as 127.0.0.1:9000" },
    { name: "--to", value: "ADDR[,ADDR…]", summary: "Where requests go; several are balanced" },
    { name: "--admin", value: "ADDR", summary: "Serve /metrics, /ready and /live there" },
    {
      name: "--filter",
      value: "FILE.wasm[=CONFIG.json]",
      repeat: true,
      summary: "Run this filter; several run in order",
    },
    {
      name: "--callout",
      value: "NAME=ADDR[,ADDR…]",
      repeat: true,
      summary: "Let filters ask the service that they call NAME, there",
    },
    {
      name: "--filter-keys",
      value: "FILE",
      summary: "Public keys, of which one must have signed each filter",
    },
    {
      name: "--upstream-protocol",
      value: "http1|http2|same",
      summary: "What is spoken to the targets; same: as the client does",
    },
    {
      name: "--identity",
      value: "DIR",
      summary: "Key, certificate and trust anchors for mutual TLS",
    },
    { name: "--require-id", value: "NAME", summary: "The identity that the other side must have" },
    { name: "--inbound", summary: "Run the inbound stack instead of the outbound one" },
    {
      name: "--workers",
      value: "N",
      summary: "Serve with so many threads (1, the process's own)",
    },
  ],
  notes: [
    "Example: tulle proxy --listen 127.0.0.1:9000 --to 127.0.0.1:8080 --filter retry.wasm",
  ],
  async run(flags) {
    const options = await staticOptions(flags);
    // by its path: in the package it is a bundle of its own, so that it can tell that it is imported
    const proxy: unknown = await import(pathToFileURL(entryPath("proxy")).href);
    try {
      await (proxy as typeof import("../proxy/main.ts")).runStatic(options);
    } catch (e) {
      if (!(e instanceof Error) || e.name !== "UnusableFile") throw e;
      throw new CliError(e.message, { exit: EXIT_CONFIG, cause: e });
    }
    return 0;
  },
};

/** Checks the flags and reads the files that they name. */
export async function staticOptions(flags: Flags): Promise<StaticOptions> {
  const listen = address("--listen", required(flags, "--listen", "127.0.0.1:9000"));
  const to = required(flags, "--to", "127.0.0.1:8080").split(",")
    .map((text) => address("--to", text.trim()));
  const adminText = flags.text("--admin");
  const admin = adminText === null ? null : address("--admin", adminText);
  if (to.length > MAX_TARGETS) {
    throw usageError(`--to has ${to.length} addresses: at most ${MAX_TARGETS}`);
  }
  for (const target of to) {
    const text = formatSocketAddr(target);
    if (target.port === 0) throw usageError(`--to ${text} has no port to connect to`);
    if (text === formatSocketAddr(listen)) {
      throw usageError(`--to ${text} is the proxy's own --listen address: it would loop`);
    }
  }
  if (admin !== null && admin.port !== 0 && formatSocketAddr(admin) === formatSocketAddr(listen)) {
    throw usageError(`--admin and --listen are the same address: ${formatSocketAddr(admin)}`);
  }
  const upstreamProtocol = protocol(flags.text("--upstream-protocol") ?? "same");
  const identityDir = flags.text("--identity");
  const requireId = flags.text("--require-id");
  if (requireId !== null) {
    if (!isDnsLike(requireId)) {
      throw usageError(
        `--require-id ${quote(requireId)} is not an identity`,
        "Write it as NAME.NAMESPACE.serviceaccount.identity.CONTROL-PLANE-NAMESPACE.TRUST-DOMAIN",
      );
    }
    if (identityDir === null) throw usageError("--require-id needs --identity");
  }
  if (identityDir !== null) await checkFolder(identityDir);
  const given = flags.all("--filter");
  if (given.length > MAX_FILTERS) {
    throw usageError(`--filter is given ${given.length} times: at most ${MAX_FILTERS}`);
  }
  const check = await readKeys(flags.text("--filter-keys"));
  const callouts = readCallouts(flags.all("--callout"));
  const filters = (await Promise.all(given.map((text) => readFilter(text, check))))
    .map((filter) => withCallouts(filter, callouts));
  checkAsked(filters, callouts);
  return {
    listen,
    to,
    admin,
    filters,
    callouts,
    upstreamProtocol,
    identityDir,
    requireId,
    inbound: flags.has("--inbound"),
    workers: workers(flags.text("--workers")),
  };
}

function required(flags: Flags, name: string, example: string): string {
  const text = flags.text(name);
  if (text === null) throw usageError(`${name} is missing`, `Example: ${name} ${example}`);
  return text;
}

function address(flag: string, text: string): SocketAddr {
  try {
    return parseSocketAddr(text);
  } catch (e) {
    throw usageError(`${flag}: ${errorText(e)}`);
  }
}

function protocol(text: string): "http1" | "http2" | "same" {
  if (text === "http1" || text === "http2" || text === "same") return text;
  throw usageError(`--upstream-protocol ${quote(text)} is not one of http1, http2, same`);
}

function workers(text: string | null): number {
  if (text === null) return 1;
  if (/^[1-9][0-9]?$/.test(text) && Number(text) <= MAX_WORKERS) return Number(text);
  throw usageError(`--workers ${quote(text)} is not a number from 1 to ${MAX_WORKERS}`);
}

async function checkFolder(path: string): Promise<void> {
  const found = await stat(path).catch((e: unknown) => {
    throw fileError("--identity", path, e);
  });
  if (!found.isDirectory()) {
    throw new CliError(`--identity ${quote(path)} is not a folder`, { exit: EXIT_CONFIG });
  }
}

async function readKeys(path: string | null): Promise<SignatureCheck | null> {
  if (path === null) return null;
  const text = new TextDecoder().decode(await readBounded("--filter-keys", path, MAX_KEY_BYTES));
  return await signatureCheck(text).catch((e: unknown) => {
    throw new CliError(`--filter-keys: ${path}: ${errorText(e)}`, { exit: EXIT_CONFIG });
  });
}

/** Rejects for a module that none of the keys signed. */
async function checkSigned(path: string, module: Uint8Array, check: SignatureCheck): Promise<void> {
  const text = await readFile(`${path}.sig`, "utf8").catch(() => null);
  try {
    await check(await sha256Hex(module), text === null ? null : parseSignature(text));
  } catch (e) {
    throw new CliError(`--filter: ${path}: ${errorText(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
}

async function readFilter(text: string, check: SignatureCheck | null): Promise<StaticFilter> {
  const cut = text.indexOf("=");
  const path = cut < 0 ? text : text.slice(0, cut);
  const configPath = cut < 0 ? null : text.slice(cut + 1);
  if (path === "" || configPath === "") {
    throw usageError(`--filter ${quote(text)} is not FILE.wasm or FILE.wasm=CONFIG.json`);
  }
  const module = await readBounded("--filter", path, MAX_MODULE_BYTES);
  if (check !== null) await checkSigned(path, module, check);
  const config = configPath === null
    ? new Uint8Array(0)
    : await readBounded("--filter", configPath, MAX_CONFIG_BYTES);
  if (configPath !== null) {
    try {
      JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(config));
    } catch (e) {
      throw new CliError(`--filter: ${configPath} is not JSON: ${errorText(e)}`, {
        exit: EXIT_CONFIG,
      });
    }
  }
  const map = await readMapBeside(path);
  return {
    name: basename(path).replace(/\.wasm$/, ""),
    module,
    config,
    locate: (offset, bodyFrom) => {
      const position = map?.locate(offset, bodyFrom) ?? null;
      return position === null ? null : positionText(position);
    },
  };
}

async function readBounded(flag: string, path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) {
      throw new CliError(`${flag}: ${path} has ${size} bytes: at most ${maxBytes}`, {
        exit: EXIT_CONFIG,
      });
    }
    return new Uint8Array(await readFile(path));
  } catch (e) {
    throw e instanceof CliError ? e : fileError(flag, path, e);
  }
}

function fileError(flag: string, path: string, e: unknown): CliError {
  return new CliError(`${flag}: ${path} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
}
