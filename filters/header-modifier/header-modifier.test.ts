import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

test("header-modifier removes, then sets, then adds", async () => {
  const filter = await loadFilter(import.meta.dirname ?? ".", {
    config: {
      requestRemove: ["x-a"],
      requestSet: { "x-b": "new" },
      requestAdd: { "x-b": "second" },
      responseRemove: ["server"],
    },
  });
  const request = filter.request({ headers: { "x-a": "1", "x-b": ["old", "older"] } });
  assert.is(request.header("x-a"), null);
  assert.equal(request.fields.filter(([name]) => name === "x-b").map(([, value]) => value), [
    "new",
    "second",
  ]);
  assert.is(filter.response({ headers: { server: "x", "x-c": "1" } }).header("server"), null);
});

test("header-modifier without configuration changes nothing", async () => {
  const filter = await loadFilter(import.meta.dirname ?? ".");
  const { fields } = filter.request({ headers: { "x-a": "1" } });
  assert.equal(fields, [["host", "svc"], ["x-a", "1"]]);
});

test.run();
