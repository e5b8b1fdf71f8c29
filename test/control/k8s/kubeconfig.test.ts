import { test } from "uvu";
import * as assert from "uvu/assert";
import { credentialsOf } from "../../../src/control/k8s/credentials.ts";
import { inCluster, readKubeconfig } from "../../../src/control/k8s/kubeconfig.ts";
import { openKube } from "../../../src/control/k8s/open.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const config = (user: string, cluster = "certificate-authority: ca.crt") => `
apiVersion: v1
kind: Config
current-context: main
contexts:
  - { name: main, context: { cluster: c, user: u } }
  - { name: bare, context: { cluster: c } }
clusters:
  - name: c
    cluster: { server: "https://10.0.0.1:6443/", ${cluster} }
users:
  - name: u
    user: ${user}
`;
const read = (text: string, context: string | null = null) =>
  readKubeconfig({ text, path: "config", context, resolve: (path) => `/home/${path}` });

/** A machine of a few files and one program. */
function machine(files: Record<string, string>, program: () => string = () => "") {
  const clock = new FakeClock();
  const ran: { command: string; args: readonly string[]; env: Record<string, string> }[] = [];
  return {
    clock,
    ran,
    files,
    read(path: string) {
      const text = files[path];
      return text === undefined
        ? Promise.reject(new Error(`Cannot read ${path}: no such file`))
        : Promise.resolve(new TextEncoder().encode(text));
    },
    execute(
      what: { command: string; args: readonly string[]; env: Readonly<Record<string, string>> },
    ) {
      ran.push({ ...what, env: { ...what.env } });
      return Promise.resolve().then(program);
    },
  };
}

test("a kubeconfig says which server, and as whom", () => {
  const access = read(config("{ token: abc }"));
  assert.is(access.server, "https://10.0.0.1:6443");
  assert.equal(access.ca, { data: null, file: "/home/ca.crt" });
  assert.is(access.user.token, "abc");
  const inline = read(
    config(
      `{ client-certificate-data: ${btoa("CERT")}, client-key: key.pem }`,
      `certificate-authority-data: ${btoa("CA")}, tls-server-name: kubernetes`,
    ),
  );
  assert.equal([inline.ca.data, inline.serverName], ["CA", "kubernetes"]);
  assert.equal(inline.user.certificate, { data: "CERT", file: null });
  assert.equal(inline.user.key, { data: null, file: "/home/key.pem" });
  assert.is(read(config("{ token: abc }"), "bare").user.token, null);
});

test("a pod is its service account, by IPv4 and IPv6", () => {
  assert.is(inCluster("10.96.0.1", "443").server, "https://10.96.0.1");
  assert.is(inCluster("fd00::1", "6443").server, "https://[fd00::1]:6443");
  const { user, ca } = inCluster("10.96.0.1", "443");
  assert.is(user.tokenFile, "/var/run/secrets/kubernetes.io/serviceaccount/token");
  assert.is(ca.file, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
  assert.throws(() => inCluster("a b", "443"), /KUBERNETES_SERVICE_HOST and _PORT/);
});

test("what is wrong with a kubeconfig is one line that names the field and no secret", () => {
  const cases: [string, string | null, RegExp][] = [
    ["{", null, /is not YAML/],
    ["{}", null, /has no current-context: name one with --context/],
    [config("{}"), "other", /contexts: has none named "other"/],
    [config("{}", "insecure-skip-tls-verify: true"), null, /insecure-skip-tls-verify: is not supp/],
    [config("{}", "proxy-url: x"), null, /clusters\[0\]\.cluster\.proxy-url: is not supported/],
    [config("{}").replace("https", "http"), null, /server: is not an https: URL/],
    [config("{ username: a, password: s3cret }"), null, /username: is not supported: use a token/],
    [config("{ client-key-data: c2VjcmV0 }"), null, /has only one of client-certificate and/],
    [config("{ token: [s3cret] }"), null, /users\[0\]\.user\.token: is not text/],
    [config("{ client-key-data: 's3cret!' }"), null, /client-key-data: is not base64/],
    [config("{ exec: { command: x, apiVersion: v0 } }"), null, /apiVersion: is "v0", not one of/],
    [
      config(
        "{ exec: { command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always } }",
      ),
      null,
      /interactiveMode: is Always/,
    ],
  ];
  for (const [text, context, why] of cases) {
    try {
      read(text, context);
      assert.unreachable(text);
    } catch (e) {
      const { message } = e as Error;
      assert.match(message, /^The kubeconfig config cannot be used: /);
      assert.match(message, why);
      assert.not.match(message, /s3cret|\n/);
    }
  }
});

test("a token file is read before each request, and must hold a token", async () => {
  const host = machine({ "/home/token": "one\n" });
  const credentials = credentialsOf(read(config("{ tokenFile: token }")).user, host);
  assert.is((await credentials.current()).token, "one");
  host.files["/home/token"] = "two";
  assert.is((await credentials.current()).token, "two");
  for (const bad of ["", "a b", "a\r\nx: y"]) {
    host.files["/home/token"] = bad;
    const why = await credentials.current().then(() => "", (e: Error) => e.message);
    assert.is(why, "/home/token does not hold a token");
  }
});

test("a certificate comes from data or files", async () => {
  const host = machine({ "/home/k": "KEY" });
  const { user } = read(config(`{ client-certificate-data: ${btoa("CERT")}, client-key: k }`));
  assert.equal(await credentialsOf(user, host).current(), {
    token: null,
    certificate: { cert: "CERT", key: "KEY" },
  });
});

test("an exec plugin is run once, again when its token ends, and when it was refused", async () => {
  let count = 0;
  const host = machine({}, () => {
    const ends = new Date(host.clock.wall() + 60_000).toISOString();
    const status = { token: `t${++count}`, expirationTimestamp: ends };
    return JSON.stringify({
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status,
    });
  });
  const exec =
    `{ apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, args: [a, b], env: [{ name: X, value: y }], provideClusterInfo: true }`;
  const credentials = credentialsOf(read(config(`{ exec: ${exec} }`)).user, host);
  const both = await Promise.all([credentials.current(), credentials.current()]);
  assert.equal(both.map((c) => c.token), ["t1", "t1"]);
  assert.is(host.ran.length, 1);
  assert.equal([host.ran[0]?.command, host.ran[0]?.args], ["/home/./bin/login", ["a", "b"]]);
  assert.is(host.ran[0]?.env["X"], "y");
  assert.equal(JSON.parse(host.ran[0]?.env["KUBERNETES_EXEC_INFO"] ?? ""), {
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    spec: { interactive: false, cluster: { server: "https://10.0.0.1:6443/" } },
  });
  host.clock.advance(49_999);
  assert.is((await credentials.current()).token, "t1");
  host.clock.advance(1);
  assert.is((await credentials.current()).token, "t2");
  credentials.refused();
  assert.is((await credentials.current()).token, "t3");
});

test("an exec plugin that fails is one line, with its hint and without its output", async () => {
  let output = "";
  const host = machine({}, () => output);
  const exec =
    "{ apiVersion: client.authentication.k8s.io/v1, command: login, installHint: get it }";
  const credentials = credentialsOf(read(config(`{ exec: ${exec} }`)).user, host);
  const why = () => credentials.current().then(() => "", (e: Error) => e.message);
  const credential = (status: unknown) =>
    JSON.stringify({
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status,
    });
  for (
    const [text, expected] of [
      ["s3cret", /login did not write JSON$/],
      ["{}", /did not write an ExecCredential of client/],
      [credential({}), /gave neither token nor certificate$/],
      [credential({ clientCertificateData: "s3cret" }), /gave half of a certificate and key$/],
      [credential({ token: "s3cret\n" }), /gave a token that is none$/],
      [credential({ token: "s3cret", expirationTimestamp: "x" }), /expirationTimestamp that is no/],
    ] as const
  ) {
    output = text;
    assert.match(await why(), expected);
    assert.not.match(await why(), /s3cret/);
  }
  host.execute = () => Promise.reject(new Error("login is not installed"));
  assert.is(await why(), "The credential plugin login is not installed (get it)");
});

test("openKube() takes the named file, else the pod, else what kubectl would read", async () => {
  const connected: unknown[] = [];
  const open = (
    env: Record<string, string>,
    files: Record<string, string>,
    kubeconfig: string | null = null,
  ) =>
    openKube({ kubeconfig, context: null }, {
      ...machine(files),
      env: new Map(Object.entries(env)),
      resolve: (folder, path) =>
        path.startsWith("/") ? path : `${folder}/${path}`.replace("./", "/"),
      folderOf: (path) => path.slice(0, path.lastIndexOf("/")),
      connect: (tls) => {
        connected.push(tls);
        throw new Error("not in this test");
      },
    });
  const pod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const files = {
    "/home/me/.kube/config": config("{ token: a }"),
    "/home/me/.kube/ca.crt": "CA",
    "/x": config("{ token: b }", `certificate-authority-data: ${btoa("X")}`).replace(
      "10.0.0.1",
      "x",
    ),
    "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt": "POD CA",
  };
  const home = { HOME: "/home/me" };
  const server = async (...of: Parameters<typeof open>) => (await open(...of)).server;
  assert.is(await server(home, files), "https://10.0.0.1:6443");
  assert.is(await server({ ...home, ...pod }, files), "https://10.96.0.1");
  assert.is(await server({ ...home, ...pod }, files, "/x"), "https://x:6443");
  assert.is(await server({ ...home, KUBECONFIG: "/none:/x" }, files), "https://x:6443");
  const why = await server({ HOME: "/nobody" }, files).catch((e: Error) => e.message);
  assert.match(why, /^There is no API server to read: this is no pod .*nobody.*no such file$/);
  // The CA is what the connection is made with.
  const { api } = await open(home, files);
  await api.request({ path: "/" }).catch(() => {});
  assert.equal(connected, [{ ca: "CA" }]);
});

test.run();
