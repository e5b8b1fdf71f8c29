// Who a token belongs to, as the API server says it (TokenReview, authentication.k8s.io/v1). The token
// is in the request's body and nowhere else.

import { TOKEN_AUDIENCE } from "../../api/service-account-token.ts";
import { Field } from "../field.ts";
import type { TokenReviewer } from "../identity/token-reviewer.ts";
import type { KubeApi } from "./api.ts";

const PATH = "/apis/authentication.k8s.io/v1/tokenreviews";

/** Asks for the mesh's audience, and believes only an answer that names it. */
export function tokenReviewer(api: KubeApi): TokenReviewer {
  return {
    async review(token) {
      let text: string;
      try {
        text = new TextDecoder("utf-8", { fatal: true }).decode(token).trim();
      } catch {
        return { kind: "invalid", reason: "the token is not text" };
      }
      const answer = await api.request({
        method: "POST",
        path: PATH,
        body: {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenReview",
          spec: { token: text, audiences: [TOKEN_AUDIENCE] },
        },
      });
      const status = new Field(answer, []).at("status");
      if (!status.at("authenticated").boolOr(false)) {
        // The API server's own words name what is wrong with a token, not the token.
        return status.at("error").isAbsent
          ? { kind: "unauthenticated", reason: "the token is of nobody" }
          : { kind: "invalid", reason: "the API server does not accept the token" };
      }
      // An authenticator that knows no audiences leaves them out: then it could be for anybody.
      const audiences = status.at("audiences").list().map((a) => a.string());
      if (!audiences.includes(TOKEN_AUDIENCE)) {
        return { kind: "invalid", reason: `the token is not for the audience ${TOKEN_AUDIENCE}` };
      }
      return { kind: "user", name: status.at("user").at("username").string() };
    },
  };
}
