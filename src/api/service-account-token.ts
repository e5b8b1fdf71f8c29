// Service-account tokens as the kubelet projects them: a compact JWS (RFC 7515), ES256. Issued here for
// meshes without Kubernetes – by the demo, as kubelet would – and verified by `control/identity`.
// No message of this file repeats a token.

/** The audience that the identity service asks for. */
export const TOKEN_AUDIENCE = "identity.l5d.io";
/** Where the key of such a mesh is kept in the control plane's state folder: PKCS#8, PEM. */
export const TOKEN_KEY_FILE = "token-key.pem";
/** Longer tokens are refused. */
export const MAX_TOKEN_BYTES = 16 * 1024;

const ISSUER = "tulle";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
/** Clocks of one machine; more is an error of the issuer. */
const SKEW_MS = 5_000;

/** What signs and verifies tokens. */
export interface TokenKey {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** Why a token is refused, in words that may be logged and sent. */
export class TokenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TokenError";
  }
}

/** A new key as PEM, to be kept readable by its owner only. */
export async function generateTokenKey(): Promise<string> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const base64 = btoa(String.fromCharCode(...der)).replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`;
}

/** Reads what `generateTokenKey` made. */
export async function importTokenKey(pem: string): Promise<TokenKey> {
  const base64 = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----/.exec(
    pem,
  );
  if (base64 === null) throw new Error("the token key is not a PKCS#8 PEM");
  const der = Uint8Array.from(atob((base64[1] ?? "").replace(/\s/g, "")), (c) => c.charCodeAt(0));
  const privateKey = await crypto.subtle.importKey("pkcs8", der, ALGORITHM, true, ["sign"]);
  const { kty = "", crv = "", x = "", y = "" } = await crypto.subtle.exportKey("jwk", privateKey);
  const publicKey = await crypto.subtle.importKey("jwk", { kty, crv, x, y }, ALGORITHM, true, [
    "verify",
  ]);
  return { privateKey, publicKey };
}

/** A token for a service account, valid from now on. */
export async function issueToken(key: TokenKey, of: {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  readonly lifetimeMs: number;
  readonly audience?: string;
}): Promise<string> {
  const now = Math.floor(of.nowMs / 1000);
  const claims = {
    iss: ISSUER,
    sub: `system:serviceaccount:${of.namespace}:${of.serviceAccount}`,
    aud: [of.audience ?? TOKEN_AUDIENCE],
    iat: now,
    nbf: now,
    exp: now + Math.ceil(of.lifetimeMs / 1000),
  };
  const signed = `${encodeJson({ alg: "ES256", typ: "JWT" })}.${encodeJson(claims)}`;
  const signature = await crypto.subtle.sign(SIGNATURE, key.privateKey, bytesOf(signed));
  return `${signed}.${encode(new Uint8Array(signature))}`;
}

/** The user of a valid token, `system:serviceaccount:<ns>:<sa>`. Rejects with a `TokenError`. */
export async function verifyToken(
  key: TokenKey,
  token: string,
  expected: { readonly audience: string; readonly nowMs: number },
): Promise<string> {
  if (token.length > MAX_TOKEN_BYTES) throw new TokenError("the token is longer than 16 KiB");
  const [header = "", payload = "", signature = "", ...more] = token.trim().split(".");
  if (signature === "" || more.length > 0) throw new TokenError("the token is not a compact JWS");
  // The header says how to verify; nothing but the one algorithm is listened to.
  if (decodeJson(header)["alg"] !== "ES256") {
    throw new TokenError("the token is not signed by ES256");
  }
  const genuine = await crypto.subtle.verify(
    SIGNATURE,
    key.publicKey,
    decode(signature),
    bytesOf(`${header}.${payload}`),
  );
  if (!genuine) throw new TokenError("the token's signature is not by this mesh's key");
  const { iss, sub, aud, exp, nbf } = decodeJson(payload);
  if (iss !== ISSUER) throw new TokenError("the token is by another issuer");
  const audiences = Array.isArray(aud) ? aud : [aud];
  if (!audiences.includes(expected.audience)) {
    throw new TokenError(`the token is not for the audience ${expected.audience}`);
  }
  if (typeof exp !== "number" || exp * 1000 + SKEW_MS <= expected.nowMs) {
    throw new TokenError("the token is expired");
  }
  if (typeof nbf === "number" && nbf * 1000 - SKEW_MS > expected.nowMs) {
    throw new TokenError("the token is not valid yet");
  }
  if (typeof sub !== "string") throw new TokenError("the token names no user");
  return sub;
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function encodeJson(value: unknown): string {
  return encode(bytesOf(JSON.stringify(value)));
}

function encode(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(
    /=/g,
    "",
  );
}

function decode(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new TokenError("the token is not base64url");
  try {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (c) => c.charCodeAt(0));
  } catch {
    throw new TokenError("the token is not base64url");
  }
}

function decodeJson(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(decode(text)));
  } catch {
    throw new TokenError("the token does not hold JSON");
  }
  if (typeof value !== "object" || value === null) {
    throw new TokenError("the token holds no object");
  }
  return value as Record<string, unknown>;
}
