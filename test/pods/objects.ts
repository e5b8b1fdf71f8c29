// Kubernetes objects as far as the suite of pods reads them. Everything else of them is passed on.

/** Any object. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
  };
}

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: number };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly EnvVar[];
  readonly restartPolicy?: "Always";
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: {
    readonly postStart?: { readonly exec: { readonly command: readonly string[] } };
    readonly preStop?: { readonly sleep: { readonly seconds: number } };
  };
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type: string };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

/** A file of a projected volume. */
interface Item {
  readonly key: string;
  readonly path: string;
}

export interface Source {
  readonly serviceAccountToken?: { readonly audience?: string; readonly path: string };
  readonly configMap?: { readonly name: string; readonly items?: readonly Item[] };
  readonly downwardAPI?: {
    readonly items: readonly {
      readonly path: string;
      readonly fieldRef: { readonly fieldPath: string };
    }[];
  };
}

export interface Volume {
  readonly name: string;
  readonly emptyDir?: unknown;
  readonly hostPath?: { readonly path: string };
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
  readonly projected?: { readonly sources: readonly Source[] };
}

export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly [field: string]: unknown;
}

export interface Pod extends KubeObject {
  readonly spec: PodSpec;
}

export interface Service extends KubeObject {
  readonly spec: {
    readonly selector?: Readonly<Record<string, string>>;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ports: readonly {
      readonly name?: string;
      readonly port: number;
      readonly targetPort?: number | string;
    }[];
  };
}

/** The namespace of an object. */
export const namespaceOf = ({ metadata }: KubeObject): string => metadata.namespace ?? "default";
