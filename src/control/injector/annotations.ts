// The annotations that change what one pod becomes: which there are, which a pod takes over from its
// namespace, and what each does to the values. A malformed one is ignored and named, never a refusal.

import type { EnvVar, InjectorValues } from "./values.ts";

const CONFIG = "config.linkerd.io/";
const NATIVE = "proxy-enable-native-sidecar";

/** Opaque ports of a pod, Service or namespace. */
export const OPAQUE_PORTS = `${CONFIG}opaque-ports`;
/** A JSON list of variables; a pod's and its namespace's are merged by name. */
export const ADDITIONAL_ENV = `${CONFIG}proxy-additional-env`;
/** Asks for the `linkerd-debug` container. */
export const DEBUG_SIDECAR = `${CONFIG}enable-debug-sidecar`;

type Draft<T> = T extends readonly unknown[] ? T
  : T extends object ? { -readonly [K in keyof T]: Draft<T[K]> }
  : T;

/** Values that may be changed: a copy for one pod. */
export type ValuesDraft = Draft<InjectorValues>;

/** Changes the draft, or says why it cannot. */
type Apply = (values: ValuesDraft, text: string) => string | null;

interface Rule {
  readonly key: string;
  /** Whether a pod without it takes its namespace's. */
  readonly inherited: boolean;
  readonly apply: Apply;
}

const NOT_A_WORD = (words: readonly string[]) => `is not one of ${words.join(", ")}`;

/** What is written in Kubernetes manifests: `100m`, `20Mi`, `1.5`. */
const QUANTITY = /^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|e[0-9]+)?$/;
const PORTS = /^[A-Za-z0-9-]+( *, *[A-Za-z0-9-]+)*$/;
const IMAGE_PART = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$/;

const text = (set: (v: ValuesDraft, text: string) => void, form: RegExp, what: string): Apply =>
(
  v,
  given,
) => {
  if (!form.test(given)) return `is not ${what}`;
  set(v, given);
  return null;
};
const word =
  (words: readonly string[], set: (v: ValuesDraft, word: string) => void): Apply => (v, given) => {
    if (!words.includes(given)) return NOT_A_WORD(words);
    set(v, given);
    return null;
  };
const whole =
  (min: number, max: number, set: (v: ValuesDraft, n: number) => void): Apply => (v, given) => {
    const n = /^-?\d{1,10}$/.test(given) ? Number(given) : NaN;
    if (!(n >= min && n <= max)) return `is not a whole number from ${min} to ${max}`;
    set(v, n);
    return null;
  };
const bool = (set: (v: ValuesDraft, on: boolean) => void): Apply => (v, given) => {
  const on = parseBool(given);
  if (on === null) return "is neither true nor false";
  set(v, on);
  return null;
};
const onOff = (set: (v: ValuesDraft, on: boolean) => void): Apply => (v, given) => {
  if (given !== "enabled" && given !== "disabled") return NOT_A_WORD(["enabled", "disabled"]);
  set(v, given === "enabled");
  return null;
};
/** Go's durations; set as a whole number of `unitMs` with `unit` behind it. */
const duration = (
  unitMs: number,
  unit: string,
  set: (v: ValuesDraft, text: string) => void,
): Apply =>
(v, given) => {
  const ms = parseGoDurationMs(given);
  if (ms === null) return "is not a duration such as 500ms or 1m30s";
  set(v, `${Math.round(ms / unitMs)}${unit}`);
  return null;
};
const port = (which: "inbound" | "outbound" | "control" | "admin"): Apply =>
  whole(1, 65535, (v, n) => v.proxy.ports[which] = n);
const ports = (set: (v: ValuesDraft, text: string) => void): Apply =>
  text((v, given) => set(v, given.replaceAll(" ", "")), PORTS, "a list of ports");
const quantity = (
  of: "cpu" | "memory" | "ephemeralStorage",
  which: "request" | "limit",
): Apply =>
(v, given) => {
  if (!QUANTITY.test(given)) return "is not a quantity such as 100m or 20Mi";
  v.proxy.resources[of][which] = given;
  if (of === "cpu") {
    const cores = Math.max(1, Math.ceil(cpuCores(given)));
    if (which === "request") v.proxy.workers.minimum = cores;
    else v.proxy.workers.maximum = cores;
  }
  return null;
};
const rule = (name: string, apply: Apply, inherited = true): Rule => ({
  key: name.includes("/") ? name : CONFIG + name,
  inherited,
  apply,
});

/** Every annotation that changes the values, in no particular order. */
const RULES: readonly Rule[] = [
  rule("proxy-image", text((v, t) => v.proxy.image.name = t, IMAGE_PART, "an image")),
  rule("proxy-version", text((v, t) => v.proxy.image.version = t, IMAGE_PART, "a version")),
  rule(
    "image-pull-policy",
    word(["Always", "IfNotPresent", "Never"], (v, w) => v.proxy.image.pullPolicy = w),
  ),
  rule(
    "debug-image",
    text((v, t) => v.debugContainer.image.name = t, IMAGE_PART, "an image"),
    false,
  ),
  rule(
    "debug-image-version",
    text((v, t) => v.debugContainer.image.version = t, IMAGE_PART, "a version"),
    false,
  ),
  rule(
    "debug-image-pull-policy",
    word(["Always", "IfNotPresent", "Never"], (v, w) => v.debugContainer.image.pullPolicy = w),
    false,
  ),
  rule("inbound-port", port("inbound")),
  rule("outbound-port", port("outbound")),
  rule("control-port", port("control")),
  rule("admin-port", port("admin")),
  rule("skip-inbound-ports", ports((v, t) => v.proxyInit.ignoreInboundPorts = t)),
  rule("skip-outbound-ports", ports((v, t) => v.proxyInit.ignoreOutboundPorts = t)),
  rule(
    "skip-subnets",
    text(
      (v, t) => v.proxyInit.skipSubnets = t.replaceAll(" ", ""),
      /^[0-9a-fA-F:.]+\/\d{1,3}( *, *[0-9a-fA-F:.]+\/\d{1,3})*$/,
      "a list of subnets such as 10.0.0.0/8",
    ),
  ),
  rule("proxy-cpu-request", quantity("cpu", "request")),
  rule("proxy-cpu-limit", quantity("cpu", "limit")),
  rule("proxy-memory-request", quantity("memory", "request")),
  rule("proxy-memory-limit", quantity("memory", "limit")),
  rule("proxy-ephemeral-storage-request", quantity("ephemeralStorage", "request")),
  rule("proxy-ephemeral-storage-limit", quantity("ephemeralStorage", "limit")),
  rule("proxy-cpu-ratio-limit", (v, given) => {
    const ratio = /^[0-9]*\.?[0-9]+$/.test(given) ? Number(given) : NaN;
    if (!(ratio > 0 && ratio < 1)) return "is not a number between 0 and 1";
    v.proxy.workers.maximumCPURatio = ratio;
    return null;
  }, false),
  rule("proxy-uid", whole(1, 2 ** 31 - 1, (v, n) => v.proxy.uid = n)),
  rule("proxy-gid", whole(-1, 2 ** 31 - 1, (v, n) => v.proxy.gid = n)),
  rule("proxy-admin-shutdown", onOff((v, on) => v.proxy.enableShutdownEndpoint = on)),
  rule(
    "proxy-log-level",
    text((v, t) => v.proxy.logLevel = t, /^[\w:,.=[\]{}\- ]{1,512}$/, "a log filter"),
  ),
  rule("proxy-log-format", word(["plain", "json"], (v, w) => v.proxy.logFormat = w)),
  rule("proxy-log-http-headers", word(["off", "insecure"], (v, w) => v.proxy.logHTTPHeaders = w)),
  rule("access-log", word(["apache", "json"], (v, w) => v.proxy.accessLog = w)),
  rule("enable-external-profiles", bool((v, on) => v.proxy.enableExternalProfiles = on)),
  rule(
    "proxy-require-identity-inbound-ports",
    ports((v, t) => v.proxy.requireIdentityOnInboundPorts = t),
  ),
  rule("proxy-metrics-hostname-labels", bool((v, on) => v.proxy.metricsHostnameLabels = on)),
  rule(
    "proxy-outbound-connect-timeout",
    duration(1, "ms", (v, t) => v.proxy.outboundConnectTimeout = t),
  ),
  rule(
    "proxy-inbound-connect-timeout",
    duration(1, "ms", (v, t) => v.proxy.inboundConnectTimeout = t),
  ),
  rule(
    "proxy-outbound-discovery-cache-unused-timeout",
    duration(1000, "s", (v, t) => v.proxy.outboundDiscoveryCacheUnusedTimeout = t),
  ),
  rule(
    "proxy-inbound-discovery-cache-unused-timeout",
    duration(1000, "s", (v, t) => v.proxy.inboundDiscoveryCacheUnusedTimeout = t),
  ),
  rule(
    "proxy-disable-outbound-protocol-detect-timeout",
    bool((v, on) => v.proxy.disableOutboundProtocolDetectTimeout = on),
  ),
  rule(
    "proxy-disable-inbound-protocol-detect-timeout",
    bool((v, on) => v.proxy.disableInboundProtocolDetectTimeout = on),
  ),
  rule("enable-gateway", bool((v, on) => v.proxy.isGateway = on), false),
  rule("close-wait-timeout", (v, given) => {
    const ms = parseGoDurationMs(given);
    if (ms === null) return "is not a duration such as 1h";
    if (!v.proxyInit.runAsRoot) return "needs proxyInit.runAsRoot";
    v.proxyInit.closeWaitTimeoutSecs = Math.round(ms / 1000);
    return null;
  }, false),
  rule(`config.alpha.linkerd.io/${NATIVE}`, bool((v, on) => v.proxy.nativeSidecar = on)),
  rule(`config.beta.linkerd.io/${NATIVE}`, bool((v, on) => v.proxy.nativeSidecar = on), false),
  // after its older names, so that it wins over them
  rule(NATIVE, bool((v, on) => v.proxy.nativeSidecar = on)),
  rule("proxy-await", onOff((v, on) => v.proxy.await = on)),
  rule(
    "default-inbound-policy",
    word([
      "all-unauthenticated",
      "all-authenticated",
      "cluster-unauthenticated",
      "cluster-authenticated",
      "deny",
      "audit",
    ], (v, w) => v.proxy.defaultInboundPolicy = w),
  ),
  rule("shutdown-grace-period", duration(1, "ms", (v, t) => v.proxy.shutdownGracePeriod = t)),
  rule(
    "config.alpha.linkerd.io/proxy-wait-before-exit-seconds",
    whole(0, 86_400, (v, n) => v.proxy.waitBeforeExitSeconds = n),
  ),
];

/** Read elsewhere, and taken over from the namespace. */
const ALSO_INHERITED = [
  "linkerd.io/inject",
  OPAQUE_PORTS,
  ADDITIONAL_ENV,
  `${CONFIG}pod-inbound-ports`,
];

/** What a pod takes over from its namespace: the keys that it lacks itself, sorted. */
export function inherited(
  pod: Readonly<Record<string, string>>,
  namespace: Readonly<Record<string, string>>,
): Record<string, string> {
  const keys = [...ALSO_INHERITED, ...RULES.filter((r) => r.inherited).map((r) => r.key)].sort();
  const taken: Record<string, string> = {};
  for (const key of keys) {
    const value = namespace[key];
    if (value !== undefined && pod[key] === undefined) taken[key] = value;
  }
  return taken;
}

/**
 * The values for one pod. `annotations` are the pod's with what it inherits; `namespace` are its
 * namespace's, of which only the additional environment is looked at. `ignored` hears of each
 * annotation that cannot be used, as `key VALUE is not …`.
 */
export function valuesFor(
  values: InjectorValues,
  annotations: Readonly<Record<string, string>>,
  namespace: Readonly<Record<string, string>>,
  ignored: (line: string) => void,
): InjectorValues {
  const draft: ValuesDraft = structuredClone(values) as ValuesDraft;
  const tell = (key: string, given: string, why: string) =>
    ignored(`${key} ${JSON.stringify(given.slice(0, 80))} ${why}`);
  for (const { key, apply } of RULES) {
    const given = annotations[key];
    if (given === undefined || given === "") continue;
    const why = apply(draft, given);
    if (why !== null) tell(key, given, why);
  }
  draft.proxy.isIngress = annotations["linkerd.io/inject"] === "ingress";
  // once: what a pod inherited is its own by now, and merging a list with itself changes nothing
  for (const from of [namespace, annotations]) {
    const given = from[ADDITIONAL_ENV];
    if (given === undefined || given === "") continue;
    const more = parseEnv(given);
    if (more === null) tell(ADDITIONAL_ENV, given, "is not a JSON list of variables");
    else draft.proxy.additionalEnv = mergeEnv(draft.proxy.additionalEnv, more);
  }
  return draft;
}

/** `after` wins by name; the order of first appearance stays. */
function mergeEnv(before: readonly EnvVar[], after: readonly EnvVar[]): readonly EnvVar[] {
  const byName = new Map([...before, ...after].map((v) => [v.name, v]));
  return [...byName.values()];
}

function parseEnv(given: string): EnvVar[] | null {
  if (given.length > 65_536) return null;
  let list: unknown;
  try {
    list = JSON.parse(given);
  } catch {
    return null;
  }
  if (!Array.isArray(list) || list.length > 256) return null;
  const variables: EnvVar[] = [];
  for (const item of list as unknown[]) {
    if (typeof item !== "object" || item === null || !("name" in item)) return null;
    const { name } = item;
    const value = "value" in item ? item.value : undefined;
    const valueFrom = "valueFrom" in item ? item.valueFrom : undefined;
    if (typeof name !== "string" || !/^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name)) return null;
    if (value !== undefined && typeof value !== "string") return null;
    variables.push({
      name,
      ...(value === undefined ? {} : { value }),
      ...(valueFrom === undefined ? {} : { valueFrom }),
    });
  }
  return variables;
}

/** Go's `strconv.ParseBool`; null for anything else. */
export function parseBool(given: string): boolean | null {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(given)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(given)) return false;
  return null;
}

const GO_UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's `time.ParseDuration` without a sign: `1m30s`; null for anything else. */
export function parseGoDurationMs(given: string): number | null {
  if (given === "0") return 0;
  if (!/^([0-9]{1,12}(\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h))+$/.test(given)) return null;
  let ms = 0;
  for (const [, n, unit] of given.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g)) {
    ms += Number(n) * (GO_UNIT_MS[unit ?? ""] ?? NaN);
  }
  return Number.isFinite(ms) && ms < 1e15 ? ms : null;
}

function cpuCores(given: string): number {
  const n = parseFloat(given);
  return given.endsWith("m") ? n / 1000 : n;
}
