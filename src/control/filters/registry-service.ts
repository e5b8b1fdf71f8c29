// The filter registry's API: modules by digest, in pieces.

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type ModuleChunk,
  ModuleChunkSchema,
  type Registry,
} from "../../api/gen/tulle/filter_pb.ts";
import { bytesToHex } from "../../api/hex.ts";
import type { Counters } from "../counters.ts";
import type { StoredModule } from "./module-store.ts";

/** Bytes of one message. */
const CHUNK_BYTES = 64 * 1024;

/** Serves the modules that `find` has. */
export function registryService(
  find: (sha256: string) => Promise<StoredModule | null>,
  counters: Counters,
): ServiceImpl<typeof Registry> {
  return {
    getModule({ sha256 }) {
      if (sha256.length !== 32) {
        throw new ConnectError("The digest is not 32 bytes", Code.InvalidArgument);
      }
      return counters.counted("filter.GetModule", chunks(find, bytesToHex(sha256)));
    },
  };
}

async function* chunks(
  find: (sha256: string) => Promise<StoredModule | null>,
  sha256: string,
): AsyncGenerator<ModuleChunk> {
  const module = await find(sha256);
  if (module === null) throw new ConnectError(`No module ${sha256}`, Code.NotFound);
  const { bytes } = module;
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield create(ModuleChunkSchema, { data: bytes.subarray(at, at + CHUNK_BYTES) });
  }
}
