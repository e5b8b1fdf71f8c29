import { test } from "uvu";
import * as assert from "uvu/assert";
import { tokenReviewer } from "../../../src/control/k8s/token-review.ts";
import { FakeApiServer } from "../support/fake-api-server.ts";
import { apiOf } from "./fixture.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("a token is whose the API server says, for our audience only", async () => {
  const server = await FakeApiServer.start();
  const api = apiOf(server.url);
  const tokens = tokenReviewer(api);
  const user = { username: "system:serviceaccount:shop:web" };
  const asked: unknown[] = [];
  let status: unknown;
  server.post = (path, body) => {
    assert.is(path, "/apis/authentication.k8s.io/v1/tokenreviews");
    asked.push((body as { spec: unknown }).spec);
    return { kind: "TokenReview", status };
  };
  try {
    status = { authenticated: true, user, audiences: ["identity.l5d.io"] };
    assert.equal(await tokens.review(bytes("t0ken\n")), { kind: "user", name: user.username });
    assert.equal(asked, [{ token: "t0ken", audiences: ["identity.l5d.io"] }]);
    for (
      const [given, kind, reason] of [
        [{ authenticated: true, user }, "invalid", /audience identity\.l5d\.io/],
        [{ authenticated: true, user, audiences: ["vault"] }, "invalid", /audience/],
        [{ authenticated: false }, "unauthenticated", /of nobody/],
        [{ authenticated: false, error: "t0ken is bad" }, "invalid", /does not accept the token$/],
        [{}, "unauthenticated", /of nobody/],
      ] as const
    ) {
      status = given;
      const review = await tokens.review(bytes("t0ken"));
      assert.is(review.kind, kind);
      assert.match(review.kind === "user" ? "" : review.reason, reason);
      assert.not.match(JSON.stringify(review), /t0ken/);
    }
    assert.is((await tokens.review(new Uint8Array([0xff]))).kind, "invalid");
    server.post = null;
    const why = await tokens.review(bytes("t0ken")).then(() => "", (e: Error) => e.message);
    assert.match(why, /^POST \/apis\/.*answered 404: no such path$/);
    assert.not.match(why, /t0ken|s3cret/);
  } finally {
    await api.close();
    await server.close();
  }
});

test.run();
