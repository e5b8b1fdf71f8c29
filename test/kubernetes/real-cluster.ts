// A real kube-apiserver with a real etcd, on loopback, for as long as a test: no nodes, no controllers.
// Its certificates are made for it; who asks is decided by RBAC.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { type KubeApi, KubeError } from "../../src/control/k8s/api.ts";
import { openKube } from "../../src/control/k8s/open.ts";
import { execute } from "../../src/runtime/exec.ts";
import { systemFiles } from "../../src/runtime/files.ts";
import { createHttpClient, type HttpClient } from "../../src/runtime/http-client.ts";
import { SYSTEM_CLOCK } from "../../src/runtime/process.ts";
import { freePorts } from "../support/free-port.ts";
import { type TempDir, tempDir } from "../support/temp-dir.ts";
import { createClusterCa, type PemPair } from "./certificates.ts";

const BUILT = fileURLToPath(new URL("../../.cache/kubernetes/", import.meta.url));
const START_MS = 120_000;

function program(name: string): string | null {
  if (existsSync(BUILT + name)) return BUILT + name;
  try {
    return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
  } catch {
    return null;
  }
}

/** Why there is no cluster here; null: there can be one. */
export const NO_CLUSTER: string | null =
  program("kube-apiserver") === null || program("etcd") === null
    ? "kube-apiserver and etcd are not there (tools/setup-kubernetes builds them)"
    : null;

/** An object as far as this needs to know it. */
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
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** An answer of the API server, whatever it is. */
export interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

export class RealCluster implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #etcdPort: number;
  readonly #etcd: ChildProcess;
  #server: ChildProcess | null = null;
  readonly #admin: PemPair;
  readonly #ca: string;
  readonly #plurals = new Map<string, { path: string; namespaced: boolean }>();
  readonly #apis: KubeApi[] = [];
  /** For `call`: with the administrator's certificate, and without any. */
  readonly #https: { readonly admin: HttpClient; readonly token: HttpClient };
  #flags: readonly string[] = [];
  readonly port: number;
  /** Of an administrator, with a client certificate. */
  api: KubeApi = undefined as never;

  private constructor(
    dir: TempDir,
    ports: readonly number[],
    etcd: ChildProcess,
    admin: PemPair,
    ca: string,
  ) {
    this.#dir = dir;
    [this.port = 0, this.#etcdPort = 0] = ports;
    this.#etcd = etcd;
    this.#admin = admin;
    this.#ca = ca;
    process.on("exit", this.#leave);
    this.#https = {
      admin: createHttpClient({ ca, certificate: admin }),
      token: createHttpClient({ ca }),
    };
  }

  /** `flags` of the API server win over those of here. */
  static async start(flags: readonly string[] = []): Promise<RealCluster> {
    const dir = await tempDir("cluster");
    const ports = await freePorts(3);
    const [, client, peer] = ports;
    const ca = await createClusterCa("test-cluster");
    const signer = await ca.issuer("service-accounts");
    const server = await ca.server();
    await Promise.all([
      writeFile(dir.join("ca.crt"), ca.cert),
      writeFile(dir.join("server.crt"), server.cert),
      writeFile(dir.join("server.key"), server.key, { mode: 0o600 }),
      // The certificate holds the public key that tokens are verified with.
      writeFile(dir.join("tokens.crt"), signer.cert),
      writeFile(dir.join("tokens.key"), signer.key, { mode: 0o600 }),
    ]);
    const etcd = spawn(program("etcd") ?? "", [
      `--data-dir=${dir.join("etcd")}`,
      `--listen-client-urls=http://127.0.0.1:${client}`,
      `--advertise-client-urls=http://127.0.0.1:${client}`,
      `--listen-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-cluster=default=http://127.0.0.1:${peer}`,
      "--log-level=error",
      "--unsafe-no-fsync",
    ], { stdio: "ignore" });
    const admin = await ca.user("admin", ["system:masters"]);
    const cluster = new RealCluster(dir, ports, etcd, admin, ca.cert);
    cluster.#flags = flags;
    try {
      cluster.api = await cluster.connect({ certificate: admin });
      await cluster.startServer();
      return cluster;
    } catch (e) {
      await cluster[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** Starts the API server and waits until it is ready. */
  async startServer(port = this.port): Promise<void> {
    const file = (name: string) => this.#dir.join(name);
    await mkdir(file("certs"), { recursive: true });
    const server = spawn(program("kube-apiserver") ?? "", [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${port}`,
      `--cert-dir=${file("certs")}`,
      `--tls-cert-file=${file("server.crt")}`,
      `--tls-private-key-file=${file("server.key")}`,
      `--client-ca-file=${file("ca.crt")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${file("tokens.crt")}`,
      `--service-account-signing-key-file=${file("tokens.key")}`,
      "--authorization-mode=RBAC",
      "--anonymous-auth=false",
      "--endpoint-reconciler-type=none",
      // No controller makes the default accounts that this would demand of pods.
      "--disable-admission-plugins=ServiceAccount",
      "--allow-privileged=true",
      ...this.#flags,
    ], { stdio: ["ignore", "ignore", "pipe"] });
    this.#server = server;
    let last = "";
    server.stderr?.setEncoding("utf8").on(
      "data",
      (text: string) => last = (last + text).slice(-2000),
    );
    const api = port === this.port ? this.api : await this.connectTo(port);
    const end = performance.now() + START_MS;
    for (;;) {
      if (server.exitCode !== null || performance.now() > end) {
        throw new Error(`kube-apiserver does not become ready: ${last}`);
      }
      const ready = await api.request({ path: "/api/v1/namespaces/default" })
        .then(() => true, () => false);
      if (ready) return;
      await new Promise((again) => setTimeout(again, 200));
    }
  }

  /** Ends the API server at once, as a crash does. */
  async stopServer(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server !== null) await kill(server);
  }

  /** Forgets every version but the newest, as etcd is told to every few minutes. */
  async compact(): Promise<void> {
    const etcd = createHttpClient();
    const post = async (path: string, body: unknown) => {
      const answer = await etcd.request({
        url: `http://127.0.0.1:${this.#etcdPort}${path}`,
        method: "POST",
        body: JSON.stringify(body),
        timeoutMs: 10_000,
        maxBytes: 1024 * 1024,
      });
      return JSON.parse(new TextDecoder().decode(answer.body)) as {
        header?: { revision?: string };
      };
    };
    try {
      const { header } = await post("/v3/kv/range", { key: btoa("x") });
      await post("/v3/kv/compaction", { revision: header?.revision, physical: true });
    } finally {
      await etcd.close();
    }
  }

  connectTo(port: number): Promise<KubeApi> {
    return this.connect({ certificate: this.#admin }, port);
  }

  /** A client as somebody, through a kubeconfig. */
  async connect(
    as: { certificate?: PemPair; tokenFile?: string },
    port = this.port,
  ): Promise<KubeApi> {
    const kubeconfig = await this.kubeconfig(as, port);
    const { read, resolve, folderOf } = systemFiles();
    const { api } = await openKube({ kubeconfig, context: null }, {
      env: new Map(),
      clock: SYSTEM_CLOCK,
      execute,
      read,
      resolve,
      folderOf,
      connect: (tls) => createHttpClient({ ...tls, connectionsPerOrigin: 64 }),
    });
    this.#apis.push(api);
    return api;
  }

  /** Writes a kubeconfig and gives its path. */
  async kubeconfig(
    as: { certificate?: PemPair; tokenFile?: string },
    port = this.port,
  ): Promise<string> {
    const user = as.certificate === undefined ? { tokenFile: as.tokenFile } : {
      "client-certificate-data": btoa(as.certificate.cert),
      "client-key-data": btoa(as.certificate.key),
    };
    const path = this.#dir.join(`config-${crypto.randomUUID()}.json`);
    const cluster = {
      server: `https://127.0.0.1:${port}`,
      "certificate-authority-data": btoa(this.#ca),
    };
    await writeFile(
      path,
      JSON.stringify({
        "current-context": "test",
        contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
        clusters: [{ name: "test", cluster }],
        users: [{ name: "test", user }],
      }),
      { mode: 0o600 },
    );
    return path;
  }

  /** A token of a service account, as the kubelet asks for it. */
  async token(namespace: string, account: string, audience?: string): Promise<string> {
    const answer = await this.api.request({
      method: "POST",
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { audiences: audience === undefined ? [] : [audience], expirationSeconds: 3600 },
      },
    }) as { status: { token: string } };
    return answer.status.token;
  }

  /** Applies an object (server-side apply, strict fields) and gives what came of it. */
  async apply(
    object: KubeObject,
    api: KubeApi = this.api,
    { dryRun = false } = {},
  ): Promise<KubeObject> {
    const query = `fieldManager=test&force=true&fieldValidation=Strict${
      dryRun ? "&dryRun=All" : ""
    }`;
    return await api.request({
      method: "PATCH",
      path: `${await this.path(object)}?${query}`,
      contentType: "application/apply-patch+yaml",
      body: object,
    }) as KubeObject;
  }

  /** One request, by the administrator or with a token, and its answer even where that is a refusal. */
  async call(
    method: "GET" | "POST" | "PATCH" | "DELETE",
    path: string,
    body?: unknown,
    as: { readonly token?: string; readonly type?: string } = {},
  ): Promise<Answer> {
    const http = as.token === undefined ? this.#https.admin : this.#https.token;
    const { status, body: answer } = await http.request({
      url: this.url + path,
      method,
      headers: {
        ...(as.token === undefined ? {} : { authorization: `Bearer ${as.token}` }),
        ...(body === undefined ? {} : { "content-type": as.type ?? "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs: 30_000,
      maxBytes: 16 * 1024 * 1024,
    });
    const text = new TextDecoder().decode(answer);
    return { status, json: text.startsWith("{") ? JSON.parse(text) : text };
  }

  /** Sets a status, as a kubelet or controller does. */
  async setStatus(object: KubeObject): Promise<void> {
    await this.api.request({
      method: "PATCH",
      path: `${await this.path(object)}/status`,
      contentType: "application/merge-patch+json",
      body: { status: object["status"] },
    });
  }

  /** The path of an object, found by asking which kinds there are. */
  async path({ apiVersion, kind, metadata }: KubeObject): Promise<string> {
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const key = `${apiVersion} ${kind}`;
    const end = performance.now() + 30_000;
    // A definition that was just applied takes a moment to be served.
    while (!this.#plurals.has(key)) {
      const found = await this.api.request({ path: root }).catch((e: unknown) => {
        if (e instanceof KubeError && e.status === 404) return { resources: [] };
        throw e;
      }) as { resources: { name: string; kind: string; namespaced: boolean }[] };
      for (const r of found.resources) {
        if (r.name.includes("/")) continue;
        this.#plurals.set(`${apiVersion} ${r.kind}`, { path: r.name, namespaced: r.namespaced });
      }
      if (performance.now() > end) throw new Error(`The API server has no ${key}`);
      if (!this.#plurals.has(key)) await new Promise((again) => setTimeout(again, 100));
    }
    const plural = this.#plurals.get(key);
    const within = plural?.namespaced ? `/namespaces/${metadata.namespace ?? "default"}` : "";
    return `${root}${within}/${plural?.path}/${metadata.name}`;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** PEM of who signed the API server's certificate. */
  get ca(): string {
    return this.#ca;
  }

  file(name: string): string {
    return this.#dir.join(name);
  }

  /** A test that ends without ending this leaves no process behind. */
  readonly #leave = (): void => {
    this.#server?.kill("SIGKILL");
    this.#etcd.kill("SIGKILL");
  };

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#leave);
    const clients = [...this.#apis, this.#https.admin, this.#https.token];
    await Promise.all(clients.map((client) => client.close()));
    await this.stopServer();
    await kill(this.#etcd);
    await this.#dir[Symbol.asyncDispose]();
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  process.kill(child.pid, "SIGKILL");
  await exited;
}

/** The objects of a manifest. */
export function objectsOf(yaml: string): KubeObject[] {
  const documents = parseAllDocuments(yaml);
  return (Array.isArray(documents) ? documents : [])
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object): object is KubeObject => object !== null);
}
