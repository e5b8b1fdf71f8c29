// Layers to a service, written in the order in which a request meets them.

import type { HttpLayer, HttpService } from "../../core/exchange.ts";

/** The last one is the innermost service; each layer before it wraps what follows. */
export function compose(...layers: [...HttpLayer[], HttpService]): HttpService {
  let service = layers.at(-1) as HttpService;
  for (let i = layers.length - 2; i >= 0; i--) service = (layers[i] as HttpLayer)(service);
  return service;
}
