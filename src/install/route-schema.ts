// The schema of HTTPRoute (policy.linkerd.io): Gateway API's at the time it was copied, with Linkerd's
// defaults.

import { int32, list, object, or, portNumber, text, words } from "./crd-schema.ts";

const header = object({ "name*": text, "value*": text });
const headerModifier = object({
  set: list(header, { max: 16 }),
  add: list(header, { max: 16 }),
  remove: list(text, { max: 16 }),
});
const redirect = object({
  scheme: words("http", "https"),
  hostname: text,
  path: object({
    "type*": words("ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath: text,
    replacePrefixMatch: text,
  }),
  port: portNumber,
  statusCode: or({ type: "integer", enum: [301, 302] }, 302),
});
const filters = list(
  object({
    "type*": words("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"),
    requestHeaderModifier: headerModifier,
    responseHeaderModifier: headerModifier,
    requestRedirect: redirect,
  }),
  { max: 16 },
);
const valueMatch = object({
  type: or(words("Exact", "RegularExpression"), "Exact"),
  "name*": text,
  "value*": text,
});

/** `spec`. */
export const routeSchema = object({
  parentRefs: list(
    object({
      group: or(text, "policy.linkerd.io"),
      kind: or(text, "Gateway"),
      "name*": text,
      namespace: text,
      port: portNumber,
      sectionName: text,
    }),
    { max: 32 },
  ),
  hostnames: list(text, { max: 16 }),
  rules: or(
    list(
      object({
        matches: or(
          list(
            object({
              path: or(
                object({
                  type: or(words("Exact", "PathPrefix", "RegularExpression"), "PathPrefix"),
                  value: or(text, "/"),
                }),
                { type: "PathPrefix", value: "/" },
              ),
              headers: list(valueMatch, { max: 16 }),
              queryParams: list(valueMatch, { max: 16 }),
              method: text,
            }),
            { max: 8 },
          ),
          [{ path: { type: "PathPrefix", value: "/" } }],
        ),
        filters,
        backendRefs: list(
          object({
            group: or(text, ""),
            kind: or(text, "Service"),
            "name*": text,
            namespace: text,
            port: portNumber,
            weight: or({ ...int32, minimum: 0, maximum: 1000000 }, 1),
            filters,
          }),
          { max: 16 },
        ),
        timeouts: object({ request: text, backendRequest: text }),
      }),
      { max: 16 },
    ),
    [{ matches: [{ path: { type: "PathPrefix", value: "/" } }] }],
  ),
});
