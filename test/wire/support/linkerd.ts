// The peer as Linkerd's control plane: it says what tools/wire-peer/src/world.rs builds. Certificates are
// of a CA of the test, by whom each request for one is answered.

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createTestCa, derOf, type TestCa } from "../../support/test-ca.ts";
import { type Peer, startPeer } from "./peer.ts";

/** Where what it speaks of is; see `World` in world.rs. */
export interface Places {
  readonly v1: string;
  readonly v2: string;
  /** A pod with a proxy, and who it is. */
  readonly meshed: string;
  readonly identity: string;
  /** The identity that may see `/private`. */
  readonly admin: string;
}

/** One call to it, as it was read with Linkerd's types. */
export interface Asked {
  readonly asked: "Get" | "GetProfile" | "Watch" | "WatchPort" | "Certify";
  readonly [field: string]: string | number;
}

export class Linkerd {
  readonly ca: TestCa;
  /** `ip:port` of all its services. */
  readonly addr: string;
  readonly asked: Asked[] = [];
  readonly #peer: Peer;
  readonly #read: Promise<void>;
  #isEnding = false;

  private constructor(ca: TestCa, addr: string, peer: Peer) {
    this.ca = ca;
    this.addr = addr;
    this.#peer = peer;
    this.#read = this.#answer();
  }

  static async start(places: Places): Promise<Linkerd> {
    const ca = await createTestCa("identity.linkerd.cluster.local");
    const peer = startPeer("serve", JSON.stringify(places));
    return new Linkerd(ca, (await peer.heard()).listening, peer);
  }

  /** The endpoint of the Service `web` from now on. */
  move(to: string): void {
    this.#peer.tell({ move: to });
  }

  /** Calls of one kind. */
  of(kind: Asked["asked"]): Asked[] {
    return this.asked.filter((one) => one.asked === kind);
  }

  async #answer(): Promise<void> {
    while (!this.#isEnding) {
      const asked: Asked = await this.#peer.heard(null);
      this.asked.push(asked);
      if (asked.asked === "Certify") this.#peer.tell(await this.#certificate(asked));
    }
  }

  async #certificate(asked: Asked) {
    const csr = new x509.Pkcs10CertificateRequest(Buffer.from(String(asked["csr"]), "base64"));
    const untilMs = Date.now() + 86_400_000;
    const leaf = await this.ca.issue({
      publicKey: csr.publicKey,
      names: [{ type: "dns", value: String(asked["identity"]) }],
    });
    return {
      leaf: Buffer.from(derOf(leaf)).toString("base64"),
      intermediates: [Buffer.from(this.ca.der).toString("base64")],
      validUntil: Math.floor(untilMs / 1000),
    };
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    await this.#peer[Symbol.asyncDispose]();
    // The reading ends with the peer.
    await this.#read.catch(() => {});
  }
}
