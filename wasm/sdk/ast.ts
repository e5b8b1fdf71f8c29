// The part of AssemblyScript's syntax tree that the transform touches, as narrow interfaces, and
// small helpers over it. The compiler itself is handed in, so that nothing here imports a package.

/** Where a node stands. */
export interface Range {
  readonly start: number;
  readonly end: number;
  readonly source: Source;
}

/** Any node. The concrete shapes below are told apart by `kind`. */
export interface Node {
  readonly kind: number;
  range: Range;
}

export interface Identifier extends Node {
  readonly text: string;
}
export interface StringLiteral extends Node {
  readonly literalKind: number;
  readonly value: string;
}
export interface NumberLiteral extends Node {
  readonly literalKind: number;
  readonly value: number | { readonly low: number; readonly high: number };
}
export interface ArrayLiteral extends Node {
  readonly literalKind: number;
  readonly elementExpressions: readonly Node[];
}
export interface ObjectLiteral extends Node {
  readonly literalKind: number;
  readonly names: readonly Identifier[];
  readonly values: readonly Node[];
}
export interface Prefix extends Node {
  readonly operator: number;
  readonly operand: Node;
}
export interface Call extends Node {
  expression: Node;
  args: Node[];
}
export interface PropertyAccess extends Node {
  readonly expression: Node;
  readonly property: Identifier;
}
export interface VariableStatement extends Node {
  readonly declarations: readonly VariableDeclaration[];
}
export interface VariableDeclaration extends Node {
  readonly name: Identifier;
  readonly type: Node | null | undefined;
  initializer: Node | null | undefined;
}
export interface FunctionDeclaration extends Node {
  readonly name: Identifier;
  flags: number;
  readonly signature: FunctionType;
  readonly body: Node | null | undefined;
}
export interface FunctionType extends Node {
  readonly parameters: Parameter[];
  readonly returnType: Node;
}
export interface Parameter extends Node {
  readonly name: Identifier;
  readonly type: Node;
}
export interface NamedType extends Node {
  readonly name: { readonly identifier: Identifier };
  readonly typeArguments: readonly Node[] | null | undefined;
}
export interface TypeDeclaration extends Node {
  readonly name: Identifier;
  readonly type: Node;
}
export interface FieldDeclaration extends Node {
  readonly name: Identifier;
  readonly type: Node | null | undefined;
}
export interface New extends Node {
  readonly typeName: { readonly identifier: Identifier };
  readonly typeArguments: readonly Node[] | null | undefined;
}
export interface Binary extends Node {
  readonly operator: number;
  readonly left: Node;
  readonly right: Node;
}
export interface Parenthesized extends Node {
  readonly expression: Node;
}
export interface Ternary extends Node {
  readonly ifThen: Node;
  readonly ifElse: Node;
}
export interface ImportStatement extends Node {
  readonly internalPath: string;
  readonly declarations:
    | readonly (Node & { readonly name: Identifier; readonly foreignName: Identifier })[]
    | null
    | undefined;
  readonly namespaceName: Identifier | null | undefined;
}

/** A parsed file. */
export interface Source extends Node {
  readonly sourceKind: number;
  readonly normalizedPath: string;
  /** As `internalPath` of the imports that mean it. */
  readonly internalPath: string;
  readonly text: string;
  readonly statements: Node[];
  lineAt(at: number): number;
  columnAt(): number;
}

export interface Parser {
  readonly sources: Source[];
  parseFile(text: string, path: string, isEntry: boolean): void;
}

/** What is used of the package `assemblyscript`. */
export interface CompilerApi {
  readonly Parser: new () => Parser;
  readonly NodeKind: Readonly<Record<string, number>>;
  readonly LiteralKind: Readonly<Record<string, number>>;
  readonly CommonFlags: Readonly<Record<string, number>>;
  readonly SourceKind: Readonly<Record<string, number>>;
  readonly Token: Readonly<Record<string, number>>;
}

/** `file:line:column: message` for an error at `node`. */
export function at(node: Node, message: string): string {
  const { source, start } = node.range;
  const line = source.lineAt(start);
  return `${source.normalizedPath}:${line}:${source.columnAt()}: ${message}`;
}

/** UTF-8 bytes of a literal, one code unit each. */
export function byteString(literal: string): string {
  return Array.from(new TextEncoder().encode(literal), (b) => String.fromCharCode(b)).join("");
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "kind" in value && "range" in value;
}

/** Calls `visit` for every node below `root`, children first; what it returns replaces the node. */
export function rewrite(root: Node, visit: (node: Node) => Node): Node {
  const fields = root as unknown as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    if (key === "range" || key === "source") continue;
    const value = fields[key];
    if (Array.isArray(value)) {
      value.forEach((item, i) => {
        if (isNode(item)) value[i] = rewrite(item, visit);
      });
    } else if (isNode(value)) {
      fields[key] = rewrite(value, visit);
    }
  }
  return visit(root);
}

/** Gives a generated tree the place of the node that it stands for. */
export function place<T extends Node>(tree: T, range: Range): T {
  rewrite(tree, (node) => {
    node.range = range;
    return node;
  });
  return tree;
}

/** The statements of `code`, placed at `range`. */
export function parseStatements(api: CompilerApi, code: string, range: Range): Node[] {
  const parser = new api.Parser();
  parser.parseFile(code, range.source.normalizedPath, false);
  return (parser.sources[0] as Source).statements.map((statement) => place(statement, range));
}

/** The expression `code`, placed at `range`. */
export function parseExpression(api: CompilerApi, code: string, range: Range): Node {
  const [statement] = parseStatements(api, `const _ = ${code};`, range) as [VariableStatement];
  return (statement.declarations[0] as VariableDeclaration).initializer as Node;
}

/** Reads literals of the syntax tree as plain values. */
export class Literals {
  readonly #api: CompilerApi;

  constructor(api: CompilerApi) {
    this.#api = api;
  }

  #is(node: Node, literal: string): boolean {
    return node.kind === this.#api.NodeKind.Literal &&
      (node as StringLiteral).literalKind === this.#api.LiteralKind[literal];
  }

  /** The text of a string literal, or null. */
  string(node: Node | undefined): string | null {
    return node !== undefined && this.#is(node, "String") ? (node as StringLiteral).value : null;
  }

  /** The value of a number with an optional minus, or null. */
  number(node: Node | undefined): number | null {
    if (node === undefined) return null;
    if (this.#is(node, "Float")) return (node as NumberLiteral).value as number;
    if (this.#is(node, "Integer")) {
      const { low, high } = (node as NumberLiteral).value as { low: number; high: number };
      return high * 2 ** 32 + (low >>> 0);
    }
    if (node.kind === this.#api.NodeKind.UnaryPrefix) {
      const { source, start } = node.range;
      const inner = this.number((node as Prefix).operand);
      return source.text[start] === "-" && inner !== null ? -inner : null;
    }
    return null;
  }

  /** true or false, or null. */
  bool(node: Node | undefined): boolean | null {
    if (node?.kind === this.#api.NodeKind.True) return true;
    return node?.kind === this.#api.NodeKind.False ? false : null;
  }

  array(node: Node | undefined): readonly Node[] | null {
    return node !== undefined && this.#is(node, "Array")
      ? (node as ArrayLiteral).elementExpressions
      : null;
  }

  /** The fields of an object literal, or null. */
  object(node: Node | undefined): Map<string, Node> | null {
    if (node === undefined || !this.#is(node, "Object")) return null;
    const { names, values } = node as ObjectLiteral;
    return new Map(names.map((name, i) => [name.text, values[i] as Node]));
  }

  /** The text of an identifier, or null. */
  identifier(node: Node | undefined): string | null {
    return node?.kind === this.#api.NodeKind.Identifier ? (node as Identifier).text : null;
  }
}
