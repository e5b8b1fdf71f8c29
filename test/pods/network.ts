// A network of podman's for one mesh: both families of addresses, a bridge on the host to look at, no
// names. Everything is named after the process that made it, so that what a killed one left is removed
// by the next.

import { existsSync } from "node:fs";
import process from "node:process";
import { podman, run } from "./podman.ts";

const PREFIX = "tulle-pods-";
const PODS = "tulle-pod-";
/** Before the names of this process' pods. */
export const POD_PREFIX = `${PODS}${process.pid}-`;
/** Subnets that may be somebody else's. */
const TRIES = 20;

export class Network {
  readonly name = `${PREFIX}${process.pid}`;
  readonly #subnet: string;
  readonly #subnet6: string;
  /** Of the bridge, on the host. */
  readonly device: string;

  private constructor(subnet: string, subnet6: string, device: string) {
    this.#subnet = subnet;
    this.#subnet6 = subnet6;
    this.device = device;
  }

  static async create(): Promise<Network> {
    await removeOrphans();
    const name = `${PREFIX}${process.pid}`;
    for (let n = process.pid;; n++) {
      // never 0, which addresses have a shorter form for
      const third = 1 + n % 250;
      const [subnet, subnet6] = [`10.199.${third}`, `fd99:${third}:`];
      const subnets = ["--subnet", `${subnet}.0/24`, "--subnet", `${subnet6}:/64`];
      const create = ["network", "create", "--disable-dns", "--ipv6", ...subnets, name];
      const failed = await podman(...create).then(() => null, String);
      if (failed !== null && n > process.pid + TRIES) throw new Error(failed);
      if (failed !== null) continue;
      const [found] = JSON.parse(await podman("network", "inspect", name));
      return new Network(subnet, subnet6, String(found.network_interface));
    }
  }

  /** The host's address, once a pod runs. */
  get gateway(): string {
    return `${this.#subnet}.1`;
  }

  /** The `n`th pod's, from 2 on. */
  ips(n: number): [string, string] {
    return [`${this.#subnet}.${n}`, `${this.#subnet6}:${n}`];
  }

  async remove(): Promise<void> {
    await run(["podman", "network", "rm", "-f", this.name]);
  }
}

async function removeOrphans(): Promise<void> {
  const names = async (...args: string[]) =>
    (await podman(...args, "--format", "{{.Name}}")).split("\n");
  const orphans = (all: readonly string[], prefix: string) =>
    all.filter((name) => {
      const pid = name.startsWith(prefix) ? parseInt(name.slice(prefix.length), 10) : NaN;
      return !Number.isNaN(pid) && !existsSync(`/proc/${pid}`);
    });
  for (const pod of orphans(await names("pod", "ps"), PODS)) {
    await run(["podman", "pod", "rm", "-f", "-t", "0", pod]);
  }
  for (const network of orphans(await names("network", "ls"), PREFIX)) {
    await run(["podman", "network", "rm", "-f", network]);
  }
}
