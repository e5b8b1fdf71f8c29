// The envelope of every webhook: an AdmissionReview (admission.k8s.io/v1 and v1beta1) comes in, and goes
// back with an answer that has the request's uid.

import { errorText } from "../../core/errors.ts";
import { Field } from "../field.ts";

/** A review that cannot be answered, since it has no request with a uid. */
export class ReviewError extends Error {}

/** A review that can be answered. */
export interface OpenReview {
  readonly request: Field;
  /** The AdmissionReview with this response, which gets the request's uid. */
  answer(response: Readonly<Record<string, unknown>>): unknown;
}

/** Reads the envelope. Throws a `ReviewError`. */
export function openReview(body: unknown): OpenReview {
  const root = new Field(body, []);
  try {
    const apiVersion = root.at("apiVersion").oneOf(
      ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] as const,
    );
    root.at("kind").oneOf(["AdmissionReview"] as const);
    const request = root.at("request");
    const uid = request.at("uid").string();
    return {
      request,
      answer: (response) => ({
        apiVersion,
        kind: "AdmissionReview",
        response: { uid, ...response },
      }),
    };
  } catch (e) {
    throw new ReviewError(errorText(e));
  }
}
