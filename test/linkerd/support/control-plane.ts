// A control plane that a test plays, on Linkerd's wire: destination, policy and identity over gRPC on one
// loopback port. It says only what Linkerd's says; no field of ours is ever set.

import { Code, type ConnectRouter } from "@connectrpc/connect";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { formatSocketAddr } from "../../../src/core/addr.ts";
import { addrFromWire } from "../../../src/api/addr.ts";
import {
  Destination,
  type DestinationProfile,
  type Update,
} from "../../../src/api/gen/destination_pb.ts";
import { type CertifyRequest, Identity } from "../../../src/api/gen/identity_pb.ts";
import { InboundServerPolicies, type Server } from "../../../src/api/gen/inbound_pb.ts";
import { OutboundPolicies, type OutboundPolicy } from "../../../src/api/gen/outbound_pb.ts";
import { type GrpcServer, serveGrpc } from "../../../src/runtime/grpc-server.ts";
import { createTestCa, derOf, type TestCa } from "../../support/test-ca.ts";
import { Feeds } from "./feeds.ts";

/** An answer of `Certify`. */
export interface Certified {
  readonly leafCertificate: Uint8Array;
  readonly intermediateCertificates: Uint8Array[];
  readonly validUntil: { readonly seconds: bigint; readonly nanos: number };
}

/** The control plane, its CA, and everything that it says. */
export class ControlPlane {
  readonly ca: TestCa;
  /** Endpoints by path; silent for what no test has set, as Linkerd is for an empty service. */
  readonly get = new Feeds<Update>(null);
  readonly profile = new Feeds<DestinationProfile>(Code.InvalidArgument);
  /** By `ip:port` or `name:port`. */
  readonly outbound = new Feeds<OutboundPolicy>(Code.NotFound);
  /** By `workload port`. */
  readonly inbound = new Feeds<Server>(Code.NotFound);
  /** Every request for a certificate. */
  readonly certifyRequests: CertifyRequest[] = [];
  /** How certificates are given. */
  certify: (request: CertifyRequest) => Promise<Certified> = (request) => this.issue(request);
  readonly #server: GrpcServer;

  private constructor(ca: TestCa, server: GrpcServer) {
    this.ca = ca;
    this.#server = server;
  }

  static async start(): Promise<ControlPlane> {
    let plane: ControlPlane | null = null;
    const ca = await createTestCa("identity.linkerd.cluster.local");
    const made = await serveGrpc({ ip: "127.0.0.1", port: 0 }, (router) => {
      routesOf(router, () => plane as ControlPlane);
    });
    plane = new ControlPlane(ca, made);
    return plane;
  }

  /** `ip:port`, the same for all three services. */
  get addr(): string {
    return formatSocketAddr(this.#server.addr);
  }

  /** A certificate for what a request asks, valid for `seconds`. */
  async issue(request: CertifyRequest, seconds = 86_400): Promise<Certified> {
    const csr = new x509.Pkcs10CertificateRequest(
      Uint8Array.from(request.certificateSigningRequest),
    );
    const untilMs = Date.now() + seconds * 1000;
    const leaf = await this.ca.issue({
      publicKey: csr.publicKey,
      names: [{ type: "dns", value: request.identity }],
    });
    return {
      leafCertificate: derOf(leaf),
      intermediateCertificates: [this.ca.der],
      validUntil: { seconds: BigInt(Math.floor(untilMs / 1000)), nanos: 0 },
    };
  }

  async close(): Promise<void> {
    await this.#server.close(500);
  }
}

function routesOf(router: ConnectRouter, plane: () => ControlPlane): void {
  router.service(Destination, {
    get: ({ path }, { signal }) => plane().get.at(path).stream(signal),
    getProfile: ({ path }, { signal }) => plane().profile.at(path).stream(signal),
  });
  router.service(OutboundPolicies, {
    watch: ({ target }, { signal }) => {
      const key = target.case === "addr"
        ? formatSocketAddr(addrFromWire(target.value, "addr"))
        : String(target.value ?? "");
      return plane().outbound.at(key).stream(signal);
    },
  });
  router.service(InboundServerPolicies, {
    watchPort: ({ workload, port }, { signal }) => {
      const { pod = workload } = JSON.parse(workload) as { pod?: string };
      return plane().inbound.at(`${pod} ${port}`).stream(signal);
    },
  });
  router.service(Identity, {
    certify: (request) => {
      plane().certifyRequests.push(request);
      return plane().certify(request);
    },
  });
}
