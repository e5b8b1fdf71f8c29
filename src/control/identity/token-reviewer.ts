// Who a token belongs to. An interface, since in Kubernetes the API server says it; here the folder's
// own key does.

import {
  generateTokenKey,
  importTokenKey,
  TOKEN_AUDIENCE,
  TOKEN_KEY_FILE,
  TokenError,
  verifyToken,
} from "../../api/service-account-token.ts";
import type { Clock } from "../../core/clock.ts";
import type { StateDir } from "../state-dir.ts";

/** What became of a token. Reasons are fit for logs and clients; they never repeat a token. */
export type Review =
  | { readonly kind: "user"; readonly name: string }
  /** Forged, expired, for another audience, or no token at all. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** In order, and of nobody. */
  | { readonly kind: "unauthenticated"; readonly reason: string };

/** Reviews the token of a proxy that asks for a certificate. Rejects only when it cannot review. */
export interface TokenReviewer {
  review(token: Uint8Array): Promise<Review>;
}

/** Reviews tokens signed by the key in the state folder, which it makes when there is none. */
export async function openFolderReviewer(state: StateDir, clock: Clock): Promise<TokenReviewer> {
  let pem = await state.read(TOKEN_KEY_FILE);
  if (pem === null) {
    pem = new TextEncoder().encode(await generateTokenKey());
    await state.write(TOKEN_KEY_FILE, pem);
  }
  const key = await importTokenKey(new TextDecoder().decode(pem));
  return {
    async review(token) {
      try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(token);
        const expected = { audience: TOKEN_AUDIENCE, nowMs: clock.wall() };
        return { kind: "user", name: await verifyToken(key, text, expected) };
      } catch (e) {
        if (e instanceof TokenError) return { kind: "invalid", reason: e.message };
        if (e instanceof TypeError) return { kind: "invalid", reason: "the token is not text" };
        throw e;
      }
    },
  };
}
