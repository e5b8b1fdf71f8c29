// The signature of a filter's module as text: how a `.sig` file and `spec.module.signature` have it.
// Who made it is decided in `wasm/host/signature.ts`.

/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64;

/** Verifies the signature of the module with this digest, or throws `FilterRefused` with the reason. */
export type SignatureCheck = (
  sha256: string,
  signature: Uint8Array | null | undefined,
) => Promise<void>;

/** Base64. */
export function signatureText(signature: Uint8Array): string {
  return btoa(String.fromCharCode(...signature));
}

/** Reads that text, blanks around it allowed. Throws for anything else. */
export function parseSignature(text: string): Uint8Array {
  const trimmed = text.trim();
  // 86 digits and two signs are 64 bytes
  if (!/^[A-Za-z0-9+/]{85}[AQgw]==$/.test(trimmed)) {
    throw new Error(`it is not ${SIGNATURE_BYTES} bytes as base64`);
  }
  return Uint8Array.from(atob(trimmed), (c) => c.charCodeAt(0));
}
