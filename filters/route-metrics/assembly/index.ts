// Route metrics: requests and their latency, by route and class of status.

import {
  config,
  counter,
  histogram,
  request,
  startsWith,
  STATUS_CLASSES,
  statusClass,
} from "@tulle/filter";

// The first of these that the path begins with names the route.
const paths = config.list("paths", 32);
const route = config.text("route", "default");

const requests = counter({
  name: "route_requests_total",
  help: "Requests that ended, by route, path and class of status",
  labels: { route: route, path: paths.or("other"), status_class: STATUS_CLASSES },
});

const latency = histogram({
  name: "route_latency_ms",
  help: "Time from a request's head to its end, in milliseconds",
  labels: { route: route, path: paths.or("other") },
  bounds: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
});

export function onEnd(status: i32, elapsedMs: f64): void {
  const path = pathIndex();
  requests.inc(0, path, statusClass(status));
  latency.observe(elapsedMs, 0, path);
}

function pathIndex(): i32 {
  const count = paths.length;
  if (count == 0) return 0;
  const path = request.path();
  for (let i = 0; i < count; i++) {
    if (startsWith(path, paths.at(i))) return i;
  }
  return count;
}
