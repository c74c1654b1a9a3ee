/** Undo and redo over whole immutable documents. */
export interface History<T> {
  past: readonly T[];
  present: T;
  future: readonly T[];
  /** Edits with the same key within `MERGE_MS` are one step, e.g. typing in one cell. */
  mergeKey: string | null;
  mergedAt: number;
}

const LIMIT = 200;
const MERGE_MS = 1200;

export function startHistory<T>(present: T): History<T> {
  return { past: [], present, future: [], mergeKey: null, mergedAt: 0 };
}

export function applyEdit<T>(history: History<T>, present: T, mergeKey: string | null, nowMs: number): History<T> {
  if (present === history.present) return history;
  const merges = mergeKey !== null && mergeKey === history.mergeKey && nowMs - history.mergedAt < MERGE_MS;
  const past = merges ? history.past : [...history.past, history.present].slice(-LIMIT);
  return { past, present, future: [], mergeKey, mergedAt: nowMs };
}

export function undo<T>(history: History<T>): History<T> {
  const previous = history.past.at(-1);
  if (previous === undefined) return history;
  return {
    past: history.past.slice(0, -1),
    present: previous,
    future: [history.present, ...history.future],
    mergeKey: null,
    mergedAt: 0,
  };
}

export function redo<T>(history: History<T>): History<T> {
  const [next, ...future] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.present], present: next, future, mergeKey: null, mergedAt: 0 };
}
