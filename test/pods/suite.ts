// The tests of meshed pods, the same for each way to write rules and each runtime of the proxy.

import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { tlsVersion } from "./capture.ts";
import { type MeshOptions, NO_PODS } from "./mesh.ts";
import { assertReadable, assertSealed, SECRET, server, Stage, sumOf } from "./stage.ts";

const idOf = (account: string) => `${account}.shop.serviceaccount.identity.linkerd.cluster.local`;

/** Registers and runs them. */
export function meshedPods(options: MeshOptions): void {
  const stage = new Stage(options);
  const of = (what: string) =>
    `${options.mode} rules, proxies on ${options.image}, ${
      options.source ?? "API server"
    }: ${what}`;
  const check = (what: string, body: () => Promise<void>) =>
    testUnless(NO_PODS, test, of(what), body);
  test.after(() => stage.close());

  check("what install prints runs as pods that are meshed themselves", async () => {
    const mesh = await stage.mesh();
    // without an API server nobody asks an injector
    const injector = mesh.registry.hasAdmission ? ["proxy-injector"] : [];
    assert.equal([...mesh.plane.keys()], ["identity", "destination", ...injector]);
    const web = await stage.web();
    const { initContainers = [], containers } = web.pod.spec;
    assert.equal(initContainers.map((c) => c.name), ["linkerd-init", "linkerd-proxy"]);
    assert.equal(containers.map((c) => c.name), ["app"]);
    assert.match(await web.logs("linkerd-init"), options.mode === "auto" ? /./ : options.mode);
  });

  check("an application is told nothing, and its proxy what the injector wrote", async () => {
    const web = await stage.web();
    const app = (await web.inspect("app")).Config.Env.join("\n");
    assert.not.match(app, /proxy|linkerd|tulle|4140|4143/i);
    const { env = [] } = web.pod.spec.initContainers?.[1] ?? {};
    const given = new Set((await web.inspect("linkerd-proxy")).Config.Env);
    for (const { name, value } of env) {
      if (value === undefined || value.includes("$(")) {
        assert.ok([...given].some((entry) => entry.startsWith(`${name}=`)), name);
      } else assert.ok(given.has(`${name}=${value}`), name);
    }
    assert.ok(given.has(`LINKERD2_PROXY_IDENTITY_LOCAL_NAME=${idOf("web")}`));
  });

  check("a proxy has no rights, no root and a system call filter", async () => {
    const web = await stage.web();
    const { State, Config, HostConfig } = await web.inspect("linkerd-proxy");
    assert.is(Config.User.split(":")[0], "2102");
    assert.is(HostConfig.ReadonlyRootfs, true);
    const status = await readFile(`/proc/${State.Pid}/status`, "utf8");
    assert.match(status, /^Uid:\t2102\t2102\t2102\t2102$/m);
    for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) {
      assert.match(status, new RegExp(`^Cap${set}:\t0{16}$`, "m"));
    }
    assert.match(status, /^NoNewPrivs:\t1$/m);
    // podman's own profile is what a runtime's default is
    assert.match(status, /^Seccomp:\t2$/m);
    assert.not.match(HostConfig.SecurityOpt.join(), /unconfined/);
    const write = "require('fs').writeFileSync('/app/x', '')";
    const tried = await web.exec("linkerd-proxy", "/usr/local/bin/node", "-e", write);
    assert.match(tried.stderr, /EROFS/);
    const command = await readFile(`/proc/${State.Pid}/cmdline`, "utf8");
    assert.match(command, new RegExp(`^/usr/local/bin/${options.image}\0`));
  });

  check("HTTP/1 between pods is TLS 1.3 on the wire, and arrives with who asked", async () => {
    const [client, web] = [await stage.client(), await stage.web()];
    const flows = await stage.wire(client, web, async () => {
      const seen = await stage.get(client, `http://web/${SECRET}`, `x-word:${SECRET}`);
      assert.is(seen.pod, "web");
      assert.is(seen.version, "1.1");
      assert.is(seen.path, `/${SECRET}`);
      assert.is(seen.headers["l5d-client-id"], idOf("client"));
    });
    assertSealed(flows);
    // a handshake that the client began, by either family
    const asked = flows.filter((f) => f.bytes[0] === 22 && f.bytes[5] === 1);
    assert.ok(asked.length > 0, "no handshake was seen");
    for (const { fromPort, toPort } of asked) {
      const answer = flows.find((f) => f.fromPort === toPort && f.toPort === fromPort);
      assert.ok(answer);
      assert.is(tlsVersion(answer), 0x0304);
    }
    // without a mesh it can be read: the capture sees what there is to be seen
    const { outside } = await stage.mesh();
    assertReadable(
      await stage.wire(outside, web, async () => {
        const seen = await stage.get(outside, `http://${web.ip}:8080/${SECRET}`);
        assert.is(seen.headers["l5d-client-id"], undefined);
      }),
    );
  });

  check("both proxies count a request with the other's identity", async () => {
    const [client, web] = [await stage.client(), await stage.web()];
    await stage.get(client, "http://web/counted");
    const out = await client.metrics();
    assert.ok(
      sumOf(out, "request_total", 'direction="outbound"', `server_id="${idOf("web")}"`) > 0,
      out.split("\n").filter((l) => l.startsWith("request_total")).join("\n"),
    );
    const into = await web.metrics();
    assert.ok(
      sumOf(into, "request_total", 'direction="inbound"', `client_id="${idOf("client")}"`) > 0,
      into.split("\n").filter((l) => l.startsWith("request_total")).join("\n"),
    );
  });

  check("the control plane reads the figures of proxies in pods", async () => {
    const [mesh, web] = [await stage.mesh(), await stage.web()];
    await stage.client();
    const script = "fetch('http://127.0.0.1:9996/api/proxies').then(async (r) => " +
      "console.log(await r.text()))";
    let shown = "";
    await until(async () => {
      const plane = mesh.plane.get("destination");
      const asked = await plane?.exec("destination", "/usr/local/bin/node", "-e", script);
      shown = asked?.stdout ?? "";
      const { proxies } = JSON.parse(shown) as { proxies: { id: string; state: string }[] };
      return proxies.find(({ id }) => id === `shop/${web.name}`)?.state === "up";
    }, "the server's proxy is up").catch((e) => assert.unreachable(`${e} ${shown}`));
  });

  check("HTTP/2, gRPC with streams and errors, and WebSocket arrive, sealed", async () => {
    const [mesh, client, web] = [await stage.mesh(), await stage.client(), await stage.web()];
    const flows = await stage.wire(client, web, async () => {
      const h2 = await mesh.ask(client, "h2", `http://web:8081/${SECRET}`);
      assert.is(h2["status"], 200, JSON.stringify(h2));
      const seen = JSON.parse(String(h2["text"]));
      assert.is(seen.version, "2.0");
      assert.is(seen.headers["l5d-client-id"], idOf("client"));
      assert.equal(await mesh.ask(client, "grpc", "http://web:8082"), {
        text: "unary pods",
        trailer: "yes",
        repeated: ["0", "1", "2"],
        talked: ["re one", "re two"],
        failed: 5,
      });
      const heard = await mesh.ask(client, "ws", `ws://web/${SECRET}`);
      assert.equal(heard, { heard: ["echo first", "echo second"] });
    });
    assertSealed(flows);
  });

  check("a server that speaks first does not wait for its client", async () => {
    const [mesh, client, web] = [await stage.mesh(), await stage.client(), await stage.web()];
    const flows = await stage.wire(client, web, async () => {
      const said = await mesh.ask(client, "greet", "web", "7000");
      assert.is(said["greeting"], "220 web greets first", JSON.stringify(said));
      assert.is(said["answer"], "you said a secret word");
      // protocol detection would wait for ten seconds
      assert.ok(Number(said["greetedMs"]) < 8_000, `${said["greetedMs"]} ms`);
    });
    assertSealed(flows);
    assert.not.ok(flows.some(({ bytes }) => bytes.includes("greets first")));
  });

  check("Debian's redis is spoken to, sealed", async () => {
    const [client, redis] = [await stage.client(), await stage.redis()];
    const cli = (...words: string[]) =>
      client.exec("tools", "/usr/bin/redis-cli", "-h", "redis", ...words);
    const flows = await stage.wire(client, redis, async () => {
      const set = await cli("SET", "word", SECRET);
      assert.is(set.stdout.trim(), "OK", set.stderr);
      assert.is((await cli("GET", "word")).stdout.trim(), SECRET);
    });
    assertSealed(flows);
  });

  check("an opaque port is not looked into, and sealed", async () => {
    const [client, web] = [await stage.client(), await stage.web()];
    const flows = await stage.wire(client, web, async () => {
      const seen = await stage.get(client, `http://web:9000/${SECRET}`);
      assert.is(seen.headers["l5d-client-id"], undefined);
    });
    assertSealed(flows);
    assert.is(sumOf(await web.metrics(), "request_total", 'target_port="9000"'), 0);
  });

  check("skipped ports and subnets pass by the proxies", async () => {
    const web = await stage.web();
    const past = async (from: Awaited<ReturnType<typeof stage.web>>, url: string) => {
      const flows = await stage.wire(from, web, async () => {
        const seen = await stage.get(from, url);
        assert.is(seen.headers["l5d-client-id"], undefined, url);
      });
      assertReadable(flows);
    };
    // the server's side: nobody claims an identity for the port
    await past(await stage.client(), `http://web:9101/${SECRET}`);
    const ports = await stage.serverWith("skips-ports", "--skip-outbound-ports", "8080");
    await past(ports, `http://${web.ip}:8080/${SECRET}`);
    assert.is(sumOf(await ports.metrics(), "request_total", 'direction="outbound"'), 0);
    // what is not skipped is meshed all the same
    const seen = await stage.get(ports, "http://web:9000/");
    assert.is(seen.pod, "web");
    // a subnet is one of clients, as in Linkerd: what comes from there is nothing to the server's proxy
    const { outside } = await stage.mesh();
    const subnets = await stage.serverWith("skips-subnet", "--skip-subnets", `${outside.ip}/32`);
    const counted = async () =>
      sumOf(await subnets.metrics(), "request_total", 'direction="inbound"');
    const probed = await counted();
    await stage.get(outside, `http://${subnets.ip}:8080/${SECRET}`);
    assert.is(await counted(), probed);
    await stage.get(await stage.client(), `http://${subnets.ip}:8080/${SECRET}`);
    assert.is(await counted(), probed + 1);
  });

  check("IPv6 is redirected, resolved and sealed", async () => {
    const [mesh, client, web] = [await stage.mesh(), await stage.client(), await stage.web()];
    const service = mesh.registry.services().find((s) => s.metadata.name === "web");
    const ip = service?.spec.clusterIPs?.find((address) => address.includes(":"));
    assert.ok(ip, "the Service has no IPv6 address");
    const flows = await stage.wire(client, web, async () => {
      for (const url of [`http://[${ip}]/${SECRET}`, `http://[${web.ips[1]}]:8080/${SECRET}`]) {
        const seen = await stage.get(client, url);
        assert.is(seen.headers["l5d-client-id"], idOf("client"), url);
      }
    });
    assertSealed(flows);
    assert.ok(flows.some(({ from }) => from.length === 32), "nothing went over IPv6");
  });

  check(
    "a policy lets one account in, refuses another with 403 and a closed connection",
    async () => {
      const [mesh, web] = [await stage.mesh(), await stage.web()];
      const [client, stranger] = [await stage.client(), await stage.client("stranger")];
      for (const [name, port, protocol] of [["http", 8085, "HTTP/1"], ["tcp", 8086, "opaque"]]) {
        await mesh.registry.apply({
          apiVersion: "policy.linkerd.io/v1beta3",
          kind: "Server",
          metadata: { name: `guarded-${name}`, namespace: "shop" },
          spec: { podSelector: { matchLabels: { app: "web" } }, port, proxyProtocol: protocol },
        });
        await mesh.registry.apply({
          apiVersion: "policy.linkerd.io/v1alpha1",
          kind: "AuthorizationPolicy",
          metadata: { name: `guarded-${name}`, namespace: "shop" },
          spec: {
            targetRef: { group: "policy.linkerd.io", kind: "Server", name: `guarded-${name}` },
            requiredAuthenticationRefs: [
              { group: "policy.linkerd.io", kind: "MeshTLSAuthentication", name: "client" },
            ],
          },
        });
      }
      await mesh.registry.apply({
        apiVersion: "policy.linkerd.io/v1alpha1",
        kind: "MeshTLSAuthentication",
        metadata: { name: "client", namespace: "shop" },
        spec: { identities: [idOf("client")] },
      });
      const status = async (from: typeof web) =>
        (await mesh.ask(from, "http", "http://web:8085/"))["status"];
      await until(async () => await status(stranger) === 403, "the stranger is refused");
      await until(async () => await status(client) === 200, "the client is let in");
      assert.is((await mesh.ask(client, "say", "web", "8086"))["answer"], "you said a secret word");
      const refused = await mesh.ask(stranger, "say", "web", "8086");
      assert.match(String(refused["error"]), /closed|ECONNRESET|ECONNREFUSED|EPIPE/);
      // and nobody without a proxy
      const outside = mesh.outside;
      const without = await mesh.ask(outside, "http", `http://${web.ip}:8085/`);
      assert.is(without["status"], 403, JSON.stringify(without));
      const counted = await web.metrics();
      assert.ok(
        sumOf(counted, "inbound_http_authz_deny_total", `client_id="${idOf("stranger")}"`) > 0,
      );
      assert.ok(sumOf(counted, "inbound_tcp_authz_deny_total") > 0);
    },
  );

  check("a filter changes headers both ways", async () => {
    const [mesh, client, web] = [await stage.mesh(), await stage.client(), await stage.web()];
    const folder = new URL("../../filters/build/", import.meta.url);
    const { "header-modifier": sha256 } = JSON.parse(
      await readFile(new URL("digests.json", folder), "utf8"),
    );
    await mesh.registry.apply({
      apiVersion: "tulle.dev/v1alpha1",
      kind: "WasmFilter",
      metadata: { name: "headers", namespace: "shop" },
      spec: {
        targetRef: { kind: "Service", name: "web" },
        module: { sha256 },
        config: { requestSet: { "x-asked-by": "a filter" }, responseSet: { "x-filtered": "yes" } },
        failurePolicy: "Open",
      },
    });
    const wasm = await readFile(new URL("header-modifier.wasm", folder));
    await until(async () => (await mesh.rollOut("headers", wasm)) === 200, "the module is taken");
    await until(async () => {
      const { headers } = await mesh.ask(client, "http", "http://web/");
      return (headers as Record<string, string>)["x-filtered"] === "yes";
    }, "the filter runs");
    assert.is((await stage.get(client, "http://web/")).headers["x-asked-by"], "a filter");
    assert.is(web.isReady, true);
  });

  check("a server is replaced while requests run, and none fails", async () => {
    const [mesh, client] = [await stage.mesh(), await stage.client()];
    const first = await mesh.mesh(server(mesh, "front-1", "front"));
    const running = mesh.ask(client, "load", "http://front/", "/apps/stop");
    const served = (pod: typeof first) =>
      until(
        async () =>
          sumOf(
            await pod.metrics(),
            "request_total",
            'direction="inbound"',
            'target_port="8080"',
            `client_id="${idOf("client")}"`,
          ) > 20,
        `${pod.name} serves`,
      );
    await served(first);
    const second = await mesh.mesh(server(mesh, "front-2", "front"));
    await served(second);
    await first.stop();
    const before = sumOf(await second.metrics(), "request_total", 'direction="inbound"');
    await until(
      async () =>
        sumOf(await second.metrics(), "request_total", 'direction="inbound"') > before + 20,
      "the new one serves alone",
    );
    await mesh.endLoad();
    const { requests, pods, failures } = await running;
    assert.equal(failures, [], `of ${requests}`);
    assert.equal(Object.keys(pods as object).sort(), ["front-1", "front-2"]);
    await second.kill();
  });
}

/** Waits for a condition, with room for a machine that others share. */
export async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 60_000;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((again) => setTimeout(again, 150));
  }
}
