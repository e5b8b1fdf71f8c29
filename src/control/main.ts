// The control plane process: reads a folder or an API server, serves destination with the filter
// registry, policy and identity, all or some, and the admin plane, until it is asked to end.

import { formatSocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { createLogger, type Logger } from "../core/log.ts";
import { Destination } from "../api/gen/destination_pb.ts";
import { Identity } from "../api/gen/identity_pb.ts";
import { InboundServerPolicies } from "../api/gen/inbound_pb.ts";
import { OutboundPolicies } from "../api/gen/outbound_pb.ts";
import { Registry } from "../api/gen/tulle/filter_pb.ts";
import { readEnv } from "../runtime/env.ts";
import { execute } from "../runtime/exec.ts";
import { openPrivateDir, type PrivateDir, readBeside, systemFiles } from "../runtime/files.ts";
import { type GrpcServer, serveGrpc } from "../runtime/grpc-server.ts";
import { createHttpClient } from "../runtime/http-client.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { exit, onStopSignal, SYSTEM_CLOCK, writeErrorLine } from "../runtime/process.ts";
import { commandLine, writeLine } from "../runtime/stdio.ts";
import { createInspector } from "../../wasm/host/inspect.ts";
import { SourceMap, withPositions } from "../../wasm/host/source-map.ts";
import { openFreshKeys } from "../../wasm/host/fresh-keys.ts";
import { type FilterKey, readPublicKeys } from "../../wasm/host/signature.ts";
import { openValidators, type ValidatorAddresses } from "./admission/open.ts";
import { createAdminApp } from "./admin/app.ts";
import { type Assets, loadAssets } from "./admin/assets.ts";
import { Live } from "./admin/live.ts";
import { Cluster } from "./cluster.ts";
import { Counters } from "./counters.ts";
import { destinationService } from "./destination/destination-service.ts";
import type { FileSystem } from "./files/file-system.ts";
import { FolderSource } from "./files/folder-source.ts";
import { FilterRegistry } from "./filters/registry.ts";
import { registryService } from "./filters/registry-service.ts";
import type { Feed } from "./feed.ts";
import {
  type ControlFlags,
  parseControlFlags,
  type ServiceName,
  SERVICES,
  USAGE,
  UsageError,
} from "./flags.ts";
import { type Authority, CA_CERTIFICATE_FILE, openAuthority } from "./identity/authority.ts";
import { identityService } from "./identity/identity-service.ts";
import { type MountedIssuerOptions, openMountedIssuer } from "./identity/mounted-issuer.ts";
import { openFolderReviewer } from "./identity/token-reviewer.ts";
import type { KubeApi } from "./k8s/api.ts";
import { KubernetesSource } from "./k8s/kubernetes-source.ts";
import { KUBE_ENV, openKube } from "./k8s/open.ts";
import { startStatus } from "./k8s/status.ts";
import { tokenReviewer } from "./k8s/token-review.ts";
import { inboundService, outboundService } from "./policy/policy-service.ts";
import { statusEntries } from "./status/entries.ts";
import { adminState, Changes } from "./view.ts";

const MAX_KEY_FILE = 64 * 1024;
/** From the request to end until connections are cut; the process is gone within a second. */
const GRACE_MS = 500;

/** What programs that start a control plane read from its one line. Addresses are empty where a service
 * is not served. */
export interface ControlReady {
  readonly ready: true;
  readonly destination: string;
  readonly policy: string;
  readonly identity: string;
  readonly admin: string;
  /** Addresses of the validating webhooks that are served. */
  readonly validators: ValidatorAddresses;
  /** Path of a PEM file; empty when identity is not served. */
  readonly trustAnchors: string;
}

/** A control plane that serves. */
export interface Control {
  readonly ready: ControlReady;
  /** Ends every stream in order, then every connection. Idempotent. */
  close(): Promise<void>;
}

/** Starts everything, or rejects with one line and leaves nothing behind. */
export async function startControl(flags: ControlFlags, log: Logger): Promise<Control> {
  const clock = SYSTEM_CLOCK;
  /** What to end, in reverse order. */
  const ends: (() => void | Promise<void>)[] = [];
  let closing: Promise<void> | null = null;
  const close = () => closing ??= Promise.all(ends.toReversed().map((end) => end())).then(() => {});
  try {
    const files = systemFiles();
    const stateDir = await openPrivateDir(flags.state);
    const cluster = new Cluster();
    const counters = new Counters();
    const changes = new Changes();
    const options = flags.mesh;

    const serves = (name: ServiceName) => (flags.serve ?? SERVICES).includes(name);
    const kube = flags.source.kind === "folder" ? null : await connectKube(flags.source, log);
    let endStatus = () => Promise.resolve();
    // The client last: giving up the Lease needs it.
    ends.push(() => endStatus().finally(() => kube?.close()));
    const trust = serves("identity")
      ? await openTrust(flags, stateDir, { files, clock, counters, log, onChange: changes.tell })
      : null;
    ends.push(() => trust?.close());
    const tokens = trust === null
      ? null
      : kube === null
      ? await openFolderReviewer(stateDir, clock)
      : tokenReviewer(kube);
    const { filterKeys: keyFolder = null } = flags;
    let recheck = () => {};
    const keys = keyFolder === null ? null : await openFreshKeys({
      read: () => readKeyFolder(files, keyFolder),
      log: log.with("filters"),
      refused: () => counters.refused("key"),
      changed: () => recheck(),
    });
    const registry = await FilterRegistry.open({
      cluster,
      files,
      stateDir,
      inspector: createInspector(),
      signatures: keys?.check ?? null,
      readMap: (text, place) => {
        const map = SourceMap.parse(text, place);
        return (reason) => withPositions(reason, map);
      },
      clock,
      counters,
      log: log.with("filters"),
      onChange: changes.tell,
    });
    ends.push(() => registry.close());
    recheck = () => registry.recheck();
    if (keys !== null && keyFolder !== null) {
      ends.push(files.watch(files.resolve(".", keyFolder), () => void keys.refresh()));
    }
    const source = openSource(flags, kube, {
      cluster,
      clock,
      counters,
      onProblems: changes.tell,
      log,
    });
    ends.push(() => source?.close());
    ends.push(cluster.subscribe(changes.tell));
    await source?.start();
    // No proxy hears of a filter before its module was looked at.
    await registry.settled();

    const mesh = { cluster, options, filters: registry };
    const identity = identityService({
      authority: () => trust?.current ?? null,
      tokens: () => tokens,
      options,
      clock,
      counters,
      log: log.with("identity"),
      onChange: changes.tell,
    });
    /** The address, or empty when it is not served. */
    const serve = async (
      name: ServiceName,
      routes: Parameters<typeof serveGrpc>[1],
    ): Promise<string> => {
      if (!serves(name)) return "";
      const server: GrpcServer = await serveGrpc(flags[name], routes);
      ends.push(() => server.close(GRACE_MS));
      return formatSocketAddr(server.addr);
    };
    const at = {
      destination: await serve("destination", (router) => {
        router.service(Destination, destinationService(mesh, counters));
        router.service(Registry, registryService((sha256) => registry.module(sha256), counters));
      }),
      policy: await serve("policy", (router) => {
        router.service(InboundServerPolicies, inboundService(mesh, counters));
        router.service(OutboundPolicies, outboundService(mesh, counters));
      }),
      identity: await serve("identity", (router) => {
        router.service(Identity, identity.implementation);
      }),
    };

    if (kube !== null && serves("policy")) {
      const status = startStatus({
        api: kube,
        namespace: options.controlNamespace,
        holder: `${readEnv(KUBE_ENV).get("HOSTNAME") ?? "control"}_${crypto.randomUUID()}`,
        entries: () =>
          statusEntries({
            cluster,
            filters: registry.states(),
            clusterNetworks: options.clusterNetworks,
          }),
        clock,
        random: Math.random,
        log: log.with("status"),
      });
      ends.push(changes.subscribe(status.changed));
      endStatus = status.close;
    }

    const validators = await openValidators(flags.validators ?? [], {
      read: async (path) => new TextDecoder().decode(await files.read(path, MAX_KEY_FILE)),
      serve: serveHttp,
      graceMs: GRACE_MS,
      ...{ clock, counters, ends, log },
    });

    const http = createHttpClient();
    ends.push(() => http.close());
    const state = adminState({
      mesh,
      registry,
      counters,
      changes,
      sourceProblems: () => source?.problems ?? [],
      anchors: () => trust?.current.anchors ?? [],
      issued: identity.issued,
      notReady: () => closing === null ? null : "it is shutting down",
    });
    const live = new Live({ state, http, clock, log: log.with("admin") });
    const app = createAdminApp(state, {
      live,
      assets: await dashboard(log),
      listen: flags.admin,
      log: log.with("admin"),
    });
    const admin = await serveHttp(flags.admin, app.fetch);
    ends.push(() => admin.close(0), live.start());
    return {
      ready: {
        ready: true,
        ...at,
        admin: formatSocketAddr(admin.addr),
        validators,
        trustAnchors: trust?.anchorsPath ?? "",
      },
      close,
    };
  } catch (e) {
    await close();
    throw e;
  }
}

async function connectKube(
  chosen: Extract<ControlFlags["source"], { kind: "kubernetes" }>,
  log: Logger,
): Promise<KubeApi> {
  const { read, resolve, folderOf } = systemFiles();
  const { api, server } = await openKube(chosen, {
    env: readEnv(KUBE_ENV),
    clock: SYSTEM_CLOCK,
    execute,
    read,
    resolve,
    folderOf,
    // Each watch holds a connection, and there is one for each kind.
    connect: (tls) =>
      createHttpClient({ ...tls, connectTimeoutMs: 5_000, connectionsPerOrigin: 64 }),
  });
  log.info("Kubernetes objects come from an API server", { server });
  return api;
}

/** Null: this process serves nothing that reads objects. */
function openSource(
  { source, serve = SERVICES }: ControlFlags,
  kube: KubeApi | null,
  deps: Omit<ConstructorParameters<typeof FolderSource>[0], "folder" | "files">,
): Feed | null {
  const { log } = deps;
  if (source.kind === "folder") {
    const { folder } = source;
    return new FolderSource({ ...deps, folder, files: systemFiles(), log: log.with("folder") });
  }
  const reads = serve.includes("destination") || serve.includes("policy");
  if (!reads || kube === null) return null;
  return new KubernetesSource({
    ...deps,
    api: kube,
    random: Math.random,
    log: log.with("kubernetes"),
  });
}

/** Who signs certificates now, and where its trust anchors are. */
interface OpenTrust {
  readonly current: Authority;
  readonly anchorsPath: string;
  close(): void;
}

async function openTrust(
  { issuer = null, mesh }: ControlFlags,
  stateDir: PrivateDir,
  deps: Omit<MountedIssuerOptions, "dir" | "anchors">,
): Promise<OpenTrust> {
  const log = deps.log.with("identity");
  if (issuer !== null) {
    const mounted = await openMountedIssuer({ ...deps, ...issuer, log });
    return {
      get current() {
        return mounted.current;
      },
      anchorsPath: issuer.anchors,
      close: () => mounted.close(),
    };
  }
  const current = await openAuthority({
    state: stateDir,
    name: `identity.${mesh.controlNamespace}.${mesh.trustDomain}`,
    nowMs: deps.clock.wall(),
  });
  return { current, anchorsPath: `${stateDir.path}/${CA_CERTIFICATE_FILE}`, close: () => {} };
}

/** By the keys of a folder. Rejects for a folder without any, and for a key that cannot be read. */
async function readKeyFolder(files: FileSystem, folder: string): Promise<readonly FilterKey[]> {
  const { files: found } = await files.tree(folder).catch((e: unknown) => {
    throw new Error(`--filter-keys ${folder}: ${errorText(e)}`);
  });
  const keys: FilterKey[] = [];
  for (const { path } of found.filter((file) => /^[^/]+\.(pub|pem)$/.test(file.path))) {
    try {
      const text = await files.read(files.resolve(folder, path), MAX_KEY_FILE);
      keys.push(...await readPublicKeys(new TextDecoder().decode(text)));
    } catch (e) {
      throw new Error(`--filter-keys ${folder}/${path}: ${errorText(e)}`);
    }
  }
  if (keys.length === 0) throw new Error(`--filter-keys ${folder} has no *.pub or *.pem`);
  return keys;
}

/** The page's files. Without them everything else is still served. */
async function dashboard(log: Logger): Promise<Assets> {
  // In the sources a folder beside this one; in the package below the bundle.
  const folder = import.meta.url.endsWith(".ts") ? "../dashboard" : "./dashboard";
  try {
    return await loadAssets((name) => readBeside(import.meta.url, `${folder}/${name}`));
  } catch (e) {
    log.warn("the dashboard is not served", { why: errorText(e) });
    return new Map();
  }
}

/** Entry point: 2 for a command line that is wrong, 1 for what fails later. */
async function start(): Promise<void> {
  let flags: ControlFlags | null;
  try {
    flags = parseControlFlags(commandLine());
  } catch (e) {
    writeErrorLine(errorText(e));
    return exit(e instanceof UsageError ? 2 : 1);
  }
  if (flags === null) {
    writeLine(USAGE);
    return exit(0);
  }
  const log = createLogger({
    level: flags.logLevel,
    format: "plain",
    wall: SYSTEM_CLOCK.wall,
    write: writeErrorLine,
  });
  // Asked to end while it starts: there is nothing to drain yet.
  let stop = () => exit(0);
  onStopSignal(() => stop());
  try {
    const control = await startControl(flags, log);
    stop = () => {
      void control.close().then(() => exit(0), () => exit(1));
      return undefined as never;
    };
    writeLine(JSON.stringify(control.ready));
  } catch (e) {
    writeErrorLine(errorText(e));
    exit(1);
  }
}

if (import.meta.main) await start();
