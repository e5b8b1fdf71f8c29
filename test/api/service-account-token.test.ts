import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  generateTokenKey,
  importTokenKey,
  issueToken,
  TOKEN_AUDIENCE,
  TokenError,
  type TokenKey,
  verifyToken,
} from "../../src/api/service-account-token.ts";

const NOW = 1_800_000_000_000;
const key = await importTokenKey(await generateTokenKey());
const issue = (more: { audience?: string; key?: TokenKey } = {}) =>
  issueToken(more.key ?? key, {
    namespace: "shop",
    serviceAccount: "web",
    nowMs: NOW,
    lifetimeMs: 60_000,
    ...(more.audience === undefined ? {} : { audience: more.audience }),
  });
const expected = { audience: TOKEN_AUDIENCE, nowMs: NOW };

async function refusal(token: string, nowMs = NOW): Promise<string> {
  try {
    await verifyToken(key, token, { ...expected, nowMs });
  } catch (e) {
    assert.instance(e, TokenError);
    const message = (e as Error).message;
    for (const part of token.split(".")) {
      assert.ok(part.length < 8 || !message.includes(part), "no part of the token in the message");
    }
    return message;
  }
  return "accepted";
}

test("verifyToken() names the user of a token that issueToken() made", async () => {
  assert.is(await verifyToken(key, await issue(), expected), "system:serviceaccount:shop:web");
  assert.is(
    await verifyToken(key, `${await issue()}\n`, expected),
    "system:serviceaccount:shop:web",
  );
});

test("verifyToken() refuses an expired token, another audience, another key and early use", async () => {
  assert.match(await refusal(await issue(), NOW + 66_000), /expired/);
  assert.match(await refusal(await issue(), NOW - 60_000), /not valid yet/);
  assert.match(await refusal(await issue({ audience: "other" })), /audience/);
  const other = await importTokenKey(await generateTokenKey());
  assert.match(await refusal(await issue({ key: other })), /signature/);
});

test("verifyToken() refuses what was changed or is no token", async () => {
  const [header = "", payload = "", signature = ""] = (await issue()).split(".");
  const claims = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/")));
  const forged = btoa(JSON.stringify({ ...claims, sub: "system:serviceaccount:shop:admin" }))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  assert.match(await refusal(`${header}.${forged}.${signature}`), /signature/);
  const none = btoa(JSON.stringify({ alg: "none" })).replace(/=/g, "");
  assert.match(await refusal(`${none}.${payload}.x`), /ES256/);
  assert.match(await refusal(`${none}.${payload}.`), /JWS/);
  assert.match(await refusal("not a token"), /JWS/);
  assert.match(await refusal("a.b.c"), /base64url|JSON/);
  assert.match(await refusal("x".repeat(20_000)), /longer/);
});

test.run();
