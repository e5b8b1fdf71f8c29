// `l5d-dst-canonical`: the service that a request was for, as `name.namespace.svc.domain:port`. The
// outbound side tells it to meshed endpoints of a target with a ServiceProfile, the inbound side finds the
// profile by it. The codecs drop what was received, so that no application sees or says it.

import { type HeaderEdit, headerName, type RequestHead } from "../../core/head.ts";

/** Spoken between proxies only. */
export const DST_CANONICAL = headerName("l5d-dst-canonical");

/** The edit that tells a name; made once for a target, and put into the head of each request. */
export function canonicalEdit(name: string): HeaderEdit {
  return { op: "set", name: DST_CANONICAL, value: name };
}

/** Before an attempt goes out: what an earlier one said is taken back. Null: nothing is told. */
export function tellCanonical({ edits }: RequestHead, edit: HeaderEdit | null): void {
  for (let i = edits.length - 1; i >= 0; i--) {
    if ((edits[i] as HeaderEdit).name === DST_CANONICAL) edits.splice(i, 1);
  }
  if (edit !== null) edits.push(edit);
}
