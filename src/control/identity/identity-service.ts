// The identity API: a token and a signing request in, a leaf certificate out.

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type CertifyRequest,
  type CertifyResponse,
  CertifyResponseSchema,
  type Identity,
} from "../../api/gen/identity_pb.ts";
import { MAX_TOKEN_BYTES } from "../../api/service-account-token.ts";
import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { isDnsLike, workloadIdentity } from "../../model/identity.ts";
import type { CertificateState } from "../admin/state.ts";
import type { Counters } from "../counters.ts";
import type { MeshOptions } from "../options.ts";
import type { Authority, Issued } from "./authority.ts";
import { checkCsr, MalformedCsr, UnfitCsr } from "./csr.ts";
import type { TokenReviewer } from "./token-reviewer.ts";

/** Names of which the newest certificate is remembered for people to see. */
const MAX_REMEMBERED = 4096;

export interface IdentityDeps {
  /** Null while it is not ready. */
  readonly authority: () => Authority | null;
  readonly tokens: () => TokenReviewer | null;
  readonly options: MeshOptions;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Logger;
  /** Called after each certificate. */
  readonly onChange: () => void;
}

/** The service, and the newest certificate of each name. */
export interface IdentityService {
  readonly implementation: ServiceImpl<typeof Identity>;
  readonly issued: ReadonlyMap<string, CertificateState>;
}

/** Issues certificates. Each refusal is a status with one line, logged with the name that asked. */
export function identityService(deps: IdentityDeps): IdentityService {
  const issued = new Map<string, CertificateState>();
  const certify = async (request: CertifyRequest): Promise<CertifyResponse> => {
    const { identity } = request;
    try {
      const certificate = await issue(deps, request);
      deps.counters.certificatesIssued++;
      issued.delete(identity);
      if (issued.size >= MAX_REMEMBERED) issued.delete(issued.keys().next().value ?? "");
      issued.set(identity, {
        name: identity,
        serial: certificate.serial,
        notAfter: certificate.notAfterMs,
      });
      deps.onChange();
      deps.log.info("issued a certificate", { identity, serial: certificate.serial });
      return create(CertifyResponseSchema, {
        leafCertificate: certificate.leaf,
        intermediateCertificates: [...certificate.chain],
        validUntil: timestampFromMs(certificate.notAfterMs),
      });
    } catch (e) {
      const error = ConnectError.from(e);
      deps.counters.refused("certificate");
      deps.log.warn("refused a certificate", {
        identity: identity.slice(0, 253),
        why: error.rawMessage,
      });
      throw error;
    }
  };
  return { implementation: { certify }, issued };
}

async function issue(deps: IdentityDeps, request: CertifyRequest): Promise<Issued> {
  const { identity, token, certificateSigningRequest: csr } = request;
  if (identity === "") throw invalid("the identity is missing");
  if (token.length === 0) throw invalid("the token is missing");
  if (csr.length === 0) throw invalid("the signing request is missing");
  if (!isDnsLike(identity)) throw invalid("the identity is not a DNS-like name");
  if (token.length > MAX_TOKEN_BYTES) throw invalid("the token is longer than 16 KiB");
  const authority = deps.authority();
  const tokens = deps.tokens();
  if (authority === null || tokens === null) {
    throw new ConnectError("the issuer is not ready", Code.Unavailable);
  }
  const key = await readCsr(csr, identity);
  const owner = await ownerOf(tokens, token, deps.options);
  if (owner !== identity) {
    throw new ConnectError(
      `the token is of ${owner}, not of the identity that is asked for`,
      Code.FailedPrecondition,
    );
  }
  try {
    return await authority.issue(identity, key, deps.clock.wall());
  } catch (e) {
    deps.log.error("signing failed", { identity, why: errorText(e) });
    throw new ConnectError("signing failed", Code.Internal);
  }
}

async function readCsr(csr: Uint8Array, identity: string) {
  try {
    return await checkCsr(csr, identity);
  } catch (e) {
    if (e instanceof MalformedCsr) throw invalid(e.message);
    if (e instanceof UnfitCsr) throw new ConnectError(e.message, Code.FailedPrecondition);
    throw e;
  }
}

/** The identity of the service account that a token belongs to. */
async function ownerOf(
  tokens: TokenReviewer,
  token: Uint8Array,
  options: MeshOptions,
): Promise<string> {
  const review = await tokens.review(token).catch((e: unknown) => {
    throw new ConnectError(`the token cannot be reviewed: ${errorText(e)}`, Code.Unavailable);
  });
  if (review.kind === "invalid") throw invalid(review.reason);
  if (review.kind === "unauthenticated") {
    throw new ConnectError(review.reason, Code.FailedPrecondition);
  }
  const [system, kind, namespace = "", serviceAccount = "", ...more] = review.name.split(":");
  const account = system === "system" && kind === "serviceaccount" && namespace !== "" &&
    serviceAccount !== "" && more.length === 0;
  if (!account) {
    throw new ConnectError("the token is not of a service account", Code.FailedPrecondition);
  }
  return workloadIdentity({
    serviceAccount,
    namespace,
    controlPlaneNamespace: options.controlNamespace,
    trustDomain: options.trustDomain,
  });
}

function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
