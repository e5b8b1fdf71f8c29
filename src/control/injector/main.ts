// The injector process: the webhook over TLS, its admin server, and the files that both are set up with,
// until it is asked to end.

import { formatSocketAddr } from "../../core/addr.ts";
import { errorText } from "../../core/errors.ts";
import { createLogger, type Logger } from "../../core/log.ts";
import { readEnv } from "../../runtime/env.ts";
import { readBounded } from "../../runtime/files.ts";
import { createHttpClient } from "../../runtime/http-client.ts";
import { serveHttp } from "../../runtime/http-server.ts";
import { exit, onStopSignal, SYSTEM_CLOCK, writeErrorLine } from "../../runtime/process.ts";
import { commandLine, writeLine } from "../../runtime/stdio.ts";
import { serveWebhook } from "../admission/serve.ts";
import { type ApiCall, apiEvents, apiReader } from "./api-reader.ts";
import { InjectorCounters } from "./counters.ts";
import { type InjectorFlags, parseInjectorFlags, USAGE } from "./flags.ts";
import type { InjectorConfig } from "./review.ts";
import { readValues, Reloaded } from "./settings.ts";
import { createWebhook } from "./webhook.ts";

const MAX_FILE_BYTES = 1024 * 1024;
const API_TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
/** From the request to end until connections are cut. */
const GRACE_MS = 2_000;
/** Between the two parts of what one `Reloaded` reads. */
const CUT = "\u0000";

/** An injector that serves. */
export interface Injector {
  readonly ready: { readonly ready: true; readonly webhook: string; readonly admin: string };
  close(): Promise<void>;
}

/** Starts everything, or rejects with one line and leaves nothing behind. */
export async function startInjector(
  flags: InjectorFlags,
  apiServer: string,
  log: Logger,
): Promise<Injector> {
  const ends: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  };
  const clock = SYSTEM_CLOCK;
  const read = async (path: string) =>
    new TextDecoder().decode(await readBounded(path, MAX_FILE_BYTES));
  const both = (a: string, b: string) => async () => await read(a) + CUT + await read(b);
  try {
    const config = await Reloaded.open<InjectorConfig>({
      what: "The configuration",
      read: both(flags.values, flags.anchors),
      make: async (text) => {
        const [values = "", anchorsPem = ""] = text.split(CUT);
        if (!anchorsPem.includes("-----BEGIN CERTIFICATE-----")) {
          throw new Error(`${flags.anchors} has no certificate`);
        }
        return {
          values: readValues(values),
          anchorsPem,
          anchorsSha256: await sha256Hex(anchorsPem),
        };
      },
      clock,
      log,
    });
    ends.push(() => config.close());

    const call = await apiCall(flags, apiServer);
    ends.push(call.close);
    const counters = new InjectorCounters();
    const app = createWebhook({
      config: () => Promise.resolve(config.value),
      cluster: apiReader(call.call, log),
      events: apiEvents(call.call, clock.wall, log),
      counters,
      log,
    });
    const webhook = await serveWebhook({
      listen: flags.listen,
      tls: flags.tls,
      handler: (request) => app.fetch(request),
      read,
      serve: serveHttp,
      clock,
      log,
    });
    ends.push(() => webhook.close(GRACE_MS));
    const admin = await serveHttp(flags.admin, (request) => adminAnswer(request, counters));
    ends.push(() => admin.close(0));
    return {
      ready: {
        ready: true,
        webhook: formatSocketAddr(webhook.addr),
        admin: formatSocketAddr(admin.addr),
      },
      close,
    };
  } catch (e) {
    await close();
    throw e;
  }
}

function adminAnswer(request: Request, counters: InjectorCounters): Response {
  switch (new URL(request.url).pathname) {
    case "/live":
    case "/ping":
      return new Response("live\n");
    case "/ready":
      return new Response("ready\n");
    case "/metrics":
      return new Response(counters.metrics(), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      });
    default:
      return new Response("no such path: /live, /ready and /metrics\n", { status: 404 });
  }
}

/** The API server with the pod's account; the token is read for each call, since it is replaced. */
async function apiCall(
  { account }: InjectorFlags,
  apiServer: string,
): Promise<{ call: ApiCall; close: () => Promise<void> }> {
  const ca = apiServer.startsWith("https:")
    ? { ca: new TextDecoder().decode(await readBounded(`${account}/ca.crt`, MAX_FILE_BYTES)) }
    : {};
  const http = createHttpClient(ca);
  return {
    close: () => http.close(),
    async call(method, path, body) {
      const token = new TextDecoder().decode(await readBounded(`${account}/token`, 65_536)).trim();
      const { status, body: answer } = await http.request({
        url: apiServer + path,
        method,
        headers: {
          authorization: `Bearer ${token}`,
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body }),
        timeoutMs: API_TIMEOUT_MS,
        maxBytes: MAX_ANSWER_BYTES,
      });
      return { status, text: new TextDecoder().decode(answer) };
    },
  };
}

async function sha256Hex(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** As every pod is told. */
function inCluster(): string {
  const env = readEnv(["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"]);
  const host = env.get("KUBERNETES_SERVICE_HOST") ?? "";
  if (host === "") {
    throw new Error("There is no KUBERNETES_SERVICE_HOST: run it in a pod, or give --api-server");
  }
  return `https://${host.includes(":") ? `[${host}]` : host}:${
    env.get("KUBERNETES_SERVICE_PORT") ?? 443
  }`;
}

/** Entry point: 2 for a command line that is wrong, 1 for what fails later. */
async function start(): Promise<void> {
  let flags: InjectorFlags | null;
  try {
    flags = parseInjectorFlags(commandLine());
  } catch (e) {
    writeErrorLine(errorText(e));
    return exit(2);
  }
  if (flags === null) {
    writeLine(USAGE);
    return exit(0);
  }
  const log = createLogger({
    level: flags.logLevel,
    format: flags.logFormat,
    wall: SYSTEM_CLOCK.wall,
    write: writeErrorLine,
    name: "injector",
  });
  let stop = () => exit(0);
  onStopSignal(() => stop());
  try {
    const injector = await startInjector(flags, flags.apiServer ?? inCluster(), log);
    stop = () => {
      void injector.close().then(() => exit(0), () => exit(1));
      return undefined as never;
    };
    writeLine(JSON.stringify(injector.ready));
  } catch (e) {
    writeErrorLine(errorText(e));
    exit(1);
  }
}

if (import.meta.main) await start();
