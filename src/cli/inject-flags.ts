// The flags of `tulle inject` that become annotations of pods.

/** The flag, what stands for its value, and the annotation below `config.linkerd.io/`. */
export const ANNOTATIONS: readonly (readonly [flag: string, value: string, key: string])[] = [
  ["--proxy-image", "IMAGE", "proxy-image"],
  ["--proxy-version", "VERSION", "proxy-version"],
  ["--image-pull-policy", "WORD", "image-pull-policy"],
  ["--inbound-port", "PORT", "inbound-port"],
  ["--outbound-port", "PORT", "outbound-port"],
  ["--control-port", "PORT", "control-port"],
  ["--admin-port", "PORT", "admin-port"],
  ["--skip-inbound-ports", "PORTS", "skip-inbound-ports"],
  ["--skip-outbound-ports", "PORTS", "skip-outbound-ports"],
  ["--skip-subnets", "CIDRS", "skip-subnets"],
  ["--opaque-ports", "PORTS", "opaque-ports"],
  ["--proxy-uid", "UID", "proxy-uid"],
  ["--proxy-gid", "GID", "proxy-gid"],
  ["--proxy-log-level", "FILTER", "proxy-log-level"],
  ["--proxy-cpu-request", "CPU", "proxy-cpu-request"],
  ["--proxy-cpu-limit", "CPU", "proxy-cpu-limit"],
  ["--proxy-memory-request", "BYTES", "proxy-memory-request"],
  ["--proxy-memory-limit", "BYTES", "proxy-memory-limit"],
  ["--default-inbound-policy", "POLICY", "default-inbound-policy"],
  ["--native-sidecar", "BOOL", "proxy-enable-native-sidecar"],
  ["--require-identity-on-inbound-ports", "PORTS", "proxy-require-identity-inbound-ports"],
  ["--close-wait-timeout", "TIME", "close-wait-timeout"],
];
