// The real proxy of a pod, run in the test's process with its real driver, over a control plane that the
// test plays. Its kernel's redirect is played too: the test says where connections wanted to go.

import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { join } from "node:path";
import { fetchText, parseSamples, type Sample } from "../../../src/cli/demo-scrape.ts";
import { formatSocketAddr, parseSocketAddr } from "../../../src/core/addr.ts";
import { runProxy } from "../../../src/proxy/main.ts";
import type { ControlDns } from "../../../src/runtime/control-resolver.ts";
import { type Answer, ask } from "../../mesh/support/http.ts";
import { eventually } from "../../mesh/support/waiting.ts";
import { tempDir } from "../../support/temp-dir.ts";
import type { ControlPlane } from "./control-plane.ts";

const READY_WITHIN_MS = 30_000;
export const CLUSTER = "serviceaccount.identity.linkerd.cluster.local";

/** A pod of a test: an address on loopback that no other test has, and a service account. */
export interface PodOptions {
  readonly ip: string;
  /** The service account, and the pod's name. */
  readonly name: string;
  /** Where what is redirected to the outbound side wanted to go. */
  readonly outbound?: string;
  /** The same of the inbound side; `ip:8080` unless set, `ip:4143` for who comes directly. */
  readonly inbound?: string;
  /** More environment, or other. */
  readonly env?: Readonly<Record<string, string>>;
  /** Who resolves the control plane's names. */
  readonly controlDns?: ControlDns;
  /** False: do not wait until it is ready. */
  readonly ready?: boolean;
}

/** A running proxy. */
export class TestProxy {
  readonly ip: string;
  readonly identity: string;
  readonly log: string[];
  /** May be set anew at any time; null: a connection was made to the proxy itself. */
  outbound: string | null;
  inbound: string | null;
  readonly #ended: Promise<void>;
  readonly #stop: () => void;
  readonly #dir: AsyncDisposable;

  constructor(
    o: PodOptions,
    log: string[],
    ended: Promise<void>,
    stop: () => void,
    dir: AsyncDisposable,
  ) {
    this.ip = o.ip;
    this.identity = identityOf(o.name);
    this.log = log;
    this.outbound = o.outbound ?? null;
    this.inbound = o.inbound ?? `${o.ip}:8080`;
    this.#ended = ended;
    this.#stop = stop;
    this.#dir = dir;
  }

  get outboundAt() {
    return { host: this.ip, port: 4140, localAddress: this.ip };
  }

  /** From another address of the machine. */
  get inboundAt() {
    return { host: this.ip, port: 4143, localAddress: CLIENT_IP };
  }

  /** A request of the pod's application, as HTTP/1. */
  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return ask({ ...this.outboundAt, agent: false, path, headers });
  }

  admin(path: string, method = "GET"): Promise<Answer> {
    return ask({ host: this.ip, port: 4191, localAddress: this.ip, agent: false, path, method });
  }

  async metrics(): Promise<readonly Sample[]> {
    return parseSamples(await fetchText(`http://${this.ip}:4191/metrics`), () => true);
  }

  /** Asks it to end; `ended` says when it has. */
  signal(): void {
    this.#stop();
  }

  /** Resolves when it has drained and ended; rejects with why it could not run. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  async end(): Promise<void> {
    this.#stop();
    await this.#ended.finally(() => this.#dir[Symbol.asyncDispose]());
  }
}

/** Who plays other pods. */
export const CLIENT_IP = "127.0.0.9";

export function identityOf(name: string): string {
  return `${name}.test.${CLUSTER}`;
}

/** Three numbers of loopback addresses for this process; `half` as in `support/mesh.ts`. */
export function podNet(half: number): string {
  const deno = process.versions.deno === undefined ? 0 : 1;
  return `127.${half + deno}.${1 + process.pid % 250}`;
}

/** Starts it with the environment that Linkerd's injector gives. */
export async function startProxy(
  control: Pick<ControlPlane, "addr" | "ca">,
  o: PodOptions,
): Promise<TestProxy> {
  const dir = await tempDir("linkerd");
  const identity = join(dir.path, "identity");
  await mkdir(identity, { mode: 0o700 });
  await writeFile(join(dir.path, "token"), "a token", { mode: 0o600 });
  const workload = { ns: "test", pod: o.name };
  const env = new Map(Object.entries({
    LINKERD2_PROXY_LOG: "warn",
    LINKERD2_PROXY_INBOUND_LISTEN_ADDR: `${o.ip}:4143`,
    LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS: `${o.ip}:4140`,
    LINKERD2_PROXY_ADMIN_LISTEN_ADDR: `${o.ip}:4191`,
    LINKERD2_PROXY_CONTROL_LISTEN_ADDR: `${o.ip}:4190`,
    LINKERD2_PROXY_INBOUND_IPS: o.ip,
    LINKERD2_PROXY_INBOUND_PORTS: "8080",
    LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: "all-unauthenticated",
    LINKERD2_PROXY_DESTINATION_SVC_ADDR: control.addr,
    LINKERD2_PROXY_DESTINATION_CONTEXT: JSON.stringify({ ...workload, nodeName: "node" }),
    LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS: "127.0.0.0/8,10.0.0.0/8",
    LINKERD2_PROXY_DESTINATION_PROFILE_SUFFIXES: "svc.cluster.local.",
    LINKERD2_PROXY_POLICY_SVC_ADDR: control.addr,
    LINKERD2_PROXY_POLICY_WORKLOAD: JSON.stringify(workload),
    LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS: "10.0.0.0/8,127.0.0.0/8",
    LINKERD2_PROXY_IDENTITY_SVC_ADDR: control.addr,
    LINKERD2_PROXY_IDENTITY_DIR: identity,
    LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: control.ca.pem,
    LINKERD2_PROXY_IDENTITY_TOKEN_FILE: join(dir.path, "token"),
    LINKERD2_PROXY_IDENTITY_LOCAL_NAME: identityOf(o.name),
    LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD: "10s",
    TULLE_PROXY_SOURCE_IP: o.ip,
    ...o.env,
  }));
  const log: string[] = [];
  const stop = Promise.withResolvers<void>();
  let proxy: TestProxy | null = null;
  const ended = runProxy(env, {
    stop: stop.promise,
    write: (line) => log.push(line),
    ...(o.controlDns === undefined ? {} : { controlDns: o.controlDns }),
    originalOf: (local) => {
      const to = local.port === 4140 ? proxy?.outbound : proxy?.inbound;
      return to == null ? null : parseSocketAddr(to);
    },
  });
  proxy = new TestProxy(o, log, ended, stop.resolve, dir);
  if (o.ready === false) {
    ended.catch(() => {});
    return proxy;
  }
  const isReady = eventually(
    `the proxy at ${formatSocketAddr({ ip: o.ip, port: 4191 })} is ready`,
    () => fetchText(`http://${o.ip}:4191/ready`),
    READY_WITHIN_MS,
  );
  await Promise.race([isReady, ended.then(() => Promise.reject(new Error("it ended")))]);
  return proxy;
}
