// `tulle filter keygen`, `sign` and `verify`: who built a module. A signature is a small file beside the
// module; private keys are read and written here and nowhere else, and never shown.

import { readFile } from "node:fs/promises";
import { errorText } from "../core/errors.ts";
import { parseSignature, signatureText } from "../core/signature.ts";
import { sha256Hex } from "../../wasm/host/digest.ts";
import {
  generateKeys,
  readPrivateKey,
  readPublicKeys,
  signerOf,
  signModule,
} from "../../wasm/host/signature.ts";
import type { Command } from "./command.ts";
import { CliError, EXIT_CONFIG, EXIT_FAILURE, fileTrouble, usageError } from "./failure.ts";
import { checkModule, readModule } from "./filter-project.ts";
import { type Flags, quote } from "./flags.ts";
import { writeOutput } from "./output.ts";

/** Makes a pair of keys. */
export const filterKeygenCommand: Command = {
  name: "keygen",
  summary: "Make a pair of keys to sign modules with",
  usage: "NAME",
  operands: { min: 1, max: 1 },
  flags: [],
  notes: ["Writes NAME.key, which only you may read, and NAME.pub, for proxies and control plane."],
  async run(flags, terminal) {
    const [name = ""] = flags.operands;
    await writeKeys(name, (line) => terminal.out(line));
    return 0;
  },
};

/** Signs a module. */
export const filterSignCommand: Command = {
  name: "sign",
  summary: "Sign a module: writes FILE.wasm.sig",
  usage: "FILE.wasm --key KEY [flags]",
  operands: { min: 1, max: 1 },
  flags: [
    { name: "--key", value: "FILE", summary: "The private key: PEM, or 32 bytes as base64" },
    { name: "--new-key", value: "NAME", summary: "Make NAME.key and NAME.pub, and sign with them" },
  ],
  notes: [
    "The signature is Ed25519 over the module's digest. In a mesh it is found beside the module's\n" +
    "file, or stands in spec.module.signature of the WasmFilter.",
  ],
  async run(flags, terminal) {
    const [path = ""] = flags.operands;
    const module = await readModule(path);
    checkModule(path, module);
    const newKey = flags.text("--new-key");
    const keyPath = flags.text("--key");
    if ((newKey === null) === (keyPath === null)) {
      throw usageError("Give --key FILE, or --new-key NAME to make one");
    }
    const privatePem = newKey === null
      ? await readText("--key", keyPath ?? "")
      : await writeKeys(newKey, (line) => terminal.out(line));
    const key = await readPrivateKey(privatePem).catch((e: unknown) => {
      throw new CliError(`--key ${keyPath ?? newKey}: ${errorText(e)}`, { exit: EXIT_CONFIG });
    });
    const sha256 = await sha256Hex(module);
    const text = signatureText(await signModule(key, sha256));
    await writeOutput(`${path}.sig`, text + "\n");
    terminal.out(`${path}.sig`);
    terminal.out(`  sha256     ${sha256}`);
    terminal.out(`  signature  ${text}`);
    return 0;
  },
};

/** Verifies a module's signature. */
export const filterVerifyCommand: Command = {
  name: "verify",
  summary: "Say whether one of these keys signed a module",
  usage: "FILE.wasm --key KEY.pub [--key …]",
  operands: { min: 1, max: 1 },
  flags: [
    {
      name: "--key",
      value: "FILE",
      repeat: true,
      summary: "Public keys: PEM, or base64, one a line",
    },
    { name: "--signature", value: "TEXT", summary: "The signature, in place of FILE.wasm.sig" },
  ],
  notes: ["Exit status 0: one of the keys signed it; 1: none did."],
  async run(flags, terminal) {
    const [path = ""] = flags.operands;
    const module = await readModule(path);
    const keys = await trusted(flags);
    const given = flags.text("--signature");
    const text = given ?? await readText("The module is not signed", `${path}.sig`);
    let signature: Uint8Array;
    try {
      signature = parseSignature(text);
    } catch (e) {
      const where = given === null ? `${path}.sig` : "--signature";
      throw new CliError(`${where}: ${errorText(e)}`, { exit: EXIT_CONFIG });
    }
    const signer = await signerOf(keys, await sha256Hex(module), signature);
    if (signer === null) {
      terminal.err(`tulle: ${path} was not signed by ${keys.map((k) => k.id).join(", ")}`);
      return EXIT_FAILURE;
    }
    terminal.out(`${path} was signed by ${signer.id}`);
    return 0;
  },
};

async function trusted(flags: Flags) {
  const paths = flags.all("--key");
  if (paths.length === 0) throw usageError("--key is missing: which keys are trusted?");
  const keys = await Promise.all(paths.map(async (path) => {
    const text = await readText("--key", path);
    return await readPublicKeys(text).catch((e: unknown) => {
      throw new CliError(`--key ${path}: ${errorText(e)}`, { exit: EXIT_CONFIG });
    });
  }));
  return keys.flat();
}

/** Writes a new pair, never over another. Resolves with the private half. */
async function writeKeys(name: string, say: (line: string) => void): Promise<string> {
  if (/\.(key|pub)$/.test(name)) {
    throw usageError(`${quote(name)} has an ending already: give the name without it`);
  }
  const { privatePem, publicPem, id } = await generateKeys();
  await writeOutput(`${name}.key`, privatePem, { mode: 0o600, isNew: true });
  await writeOutput(`${name}.pub`, publicPem, { mode: 0o644, isNew: true });
  say(`${name}.key and ${name}.pub: key ${id}`);
  return privatePem;
}

async function readText(what: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${what}: ${path} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
}
