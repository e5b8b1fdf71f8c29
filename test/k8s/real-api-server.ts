// A real kube-apiserver with its etcd on loopback, for suites that apply manifests. Built by
// tools/setup-kubernetes, or found on PATH; whoever starts one ends it.

import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { createHttpClient, type HttpClient } from "../../src/runtime/http-client.ts";
import { freePorts } from "../support/free-port.ts";

const CACHE = fileURLToPath(new URL("../../.cache/kubernetes/", import.meta.url));
const ADMIN = "an-admin-of-this-test-only";
/** For the first answer, on a machine that others share. */
const START_MS = 90_000;

/** Why there is none to be had, or null. */
export function missingApiServer(): string | null {
  return program("kube-apiserver") !== null && program("etcd") !== null
    ? null
    : "kube-apiserver and etcd are not built (tools/setup-kubernetes)";
}

/** An object as it is written and read. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [key: string]: unknown;
}

/** An answer of the API server. */
export interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/** A server that answers. */
export interface RealApiServer {
  readonly url: string;
  /** PEM; of the server's certificate. */
  readonly ca: string;
  call(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: unknown, as?: {
    readonly token?: string;
    readonly type?: string;
  }): Promise<Answer>;
  /** Server-side apply with strict fields. Throws the server's message. */
  apply(object: KubeObject, options?: { readonly dryRun?: boolean }): Promise<KubeObject>;
  close(): Promise<void>;
}

/** Starts both programs in a folder of their own. */
export async function startApiServer(): Promise<RealApiServer> {
  const dir = await mkdtemp(join(tmpdir(), "tulle-api-server-"));
  const ports = await freePorts(3);
  const [clients, peers, port] = ports as [number, number, number];
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  await writeFile(join(dir, "sa.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
  await writeFile(join(dir, "sa.pub"), publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(join(dir, "tokens.csv"), `${ADMIN},admin,admin,"system:masters"\n`);
  const log = await open(join(dir, "log"), "w");
  const start = (name: string, args: readonly string[]) =>
    spawn(program(name) ?? name, args, { stdio: ["ignore", log.fd, log.fd], cwd: dir });
  const etcd = start("etcd", [
    `--data-dir=${dir}/etcd`,
    `--listen-client-urls=http://127.0.0.1:${clients}`,
    `--advertise-client-urls=http://127.0.0.1:${clients}`,
    `--listen-peer-urls=http://127.0.0.1:${peers}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peers}`,
    `--initial-cluster=default=http://127.0.0.1:${peers}`,
    "--unsafe-no-fsync",
  ]);
  const server = start("kube-apiserver", [
    `--etcd-servers=http://127.0.0.1:${clients}`,
    `--cert-dir=${dir}`,
    `--secure-port=${port}`,
    "--bind-address=127.0.0.1",
    "--service-cluster-ip-range=10.96.0.0/16",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${dir}/sa.pub`,
    `--service-account-signing-key-file=${dir}/sa.key`,
    "--authorization-mode=RBAC",
    `--token-auth-file=${dir}/tokens.csv`,
    // no controller makes service accounts here
    "--disable-admission-plugins=ServiceAccount",
    "--allow-privileged=true",
  ]);
  const leave = () => {
    server.kill("SIGKILL");
    etcd.kill("SIGKILL");
  };
  process.on("exit", leave);
  let http: HttpClient | null = null;
  const close = async () => {
    process.off("exit", leave);
    await http?.close();
    for (const child of [server, etcd]) await ended(child);
    await log.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const url = `https://127.0.0.1:${port}`;
    const ca = await until(() => readFile(join(dir, "apiserver.crt"), "utf8"), [server, etcd]);
    const client = http = createHttpClient({ ca });
    const call: RealApiServer["call"] = async (method, path, body, as = {}) => {
      const { status, body: answer } = await client.request({
        url: url + path,
        method,
        headers: {
          authorization: `Bearer ${as.token ?? ADMIN}`,
          ...(body === undefined ? {} : { "content-type": as.type ?? "application/json" }),
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        timeoutMs: 30_000,
        maxBytes: 16 * 1024 * 1024,
      });
      const text = new TextDecoder().decode(answer);
      return { status, json: text.startsWith("{") ? JSON.parse(text) : text };
    };
    await until(async () => {
      const { status } = await call("GET", "/readyz");
      if (status !== 200) throw new Error(`/readyz answers ${status}`);
    }, [server, etcd]);
    const plurals = new Map<string, string>();
    const pathOf = async ({ apiVersion, kind, metadata }: KubeObject): Promise<string> => {
      const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      const key = `${apiVersion} ${kind}`;
      if (!plurals.has(key)) {
        const { json } = await call("GET", base);
        for (const r of json.resources ?? []) {
          if (!r.name.includes("/")) plurals.set(`${apiVersion} ${r.kind}`, r.name);
        }
      }
      const plural = plurals.get(key);
      if (plural === undefined) throw new Error(`The API server knows no ${key}`);
      const ns = metadata.namespace === undefined ? "" : `namespaces/${metadata.namespace}/`;
      return `${base}/${ns}${plural}/${metadata.name}`;
    };
    return {
      url,
      ca,
      call,
      async apply(object, { dryRun = false } = {}) {
        const { status, json } = await call(
          "PATCH",
          `${await pathOf(object)}?fieldManager=tulle&fieldValidation=Strict${
            dryRun ? "&dryRun=All" : ""
          }`,
          stringify(object, { aliasDuplicateObjects: false }),
          { type: "application/apply-patch+yaml" },
        );
        if (status >= 300) {
          throw new Error(`${object.kind} ${object.metadata.name}: ${status} ${json.message}`);
        }
        return json;
      },
      close,
    };
  } catch (e) {
    const said = await readFile(join(dir, "log"), "utf8").catch(() => "");
    await close();
    throw new Error(`The API server did not start: ${e}\n${said.slice(-2000)}`, { cause: e });
  }
}

function program(name: string): string | null {
  const folders = [CACHE, ...(process.env.PATH ?? "").split(delimiter)];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

async function until<T>(
  attempt: () => Promise<T>,
  children: readonly ChildProcess[],
): Promise<T> {
  const end = Date.now() + START_MS;
  while (true) {
    try {
      return await attempt();
    } catch (e) {
      if (children.some((child) => child.exitCode !== null) || Date.now() > end) throw e;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
