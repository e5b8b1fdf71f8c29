// Skips that say why. `tools/test.ts` counts and lists them at the end; a skip without a reason (uvu's
// own `test.skip`) fails the run there.

/** What a line of the runner's protocol starts with. */
export const SKIP_MARK = "tulle-skip ";

/**
 * Says that the test `name` is not run here, and why: `skip("haproxy answers", "haproxy is not
 * installed (tools/setup-debian)")`. Called in place of `test(name, …)`.
 */
export function skip(name: string, reason: string): void {
  if (reason.trim() === "") throw new Error(`skip("${name}") needs a reason`);
  console.log(SKIP_MARK + JSON.stringify({ name, reason }));
}

/** `test(name, body)` when `missing` is null, else `skip(name, missing)`. */
export function testUnless(
  missing: string | null,
  test: (name: string, body: () => void | Promise<void>) => void,
  name: string,
  body: () => void | Promise<void>,
): void {
  if (missing === null) test(name, body);
  else skip(name, missing);
}
