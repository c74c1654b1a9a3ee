import type { Column, Connection, EntitySchema, Flow, Validation } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  applyEdit,
  type FlowDefinition,
  findLocalProblems,
  fromJson,
  nextSaveState,
  type PlacedProblem,
  placeProblems,
  redo,
  type SaveEvent,
  type SaveState,
  startHistory,
  toJson,
  undo,
} from "@portal/flow-model";
import { type Resource, toMessage, useMfe, useResource } from "@portal/ui";
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";

const SAVE_AFTER_MS = 900;
const NO_COLUMNS: Column[] = [];

export interface FlowEditor {
  flow: Flow;
  definition: FlowDefinition;
  editable: boolean;
  /** Applies a pure edit; edits with one `mergeKey` in quick succession are one undo step. */
  edit: (change: (flow: FlowDefinition) => FlowDefinition, mergeKey?: string) => void;
  undo: (() => void) | null;
  redo: (() => void) | null;
  save: SaveState;
  /** Stores what is unsaved; false when that failed or there is a conflict. */
  flush: () => Promise<boolean>;
  takeTheirs: () => Promise<void>;
  keepMine: () => Promise<void>;
  problems: PlacedProblem[];
  /** The definition that `problems` speak of; positions hold only where it is unchanged. */
  checked: FlowDefinition | null;
  types: ReadonlyMap<string, string>;
  validating: boolean;
  validate: () => Promise<void>;
  connection: Connection | null;
  source: Resource<EntitySchema>;
  /** Source columns: of the entity, or, while it cannot be read, what validation knows of it. */
  columns: readonly Column[];
  setFlow: (flow: Flow) => void;
}

const EditorContext = createContext<FlowEditor | null>(null);
export const EditorProvider = EditorContext.Provider;

export function useEditor(): FlowEditor {
  const editor = useContext(EditorContext);
  if (!editor) throw new Error("useEditor is used outside the flow page");
  return editor;
}

/** The state of the flow page: draft with undo, autosave with conflict handling, and what the server says about it. */
export function useFlowEditor(initial: Flow, editable: boolean): FlowEditor {
  const { api, guardLeaving } = useMfe();
  const [flow, setFlow] = useState(initial);
  const [history, setHistory] = useState(() => startHistory(fromJson(initial.draft)));
  const [save, setSave] = useState<SaveState>({ kind: "saved", revision: initial.draft_revision });
  const [validation, setValidation] = useState<{ result: Validation; of: FlowDefinition } | null>(null);
  const [validating, setValidating] = useState(false);
  const definition = history.present;

  // The newest values for timers and for the last save on leaving.
  const latest = useRef({ definition, save });
  latest.current = { definition, save };
  const saving = useRef<Promise<boolean> | null>(null);
  const dispatch = useCallback((event: SaveEvent) => {
    const next = nextSaveState(latest.current.save, event);
    latest.current.save = next;
    setSave(next);
  }, []);

  const edit = useCallback(
    (change: (flow: FlowDefinition) => FlowDefinition, mergeKey?: string) => {
      if (!editable) return;
      setHistory((before) => applyEdit(before, change(before.present), mergeKey ?? null, Date.now()));
      dispatch({ type: "edited" });
    },
    [editable, dispatch],
  );

  const store = useCallback(
    async (revision: number): Promise<boolean> => {
      dispatch({ type: "started" });
      try {
        const stored = await api.flows.update(initial.id, {
          draft: toJson(latest.current.definition),
          expected_revision: revision,
        });
        setFlow(stored);
        dispatch({ type: "stored", revision: stored.draft_revision });
        return true;
      } catch (error) {
        if (error instanceof ApiError && error.isConflict) {
          const current = await api.flows.get(initial.id).catch(() => null);
          dispatch({ type: "conflicted", theirs: current?.draft_revision ?? null });
        } else dispatch({ type: "refused", message: toMessage(error) });
        return false;
      }
    },
    [api, initial.id, dispatch],
  );

  const flush = useCallback(async (): Promise<boolean> => {
    if (saving.current) await saving.current;
    const { save: state } = latest.current;
    if (state.kind === "saved") return true;
    if (state.kind === "conflict") return false;
    saving.current = store(state.revision).finally(() => {
      saving.current = null;
    });
    return saving.current;
  }, [store]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: each edit starts the wait anew.
  useEffect(() => {
    if (save.kind !== "dirty") return;
    const timer = setTimeout(() => void flush(), SAVE_AFTER_MS);
    return () => clearTimeout(timer);
  }, [save.kind, definition, flush]);

  useEffect(() => {
    const unsaved = save.kind === "dirty" || save.kind === "failed" || save.kind === "conflict";
    guardLeaving(
      save.kind === "failed" || save.kind === "conflict"
        ? "Your last changes are not saved. Leave all the same?"
        : null,
    );
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    if (!unsaved) return;
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [save.kind, guardLeaving]);

  // Leaving the page saves what the timer has not reached yet.
  useEffect(
    () => () => {
      guardLeaving(null);
      if (latest.current.save.kind === "dirty") void flush();
    },
    [flush, guardLeaving],
  );

  const validate = useCallback(async () => {
    const of = latest.current.definition;
    setValidating(true);
    try {
      setValidation({ result: await api.flows.validate(initial.id, toJson(of)), of });
    } catch {
      // The page says elsewhere that the server is away; the former findings stay on screen.
    } finally {
      setValidating(false);
    }
  }, [api, initial.id]);

  useEffect(() => {
    if (save.kind === "saved") void validate();
  }, [save.kind, validate]);

  const load = (stored: Flow) => {
    setFlow(stored);
    setHistory(startHistory(fromJson(stored.draft)));
    dispatch({ type: "loaded", revision: stored.draft_revision });
  };
  const takeTheirs = async () => load(await api.flows.get(initial.id));
  const keepMine = async () => {
    const current = await api.flows.get(initial.id);
    dispatch({ type: "loaded", revision: current.draft_revision });
    await store(current.draft_revision);
  };

  const connections = useResource(`connections ${definition.source.connection}`, (call) =>
    api.connections.list({ limit: 200 }, call),
  );
  const connection = connections.data?.results.find((one) => one.slug === definition.source.connection) ?? null;
  const source = useResource(
    `entity ${connection?.id} ${definition.source.entity}`,
    (call) => api.connections.entity(connection!.id, definition.source.entity, call),
    { enabled: Boolean(connection && definition.source.entity) },
  );

  const problems = useMemo(
    () => placeProblems([...findLocalProblems(definition), ...(validation?.result.problems ?? [])], definition),
    [definition, validation],
  );
  const columns = source.data?.fields ?? validation?.result.source_fields ?? NO_COLUMNS;
  const types = useMemo(
    () => new Map(validation?.result.fields?.map((field) => [field.target, field.type])),
    [validation],
  );
  const step = (move: typeof undo<FlowDefinition>) => () => {
    setHistory(move);
    dispatch({ type: "edited" });
  };
  return {
    flow,
    definition,
    editable,
    edit,
    undo: editable && history.past.length ? step(undo) : null,
    redo: editable && history.future.length ? step(redo) : null,
    save,
    flush,
    takeTheirs,
    keepMine,
    problems,
    checked: validation?.of ?? null,
    types,
    validating,
    validate,
    connection,
    source,
    columns,
    setFlow,
  };
}
