// A small world under Linkerd's control plane, as the peer plays it: three pods with our proxies, and three
// applications of one protocol. Where a test's clients want to go is said as the kernel's redirect would.

import * as assert from "uvu/assert";
import { type App, ask2, type Got, serve, type Version } from "../../linkerd/support/apps.ts";
import { identityOf, podNet, startProxy, type TestProxy } from "../../linkerd/support/proxy.ts";
import { type Answer, ask } from "../../mesh/support/http.ts";
import { pause } from "../../mesh/support/waiting.ts";
import { Linkerd } from "./linkerd.ts";

/** The Services' cluster addresses. */
export const WEB = { addr: "10.9.0.1:8080", host: "web.test.svc.cluster.local" };
export const MESHED = { addr: "10.9.0.2:8080", host: "meshed.test.svc.cluster.local" };

/** A control plane, three pods and three applications of one protocol. */
export class World {
  readonly version: Version;
  readonly net: string;
  readonly apps: App[] = [];
  readonly proxies = new Map<string, TestProxy>();
  #linkerd: Linkerd | null = null;

  constructor(version: Version, half: number) {
    this.version = version;
    this.net = podNet(half);
  }

  get linkerd(): Linkerd {
    assert.ok(this.#linkerd);
    return this.#linkerd;
  }

  /** `env` is more environment of the proxies. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const answer = (body: string) => async ({ path, headers }: Got) => {
      if (path === "/slow") await pause(2000);
      return { body: `${body} ${path}`, headers: { "x-saw": JSON.stringify(headers) } };
    };
    const { net, version } = this;
    for (const [ip, body, port] of [[50, "v1", 0], [51, "v2", 0], [2, "meshed", 8080]] as const) {
      this.apps.push(await serve(`${net}.${ip}`, version, answer(body), port));
    }
    this.#linkerd = await Linkerd.start({
      v1: this.app(0),
      v2: this.app(1),
      meshed: this.app(2),
      identity: identityOf("web"),
      admin: identityOf("admin"),
    });
    for (const [ip, name] of [[2, "web"], [3, "admin"], [4, "other"]] as const) {
      this.proxies.set(name, await startProxy(this.linkerd, { ip: `${net}.${ip}`, name, env }));
    }
  }

  /** Where an application is: v1, v2, the meshed pod's. */
  app(index: 0 | 1 | 2): string {
    return this.apps[index]?.at ?? "";
  }

  proxy(name: string): TestProxy {
    const proxy = this.proxies.get(name);
    assert.ok(proxy, name);
    return proxy;
  }

  /** A request of a pod's application to a Service. */
  async request(
    from: string,
    to: { readonly addr: string; readonly host: string },
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const proxy = this.proxy(from);
    proxy.outbound = to.addr;
    if (this.version === "http1") return await proxy.get(path, { host: to.host, ...headers });
    return await ask2(proxy.outboundAt, { ...headOf(to.host, path), ...headers });
  }

  /** A request from elsewhere to a pod's inbound port, in clear text. */
  async fromOutside(path: string): Promise<number> {
    const proxy = this.proxy("web");
    proxy.inbound = `${proxy.ip}:8080`;
    const way = proxy.inboundAt;
    if (this.version === "http1") return (await ask({ ...way, agent: false, path })).status;
    return (await ask2(way, headOf(WEB.host, path))).status;
  }

  async end(): Promise<void> {
    for (const proxy of this.proxies.values()) await proxy.end();
    for (const app of this.apps) await app.close();
    await this.#linkerd?.close();
  }
}

function headOf(authority: string, path: string) {
  return { ":method": "GET", ":path": path, ":authority": authority, ":scheme": "http" };
}
