// Connections of observers: HTTP/2 with prior knowledge, by mesh TLS or from inside the pod.

import type { Chan, Core, Driver, Peer } from "../../core/driver.ts";
import type { HttpService } from "../../core/exchange.ts";
import { Http2Server, type Http2ServerOptions } from "../http2/server.ts";

/** What a listener calls. `service.ts` decides who may observe. */
export function tapAccept(
  driver: Driver,
  service: HttpService,
  options: Omit<Http2ServerOptions, "service">,
): (ch: Chan, peer: Peer) => Core {
  return (_ch, { remote, local, tls }) =>
    new Http2Server(driver, { direction: "inbound", remote, target: local, tls }, {
      ...options,
      service,
    }).session;
}
