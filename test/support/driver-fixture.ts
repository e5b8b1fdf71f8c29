// A portable driver with a listener that echoes, with or without mesh TLS, and one exchange with it.

import type { Chan, ChanError, ConnectTo, Core, Peer } from "../../src/core/driver.ts";
import { MeshTls, TRANSPORT_ALPN } from "../../src/runtime/mesh-tls.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import type { Listener } from "../../src/core/listen.ts";
import { listen } from "../../src/runtime/net-listener.ts";
import { createTestCa, keyObject, newKeys, type TestCa } from "./test-ca.ts";

const LOOP = { ip: "127.0.0.1", port: 0 };

/** PEM material for a name. */
export async function material(
  ca: TestCa,
  name: string,
  anchors = ca,
): Promise<{ certPem: string; keyPem: string; anchorsPem: string; serverName: string }> {
  const keys = await newKeys();
  const cert = await ca.issue({ publicKey: keys.publicKey, names: [{ type: "dns", value: name }] });
  const key = (await keyObject(keys)).export({ type: "pkcs8", format: "pem" }).toString();
  return {
    certPem: cert.toString("pem") + "\n",
    keyPem: key,
    anchorsPem: anchors.pem,
    serverName: name,
  };
}

/** Echoes, and remembers its peers. */
export function echo(driver: NetDriver, peers: Peer[]): (ch: Chan, peer: Peer) => Core {
  return (_ch, peer) => {
    peers.push(peer);
    return {
      opened() {},
      feed(ch, buf, from, to) {
        if (!driver.send(ch, buf, from, to)) driver.pause(ch);
        return to - from;
      },
      writable: (ch) => driver.resume(ch),
      ended: (ch) => driver.close(ch, "flush"),
      closed() {},
    };
  };
}

/** Connects, sends, and resolves with what came back until the end, or with why it failed. */
export function exchange(
  driver: NetDriver,
  to: ConnectTo,
  data: Uint8Array,
): Promise<{ got: Uint8Array; why: ChanError | null; peer: Peer | null }> {
  return new Promise((resolve) => {
    const pieces: Uint8Array[] = [];
    let peer: Peer | null = null;
    let at = 0;
    let ended = false;
    const finish = (why: ChanError | null) => {
      if (ended) return;
      ended = true;
      resolve({ got: Buffer.concat(pieces), why, peer });
    };
    const push = (ch: Chan) => {
      while (at < data.length) {
        const to = Math.min(data.length, at + 30_000);
        const ready = driver.send(ch, data, at, to);
        at = to;
        if (!ready) return;
      }
      driver.shutdown(ch);
    };
    driver.connect(to, {
      opened(ch) {
        peer = driver.peer(ch);
        push(ch);
      },
      feed(_ch, buf, from, to) {
        pieces.push(buf.slice(from, to));
        return to - from;
      },
      writable: push,
      ended(ch) {
        driver.close(ch, "flush");
        finish(null);
      },
      closed: (_ch, why) => finish(why),
    });
  });
}

export interface Fixture {
  readonly driver: NetDriver;
  readonly listener: Listener;
  readonly peers: Peer[];
  readonly refused: string[];
  readonly plain: (more?: Partial<ConnectTo>) => ConnectTo;
  readonly ca: TestCa;
  readonly mesh: MeshTls;
  close(): Promise<void>;
}

export async function fixture(withTls: boolean): Promise<Fixture> {
  const ca = await createTestCa();
  const mesh = new MeshTls();
  if (withTls) mesh.update(await material(ca, "server.test"));
  const driver = new NetDriver(mesh);
  driver.onDefect = (e) => {
    throw e;
  };
  const peers: Peer[] = [];
  const refused: string[] = [];
  const listener = await listen(driver, {
    at: LOOP,
    mesh: withTls ? mesh : null,
    anyName: false,
    detectMs: 200,
    accept: echo(driver, peers),
    refused: (why, detail) => refused.push(`${why}: ${detail}`),
  });
  const plain = (more: Partial<ConnectTo> = {}): ConnectTo => ({
    addr: listener.addr,
    from: null,
    timeoutMs: 2000,
    tls: null,
    ...more,
  });
  return {
    driver,
    listener,
    peers,
    refused,
    plain,
    ca,
    mesh,
    async close() {
      driver.destroy();
      await listener.close();
    },
  };
}

export const MESH = { serverName: "server.test", identity: "server.test", alpn: TRANSPORT_ALPN };
