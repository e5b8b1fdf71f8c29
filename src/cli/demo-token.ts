// Service-account tokens for the demo's pods, as the kubelet would project them: signed with the key
// that the control plane made in its state folder.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { importTokenKey, issueToken, TOKEN_KEY_FILE } from "../api/service-account-token.ts";
import { type DemoFolders, type DemoPod, NAMESPACE, podFolders } from "./demo-plan.ts";

/** A demo that runs longer than this is a deployment. */
const LIFETIME_MS = 30 * 24 * 60 * 60 * 1000;

/** Writes the token file of each pod, for its owner only. */
export async function writeTokens(folders: DemoFolders, pods: readonly DemoPod[]): Promise<void> {
  const key = await importTokenKey(await readFile(join(folders.state, TOKEN_KEY_FILE), "utf8"));
  for (const pod of pods) {
    const token = await issueToken(key, {
      namespace: NAMESPACE,
      serviceAccount: pod.app,
      nowMs: Date.now(),
      lifetimeMs: LIFETIME_MS,
    });
    await writeFile(podFolders(folders, pod).token, token, { mode: 0o600 });
  }
}
