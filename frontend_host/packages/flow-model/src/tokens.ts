/** Splits an expression for highlighting. Never fails: what it does not know is `plain`. */
export type TokenKind = "function" | "string" | "number" | "keyword" | "operator" | "column" | "comment" | "plain";

export interface Token {
  kind: TokenKind;
  text: string;
  start: number;
}

const KEYWORDS = new Set(
  "and or not is null true false case when then else end in between like ilike as cast try_cast interval date timestamp distinct from".split(
    " ",
  ),
);

const PATTERN =
  /(--[^\n]*)|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|([A-Za-z_][\w$]*)|(\|\||<>|!=|<=|>=|::|->>|->|[-+*/%<>=(),.[\]{}:])|(\s+)|([\s\S])/g;

export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  for (const match of source.matchAll(PATTERN)) {
    const text = match[0];
    const start = match.index;
    let kind: TokenKind = "plain";
    if (match[1]) kind = "comment";
    else if (match[2]) kind = "string";
    else if (match[3]) kind = "column";
    else if (match[4]) kind = "number";
    else if (match[5]) {
      if (/^\s*\(/.test(source.slice(start + text.length)) && !["and", "or", "not", "in"].includes(text.toLowerCase()))
        kind = "function";
      else kind = KEYWORDS.has(text.toLowerCase()) ? "keyword" : "column";
    } else if (match[6]) kind = "operator";
    tokens.push({ kind, text, start });
  }
  return tokens;
}

export interface Span {
  text: string;
  kind: TokenKind;
  /** Severity of the problem under these characters. */
  mark: "error" | "warning" | null;
}

/** Tokens cut at the borders of problems, so each piece has one colour and one underline. */
export function markSpans(
  source: string,
  problems: readonly { start: number | null; end: number | null; severity: "error" | "warning" }[],
): Span[] {
  const marks = problems
    .filter((problem) => problem.start !== null)
    .map((problem) => {
      const start = Math.min(problem.start as number, Math.max(0, source.length - 1));
      return { start, end: Math.max(problem.end ?? start, start + 1), severity: problem.severity };
    });
  const spans: Span[] = [];
  for (const token of tokenize(source)) {
    const end = token.start + token.text.length;
    const cuts = new Set([token.start, end]);
    for (const mark of marks) {
      if (mark.start > token.start && mark.start < end) cuts.add(mark.start);
      if (mark.end > token.start && mark.end < end) cuts.add(mark.end);
    }
    const borders = [...cuts].sort((a, b) => a - b);
    for (let at = 0; at + 1 < borders.length; at += 1) {
      const [from, to] = [borders[at]!, borders[at + 1]!];
      const covering = marks.filter((mark) => mark.start <= from && mark.end >= to);
      const mark = covering.some((one) => one.severity === "error") ? "error" : covering.length ? "warning" : null;
      spans.push({ text: source.slice(from, to), kind: token.kind, mark });
    }
  }
  return spans;
}

export interface Completion {
  label: string;
  insert: string;
  detail: string;
  kind: "column" | "function";
}

/** The word before the caret, where completion starts. */
export function wordBefore(source: string, caret: number): { word: string; start: number } {
  const match = /(?:mapped\.)?[A-Za-z_][\w$]*$|mapped\.$/.exec(source.slice(0, caret));
  return match ? { word: match[0], start: caret - match[0].length } : { word: "", start: caret };
}

/** True when the caret is inside a string, where nothing is completed. */
export function isInsideString(source: string, caret: number): boolean {
  return tokenize(source).some(
    (token) =>
      token.kind === "string" &&
      token.start < caret &&
      caret < token.start + token.text.length + 1 &&
      !(caret === token.start + token.text.length && token.text.length > 1 && token.text.endsWith("'")),
  );
}

/** Best completions of `word`: prefixes before inner matches, columns before functions. */
export function findCompletions(
  word: string,
  columns: readonly { name: string; type: string }[],
  functions: readonly { name: string; signature: string }[],
  mapped: readonly { name: string; type: string }[] = [],
  limit = 8,
): Completion[] {
  const needle = word.toLowerCase();
  if (!needle) return [];
  const rank = (name: string): number => {
    const at = name.toLowerCase().indexOf(needle);
    return at < 0 ? -1 : at === 0 ? 0 : 1;
  };
  const found: { order: number; item: Completion }[] = [];
  for (const { name, type } of columns) {
    const order = rank(name);
    if (order >= 0) found.push({ order, item: { label: name, insert: quoteName(name), detail: type, kind: "column" } });
  }
  for (const { name, type } of mapped) {
    const label = `mapped.${name}`;
    const order = needle.startsWith("mapped.") ? rank(label) : rank(name);
    if (order >= 0)
      found.push({
        order: order + 0.25,
        item: { label, insert: `mapped.${quoteName(name)}`, detail: type, kind: "column" },
      });
  }
  for (const { name, signature } of functions) {
    const order = rank(name);
    if (order >= 0)
      found.push({
        order: order + 0.5,
        item: { label: name, insert: `${name}(`, detail: signature, kind: "function" },
      });
  }
  return found
    .filter(({ item }) => item.label.toLowerCase() !== needle || item.kind === "function")
    .sort((a, b) => a.order - b.order || a.item.label.length - b.item.label.length)
    .slice(0, limit)
    .map(({ item }) => item);
}

/** A column name as it is written in an expression: quoted unless it is a plain lower-case word. */
export function quoteName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !KEYWORDS.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
