// The compiler transform: turns names in quotes into slots, constants into imported strings, metrics
// into memory, exported hooks into the ABI's exports, and writes what it saw into the manifest.
// Runs after parsing, before types are known; it looks only at calls of what `@tulle/filter` exports.

import {
  HOOK_EXPORTS,
  LIMITS,
  MANIFEST_SECTION,
  MAX_HEADER_PARAMS,
  METRIC_EXPORT,
} from "../abi.ts";
import {
  at,
  byteString,
  type Call,
  type CompilerApi,
  type FunctionDeclaration,
  type Identifier,
  type ImportStatement,
  Literals,
  type NamedType,
  type Node,
  parseExpression,
  type Parser,
  parseStatements,
  place,
  type PropertyAccess,
  rewrite,
  type Source,
  type VariableDeclaration,
  type VariableStatement,
} from "./ast.ts";
import { configField } from "./config-field.ts";
import { findKept } from "./kept.ts";
import { CALLS, HOOKS, REQUEST_READS, SDK_PATH } from "./surface.ts";
import { ManifestBuilder } from "./manifest.ts";
import { layMetric } from "./metric.ts";

/** Unless `tickEvery` says otherwise. */
const DEFAULT_TICK_MS = 1000;

/** One file's state while it is walked. */
interface File {
  readonly source: Source;
  /** Local name → what it is in the SDK. */
  readonly imports: ReadonlyMap<string, string>;
  /** Constant → its identifier. */
  readonly texts: Map<string, string>;
  /** Top-level constants that hold a configuration key. */
  readonly fields: Map<string, number>;
}

/** Walks all user files of one compilation. `errors` is filled with `file:line:column: message`. */
export class FilterTransform {
  readonly errors: string[] = [];
  readonly #api: CompilerApi;
  readonly #literals: Literals;
  readonly #manifest = new ManifestBuilder();
  readonly #build: string;
  /** What `tickEvery` says. */
  #tickEvery = DEFAULT_TICK_MS;

  constructor(api: CompilerApi, build: string) {
    this.#api = api;
    this.#literals = new Literals(api);
    this.#build = build;
  }

  /** Called by the compiler when everything is parsed. */
  afterParse(parser: Parser): void {
    const { SourceKind } = this.#api;
    const user = parser.sources.filter((s) =>
      s.sourceKind === SourceKind.User || s.sourceKind === SourceKind.UserEntry
    ).filter((s) => !s.normalizedPath.startsWith("~lib/"));
    // Configuration keys and writes are known before the calls that depend on them.
    const files = user.map((source) => this.#open(source));
    const kept = files.map((file) => ({
      ...file,
      callee: (node: Node) => this.#callee(file, node),
    }));
    this.errors.push(...findKept(kept, this.#api, this.#literals));
    for (const file of files) this.#declareWrites(file);
    for (const file of files) this.#walk(file, file.source.sourceKind === SourceKind.UserEntry);
    if (this.errors.length > 0) throw new Error("the filter's source was refused");
  }

  /** Called by the compiler with the finished module. */
  afterCompile(module: { addCustomSection(name: string, contents: Uint8Array): void }): void {
    if (this.#manifest.tickMs > 0) this.#manifest.tickMs = this.#tickEvery;
    const json = JSON.stringify(this.#manifest.finish(this.#build));
    module.addCustomSection(MANIFEST_SECTION, new TextEncoder().encode(json));
  }

  #open(source: Source): File {
    const imports = new Map<string, string>();
    for (const statement of source.statements) {
      if (statement.kind !== this.#api.NodeKind.Import) continue;
      const { internalPath, declarations, namespaceName } = statement as ImportStatement;
      if (internalPath !== `~lib/${SDK_PATH}`) continue;
      if (namespaceName) {
        this.errors.push(at(statement, `import names from "${SDK_PATH}", not the whole module`));
      }
      for (const d of declarations ?? []) imports.set(d.name.text, d.foreignName.text);
    }
    return { source, imports, texts: new Map(), fields: new Map() };
  }

  /** `request.header` for `request.header(…)`, when `request` comes from the SDK; else null. */
  #callee(file: File, node: Node): string | null {
    if (node.kind !== this.#api.NodeKind.Call) return null;
    const { expression } = node as Call;
    const direct = this.#literals.identifier(expression);
    if (direct !== null) return file.imports.get(direct) ?? null;
    if (expression.kind !== this.#api.NodeKind.PropertyAccess) return null;
    const access = expression as PropertyAccess;
    const owner = this.#literals.identifier(access.expression);
    const known = owner === null ? undefined : file.imports.get(owner);
    return known === undefined ? null : `${known}.${access.property.text}`;
  }

  /** A header that is written anywhere is read through the host, not as a parameter. */
  #declareWrites(file: File): void {
    this.#each(file, file.source, (node, callee) => {
      const rule = CALLS[callee];
      const name = this.#literals.string((node as Call).args[0]);
      if (rule?.[0] !== "writes" || name === null) return;
      const head = callee.startsWith("request") ? "request" : "response";
      this.#try(node, () => void this.#manifest.writes(head, name));
    });
  }

  #each(file: File, root: Node, look: (node: Node, callee: string) => void): void {
    rewrite(root, (node) => {
      const callee = this.#callee(file, node);
      if (callee !== null) look(node, callee);
      return node;
    });
  }

  #walk(file: File, isEntry: boolean): void {
    const { source } = file;
    const { NodeKind } = this.#api;
    const added: Node[] = [];
    for (const statement of [...source.statements]) {
      if (statement.kind === NodeKind.Variable) {
        for (const d of (statement as VariableStatement).declarations) {
          this.#constant(file, d, isEntry, added);
        }
      }
      const name = statement.kind === NodeKind.FunctionDeclaration
        ? (statement as FunctionDeclaration).name.text
        : "";
      const hook = isEntry && Object.hasOwn(HOOKS, name) ? HOOKS[name] : undefined;
      const isExported = hook !== undefined &&
        ((statement as FunctionDeclaration).flags & (this.#api.CommonFlags.Export as number)) !== 0;
      if (hook !== undefined && !isExported) {
        this.errors.push(at(statement, `${name} is a hook only when it is exported`));
      }
      if (hook !== undefined && isExported) {
        this.#hook(file, statement as FunctionDeclaration, hook, added);
      }
      if (hook?.hook !== "request") {
        this.#each(file, statement, (_, callee) => {
          if (REQUEST_READS.test(callee)) this.#manifest.keepsRequest = true;
        });
      }
      rewrite(statement, (node) => this.#replace(file, node));
    }
    for (const [value, name] of file.texts) {
      const code = `@external("'", ${JSON.stringify(value)}) declare const ${name}: externref;`;
      added.push(...parseStatements(this.#api, code, (source.statements[0] as Node).range));
    }
    source.statements.push(...added);
  }

  /** `const x = config.…(…)` and `const x = counter({…})`. */
  #constant(file: File, d: VariableDeclaration, isEntry: boolean, added: Node[]): void {
    const init = d.initializer;
    if (!init) return;
    const callee = this.#callee(file, init);
    if (callee === null) return;
    const { range } = init;
    const kind = callee === "counter" || callee === "gauge" || callee === "histogram"
      ? callee
      : null;
    this.#try(init, () => {
      if (callee.startsWith("config.")) {
        const made = rewrite(init, (node) => this.#replace(file, node));
        d.initializer = made;
        const slot = this.#literals.number((made as Call).args[0]);
        if (slot !== null) file.fields.set(d.name.text, slot);
      }
      if (kind === null) return;
      if (!isEntry) throw new Error("metrics are declared in the filter's main file");
      const laid = layMetric(kind, (init as Call).args[0], {
        literals: this.#literals,
        manifest: this.#manifest,
        field: (name) => file.fields.get(name) ?? null,
        isStatusClasses: (name) => file.imports.get(name) === "STATUS_CLASSES",
        methodCall: (node) => this.#methodCall(node),
      });
      const { expression } = init as Call;
      const call = parseExpression(this.#api, `_(${laid.args})`, range) as Call;
      call.expression = expression;
      d.initializer = call;
      added.push(...parseStatements(
        this.#api,
        `export const ${METRIC_EXPORT}${laid.index}: usize = changetype<usize>(${d.name.text}) + ${laid.cellsAt};`,
        range,
      ));
    });
  }

  /** `paths.or("other")` as its three parts, or null. */
  #methodCall(node: Node): { owner: string; method: string; args: readonly Node[] } | null {
    if (node.kind !== this.#api.NodeKind.Call) return null;
    const { expression, args } = node as Call;
    if (expression.kind !== this.#api.NodeKind.PropertyAccess) return null;
    const owner = this.#literals.identifier((expression as PropertyAccess).expression);
    const method = (expression as PropertyAccess).property.text;
    return owner === null ? null : { owner, method, args };
  }

  /** Renames the export, completes the parameters, and passes headers as parameters. */
  #hook(file: File, fn: FunctionDeclaration, hook: typeof HOOKS[string], added: Node[]): void {
    const name = fn.name.text;
    const { params, returns } = hook;
    if (hook.hook === "requestBody") this.#manifest.bodyHooks.add("request");
    if (hook.hook === "responseBody") this.#manifest.bodyHooks.add("response");
    if (hook.hook === "tick") this.#manifest.tickMs = DEFAULT_TICK_MS;
    const written = fn.signature.parameters;
    const typeName = (node: Node) => (node as Partial<NamedType>).name?.identifier.text ?? "";
    written.forEach((p, i) => {
      const expected = params[i];
      if (expected === undefined || typeName(p.type) !== expected[1]) {
        const list = params.map(([n, t]) => `${n}: ${t}`).join(", ");
        this.errors.push(at(p, `${name} takes (${list}), of which the last may be left out`));
      }
    });
    if (!returns.includes(typeName(fn.signature.returnType))) {
      this.errors.push(at(fn.signature.returnType, `${name} must return ${returns[0]}`));
    }
    const extra = params.slice(written.length).map(([n, t]) => `__tulle_${n}: ${t}`);
    const head = hook.hook === "request" || hook.hook === "response" ? hook.hook : null;
    if (head !== null) {
      const slots: number[] = [];
      rewrite(fn, (node) => {
        if (this.#callee(file, node) !== `${head}.header`) return node;
        const header = this.#literals.string((node as Call).args[0]);
        if (header === null || this.#manifest.isWritten(head, header)) return node;
        let slot = -1;
        this.#try(node, () => {
          slot = this.#manifest.reads(head, header);
        });
        if (slot < 0) return node;
        let at = slots.indexOf(slot);
        if (at < 0) {
          if (slots.length >= MAX_HEADER_PARAMS) return node;
          at = slots.push(slot) - 1;
          extra.push(`__tulle_h${at}: externref`);
        }
        return parseExpression(this.#api, `__tulle_h${at}`, node.range);
      });
      this.#manifest.params(head, slots);
    }
    const [shape] = parseStatements(
      this.#api,
      `function _(${extra.join(", ")}): void {}`,
      fn.range,
    );
    written.push(...(shape as FunctionDeclaration).signature.parameters);
    fn.flags &= ~(this.#api.CommonFlags.Export as number);
    const code = `export { ${name} as ${HOOK_EXPORTS[hook.hook]} };`;
    added.push(...parseStatements(this.#api, code, fn.range));
  }

  #replace(file: File, node: Node): Node {
    const callee = this.#callee(file, node);
    if (callee === null) return node;
    const call = node as Call;
    let result: Node = node;
    this.#try(node, () => {
      result = this.#replaceCall(file, call, callee);
    });
    return result;
  }

  #replaceCall(file: File, call: Call, callee: string): Node {
    const { args, range } = call;
    if (callee === "body.replace" || callee === "body.replaceText") {
      this.#manifest.replacesBodies = true;
    }
    const whole = /^(request|response)Body\.(whole|wholeOrPass)$/.exec(callee);
    if (whole !== null) {
      const wholeBytes = this.#literals.number(args[0]);
      if (wholeBytes === null || wholeBytes < 1 || wholeBytes > LIMITS.bodyBytes) {
        throw new Error(`${callee}() takes a number of bytes from 1 to ${LIMITS.bodyBytes}`);
      }
      const head = whole[1] === "request" ? "request" : "response";
      const over = whole[2] === "whole" ? "refuse" : "pass";
      this.#manifest.bodies[head] = { wholeBytes, over };
      return call;
    }
    if (callee === "tickEvery") {
      const ms = this.#literals.number(args[0]);
      if (ms === null || ms < LIMITS.minTickMs || ms > LIMITS.maxTickMs) {
        throw new Error(
          `tickEvery() takes a number from ${LIMITS.minTickMs} to ${LIMITS.maxTickMs}, in ms`,
        );
      }
      this.#tickEvery = ms;
      return call;
    }
    if (callee === "text") {
      const literal = this.#literals.string(args[0]);
      if (literal === null || args.length !== 1) throw new Error("text() takes one literal");
      return this.#text(file, args[0] as Node, literal);
    }
    if (callee.startsWith("config.") && callee !== "config.refuse") {
      if (this.#literals.number(args[0]) !== null) return call; // done before, as a constant
      const declared = configField(callee.slice("config.".length), args, this.#literals);
      const slot = this.#manifest.field(declared.field);
      const tail = declared.field.type === "statuses" ? ", memory.data(80, 8)" : "";
      const made = parseExpression(this.#api, `_(${slot}${tail})`, range) as Call;
      made.expression = call.expression;
      return made;
    }
    if (callee === "counter" || callee === "gauge" || callee === "histogram") {
      if (args.length > 1) return call; // done before
      throw new Error(`${callee}() belongs into a top-level constant`);
    }
    const rule = CALLS[callee];
    if (rule === undefined) return call;
    const head = callee.startsWith("request") ? "request" : "response";
    const op = callee.slice(callee.indexOf(".") + 1);
    const constant = op === "remove" ? "" : this.#literals.string(args[1]);
    if (
      rule[0] === "writes" && callee !== "replyHeader" && head + "." + op === callee &&
      constant !== null
    ) {
      const name = this.#headerName(args[0]);
      const index = this.#manifest.edit(
        head,
        op as "set" | "add" | "remove",
        name,
        byteString(constant),
      );
      const owner = ((call.expression as PropertyAccess).expression as Identifier).text;
      return parseExpression(this.#api, `${owner}.apply(${index})`, range);
    }
    rule.forEach((kind, i) => {
      const arg = args[i];
      if (arg === undefined || kind === "any") return;
      const literal = this.#literals.string(arg);
      if (kind === "text") {
        if (literal !== null) args[i] = this.#text(file, arg, literal);
        return;
      }
      if (kind === "callout") {
        if (literal === null) throw new Error("a call-out's target must be a literal");
        args[i] = parseExpression(this.#api, String(this.#manifest.callout(literal)), arg.range);
        return;
      }
      if (kind === "key") {
        const slot = literal === null ? -1 : this.#manifest.fieldSlot(literal);
        if (slot < 0) throw new Error("the key must be one that config.…() declares, in quotes");
        args[i] = parseExpression(this.#api, String(slot), arg.range);
        return;
      }
      const slot = this.#manifest[kind](head, this.#headerName(arg));
      args[i] = parseExpression(this.#api, String(slot), arg.range);
    });
    return call;
  }

  #headerName(arg: Node | undefined): string {
    const name = this.#literals.string(arg);
    if (name === null) throw new Error("a header's name must be a literal, so that it is declared");
    return name;
  }

  /** The imported constant for a literal. */
  #text(file: File, node: Node, literal: string): Node {
    const value = byteString(literal);
    let name = file.texts.get(value);
    if (name === undefined) file.texts.set(value, name = `__tulle_text${file.texts.size}`);
    return place(parseExpression(this.#api, name, node.range), node.range);
  }

  #try(node: Node, work: () => void): void {
    try {
      work();
    } catch (e) {
      this.errors.push(at(node, e instanceof Error ? e.message : String(e)));
    }
  }
}
