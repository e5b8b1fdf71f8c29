// Digests as text: lower-case hex inside, bytes on the wire.

/** Two lower-case digits a byte. */
export function bytesToHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** The inverse. Throws on what is not pairs of hex digits. */
export function hexToBytes(hex: string): Uint8Array {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(hex)) throw new Error("not pairs of hex digits");
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** The SHA-256 of bytes, as 64 hex digits. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  // A copy: WebCrypto's types refuse what may be shared memory.
  return bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes))));
}
