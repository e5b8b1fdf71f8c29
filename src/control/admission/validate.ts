// The validating webhooks: an object is let into the cluster if the control plane can read it. The check
// is the table's own reader, so that what is refused here is what would be a problem later. No I/O.

import { Cluster } from "../cluster.ts";
import { Field, FieldError } from "../field.ts";
import { readResource } from "../resource.ts";
import { openReview } from "./review.ts";

/** The webhooks, by the names of their Services without `linkerd-`. */
export const VALIDATORS = ["sp-validator", "policy-validator"] as const;
export type ValidatorName = (typeof VALIDATORS)[number];

const GATEWAY_GROUP = "gateway.networking.k8s.io";
/** Groups that each is asked about. */
const GROUPS: Readonly<Record<ValidatorName, readonly string[]>> = {
  "sp-validator": ["linkerd.io"],
  "policy-validator": ["policy.linkerd.io", GATEWAY_GROUP, "tulle.dev"],
};
/** Kinds of parents by which a route is the mesh's. */
const MESH_PARENTS = ["Service", "Server", "EgressNetwork"];

/** What a validator said of one review. */
export interface Validated {
  /** An AdmissionReview. */
  readonly answer: unknown;
  /** Why the object is refused, in one line that begins with the field; null: it is let in. */
  readonly refused: string | null;
}

/** Answers one review. Throws a `ReviewError` for what is none. */
export function validate(name: ValidatorName, body: unknown): Validated {
  const { request, answer } = openReview(body);
  const refused = whyNot(name, request);
  return {
    answer: answer(
      refused === null
        ? { allowed: true }
        : { allowed: false, status: { code: 400, reason: "BadRequest", message: refused } },
    ),
    refused,
  };
}

function whyNot(name: ValidatorName, request: Field): string | null {
  try {
    const operation = request.at("operation").string();
    if (operation !== "CREATE" && operation !== "UPDATE") return null;
    const object = new Field(request.at("object").value, []);
    // Its finalizers must come off, whatever it says.
    if (!object.at("metadata").at("deletionTimestamp").isAbsent) return null;
    const resource = readResource(object.value, "");
    if (!GROUPS[name].includes(resource.group)) return null;
    if (resource.group === GATEWAY_GROUP && !isOfMesh(object)) return null;
    // A table of its own: nothing is kept, and kinds that no table reads are let in.
    new Cluster().apply(resource);
    return null;
  } catch (e) {
    if (e instanceof FieldError) return e.message;
    throw e;
  }
}

/** A route to a Gateway is another controller's, and may say what we do not know. */
function isOfMesh(route: Field): boolean {
  const { value } = route.at("spec").at("parentRefs");
  return Array.isArray(value) && value.some((parent: unknown) => {
    const { kind } = (parent ?? {}) as { readonly kind?: unknown };
    return typeof kind === "string" && MESH_PARENTS.includes(kind);
  });
}
