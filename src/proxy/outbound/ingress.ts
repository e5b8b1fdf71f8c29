// Ingress mode: an application that is itself a proxy says in `l5d-dst-override` which service a request
// is for, whatever address it connected to. `outbound/accept.ts` comes before, the named target's stack after.

import { MeshError } from "../../core/errors.ts";
import type { HttpService } from "../../core/exchange.ts";
import { headerName } from "../../core/head.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { Targets, TargetStack } from "./targets.ts";

const DST_OVERRIDE = headerName("l5d-dst-override");

/**
 * The service of one connection: to the target that a request's override names (`name:port`, port 80
 * where there is none), else to `inner`, which is where the connection goes, or where Host says. The
 * header itself goes no further, as all of the mesh's.
 */
export function ingress(targets: Targets, metrics: ProxyMetrics, inner: HttpService): HttpService {
  const without = metrics.sheet.cell(metrics.ingressWithoutOverride, {});
  let name = "";
  let last: TargetStack | null = null;
  return (x, reply) => {
    const i = x.request.find(DST_OVERRIDE);
    if (i < 0) {
      metrics.sheet.add(without, 1);
      return inner(x, reply);
    }
    const wanted = x.request.valueAt(i).toLowerCase();
    if (last === null || !last.live || wanted !== name) {
      try {
        last = targets.get(wanted, { authority: wanted });
      } catch (e) {
        reply.fail(
          e instanceof MeshError
            ? e
            : new MeshError("internal", "The destination cannot be looked up"),
        );
        return NOTHING_MORE;
      }
      name = wanted;
    }
    return last.service(x, reply);
  };
}
