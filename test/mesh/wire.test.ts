// What goes over the wire between two proxies, recorded byte by byte, and who is let in there: real
// processes, a relay between them, and peers that are not who they say.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import type { Seen } from "./support/http.ts";
import { allow, pod, service, yaml } from "./support/objects.ts";
import {
  certify,
  forge,
  type Material,
  sendMeshed,
  sendPlain,
  serveMeshed,
  TRANSPORT,
} from "./support/peer.ts";
import { type Relay, startRelay } from "./support/relay.ts";
import {
  APPLICATION_DATA,
  CHANGE_CIPHER_SPEC,
  clientHello,
  HANDSHAKE,
  recordsOf,
  serverHello,
} from "./support/tls-records.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(90);
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.1`, ports: [] };
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = {
  name: "catalogue",
  app: "catalogue",
  ip: `${NET}.3`,
  ports: [8080],
  inboundPort: 5143, // the relay is at 4143
};
/** Has no proxy: what listens there is up to each test. */
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.4`, ports: [8080] };
const URL_OF = (name: string) => `http://${name}.shop.svc.cluster.local:8080`;
const INBOUND = { ip: CATALOGUE.ip, port: 5143 };

/** One of its kind in each place where it could leak. */
const SECRETS = {
  path: `path-${crypto.randomUUID()}`,
  header: `header-${crypto.randomUUID()}`,
  body: `body-${crypto.randomUUID()}`,
  responseHeader: `response-header-${crypto.randomUUID()}`,
  responseBody: `response-body-${crypto.randomUUID()}`,
};

let mesh: TestMesh;
let relay: Relay;
const seen: Seen[] = [];

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("load", LOAD.ip, "load"),
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        pod("vote", VOTE.ip, "vote"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        ...service("vote", `${NET}.104`, { vote: VOTE.ip }),
        ...allow("catalogue", "http", "HTTP/1", ["web"]),
      ),
    },
    pods: [LOAD, WEB, CATALOGUE],
  });
  await mesh.serve(CATALOGUE.ip, 8080, (request) => {
    seen.push(request);
    return {
      headers: { "x-secret": SECRETS.responseHeader },
      body: `${SECRETS.responseBody} ${"x".repeat(20_000)}`,
    };
  });
  relay = await startRelay(CATALOGUE.ip, 4143, 5143);
  mesh.onEnd(() => relay.close());
});
test.after(() => mesh?.end());

test("a request and its response pass between proxies as ciphertext only", async () => {
  const answer = await mesh.call(WEB, `${URL_OF("catalogue")}/${SECRETS.path}`, {
    method: "POST",
    headers: { "x-secret": SECRETS.header },
    body: `${SECRETS.body} ${"y".repeat(20_000)}`,
  });
  // Both ends have every secret in clear text, so that the search below could find them.
  assert.is(answer.status, 200);
  assert.is(answer.headers["x-secret"], SECRETS.responseHeader);
  assert.ok(answer.body.startsWith(SECRETS.responseBody));
  const [request] = seen;
  assert.is(request?.path, `/${SECRETS.path}`);
  assert.is(request?.headers["x-secret"], SECRETS.header);
  assert.ok(request?.body.startsWith(SECRETS.body));

  const wires = relay.recordings();
  assert.is(wires.length, 1);
  const [wire] = wires;
  assert.ok(wire!.toServer.length > 20_000 && wire!.toClient.length > 20_000);
  for (const bytes of [wire!.toServer, wire!.toClient]) {
    for (const [where, secret] of Object.entries(SECRETS)) {
      assert.is(Buffer.from(bytes).indexOf(secret), -1, `the ${where} is readable`);
    }
    for (const word of ["HTTP/1.1", TRANSPORT + "\r\n", "l5d-", "x".repeat(40), "y".repeat(40)]) {
      assert.is(Buffer.from(bytes).indexOf(word), -1, `${word} is readable`);
    }
  }
});

test("the wire is TLS 1.3 from its first byte to its last", () => {
  const [wire] = relay.recordings();
  assert.is(wire!.toServer[0], HANDSHAKE);
  const toServer = recordsOf(wire!.toServer);
  const toClient = recordsOf(wire!.toClient);
  assert.is(serverHello(toClient).version, 0x0304);
  assert.ok([0x1301, 0x1302, 0x1303].includes(serverHello(toClient).cipherSuite));
  // In TLS 1.3 everything after the hellos is encrypted, the certificates too.
  for (const records of [toServer, toClient]) {
    const first = records.findIndex((r) => r.type !== HANDSHAKE);
    for (const { type } of records.slice(first)) {
      assert.ok(type === APPLICATION_DATA || type === CHANGE_CIPHER_SPEC, `record type ${type}`);
    }
  }
});

test("the ClientHello asks for the server's identity and for the transport protocol", () => {
  const [wire] = relay.recordings();
  const hello = clientHello(recordsOf(wire!.toServer));
  assert.is(hello.serverName, identityOf(CATALOGUE));
  assert.equal(hello.alpn, [TRANSPORT]);
  assert.equal(hello.versions.filter((v) => v <= 0x0304), [0x0304]);
});

test("the application is told who asks, and nobody can say it for another", async () => {
  seen.length = 0;
  const url = `${URL_OF("catalogue")}/who`;
  await mesh.call(WEB, url);
  await mesh.call(WEB, url, { headers: { "l5d-client-id": "admin.shop", "L5D-Client-Id": "x" } });
  assert.equal(seen.map((s) => s.headers["l5d-client-id"]), [identityOf(WEB), identityOf(WEB)]);
});

test("a client whose identity is not allowed gets 403, which is counted with its name", async () => {
  seen.length = 0;
  const before = await mesh.metrics(CATALOGUE);
  const answer = await mesh.call(LOAD, `${URL_OF("catalogue")}/forbidden`);
  assert.is(answer.status, 403);
  assert.is(seen.length, 0);
  const denied = { client_id: identityOf(LOAD), srv_name: "catalogue-http" };
  const after = await mesh.metrics(CATALOGUE);
  const name = "inbound_http_authz_deny_total";
  assert.is(sum(after, name, denied) - sum(before, name, denied), 1);
});

/** Bounces off the mesh port: nothing comes back, nothing is seen, and the refusal is counted. */
async function bounces(label: string, attempt: () => Promise<string>): Promise<void> {
  seen.length = 0;
  const name = "inbound_tcp_errors_total";
  const before = sum(await mesh.metrics(CATALOGUE), name, { error: label });
  assert.is(await attempt(), "");
  await eventually(`${name}{error="${label}"}`, async () => {
    assert.is(sum(await mesh.metrics(CATALOGUE), name, { error: label }), before + 1);
  });
  assert.is(seen.length, 0);
}

test("a plain connection to the mesh port is refused and counted", async () => {
  const way = { from: WEB.ip, ...INBOUND };
  await bounces("not meshed", () => sendPlain(way, "GET / HTTP/1.1\r\nhost: catalogue\r\n\r\n"));
});

test("a client is let in with the mesh's certificate, and refused with another's or none", async () => {
  const way = { from: WEB.ip, ...INBOUND };
  const name = identityOf(CATALOGUE);
  const anchors = mesh.control.trustAnchors;
  const send = (material: Material | null) => sendMeshed(way, name, material, anchors, "/raw");
  const good = await send(await certify(mesh, WEB));
  assert.match(good, /^HTTP\/1\.1 200 /);
  assert.is(seen.at(-1)?.headers["l5d-client-id"], identityOf(WEB));
  const other = await send(await certify(mesh, LOAD));
  assert.match(other, /^HTTP\/1\.1 403 /);
  assert.match(
    other,
    `l5d-proxy-error: ${identityOf(LOAD)} is not authorized on catalogue-http port 8080\r\n`,
  );
  const forged = await forge(identityOf(WEB), anchors);
  await bounces("identity", () => send(forged));
  await bounces("not meshed", () => send(null));
});

test("a server that is not who it should be gets nothing, and the caller is told", async () => {
  const url = `${URL_OF("vote")}/ballot`;
  const anchors = mesh.control.trustAnchors;
  /** What callers are told while a server with that certificate is there, once it was tried. */
  const answers = async (material: Material, status: number, why: string) => {
    const server = await serveMeshed(VOTE.ip, 4143, material, "counted");
    try {
      await eventually(`the caller hears: ${why}`, async () => {
        const answer = await mesh.call(WEB, url);
        const told = answer.headers["l5d-proxy-error"] ?? answer.body;
        assert.equal([answer.status, told.includes(why)], [status, true], told);
      });
      return server.received();
    } finally {
      await server.close();
    }
  };
  // Endpoints may change yet, so a request over HTTP/2 waits for one that is who it should be.
  const other = `the server is ${identityOf(CATALOGUE)}, not ${identityOf(VOTE)}`;
  assert.is(await answers(await certify(mesh, CATALOGUE), 504, other), 0);
  const unknown = "the server's certificate does not chain to the trust anchors";
  assert.is(await answers(await forge(identityOf(VOTE), anchors), 504, unknown), 0);
  // The same server with the right certificate is served: it was the identity.
  assert.ok(await answers(await certify(mesh, VOTE), 200, "counted") > 0);
});

test("no connection between proxies was plain text", async () => {
  for (const pod of [WEB, LOAD]) {
    const { proxy } = await mesh.stats(pod);
    assert.is(proxy.plaintextConnections, 0);
    assert.ok(proxy.mtlsConnections > 0);
  }
});

test.run();
