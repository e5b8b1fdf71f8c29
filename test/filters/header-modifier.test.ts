import { test } from "uvu";
import * as assert from "uvu/assert";
import { headerName } from "../../src/core/head.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { get, moduleBytes, refTo, responseHead, seen } from "../wasm/support.ts";

for (const build of ["header-modifier", "header-modifier.v2"]) {
  const module = moduleBytes(build);

  test(`${build} sets, adds and removes what the configuration names`, async () => {
    const engine = createEngine({ clock: new FakeClock() });
    const config = {
      requestSet: { "X-Mesh": "tulle", "x-empty": "" },
      requestAdd: { "x-tag": "b" },
      requestRemove: ["x-secret"],
      responseSet: { "x-mesh": "tulle" },
      responseAdd: { "x-tag": "c" },
      responseRemove: ["server"],
    };
    const chain = engine.chain([await engine.prepare(module, refTo(module, config))]);
    const x = get("/", { "x-mesh": "other", "x-tag": "a", "x-secret": "s" });
    chain.requestHead(x);
    assert.is(seen(x.request, "x-mesh"), "tulle");
    assert.is(seen(x.request, "x-empty"), "");
    assert.is(seen(x.request, "x-secret"), null);
    assert.is(seen(x.request, "x-tag"), "a");
    const tags = x.request.edits.filter((e) => e.name === headerName("x-tag"));
    assert.equal(tags.map((e) => [e.op, e.value]), [["add", "b"]]);
    const head = responseHead(200, { server: "x" });
    chain.responseHead(x, head);
    assert.is(seen(head, "x-mesh"), "tulle");
    assert.is(seen(head, "x-tag"), "c");
    assert.is(seen(head, "server"), null);
  });

  test(`${build} without a configuration changes nothing`, async () => {
    const engine = createEngine({ clock: new FakeClock() });
    const chain = engine.chain([await engine.prepare(module, refTo(module))]);
    const x = get("/");
    chain.requestHead(x);
    const head = responseHead(200);
    chain.responseHead(x, head);
    assert.is(x.request.edits.length + head.edits.length, 0);
  });
}

test.run();
