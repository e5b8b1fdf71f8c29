// What most tests of this folder need: a control plane, one proxy, and Services that it knows, each with
// a cluster address and a name of its own. Everything ends together.

import type { Answer } from "../../mesh/support/http.ts";
import { ask } from "../../mesh/support/http.ts";
import type { App, Got, Says, Version } from "./apps.ts";
import { ask2, serve } from "./apps.ts";
import { ControlPlane } from "./control-plane.ts";
import { add, policy, profile } from "./messages.ts";
import { podNet, type PodOptions, startProxy, type TestProxy } from "./proxy.ts";

/** How a client speaks: with a path, a whole URL, or over HTTP/2. */
export type Dialect = "HTTP/1" | "HTTP/1 with whole URLs" | "HTTP/2";
export const DIALECTS: readonly Dialect[] = ["HTTP/1", "HTTP/1 with whole URLs", "HTTP/2"];

export function versionOf(dialect: Dialect): Version {
  return dialect === "HTTP/2" ? "http2" : "http1";
}

/** A Service as the control plane knows it. */
export interface Service {
  /** `name.test.svc.cluster.local`. */
  readonly name: string;
  /** With its port: the destination's path. */
  readonly path: string;
  /** The address that clients connect to. */
  readonly clusterAddr: string;
}

export class World {
  readonly control: ControlPlane;
  readonly proxy: TestProxy;
  readonly net: string;
  readonly #ends: (() => Promise<unknown>)[] = [];
  #services = 0;

  private constructor(control: ControlPlane, proxy: TestProxy, net: string) {
    this.control = control;
    this.proxy = proxy;
    this.net = net;
  }

  /** `half` is the test file's own; see `podNet`. */
  static async start(half: number, more: Partial<PodOptions> = {}): Promise<World> {
    const control = await ControlPlane.start();
    const net = podNet(half);
    try {
      const proxy = await startProxy(control, { ip: `${net}.2`, name: "web", ...more });
      return new World(control, proxy, net);
    } catch (e) {
      await control.close();
      throw e;
    }
  }

  /** Runs with `end`, the newest first. */
  onEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  /** A name and a cluster address; the control plane is told nothing yet. */
  named(label: string): Service {
    const n = ++this.#services;
    const name = `${label}-${n}.test.svc.cluster.local`;
    return { name, path: `${name}:8080`, clusterAddr: `10.9.0.${n}:8080` };
  }

  /** A Service that the control plane knows, with these endpoints. */
  service(label: string, ...endpoints: readonly string[]): Service {
    const service = this.named(label);
    this.know(service);
    if (endpoints.length > 0) this.control.get.at(service.path).set(add(endpoints));
    return service;
  }

  /** Tells the profile and the policy of a plain Service. */
  know(service: Service): void {
    this.control.profile.at(service.clusterAddr).set(profile(service.name));
    this.control.outbound.at(service.clusterAddr).set(policy(service.path));
  }

  /** An application at an address of its own. */
  async app(
    version: Version,
    answer: string | ((got: Got) => Says | Promise<Says>),
    ip = `${this.net}.50`,
    port = 0,
  ): Promise<App> {
    const app = await serve(ip, version, answer, port);
    this.onEnd(() => app.close());
    return app;
  }

  /** A request to a Service, or to an address, as an application behind the redirect makes it. */
  async ask(
    dialect: Dialect,
    service: Pick<Service, "name" | "clusterAddr">,
    path = "/",
    o: { headers?: Readonly<Record<string, string>>; method?: string; body?: string } = {},
  ): Promise<Answer> {
    const { headers = {}, method = "GET", body = "" } = o;
    this.proxy.outbound = service.clusterAddr;
    const way = this.proxy.outboundAt;
    if (dialect === "HTTP/2") {
      const pseudo = {
        ":method": method,
        ":path": path,
        ":authority": service.name,
        ":scheme": "http",
      };
      return await ask2(way, { ...pseudo, ...headers }, body);
    }
    return await ask({
      ...way,
      agent: false,
      method,
      path: dialect === "HTTP/1" ? path : `http://${service.name}${path}`,
      headers: {
        host: service.name,
        ...(body === "" || "transfer-encoding" in headers
          ? {}
          : { "content-length": String(body.length) }),
        ...headers,
      },
    }, body);
  }

  async end(): Promise<void> {
    try {
      await this.proxy.end();
    } finally {
      for (const end of this.#ends.splice(0).reverse()) await end();
      await this.control.close();
    }
  }
}
