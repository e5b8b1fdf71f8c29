// Who asks the control plane, as proxies say it in requests: `context_token` and `workload`. JSON, or
// one of the legacy forms.

/** A workload's place. Empty strings: not said. */
export interface Workload {
  readonly namespace: string;
  readonly pod: string;
  readonly node: string;
}

const MAX_TOKEN = 2048;

/** The value of `PortSpec.workload`, `TrafficSpec.source_workload` and `GetDestination.context_token`. */
export function workloadToWire(workload: Workload): string {
  const { namespace: ns, pod, node } = workload;
  return JSON.stringify(node === "" ? { ns, pod } : { ns, nodeName: node, pod });
}

/** A context token. What cannot be read is no context: all fields empty. */
export function contextFromWire(token: string): Workload {
  const none = { namespace: "", pod: "", node: "" };
  if (token.startsWith("ns:")) return { ...none, namespace: token.slice(3, 256) };
  return fromJson(token) ?? none;
}

/** A workload, or null when it cannot be read: the answer is `InvalidArgument`. */
export function workloadFromWire(text: string): Workload | null {
  const legacy = /^([^:{}"\s]{1,253}):([^:{}"\s]{1,253})$/.exec(text);
  if (legacy !== null) return { namespace: legacy[1] ?? "", pod: legacy[2] ?? "", node: "" };
  const workload = fromJson(text);
  return workload === null || workload.namespace === "" || workload.pod === "" ? null : workload;
}

function fromJson(text: string): Workload | null {
  if (text.length > MAX_TOKEN) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const field = (key: string) => {
    const v = (value as Record<string, unknown>)[key];
    return typeof v === "string" ? v : "";
  };
  return {
    namespace: field("ns"),
    pod: field("pod") || field("external_workload"),
    node: field("nodeName"),
  };
}
