// The signature that lies beside a module's file, as `tulle filter sign` writes it.

import { errorText } from "../../core/errors.ts";
import { parseSignature } from "../../core/signature.ts";
import type { FileSystem } from "../files/file-system.ts";

const MAX_BYTES = 1024;

/** The signature in `<path>.sig`; null: there is none to read; an error: it is none. */
export async function readSignatureBeside(
  files: FileSystem,
  path: string,
): Promise<Uint8Array | { readonly error: string } | null> {
  const bytes = await files.read(`${path}.sig`, MAX_BYTES).catch(() => null);
  if (bytes === null) return null;
  try {
    return parseSignature(new TextDecoder().decode(bytes));
  } catch (e) {
    return { error: errorText(e) };
  }
}
