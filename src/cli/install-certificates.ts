// The certificates that an installation needs and that nobody gave: trust anchor, issuer and the
// webhook's. Made here, printed once in the manifests, kept nowhere else.

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createHash } from "node:crypto";
import { errorText } from "../core/errors.ts";
import { WEBHOOKS } from "../install/config.ts";
import type { Values } from "../install/values.ts";
import { CliError, EXIT_CONFIG } from "./failure.ts";

x509.cryptoProvider.set(crypto);

const KEY = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const YEAR_MS = 365 * 86_400_000;
const SKEW_MS = 20_000;

interface Pair {
  readonly crtPEM: string;
  readonly keyPEM: string;
}

/** The values with every certificate that was missing, or what is wrong with one that was given. */
export async function withCertificates(v: Values, nowMs: number): Promise<Values> {
  const { issuer } = v.identity;
  let anchors = v.identityTrustAnchorsPEM;
  let pair: Pair = issuer;
  if (issuer.scheme === "linkerd.io/tls") {
    if ((issuer.crtPEM === "") !== (issuer.keyPEM === "")) {
      throw new CliError("identity.issuer needs both crtPEM and keyPEM, or none", {
        exit: EXIT_CONFIG,
      });
    }
    if (issuer.crtPEM === "" && anchors !== "") {
      throw new CliError("identityTrustAnchorsPEM is given without identity.issuer", {
        exit: EXIT_CONFIG,
        hint: "Give the issuer's crtPEM and keyPEM too, or leave both out to have them made",
      });
    }
    if (issuer.crtPEM === "") {
      const name = `identity.${v.controlPlaneNamespace}.${v.identityTrustDomain}`;
      pair = await selfSigned(name, nowMs, true);
      // as in Linkerd: one certificate is both
      anchors = pair.crtPEM;
    }
    if (anchors === "" && !v.identity.externalCA) {
      throw new CliError("identity.issuer is given without identityTrustAnchorsPEM", {
        exit: EXIT_CONFIG,
      });
    }
    await checkIssuer(pair.crtPEM, anchors, nowMs);
  }
  const [proxyInjector, profileValidator, policyValidator] = await Promise.all([
    webhook(v, "proxyInjector", nowMs),
    webhook(v, "profileValidator", nowMs),
    webhook(v, "policyValidator", nowMs),
  ]);
  return {
    ...v,
    identityTrustAnchorsPEM: anchors,
    identity: { ...v.identity, issuer: { ...issuer, ...only(pair) } },
    proxyInjector: { ...v.proxyInjector, ...proxyInjector },
    profileValidator: { ...v.profileValidator, ...profileValidator },
    policyValidator: { ...v.policyValidator, ...policyValidator },
  };
}

/** What a webhook serves with. */
async function webhook(
  v: Values,
  values: (typeof WEBHOOKS)[number]["values"],
  nowMs: number,
): Promise<Pair> {
  const hook = v[values];
  if (hook.externalSecret && hook.caBundle + hook.injectCaFrom === "") {
    throw new CliError(`${values}.externalSecret needs caBundle or injectCaFrom`, {
      exit: EXIT_CONFIG,
    });
  }
  if (hook.externalSecret || hook.crtPEM !== "") return only(hook);
  const service = WEBHOOKS.find((w) => w.values === values)?.service;
  return await selfSigned(`${service}.${v.controlPlaneNamespace}.svc`, nowMs, false);
}

/** Hex SHA-256 of text, for `linkerd.io/trust-root-sha256`. */
export function sha256Text(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function only({ crtPEM, keyPEM }: Pair): Pair {
  return { crtPEM, keyPEM };
}

async function selfSigned(name: string, nowMs: number, ca: boolean): Promise<Pair> {
  const keys = await crypto.subtle.generateKey(KEY, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(nowMs - SKEW_MS),
    notAfter: new Date(nowMs + YEAR_MS),
    keys,
    signingAlgorithm: SIGNATURE,
    extensions: ca
      ? [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ]
      : [
        // it is its own CA bundle in the API server
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyCertSign,
          true,
        ),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
      ],
  });
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return {
    crtPEM: certificate.toString("pem") + "\n",
    keyPEM: x509.PemConverter.encode(der, "PRIVATE KEY") + "\n",
  };
}

/** What the identity service would refuse at its start is refused here. */
async function checkIssuer(crtPEM: string, anchorsPEM: string, nowMs: number): Promise<void> {
  const bad = (why: string, cause?: unknown) =>
    new CliError(`The issuer's certificate ${why}`, { exit: EXIT_CONFIG, cause });
  let issuer: x509.X509Certificate;
  let anchors: x509.X509Certificate[];
  try {
    issuer = new x509.X509Certificate(crtPEM);
    anchors = x509.PemConverter.decode(anchorsPEM).map((der) => new x509.X509Certificate(der));
  } catch (e) {
    throw bad(`or a trust anchor is no PEM certificate: ${errorText(e)}`, e);
  }
  if (issuer.getExtension(x509.BasicConstraintsExtension)?.ca !== true) throw bad("is no CA's");
  if (issuer.notAfter.getTime() < nowMs) throw bad(`ended at ${issuer.notAfter.toISOString()}`);
  for (const anchor of anchors) {
    const key = await anchor.publicKey.export();
    if (await issuer.verify({ publicKey: key, signatureOnly: true }).catch(() => false)) return;
  }
  if (anchorsPEM !== "") throw bad("is signed by none of the trust anchors");
}
