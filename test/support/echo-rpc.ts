// A gRPC service with one method of each kind, for tests of what carries it. Described in place, since
// no message of the wire API streams in both directions.

import { create, createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";

const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "echo.proto",
    package: "test.echo.v1",
    syntax: "proto3",
    messageType: [{
      name: "Say",
      field: [{
        name: "text",
        number: 1,
        label: FieldDescriptorProto_Label.OPTIONAL,
        type: FieldDescriptorProto_Type.STRING,
        jsonName: "text",
      }],
    }],
    service: [{
      name: "Echo",
      method: [
        ["Unary", false, false] as const,
        ["Collect", true, false] as const,
        ["Repeat", false, true] as const,
        ["Talk", true, true] as const,
      ].map(([name, clientStreaming, serverStreaming]) => ({
        name,
        inputType: ".test.echo.v1.Say",
        outputType: ".test.echo.v1.Say",
        clientStreaming,
        serverStreaming,
      })),
    }],
  }),
  () => undefined,
);

type Say = Message<"test.echo.v1.Say"> & { text: string };
interface Method<Kind> {
  readonly methodKind: Kind;
  readonly input: GenMessage<Say>;
  readonly output: GenMessage<Say>;
}

// The registry cannot know at compile time what was described above.
export const Echo = registry.getService("test.echo.v1.Echo") as unknown as GenService<{
  unary: Method<"unary">;
  collect: Method<"client_streaming">;
  repeat: Method<"server_streaming">;
  talk: Method<"bidi_streaming">;
}>;

/** What the service saw of calls that did not end as usual. */
export interface EchoSeen {
  aborted: number;
  deadlines: number[];
}

/**
 * Serves it. `unary`: `fail:CODE` ends with that code, `hang` until it is aborted. `repeat`: `N` gives N
 * messages and `N fail` an error after them. `talk`: answers each message; `hang` gives nothing more.
 */
export function serveEcho(router: ConnectRouter, seen: EchoSeen): void {
  const hang = async (signal: AbortSignal): Promise<never> => {
    if (!signal.aborted) {
      await new Promise((end) => signal.addEventListener("abort", end, { once: true }));
    }
    seen.aborted++;
    throw new ConnectError("it was hung up", Code.Canceled);
  };
  router.service(Echo, {
    async unary(request, context) {
      const left = context.timeoutMs();
      if (left !== undefined) seen.deadlines.push(left);
      const text = request.text;
      const code = /^fail:(\d+)$/.exec(text)?.[1];
      if (code !== undefined) throw new ConnectError("as asked", Number(code) as Code);
      if (text === "hang") await hang(context.signal);
      context.responseHeader.set("x-head", "yes");
      context.responseTrailer.set("x-trailer", "yes");
      return { text: `unary ${text}` };
    },
    async collect(requests) {
      const all: string[] = [];
      for await (const request of requests) all.push(request.text);
      return { text: all.join(",") };
    },
    async *repeat(request, context) {
      const [count, then] = request.text.split(" ");
      for (let i = 0; i < Number(count); i++) yield { text: `${i}` };
      if (then === "fail") throw new ConnectError("after them", Code.Aborted);
      if (then === "hang") await hang(context.signal);
    },
    async *talk(requests, context) {
      for await (const request of requests) {
        if (request.text === "hang") await hang(context.signal);
        yield { text: `re ${request.text}` };
      }
    },
  });
}
