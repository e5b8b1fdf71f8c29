import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

const open = (config = {}, random = () => 0) =>
  loadFilter(import.meta.dirname ?? ".", { config, random });

test("failure-injector answers everything when it is told no ratio", async () => {
  const filter = await open({ status: 503, message: "broken on purpose" });
  const { reply } = filter.request();
  assert.is(reply?.status, 503);
  assert.is(reply?.body, "broken on purpose");
});

test("failure-injector answers its share", async () => {
  let next = 0;
  const chances = [0.1, 0.24, 0.25, 0.9];
  const filter = await open({ ratio: 0.25 }, () => chances[next++ % chances.length] ?? 0);
  next = 0; // after the canary's
  const answers = chances.map(() => filter.request().reply?.status ?? 0);
  assert.equal(answers, [500, 500, 0, 0]);
  assert.is(filter.metric("failures_injected_total"), 2);
});

test("failure-injector answers gRPC calls with a code", async () => {
  const filter = await open({ grpcStatus: 14, message: "away" });
  const { reply } = filter.request({ method: "POST" });
  assert.is(reply?.status, 200);
  assert.equal(reply?.headers, {
    "content-type": "application/grpc",
    "grpc-status": "14",
    "grpc-message": "away",
  });
});

test("failure-injector answers a gRPC call on a route of HTTP as one whose condition was not met", async () => {
  const filter = await open({ status: 503, message: "away" });
  for (const type of ["application/grpc", "application/grpc+proto", "application/grpc;x=y"]) {
    const { reply } = filter.request({ method: "POST", headers: { "content-type": type } });
    assert.equal([reply?.status, reply?.headers["grpc-status"]], [200, "9"], type);
  }
  for (const type of ["application/grpc-web", "application/json", "application/grp"]) {
    const { reply } = filter.request({ method: "POST", headers: { "content-type": type } });
    assert.is(reply?.status, 503, type);
  }
});

test.run();
