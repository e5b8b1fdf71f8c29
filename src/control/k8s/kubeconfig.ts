// Which API server, and as whom: from a kubeconfig's text, or from what every pod is given. Reads no
// file itself; refuses in one line that names the field.

import { parse } from "yaml";
import { errorText } from "../../core/errors.ts";
import { Field, FieldError } from "../field.ts";

/** Data that is written out, or a file that holds it; both null: none. */
export interface DataOrFile {
  readonly data: string | null;
  readonly file: string | null;
}

/** A program that hands out credentials (client.authentication.k8s.io). */
export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint: string;
  /** What the program is told of the cluster, when it wants to know. */
  readonly cluster: { readonly server: string } | null;
}

export interface UserAccess {
  readonly token: string | null;
  readonly tokenFile: string | null;
  readonly certificate: DataOrFile;
  readonly key: DataOrFile;
  readonly exec: ExecPlugin | null;
}

export interface ClusterAccess {
  /** `https://host:port`, without a slash at its end. */
  readonly server: string;
  /** PEM; neither: the system's roots. */
  readonly ca: DataOrFile;
  /** Empty: the server's own. */
  readonly serverName: string;
  readonly user: UserAccess;
}

/** Where a pod finds its service account. */
export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

const NONE: DataOrFile = { data: null, file: null };
const EXEC_VERSIONS = [
  "client.authentication.k8s.io/v1",
  "client.authentication.k8s.io/v1beta1",
] as const;

/** As the pod's service account: `KUBERNETES_SERVICE_HOST` and `_PORT`, and the mounted folder. */
export function inCluster(host: string, port: string): ClusterAccess {
  const bare = host.includes(":") ? `[${host}]` : host;
  return {
    server: serverUrl(`https://${bare}:${port}`) ??
      fail(`KUBERNETES_SERVICE_HOST and _PORT are ${bare}:${port}, not an address`),
    ca: { data: null, file: `${SERVICE_ACCOUNT_DIR}/ca.crt` },
    serverName: "",
    user: {
      token: null,
      tokenFile: `${SERVICE_ACCOUNT_DIR}/token`,
      certificate: NONE,
      key: NONE,
      exec: null,
    },
  };
}

/**
 * Reads one context of a kubeconfig; the current one when none is named. `resolve` makes paths that are
 * relative to its folder absolute. Throws one line that names file and field.
 */
export function readKubeconfig(options: {
  readonly text: string;
  /** For messages. */
  readonly path: string;
  readonly context: string | null;
  readonly resolve: (path: string) => string;
}): ClusterAccess {
  const { text, path, context, resolve } = options;
  try {
    const root = new Field(readYaml(text), []);
    const wanted = context ?? root.at("current-context").stringOr("");
    if (wanted === "") return fail("has no current-context: name one with --context");
    const chosen = named(root, "contexts", wanted).at("context");
    const cluster = named(root, "clusters", chosen.at("cluster").string()).at("cluster");
    const user = chosen.at("user").stringOr("");
    return {
      ...readCluster(cluster, resolve),
      user: readUser(
        user === "" ? new Field(undefined, []) : named(root, "users", user).at("user"),
        cluster,
        resolve,
      ),
    };
  } catch (e) {
    throw new Error(`The kubeconfig ${path} cannot be used: ${errorText(e)}`);
  }
}

function readYaml(text: string): unknown {
  try {
    return parse(text, { prettyErrors: false, maxAliasCount: 100 });
  } catch {
    // The parser's message could repeat a part of a secret.
    return fail("it is not YAML");
  }
}

/** `contexts: [{ name, context }]`, and so on. */
function named(root: Field, list: string, name: string): Field {
  const found = root.at(list).list().find((item) => item.at("name").stringOr("") === name);
  return found ?? root.at(list).fail(`has none named ${JSON.stringify(name.slice(0, 200))}`);
}

function readCluster(cluster: Field, resolve: (path: string) => string) {
  const server = cluster.at("server");
  const insecure = cluster.at("insecure-skip-tls-verify");
  if (insecure.boolOr(false)) insecure.fail("is not supported: name the certificate-authority");
  if (!cluster.at("proxy-url").isAbsent) cluster.at("proxy-url").fail("is not supported");
  return {
    server: serverUrl(server.string()) ?? server.fail("is not an https: URL"),
    ca: dataOrFile(cluster, "certificate-authority", resolve),
    serverName: cluster.at("tls-server-name").stringOr(""),
  };
}

function readUser(user: Field, cluster: Field, resolve: (path: string) => string): UserAccess {
  for (const other of ["username", "password", "auth-provider", "as"]) {
    if (!user.at(other).isAbsent) {
      user.at(other).fail("is not supported: use a token, a certificate or an exec plugin");
    }
  }
  const certificate = dataOrFile(user, "client-certificate", resolve);
  const key = dataOrFile(user, "client-key", resolve);
  const has = (of: DataOrFile) => of.data !== null || of.file !== null;
  if (has(certificate) !== has(key)) user.fail("has only one of client-certificate and client-key");
  const tokenFile = user.at("tokenFile").stringOr("");
  const token = secret(user.at("token"));
  return {
    token: token === "" ? null : token,
    tokenFile: tokenFile === "" ? null : resolve(tokenFile),
    certificate,
    key,
    exec: user.at("exec").isAbsent ? null : readExec(user.at("exec"), cluster, resolve),
  };
}

function readExec(exec: Field, cluster: Field, resolve: (path: string) => string): ExecPlugin {
  const mode = exec.at("interactiveMode");
  if (mode.stringOr("IfAvailable") === "Always") {
    mode.fail("is Always, and nobody is there to answer");
  }
  const command = exec.at("command").string();
  const env: Record<string, string> = {};
  for (const item of exec.at("env").list()) {
    env[item.at("name").string()] = item.at("value").stringOr("");
  }
  return {
    apiVersion: exec.at("apiVersion").oneOf(EXEC_VERSIONS),
    // A name is looked for on PATH, a path is the kubeconfig's.
    command: command.includes("/") ? resolve(command) : command,
    args: exec.at("args").list().map((arg) => arg.string()),
    env,
    installHint: exec.at("installHint").stringOr("").replace(/\s+/g, " ").trim().slice(0, 200),
    cluster: exec.at("provideClusterInfo").boolOr(false)
      ? {
        server: cluster.at("server").string(),
        ...optional("certificate-authority-data", cluster),
        ...optional("tls-server-name", cluster),
      }
      : null,
  };
}

function optional(name: string, from: Field): Record<string, string> {
  const value = from.at(name).stringOr("");
  return value === "" ? {} : { [name]: value };
}

function dataOrFile(from: Field, name: string, resolve: (path: string) => string): DataOrFile {
  const data = from.at(`${name}-data`);
  if (!data.isAbsent) {
    try {
      return { data: atob(secret(data).replace(/\s/g, "")), file: null };
    } catch (e) {
      if (e instanceof FieldError) throw e;
      return data.fail("is not base64");
    }
  }
  const file = from.at(name).stringOr("");
  return { data: null, file: file === "" ? null : resolve(file) };
}

/** Text that no message may show; empty: absent. */
function secret(field: Field): string {
  if (field.isAbsent) return "";
  return typeof field.value === "string" ? field.value : field.fail("is not text");
}

function serverUrl(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { protocol, origin, pathname, search, username } = new URL(text);
  if (protocol !== "https:" || search !== "" || username !== "") return null;
  return origin + pathname.replace(/\/+$/, "");
}

function fail(message: string): never {
  throw new Error(message);
}
