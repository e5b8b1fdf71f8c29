import { test } from "uvu";
import * as assert from "uvu/assert";
import { bundled, debian, sbom } from "../../tools/sbom.ts";

const NOTICES = `The bundles in this folder contain parts of the following packages.

${"=".repeat(78)}
@connectrpc/connect 2.2.0 (Apache-2.0)

text

${"=".repeat(78)}
hono 4.13.19 (MIT)

MIT License
`;

test("a bill of materials names every package of the notices and of Debian", () => {
  const parts = [...bundled(NOTICES), ...debian("iptables\t1.8.9-2\tamd64\nlibc6\t2.36\tamd64\n")];
  assert.equal(parts.map((p) => p.purl), [
    "pkg:npm/%40connectrpc/connect@2.2.0",
    "pkg:npm/hono@4.13.19",
    "pkg:deb/debian/iptables@1.8.9-2?arch=amd64",
    "pkg:deb/debian/libc6@2.36?arch=amd64",
  ]);
  const text = sbom("1.0.0", parts);
  assert.is(text, sbom("1.0.0", parts.toReversed()));
  assert.match(JSON.parse(text).serialNumber, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8/);
  assert.is(JSON.parse(text).components.length, 4);
});

test.run();
