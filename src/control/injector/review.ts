// AdmissionReview (admission.k8s.io/v1 and v1beta1) in and out: which object is asked about, what the
// injector decides, and the answer. No I/O: what must be looked up is handed in.

import { errorText } from "../../core/errors.ts";
import { openReview } from "../admission/review.ts";
import { Field } from "../field.ts";
import { annotateService, CREATED_BY, injectPod, type Owner, skipText } from "./inject.ts";
import type { PatchOp } from "./json-patch.ts";
import type { InjectorValues } from "./values.ts";

/** What the injector is set up with at the moment of a request. */
export interface InjectorConfig {
  readonly values: InjectorValues;
  /** PEM. */
  readonly anchorsPem: string;
  /** Hex. */
  readonly anchorsSha256: string;
}

/** What must be looked up in the cluster. */
export interface ClusterReader {
  /** Null: there is no such namespace. Rejects when it cannot be asked. */
  namespaceAnnotations(name: string): Promise<Readonly<Record<string, string>> | null>;
  /**
   * The controller of a controller – a ReplicaSet's Deployment, a Job's CronJob – or null when it has
   * none or cannot be asked.
   */
  controllerOf(namespace: string, kind: string, name: string): Promise<Owner | null>;
}

/** Where the injector says what it did with a workload. */
export interface InjectorEvents {
  injected(namespace: string, owner: Owner): void;
  skipped(namespace: string, owner: Owner, why: string): void;
}

/** What was decided, for the counters. */
export type Outcome =
  | { readonly kind: "injected" | "annotated" | "untouched" | "failed" }
  | { readonly kind: "skipped"; readonly reasons: readonly string[] };

/** An answer and what it was. */
export interface Reviewed {
  /** An AdmissionReview. */
  readonly answer: unknown;
  readonly outcome: Outcome;
  /** One line each. */
  readonly notes: readonly string[];
}

/** Answers one review. Raises a `ReviewError`; everything else becomes an answer. */
export async function review(
  body: unknown,
  config: () => Promise<InjectorConfig>,
  cluster: ClusterReader,
  events: InjectorEvents,
): Promise<Reviewed> {
  const { request, answer } = openReview(body);
  try {
    const { patch, outcome, notes } = await decide(request, await config(), cluster, events);
    return {
      answer: answer(
        patch.length === 0 ? { allowed: true } : {
          allowed: true,
          patchType: "JSONPatch",
          patch: base64(JSON.stringify(patch)),
        },
      ),
      outcome,
      notes,
    };
  } catch (e) {
    const message = errorText(e);
    return {
      answer: answer({ allowed: false, status: { message } }),
      outcome: { kind: "failed" },
      notes: [message],
    };
  }
}

interface Decision {
  readonly patch: readonly PatchOp[];
  readonly outcome: Outcome;
  readonly notes: readonly string[];
}

async function decide(
  request: Field,
  config: InjectorConfig,
  cluster: ClusterReader,
  events: InjectorEvents,
): Promise<Decision> {
  const kind = request.at("kind").at("kind").string();
  const object = new Field(request.at("object").value, []);
  const namespace = request.at("namespace").string();
  if (kind !== "Pod" && kind !== "Service") {
    return {
      patch: [],
      outcome: { kind: "skipped", reasons: ["unsupported_resource"] },
      notes: [],
    };
  }
  const annotations = await cluster.namespaceAnnotations(namespace);
  if (annotations === null) throw new Error(`The namespace ${namespace} is not found`);
  if (kind === "Service") {
    const patch = annotateService(object, annotations, config.values);
    return {
      patch,
      outcome: { kind: patch.length > 0 ? "annotated" : "untouched" },
      notes: [],
    };
  }
  const owner = await ownerOf(object, namespace, cluster);
  const result = injectPod({
    ...config,
    template: object,
    prefix: [],
    namespace,
    namespaceAnnotations: annotations,
    owner,
    createdBy: CREATED_BY,
  });
  const dryRun = request.at("dryRun").boolOr(false);
  if (owner !== null && !dryRun) {
    if (result.injected) events.injected(namespace, owner);
    else events.skipped(namespace, owner, skipText(result.skipped));
  }
  return {
    patch: result.patch,
    outcome: result.injected ? { kind: "injected" } : { kind: "skipped", reasons: result.skipped },
    notes: result.notes,
  };
}

/** The workload that a pod belongs to: its controller, or that one's. */
async function ownerOf(
  pod: Field,
  namespace: string,
  cluster: ClusterReader,
): Promise<Owner | null> {
  const controller = pod.at("metadata").at("ownerReferences").list(64)
    .find((ref) => ref.at("controller").boolOr(false));
  if (controller === undefined) return null;
  const kind = controller.at("kind").string();
  const name = controller.at("name").string();
  if (kind !== "ReplicaSet" && kind !== "Job") return { kind, name };
  return await cluster.controllerOf(namespace, kind, name) ?? { kind, name };
}

/** Of text as UTF-8. */
function base64(text: string): string {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}
