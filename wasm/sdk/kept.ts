// Finds where a filter keeps a text of the proxy past its hook: in a field, a collection, a variable of
// the file. A text is a reference that is good until its hook returns; what is kept is copied first, and
// where that is forgotten the compiler says so. Looks at syntax only, after parsing and before types.

import {
  at,
  type Binary,
  type Call,
  type CompilerApi,
  type FieldDeclaration,
  type FunctionType,
  type ImportStatement,
  type Literals,
  type NamedType,
  type New,
  type Node,
  type Parenthesized,
  type PropertyAccess,
  rewrite,
  type Source,
  type Ternary,
  type TypeDeclaration,
  type VariableDeclaration,
  type VariableStatement,
} from "./ast.ts";
import { LASTING_TEXTS, TEXTS } from "./surface.ts";

/** A user's file, and how its calls of the SDK are told. */
export interface KeptFile {
  readonly source: Source;
  /** Local name → what it is in the SDK. */
  readonly imports: ReadonlyMap<string, string>;
  /** `request.header` for such a call; null for what is none of the SDK's. */
  callee(node: Node): string | null;
}

/** Variables outside of functions that hold a text, by name; true: what it holds lasts. */
type Globals = Map<string, boolean>;

const KEEPS = "keeps a text of the proxy, which is good until the hook returns:";

/** `file:line:column: message` for each text that is kept and not copied, in all files together. */
export function findKept(
  files: readonly KeptFile[],
  api: CompilerApi,
  literals: Literals,
): string[] {
  const errors: string[] = [];
  const globals = new Map<string, Globals>();
  const scopes = files.map((file) => new FileScope(file, api, literals, globals, errors));
  for (const scope of scopes) scope.declare();
  for (const scope of scopes) scope.look();
  return [...new Set(errors)];
}

class FileScope {
  readonly #file: KeptFile;
  readonly #api: CompilerApi;
  readonly #literals: Literals;
  readonly #errors: string[];
  /** Of all files, by their path. */
  readonly #all: Map<string, Globals>;
  readonly #globals: Globals = new Map();
  /** Names of types that are texts. */
  readonly #types = new Set(["externref", "ref_extern"]);
  /** Functions of this file that return a text. */
  readonly #functions = new Set<string>();
  /** Configured lists, whose items last. */
  readonly #lists = new Set<string>();
  /** Names of the function that is looked at; true: a text. */
  #locals = new Map<string, boolean>();

  constructor(
    file: KeptFile,
    api: CompilerApi,
    literals: Literals,
    all: Map<string, Globals>,
    errors: string[],
  ) {
    this.#file = file;
    this.#api = api;
    this.#literals = literals;
    this.#all = all;
    this.#errors = errors;
    all.set(file.source.internalPath, this.#globals);
    for (const [local, name] of file.imports) if (name === "Text") this.#types.add(local);
  }

  /** First walk: types, functions and variables of the file. */
  declare(): void {
    const { NodeKind } = this.#api;
    for (const node of this.#file.source.statements) {
      if (node.kind === NodeKind.TypeDeclaration) {
        const { name, type } = node as TypeDeclaration;
        if (this.#isTextType(type)) this.#types.add(name.text);
      }
      if (node.kind === NodeKind.FunctionDeclaration) {
        const { name, signature } = node as Node & {
          readonly name: { readonly text: string };
          readonly signature: FunctionType;
        };
        if (this.#isTextType(signature.returnType)) this.#functions.add(name.text);
      }
      if (node.kind !== NodeKind.Variable) continue;
      for (const d of (node as VariableStatement).declarations) {
        const init = d.initializer ?? undefined;
        if (init !== undefined && this.#file.callee(init) === "config.list") {
          this.#lists.add(d.name.text);
        }
        if (!this.#isTextType(d.type ?? undefined) && !this.#isText(init)) continue;
        this.#globals.set(d.name.text, this.#lasts(init));
        if (init !== undefined && !this.#lasts(init)) {
          this.#say(init, `${d.name.text} ${KEEPS} take it where it is used`);
        }
      }
    }
  }

  /** Second walk: what is kept. */
  look(): void {
    const { NodeKind } = this.#api;
    for (const node of this.#file.source.statements) {
      if (node.kind === NodeKind.Import) this.#import(node as ImportStatement);
    }
    for (const node of this.#file.source.statements) {
      if (node.kind === NodeKind.ClassDeclaration) {
        const { members } = node as Node & { readonly members: readonly Node[] };
        for (const member of members) this.#function(member);
      } else {
        this.#function(node);
      }
    }
  }

  /** Variables of other files of the filter. */
  #import({ internalPath, declarations }: ImportStatement): void {
    const theirs = this.#all.get(internalPath);
    for (const d of declarations ?? []) {
      const lasts = theirs?.get(d.foreignName.text);
      if (lasts !== undefined) this.#globals.set(d.name.text, lasts);
    }
  }

  /** A function, a member of a class, or a statement of the file. */
  #function(root: Node): void {
    const { NodeKind, Token } = this.#api;
    this.#locals = new Map();
    const isFile = root.kind === NodeKind.Variable;
    rewrite(root, (node) => {
      if (node.kind === NodeKind.Parameter) {
        const { name, type } = node as VariableDeclaration;
        this.#locals.set(name.text, this.#isTextType(type ?? undefined));
      }
      if (node.kind === NodeKind.VariableDeclaration && !isFile) {
        const { name, type, initializer } = node as VariableDeclaration;
        const isText = this.#isTextType(type ?? undefined) ||
          this.#isText(initializer ?? undefined);
        this.#locals.set(name.text, isText);
      }
      return node;
    });
    rewrite(root, (node) => {
      if (node.kind === NodeKind.FieldDeclaration) this.#field(node as FieldDeclaration);
      if (node.kind === NodeKind.NamedType || node.kind === NodeKind.New) {
        this.#collection(node as NamedType | New);
      }
      const elements = this.#literals.array(node);
      const kept = elements?.find((element) => this.#isText(element));
      if (kept !== undefined) {
        this.#say(kept, `a list ${KEEPS} let it hold copies, [copy(…)]`);
      }
      if (node.kind === NodeKind.Binary && (node as Binary).operator === Token.Equals) {
        this.#assignment(node as Binary);
      }
      return node;
    });
  }

  #field({ name, type }: FieldDeclaration): void {
    if (!this.#isTextType(type ?? undefined)) return;
    const { text } = name;
    this.#say(name, `the field ${text} ${KEEPS} make it a string, and set it with copy(…)`);
  }

  #collection(node: NamedType | New): void {
    const name = "typeName" in node ? node.typeName.identifier.text : node.name.identifier.text;
    if (!(node.typeArguments ?? []).some((type) => this.#isTextType(type))) return;
    this.#say(node, `${name} ${KEEPS} let it hold string, and fill it with copy(…)`);
  }

  #assignment({ left, right }: Binary): void {
    const { NodeKind } = this.#api;
    const name = this.#literals.identifier(left);
    if (name === null) {
      // a static field, a variable of a namespace: whatever it is, it is no local
      const isMember = left.kind === NodeKind.PropertyAccess ||
        left.kind === NodeKind.ElementAccess;
      if (!isMember || !this.#isText(right) || this.#lasts(right)) return;
      const what = left.range.source.text.slice(left.range.start, left.range.end);
      this.#say(left, `${what} ${KEEPS} make it a string, and set it with ${what} = copy(…)`);
      return;
    }
    if (this.#locals.has(name) || !this.#globals.has(name) || this.#lasts(right)) return;
    this.#say(left, `${name} ${KEEPS} make it a string, and set it with ${name} = copy(…)`);
  }

  #isTextType(type: Node | undefined): boolean {
    if (type?.kind !== this.#api.NodeKind.NamedType) return false;
    return this.#types.has((type as NamedType).name.identifier.text);
  }

  /** Whether an expression is a text, as far as syntax tells. */
  #isText(node: Node | undefined): boolean {
    if (node === undefined) return false;
    const inner = this.#inner(node);
    if (inner !== null) return inner.some((part) => this.#isText(part));
    const name = this.#literals.identifier(node);
    if (name !== null) return this.#locals.get(name) ?? this.#globals.has(name);
    if (node.kind !== this.#api.NodeKind.Call) return false;
    const callee = this.#file.callee(node);
    if (callee !== null) return TEXTS.has(callee) || LASTING_TEXTS.has(callee);
    const called = this.#literals.identifier((node as Call).expression);
    return called === null ? this.#isItem(node as Call) : this.#functions.has(called);
  }

  /** Whether it lasts as long as the instance: null, a constant, what is configured. */
  #lasts(node: Node | undefined): boolean {
    if (node === undefined || node.kind === this.#api.NodeKind.Null) return true;
    const inner = this.#inner(node);
    if (inner !== null) return inner.every((part) => this.#lasts(part));
    const name = this.#literals.identifier(node);
    if (name !== null) return !this.#locals.has(name) && this.#globals.get(name) === true;
    if (node.kind !== this.#api.NodeKind.Call) return false;
    return LASTING_TEXTS.has(this.#file.callee(node) ?? "") || this.#isItem(node as Call);
  }

  /** The parts of which an expression is one. */
  #inner(node: Node): readonly Node[] | null {
    const { NodeKind } = this.#api;
    if (node.kind === NodeKind.Parenthesized) return [(node as Parenthesized).expression];
    if (node.kind !== NodeKind.Ternary) return null;
    return [(node as Ternary).ifThen, (node as Ternary).ifElse];
  }

  /** `paths.at(0)` of a configured list. */
  #isItem({ expression }: Call): boolean {
    if (expression.kind !== this.#api.NodeKind.PropertyAccess) return false;
    const { expression: owner, property } = expression as PropertyAccess;
    return property.text === "at" && this.#lists.has(this.#literals.identifier(owner) ?? "");
  }

  #say(node: Node, message: string): void {
    this.#errors.push(at(node, message));
  }
}
