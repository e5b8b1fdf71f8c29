import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

/** Where a request is sent to, or null: it goes on. */
async function location(
  config: object,
  path = "/a/b?q=1",
  authority = "shop.example:8080",
): Promise<string | null> {
  const filter = await loadFilter(import.meta.dirname ?? ".", { config });
  return filter.request({ path, authority }).reply?.headers["location"] ?? null;
}

test("redirect replaces the scheme, and then its port is the scheme's", async () => {
  assert.is(await location({ scheme: "https" }), "https://shop.example/a/b?q=1");
  assert.is(await location({ scheme: "https", port: 8443 }), "https://shop.example:8443/a/b?q=1");
  assert.is(await location({ scheme: "https", port: 443 }), "https://shop.example/a/b?q=1");
  assert.is(await location({ scheme: "http", port: 80 }), "http://shop.example/a/b?q=1");
});

test("redirect replaces the host name and keeps the port", async () => {
  assert.is(await location({ hostname: "new.example" }), "http://new.example:8080/a/b?q=1");
  assert.is(await location({ hostname: "new.example" }, "/", "old"), "http://new.example/");
  assert.is(await location({ port: 81 }, "/", "[::1]"), "http://[::1]:81/");
  assert.is(await location({ port: 81 }, "/", "[::1]:80"), "http://[::1]:81/");
});

test("redirect replaces the whole path or the prefix that matched", async () => {
  assert.is(
    await location({ replaceFullPath: "/new" }),
    "http://shop.example:8080/new?q=1",
  );
  const cases: [prefix: string, by: string, path: string, made: string][] = [
    ["/foo", "/xyz", "/foo/bar", "/xyz/bar"],
    ["/foo", "/xyz/", "/foo/bar", "/xyz/bar"],
    ["/foo/", "/xyz", "/foo/bar", "/xyz/bar"],
    ["/foo/", "/xyz/", "/foo/bar", "/xyz/bar"],
    ["/foo", "/xyz", "/foo", "/xyz"],
    ["/foo", "/xyz", "/foo/", "/xyz/"],
    ["/foo", "/", "/foo/bar", "/bar"],
    ["/foo", "/", "/foo", "/"],
    ["/foo", "", "/foo/bar", "/bar"],
    ["/", "/xyz", "/foo", "/xyz/foo"],
  ];
  for (const [matchedPrefix, replacePrefixMatch, path, made] of cases) {
    const config = { replacesPrefix: true, matchedPrefix, replacePrefixMatch };
    assert.is(await location(config, path, "a"), `http://a${made}`, `${matchedPrefix} ${path}`);
  }
});

test("redirect answers 302, or what it is told to", async () => {
  const status = async (config: object) =>
    (await loadFilter(import.meta.dirname ?? ".", { config })).request().reply?.status;
  assert.is(await status({ hostname: "b" }), 302);
  assert.is(await status({ hostname: "b", status: 301 }), 301);
});

test("redirect sends nobody back to where they are", async () => {
  assert.is(await location({ hostname: "shop.example" }), null);
  assert.is(await location({}), null);
});

test("redirect refuses other schemes and statuses", async () => {
  for (const config of [{ scheme: "ftp" }, { status: 305 }]) {
    await loadFilter(import.meta.dirname ?? ".", { config }).then(
      () => assert.unreachable(JSON.stringify(config)),
      (e: Error) => assert.match(e.message, /is neither|is no redirection/),
    );
  }
});

test("redirect answers 414 to a path that is too long to be given back", async () => {
  const filter = await loadFilter(import.meta.dirname ?? ".", { config: { scheme: "https" } });
  const longest = filter.request({ path: "/" + "a".repeat(4095) });
  assert.is(longest.reply?.status, 302);
  assert.ok(longest.fuel < 900_000, `${longest.fuel} instructions`);
  assert.is(filter.request({ path: "/" + "a".repeat(4096) }).reply?.status, 414);
  assert.is(filter.metric("redirects_total"), 1);
});

test.run();
