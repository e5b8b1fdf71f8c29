// What the tests of meshed pods are played with: one mesh, a server, and clients of two identities, each
// made when the first test needs it. Everything is ended after the last.

import * as assert from "uvu/assert";
import { type Flow, isTls } from "./capture.ts";
import type { RunningPod } from "./kubelet.ts";
import { type MeshOptions, PodMesh } from "./mesh.ts";
import { baseImage } from "./podman.ts";

/** A word that applications say, and that nobody else on the wire may see. */
export const SECRET = "a-secret-word";

/** What a server of the suite answers of a request. */
export interface Seen {
  readonly pod: string;
  readonly version: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

const PORTS = {
  http: [80, 8080],
  h2: [8081, 8081],
  grpc: [8082, 8082],
  greeting: [7000, 7000],
  guarded: [8085, 8085],
  "guarded-tcp": [8086, 8086],
  opaque: [9000, 9000],
  skipped: [9101, 9101],
} as const;

export class Stage {
  readonly #options: MeshOptions;
  #mesh: Promise<PodMesh> | null = null;
  readonly #pods = new Map<string, Promise<RunningPod>>();

  constructor(options: MeshOptions) {
    this.#options = options;
  }

  /** The mesh with namespace `shop`. */
  mesh(): Promise<PodMesh> {
    return this.#mesh ??= PodMesh.start(this.#options).then(async (mesh) => {
      await mesh.namespace("shop", "client", "stranger", "web");
      for (const app of ["web", "front", "redis"]) await service(mesh, app);
      return mesh;
    });
  }

  async close(): Promise<void> {
    const mesh = await this.#mesh?.catch(() => null);
    await mesh?.[Symbol.asyncDispose]();
  }

  #once(name: string, make: (mesh: PodMesh) => Promise<RunningPod>): Promise<RunningPod> {
    const made = this.#pods.get(name) ?? this.mesh().then(make);
    this.#pods.set(name, made);
    return made;
  }

  /** A server of everything, with an opaque and a skipped port. */
  web(): Promise<RunningPod> {
    return this.#once("web", (mesh) => mesh.mesh(server(mesh, "web", "web")));
  }

  /** Meshed, with an account of its own; in its container `tools` are programs of Debian. */
  client(account: "client" | "stranger" = "client"): Promise<RunningPod> {
    return this.#once(account, (mesh) => mesh.mesh(client(mesh, account)));
  }

  /** A client and server, meshed with flags of `tulle inject`. */
  serverWith(name: string, ...flags: string[]): Promise<RunningPod> {
    return this.#once(name, (mesh) => mesh.mesh(server(mesh, name, name), { flags }));
  }

  redis(): Promise<RunningPod> {
    return this.#once("redis", (mesh) =>
      mesh.mesh(mesh.pod("redis", {
        namespace: "shop",
        account: "web",
        container: {
          image: baseImage("apps"),
          command: ["/usr/bin/redis-server"],
          args: ["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/tmp"],
          ports: [{ containerPort: 6379 }],
        },
      })));
  }

  /** What a client is answered by a server of the suite. */
  async get(from: RunningPod, url: string, ...headers: string[]): Promise<Seen> {
    const { status, text, error } = await (await this.mesh()).ask(from, "http", url, ...headers);
    assert.is(status, 200, `${url}: ${String(error ?? text)}`);
    return JSON.parse(String(text)) as Seen;
  }

  /** Runs something, and gives what went between two pods meanwhile. */
  async wire(a: RunningPod, b: RunningPod, during: () => Promise<unknown>): Promise<Flow[]> {
    const capture = await (await this.mesh()).capture();
    let flows: readonly Flow[] = [];
    try {
      await during();
    } finally {
      flows = await capture.stop();
    }
    const ends = (pod: RunningPod) => [pod.ips[0], hexOf(pod.ips[1])];
    const [of, to] = [ends(a), ends(b)];
    return flows.filter((f) =>
      f.bytes.length > 0 &&
      ((of.includes(f.from) && to.includes(f.to)) || (to.includes(f.from) && of.includes(f.to)))
    );
  }
}

/** Every byte is TLS, and nothing of what applications said can be read. */
export function assertSealed(flows: readonly Flow[]): void {
  assert.ok(flows.length > 0, "nothing went over the bridge");
  for (const flow of flows) {
    assert.ok(isTls(flow), `${flow.from}:${flow.fromPort} to ${flow.to}:${flow.toPort} is not TLS`);
    assert.not.ok(flow.bytes.includes(SECRET), "the word can be read");
  }
}

/** The opposite, where traffic passes by the proxies. */
export function assertReadable(flows: readonly Flow[]): void {
  assert.ok(flows.some(({ bytes }) => bytes.includes(SECRET)), "the word cannot be read");
}

/** The sum of a metric's series whose labels have all of `labels`. */
export function sumOf(exposition: string, name: string, ...labels: string[]): number {
  return exposition.split("\n")
    .filter((line) => line.startsWith(`${name}{`) && labels.every((l) => line.includes(l)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** A server of the suite. */
export function server(mesh: PodMesh, name: string, app: string) {
  return mesh.pod(name, {
    namespace: "shop",
    account: "web",
    labels: { app },
    annotations: {
      "config.linkerd.io/opaque-ports": "9000",
      ...(app === "web" ? { "config.linkerd.io/skip-inbound-ports": "9101" } : {}),
    },
    container: {
      args: ["/apps/server.js"],
      ports: Object.values(PORTS).map(([, containerPort]) => ({ containerPort })),
      readinessProbe: { httpGet: { path: "/healthy", port: 8080 } },
      lifecycle: { preStop: { sleep: { seconds: 2 } } },
    },
  });
}

function client(mesh: PodMesh, account: string, name = account) {
  const pod = mesh.pod(name, { namespace: "shop", account });
  const tools = {
    name: "tools",
    image: baseImage("apps"),
    command: ["/bin/sleep"],
    args: ["infinity"],
  };
  return { ...pod, spec: { ...pod.spec, containers: [...pod.spec.containers, tools] } };
}

async function service(mesh: PodMesh, app: string): Promise<void> {
  const ports = app === "redis" ? { redis: [6379, 6379] } as const : PORTS;
  await mesh.registry.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: app,
      namespace: "shop",
      annotations: app === "redis" ? {} : { "config.linkerd.io/opaque-ports": "9000" },
    },
    spec: {
      selector: { app },
      ipFamilyPolicy: "PreferDualStack",
      ports: Object.entries(ports).map(([n, [port, targetPort]]) => ({
        name: n,
        port,
        targetPort,
      })),
    },
  });
}

function hexOf(ip: string): string {
  const [left = "", right = ""] = ip.split("::");
  const groups = (text: string) =>
    text.split(":").filter((g) => g !== "").map((g) => g.padStart(4, "0"));
  const [a, b] = [groups(left), groups(right)];
  return [...a, ...Array<string>(8 - a.length - b.length).fill("0000"), ...b].join("");
}
