// What the status of an object should say, as values: conditions, and for routes one answer for each
// parent. `k8s/status-writer.ts` writes them, and keeps what other controllers wrote.

/** A condition without its time, which is that of its last turn. */
export interface Condition {
  /** `Accepted`, `ResolvedRefs`. */
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

/** What a route is told about one of its parents. */
export interface ParentStatus {
  /** The reference as the route has it, which is how the route finds its answer. */
  readonly parentRef: Readonly<Record<string, unknown>>;
  readonly conditions: readonly Condition[];
}

/** The status of an object: of a route, or of anything else. */
export type ObjectStatus =
  | { readonly parents: readonly ParentStatus[] }
  | {
    readonly conditions: readonly Condition[];
    /** What a policy is attached to, where its status says that. */
    readonly targetRef?: Readonly<Record<string, string>>;
  };

/** An object and its status. */
export interface StatusEntry {
  /** As a table's: `policy.linkerd.io/HTTPRoute`. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly status: ObjectStatus;
}

/** Who wrote an answer to a route, in `status.parents[].controllerName`; Linkerd's. */
export const CONTROLLER_NAME = "linkerd.io/policy-controller";

/** The condition that an object is in force. */
export function accepted(): Condition {
  return { type: "Accepted", status: "True", reason: "Accepted", message: "" };
}

/** The condition that it is not, and why. */
export function notAccepted(reason: string, message = ""): Condition {
  return { type: "Accepted", status: "False", reason, message };
}
