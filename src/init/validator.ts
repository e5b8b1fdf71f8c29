// The network validator: proves that a pod's traffic is redirected, by connecting to an address that
// nobody has and expecting its own listener to answer. Sockets are handed in.

/** What Linkerd's validator ends with when traffic is not redirected; its repair controller looks for it. */
export const EXIT_NOT_REDIRECTED = 95;

/** Characters of the token before its newline. */
const TOKEN_CHARS = 63;
const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** A token that only this process knows: 63 letters and digits and a newline. */
export function randomToken(random: (bytes: number) => Uint8Array): string {
  let token = "";
  while (token.length < TOKEN_CHARS) {
    // Bytes past the largest multiple of 62 would favour some characters.
    for (const byte of random(TOKEN_CHARS)) {
      if (byte < 248 && token.length < TOKEN_CHARS) token += ALPHANUMERIC[byte % 62];
    }
  }
  return token + "\n";
}

/** Milliseconds of `10s`, `500ms`, `2m`, `1h`, `1d` or a bare `0`; null for anything else. */
export function parseTimeout(text: string): number | null {
  if (text === "0") return 0;
  const m = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (m === null) return null;
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[m[2] ?? ""] ?? 0;
  return Number(m[1]) * unit;
}

/** Why what was read is not the token: in one line, without showing bytes of strangers. */
export function mismatch(token: string, read: string): string | null {
  if (read === token) return null;
  return read === ""
    ? "the connection ended without a byte: it did not reach this validator"
    : `${read.length} bytes came that are not the validator's token: somebody else answered`;
}
