import {
  findNodeAtLocation,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";

/** A step as the outline shows it. */
export interface OutlineStep {
  id: string;
  kind: string;
  name: string;
  /** As the server's findings spell it: `steps[0].config.steps[1]`. */
  path: string;
  depth: number;
  /** Steps that must have ended before; null where the steps follow each other. */
  dependencies: string[] | null;
  start: number;
  end: number;
}

export interface JsonFault {
  message: string;
  line: number;
  column: number;
  offset: number;
}

/** A `process/1` document as typed: its value when it is JSON, else the first fault. */
export interface ProcessText {
  value: Record<string, unknown> | null;
  fault: JsonFault | null;
  steps: OutlineStep[];
  /** Where a path of a finding stands, or its nearest part that is there. */
  locate: (path: string) => { start: number; end: number } | null;
}

/** What a new process begins with: something that runs, and shows where steps and results go. */
export const FIRST_PROCESS = {
  schema: "process/1",
  kind: "process",
  input: [{ name: "name", type: "VARCHAR" }],
  steps: [{ id: "greet", kind: "transform", config: { values: { greeting: "'Hello ' || input.name" } } }],
  output: { greeting: "steps.greet.output.greeting" },
};

export function writeProcess(document: unknown): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

export function readProcess(text: string): ProcessText {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
  const steps: OutlineStep[] = [];
  if (root) collectSteps(root, [], 0, steps);
  const fault = errors[0] ? faultAt(text, errors[0]) : null;
  const value: unknown = root && !fault ? getNodeValue(root) : null;
  const isDocument = value !== null && typeof value === "object" && !Array.isArray(value);
  return {
    value: isDocument ? (value as Record<string, unknown>) : null,
    fault: fault ?? (isDocument ? null : { message: "An object is needed: { … }.", line: 1, column: 1, offset: 0 }),
    steps,
    locate: (path) => (root ? locate(root, path) : null),
  };
}

const WORDS: Record<string, string> = {
  InvalidSymbol: "This is no JSON value.",
  InvalidNumberFormat: "This is no number.",
  PropertyNameExpected: "A name in double quotes is needed here.",
  ValueExpected: "A value is needed here.",
  ColonExpected: "A colon is needed here.",
  CommaExpected: "A comma is needed here.",
  CloseBraceExpected: "A closing } is missing.",
  CloseBracketExpected: "A closing ] is missing.",
  EndOfFileExpected: "The document has ended before this.",
  UnexpectedEndOfString: "The text is not closed by a double quote.",
  InvalidCommentToken: "JSON has no comments.",
};

function faultAt(text: string, error: ParseError): JsonFault {
  const before = text.slice(0, error.offset).split("\n");
  const code = printParseErrorCode(error.error);
  return {
    message: WORDS[code] ?? "This is not JSON.",
    line: before.length,
    column: before.at(-1)!.length + 1,
    offset: error.offset,
  };
}

function property(node: Node, name: string): Node | null {
  const found = node.children?.find((pair) => pair.children?.[0]?.value === name);
  return found?.children?.[1] ?? null;
}

function dependenciesOf(step: Node): string[] | null {
  const list = property(step, "dependencies");
  return list?.type === "array" ? (list.children ?? []).map(({ value }) => String(value)) : null;
}

function collectSteps(node: Node, path: (string | number)[], depth: number, found: OutlineStep[]): void {
  if (node.type === "array") {
    node.children?.forEach((child, index) => {
      const place = [...path, index];
      const id = property(child, "id");
      const kind = property(child, "kind");
      const isStep = typeof id?.value === "string" && typeof kind?.value === "string";
      if (isStep)
        found.push({
          id: id.value,
          kind: kind.value,
          name: String(property(child, "name")?.value ?? ""),
          path: pathText(place),
          depth,
          dependencies: dependenciesOf(child),
          start: child.offset,
          end: child.offset + child.length,
        });
      collectSteps(child, place, depth + (isStep ? 1 : 0), found);
    });
  } else if (node.type === "object") {
    for (const pair of node.children ?? []) {
      const [key, value] = pair.children ?? [];
      if (key && value) collectSteps(value, [...path, String(key.value)], depth, found);
    }
  }
}

function pathText(path: (string | number)[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text ? `${text}.${part}` : part),
    "",
  );
}

function locate(root: Node, path: string): { start: number; end: number } | null {
  const parts = [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((match) =>
    match[1] !== undefined ? Number(match[1]) : match[2]!,
  );
  for (let length = parts.length; length > 0; length -= 1) {
    const node = findNodeAtLocation(root, parts.slice(0, length));
    if (node) return { start: node.offset, end: node.offset + node.length };
  }
  return null;
}
