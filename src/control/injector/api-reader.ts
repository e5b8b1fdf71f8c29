// What the injector asks the API server: a namespace's annotations, who controls a controller, and an
// event to write. Three paths; a client of HTTP is handed in.

import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { Field } from "../field.ts";
import type { Owner } from "./inject.ts";
import type { ClusterReader, InjectorEvents } from "./review.ts";

/** One call to the API server, with its credentials. */
export type ApiCall = (
  method: "GET" | "POST",
  path: string,
  body?: string,
) => Promise<{ readonly status: number; readonly text: string }>;

/** More events than this at once are dropped: they are for people, and an API server has other work. */
const MAX_EVENTS = 16;

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Reads over `call`. */
export function apiReader(call: ApiCall, log: Logger): ClusterReader {
  return {
    async namespaceAnnotations(name) {
      if (!NAME.test(name)) return null;
      const { status, text } = await call("GET", `/api/v1/namespaces/${name}`);
      if (status === 404) return null;
      if (status !== 200) throw new Error(`Reading the namespace ${name} was answered ${status}`);
      return new Field(JSON.parse(text), []).at("metadata").at("annotations").strings();
    },
    async controllerOf(namespace, kind, name) {
      const path = kind === "Job"
        ? `/apis/batch/v1/namespaces/${namespace}/jobs/${name}`
        : `/apis/apps/v1/namespaces/${namespace}/replicasets/${name}`;
      if (!NAME.test(namespace) || !NAME.test(name)) return null;
      try {
        const { status, text } = await call("GET", path);
        if (status !== 200) return null;
        const controller = new Field(JSON.parse(text), []).at("metadata").at("ownerReferences")
          .list(64).find((ref) => ref.at("controller").boolOr(false));
        if (controller === undefined) return null;
        return { kind: controller.at("kind").string(), name: controller.at("name").string() };
      } catch (e) {
        // a pod is not kept from starting for the sake of a label
        log.warn("The owner of a workload is not known", { kind, name, why: errorText(e) });
        return null;
      }
    },
  };
}

/** Writes events over `call`, without waiting for them. */
export function apiEvents(call: ApiCall, wallMs: () => number, log: Logger): InjectorEvents {
  let open = 0;
  let dropped = 0;
  const write = (namespace: string, owner: Owner, reason: string, message: string) => {
    if (open >= MAX_EVENTS) {
      if (dropped++ === 0) log.warn("Events are dropped: too many at once");
      return;
    }
    open++;
    const at = new Date(wallMs()).toISOString();
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { generateName: `${owner.name.slice(0, 200)}.`, namespace },
      involvedObject: {
        apiVersion: /Job$/.test(owner.kind) ? "batch/v1" : "apps/v1",
        kind: owner.kind,
        name: owner.name,
        namespace,
      },
      reason,
      message: message.slice(0, 1024),
      type: "Normal",
      firstTimestamp: at.replace(/\.\d+Z$/, "Z"),
      lastTimestamp: at.replace(/\.\d+Z$/, "Z"),
      count: 1,
      source: { component: "linkerd-proxy-injector" },
    };
    call("POST", `/api/v1/namespaces/${namespace}/events`, JSON.stringify(event)).then(
      ({ status }) => {
        if (status >= 300) log.warn("An event was refused", { status });
      },
      (e: unknown) => log.warn("An event was not written", { why: errorText(e) }),
    ).finally(() => open--);
  };
  return {
    injected: (namespace, owner) =>
      write(namespace, owner, "Injected", "Linkerd sidecar proxy injected"),
    skipped: (namespace, owner, why) =>
      write(
        namespace,
        owner,
        "InjectionSkipped",
        `Linkerd sidecar proxy injection skipped: ${why}`,
      ),
  };
}
