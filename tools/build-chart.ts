// The Helm chart in k8s/chart, made by `npm run build:manifests` from the functions that make the plain
// manifests: they are rendered with a mark in place of each value, and marks become template actions.
// Switches are rendered both ways, and where the text differs it stands between `if` and `else`.

import { stringify } from "yaml";
import type { Manifest } from "../src/control/injector/containers.ts";
import { VERSION } from "../src/control/injector/values.ts";
import { crds } from "../src/install/crds.ts";
import { WEBHOOKS } from "../src/install/config.ts";
import { base64 } from "../src/install/meta.ts";
import { controlPlaneObjects, toYaml } from "../src/install/render.ts";
import { VALUE_DOCS } from "../src/install/value-docs.ts";
import { DEFAULT_VALUES, HA_OVERRIDES, type Values } from "../src/install/values.ts";

type Tree = { [key: string]: unknown };

/** Values that the chart's templates take; what is for the injector only reaches it by its ConfigMap. */
const MARKED = [
  "controlPlaneNamespace",
  "clusterDomain",
  "identityTrustDomain",
  "clusterNetworks",
  "proxy.image.name",
  "proxy.image.version",
  "proxy.image.pullPolicy",
  "proxy.ports.inbound",
  "proxy.ports.outbound",
  "proxy.ports.control",
  "proxy.ports.admin",
  "proxy.uid",
  "proxy.logLevel",
  "proxy.logFormat",
  "proxy.defaultInboundPolicy",
  "proxyInit.ignoreInboundPorts",
  "proxyInit.ignoreOutboundPorts",
  "proxyInit.kubeAPIServerPorts",
  "proxyInit.logLevel",
  "proxyInit.logFormat",
  "proxyInit.runAsUser",
  "proxyInit.runAsGroup",
  "networkValidator.logLevel",
  "networkValidator.logFormat",
  "networkValidator.timeout",
  "controllerImage.name",
  "controllerImage.version",
  "controllerImage.pullPolicy",
  "controllerUID",
  "controllerLogLevel",
  "controllerLogFormat",
  "identityTrustAnchorsPEM",
  "identity.issuer.crtPEM",
  "identity.issuer.keyPEM",
  "proxyInjector.crtPEM",
  "proxyInjector.keyPEM",
  "proxyInjector.timeoutSeconds",
  "profileValidator.crtPEM",
  "profileValidator.keyPEM",
  "policyValidator.crtPEM",
  "policyValidator.keyPEM",
  "policyController.probeNetworks",
  "egress.globalEgressNetworkNamespace",
  "serviceMonitor.interval",
] as const;
/** Of them, what `highAvailability` sets by itself. */
const MARKED_UNLESS_HA = ["controllerReplicas", "webhookFailurePolicy"] as const;
/** Nobody can guess these, and Helm must not make new ones with each upgrade. */
const NEEDED = [
  "identityTrustAnchorsPEM",
  "identity.issuer.crtPEM",
  "identity.issuer.keyPEM",
  "proxyInjector.crtPEM",
  "proxyInjector.keyPEM",
  "profileValidator.crtPEM",
  "profileValidator.keyPEM",
  "policyValidator.crtPEM",
  "policyValidator.keyPEM",
];
const SWITCHES = [
  "cniEnabled",
  "highAvailability",
  "networkPolicy.enabled",
  "serviceMonitor.enabled",
] as const;
/** What the chart has no word for: those who need it render with `tulle install`. */
const NOT_IN_CHART = [
  "identity.externalCA",
  "identity.issuer.scheme",
  ...WEBHOOKS.flatMap(({ values }) =>
    ["externalSecret", "injectCaFrom", "caBundle"].map((key) => `${values}.${key}`)
  ),
  "controllerGID",
  "controllerResources",
  "priorityClassName",
  "enablePodAntiAffinity",
  "enablePodDisruptionBudget",
  "enableTopologySpread",
  "imagePullSecrets",
  "cni",
];
const SHA_MARK = "ZZanchorsshaZZ";

/** Files of the chart by path below k8s/. */
export function chart(): Readonly<Record<string, string>> {
  return {
    "chart/Chart.yaml": stringify({
      apiVersion: "v2",
      name: "tulle",
      description: "A service mesh that is programmed by WebAssembly filters",
      type: "application",
      version: VERSION,
      appVersion: VERSION,
      kubeVersion: ">=1.29.0-0",
    }),
    "chart/values.yaml": valuesYaml(),
    "chart/values.schema.json": JSON.stringify(schema(chartValues(), ""), null, 2) + "\n",
    "chart/crds/crds.yaml": toYaml(crds("linkerd", `linkerd/helm ${VERSION}`)),
    "chart/templates/control-plane.yaml": template(),
  };
}

/** The chart's defaults: what `install` has, without what the chart has no word for. */
export function chartValues(): Tree {
  const values = structuredClone(DEFAULT_VALUES) as unknown as Tree;
  for (const path of NOT_IN_CHART) {
    const parts = path.split(".");
    const last = parts.pop() ?? "";
    const parent = at(values, parts) as Tree;
    delete parent[last];
  }
  (values.proxyInit as Tree).iptablesMode = "";
  values.identityTrustDomain = "";
  return values;
}

function template(): string {
  const rendered = new Map<string, string[]>();
  const order: string[] = [];
  const count = 1 << SWITCHES.length;
  for (let bits = 0; bits < count; bits++) {
    const on = SWITCHES.filter((_, i) => (bits & (1 << i)) !== 0);
    for (const object of controlPlaneObjects(marked(on))) {
      const id = idOf(object);
      if (id === "Secret/linkerd-config-overrides") continue;
      let texts = rendered.get(id);
      if (texts === undefined) {
        rendered.set(id, texts = Array.from({ length: count }, () => ""));
        order.push(id);
      }
      texts[bits] = objectText(object, on.includes("highAvailability"));
    }
  }
  // the webhooks stay last, whatever the variants added behind them
  const last = order.filter((id) => id.includes("WebhookConfiguration/"));
  const first = order.filter((id) => !last.includes(id));
  return [
    "{{- /* Made by npm run build:manifests from the functions behind tulle install: do not edit. */ -}}\n",
    "{{- $mode := .Values.proxyInit.iptablesMode | default .Values.proxyInit.mode }}\n",
    "{{- $trustDomain := .Values.identityTrustDomain | default .Values.clusterDomain }}\n",
    CONFIG_VALUES,
    ...[...first, ...last].map((id) => branches(rendered.get(id) ?? [], SWITCHES.length - 1)),
  ].join("");
}

/** What the injector reads: the chart's values, without what is secret and with names resolved. */
const CONFIG_VALUES = `{{- $config := deepCopy .Values }}
{{- $_ := set $config.proxyInit "mode" $mode }}
{{- $_ := set $config "identityTrustDomain" $trustDomain }}
{{- $_ := unset $config.identity.issuer "keyPEM" }}
{{- $_ := unset $config.proxyInjector "keyPEM" }}
{{- $_ := unset $config.profileValidator "keyPEM" }}
{{- $_ := unset $config.policyValidator "keyPEM" }}
`;

/** Nests the switches; equal branches are one. `texts` is indexed by the switches as bits. */
function branches(texts: readonly string[], depth: number): string {
  if (depth < 0) return texts[0] ?? "";
  const half = texts.length / 2;
  const off = branches(texts.slice(0, half), depth - 1);
  const on = branches(texts.slice(half), depth - 1);
  if (on === off) return on;
  const name = SWITCHES[depth];
  if (on === "") return `{{- if not .Values.${name} }}\n${off}{{- end }}\n`;
  const other = off === "" ? "" : `{{- else }}\n${off}`;
  return `{{- if .Values.${name} }}\n${on}${other}{{- end }}\n`;
}

function marked(on: readonly string[]) {
  const values = structuredClone(DEFAULT_VALUES) as unknown as Tree;
  const ha = on.includes("highAvailability");
  if (ha) merge(values, HA_OVERRIDES as unknown as Tree);
  for (const path of on) set(values, path, true);
  for (const path of marksFor(ha)) {
    set(values, path, isList(path) ? [markOf(path)] : markOf(path));
  }
  return {
    values: values as unknown as Values,
    anchorsSha256: SHA_MARK,
    overrides: "",
  };
}

function marksFor(ha: boolean): readonly string[] {
  return ha ? MARKED : [...MARKED, ...MARKED_UNLESS_HA];
}

const NUMBER_BASE = 770_000_000;
const ALL_MARKS = [...MARKED, ...MARKED_UNLESS_HA];

/** Text with nothing in it that YAML would quote, or a number that nobody else uses. */
function markOf(path: string): string | number {
  return typeof at(DEFAULT_VALUES, path.split(".")) === "number"
    ? NUMBER_BASE + ALL_MARKS.findIndex((p) => p === path)
    : `ZZ${path.replaceAll(".", "Z")}ZZ`;
}

/** Lists stand in one argument, with commas. */
function isList(path: string): boolean {
  return Array.isArray(at(DEFAULT_VALUES, path.split(".")));
}

function objectText(object: Manifest, ha: boolean): string {
  let text = toYaml([object]).replaceAll(/linkerd\/cli \S+/g, `linkerd/helm ${VERSION}`);
  if (idOf(object) === "ConfigMap/linkerd-config") {
    const cut = text.indexOf("\ndata:\n");
    text = text.slice(0, cut) + "\ndata:\n  values: |\n{{ $config | toPrettyJson | indent 4 }}\n";
  }
  text = text.replaceAll(
    /^( *)- --firewall-bin-path\n *- iptables-nft\n *- --firewall-save-bin-path\n *- iptables-nft-save\n/gm,
    (nft, indent: string) =>
      `{{- if eq $mode "nft" }}\n${nft}{{- else if ne $mode "legacy" }}\n` +
      `${indent}- --iptables-mode\n${indent}- {{ $mode }}\n{{- end }}\n`,
  );
  for (const path of marksFor(ha)) {
    const mark = String(markOf(path));
    const value = valueOf(path);
    text = text.replaceAll(base64(mark), `{{ ${value} | b64enc }}`);
    if (typeof markOf(path) === "number") {
      text = text.replaceAll(mark, `{{ int ${value} }}`);
      continue;
    }
    text = text
      .replaceAll(new RegExp(`(: |- )"?${mark}"?$`, "gm"), (_, lead: string) => {
        return `${lead}{{ ${value} | quote }}`;
      })
      .replaceAll(mark, `{{ ${value} }}`);
  }
  return text.replaceAll(SHA_MARK, "{{ .Values.identityTrustAnchorsPEM | sha256sum }}");
}

function valueOf(path: string): string {
  if (path === "identityTrustDomain") return "$trustDomain";
  // an empty list is said by a word
  if (isList(path)) return `.Values.${path} | join "," | default "none"`;
  return NEEDED.includes(path)
    ? `required "${path} is needed: tulle install makes one" .Values.${path}`
    : `.Values.${path}`;
}

function idOf(object: Manifest): string {
  return `${String(object.kind)}/${(object.metadata as { name: string }).name}`;
}

/** With a comment over each value. */
function valuesYaml(): string {
  const lines = ["# Made by npm run build:manifests: the defaults of tulle install."];
  const walk = (tree: Tree, path: readonly string[]) => {
    for (const [key, value] of Object.entries(tree)) {
      const name = [...path, key].join(".");
      const indent = "  ".repeat(path.length);
      const about = name === "proxyInit.iptablesMode"
        ? "Linkerd's name for mode; wins over it when it is set"
        : VALUE_DOCS[name]?.doc;
      const oneOf = VALUE_DOCS[name]?.oneOf;
      if (about !== undefined) {
        const words = oneOf === undefined ? "" : ` (${oneOf.filter((w) => w !== "").join(", ")})`;
        lines.push(`${indent}# ${about}${words}`);
      }
      if (isTree(value)) {
        lines.push(`${indent}${key}:`);
        walk(value, [...path, key]);
      } else lines.push(`${indent}${key}: ${JSON.stringify(value)}`);
    }
  };
  walk(chartValues(), []);
  return lines.join("\n") + "\n";
}

function schema(value: unknown, path: string): Tree {
  const doc = VALUE_DOCS[path];
  const about = doc === undefined ? {} : { description: doc.doc };
  if (isTree(value)) {
    return {
      ...(path === "" ? { $schema: "http://json-schema.org/draft-07/schema#" } : {}),
      ...about,
      type: "object",
      // a misspelt name is an error, and not ignored; Helm adds `global` by itself
      additionalProperties: false,
      properties: {
        ...Object.fromEntries(
          Object.entries(value).map((
            [key, v],
          ) => [key, schema(v, path === "" ? key : `${path}.${key}`)]),
        ),
        ...(path === "" ? { global: { type: "object" } } : {}),
      },
    };
  }
  if (Array.isArray(value)) return { ...about, type: "array" };
  if (path === "proxyInit.iptablesMode") {
    return { type: "string", enum: ["", ...VALUE_DOCS["proxyInit.mode"]?.oneOf ?? []] };
  }
  return {
    ...about,
    type: typeof value === "number"
      ? Number.isInteger(value) && path !== "proxy.workers.maximumCPURatio" ? "integer" : "number"
      : typeof value,
    ...(doc?.oneOf === undefined ? {} : { enum: doc.oneOf }),
  };
}

function at(tree: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((of, key) => (of as Tree)[key], tree);
}

function set(tree: Tree, path: string, value: unknown): void {
  const parts = path.split(".");
  const last = parts.pop() ?? "";
  (at(tree, parts) as Tree)[last] = value;
}

function merge(into: Tree, from: Tree): void {
  for (const [key, value] of Object.entries(from)) {
    const before = into[key];
    if (isTree(before) && isTree(value)) merge(before, value);
    else into[key] = value;
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
