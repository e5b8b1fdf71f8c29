// Certificates of real proxies, renewed by the identity service every second, while a tunnel and steady
// requests go on: nothing drops, and who connects sees the newest.

import net from "node:net";
import tls from "node:tls";
import { once } from "node:events";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { allow, pod, service, yaml } from "./support/objects.ts";
import { certify, type Material, TRANSPORT } from "./support/peer.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(146);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.1`, ports: [] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.2`, ports: [8080, 7070] };
const PORTS = [{ name: "http", port: 8080 }, { name: "tally", port: 7070, opaque: true }];
const HOST = "vote.shop.svc.cluster.local";
const EVERY_SECOND = {
  LINKERD2_PROXY_IDENTITY_MIN_REFRESH: "1s",
  LINKERD2_PROXY_IDENTITY_MAX_REFRESH: "1s",
};

let mesh: TestMesh;

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote", PORTS),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }, PORTS),
        ...allow("vote", "http", "HTTP/1", ["web"]),
        ...allow("vote", "tally", "opaque", ["web"]),
      ),
    },
    pods: [],
  });
  await Promise.all([WEB, VOTE].map((of) => mesh.startProxy(of, EVERY_SECOND)));
  await mesh.serve(VOTE.ip, 8080, () => ({ body: "counted" }));
  const echo = net.createServer((socket) => void socket.on("error", () => {}).pipe(socket));
  await new Promise<void>((resolve) => echo.listen(7070, VOTE.ip, resolve));
  mesh.onEnd(() => new Promise((resolve) => void echo.close(() => resolve())));
});
test.after(() => mesh?.end());

/** What the server's proxy shows to a client of the mesh that connects now. */
async function shown(material: Material): Promise<string> {
  const socket = tls.connect({
    host: VOTE.ip,
    port: 4143,
    servername: identityOf(VOTE),
    key: material.keyPem,
    cert: material.certPem,
    ca: material.anchorsPem,
    ALPNProtocols: [TRANSPORT],
    checkServerIdentity: () => undefined,
  });
  await once(socket, "secureConnect");
  const { raw } = socket.getPeerX509Certificate()!;
  socket.destroy();
  return Buffer.from(raw).toString("base64");
}

/** A tunnel through both proxies; `say` resolves when the echo has come. */
async function tunnel() {
  const socket = net.connect({ host: WEB.ip, port: 4140, localAddress: WEB.ip });
  let heard = "";
  let over = "";
  socket.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  for (const event of ["end", "error", "close"]) socket.on(event, () => over ||= event);
  socket.write(`CONNECT ${HOST}:7070 HTTP/1.1\r\nhost: ${HOST}:7070\r\n\r\n`);
  await eventually("the tunnel is open", () => assert.match(heard, /^HTTP\/1\.1 200 .*\r\n\r\n$/s));
  return {
    async say(text: string) {
      heard = "";
      socket.write(text);
      await eventually(`the echo of ${text}`, () => {
        assert.is(over, "");
        assert.is(heard, text);
      });
    },
    end: () => socket.destroy(),
  };
}

const renewals = async (of: MeshPod) =>
  sum(await mesh.metrics(of), "control_identity_cert_refreshes_total");

test("what is open and what comes crosses renewals of both proxies without a failure", async () => {
  const material = await certify(mesh, WEB);
  const line = await tunnel();
  const failures: string[] = [];
  let asked = 0;
  const certificates = new Set<string>();
  const from = { web: await renewals(WEB), vote: await renewals(VOTE) };
  await eventually("both were renewed twice", async () => {
    const { status, body } = await mesh.call(WEB, `http://${HOST}:8080/`);
    if (status !== 200 || body !== "counted") failures.push(`${status} ${body}`);
    asked++;
    await line.say(`line ${asked}.`);
    certificates.add(await shown(material));
    assert.ok(await renewals(WEB) >= from.web + 2);
    assert.ok(await renewals(VOTE) >= from.vote + 2);
    assert.ok(certificates.size >= 3);
  }, 60_000);
  assert.equal(failures, []);
  assert.ok(asked > 2);
  // A new tunnel is of new certificates on both sides.
  const fresh = await tunnel();
  await fresh.say("fresh");
  await line.say("still here");
  fresh.end();
  line.end();
});

test.run();
