import type { DefinitionProblem, Flow } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import { type ProcessText, readProcess, writeProcess } from "@portal/flow-model";
import { toMessage, useMfe } from "@portal/ui";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";

export interface ProcessEditor {
  flow: Flow;
  setFlow: (flow: Flow) => void;
  editable: boolean;
  text: string;
  setText: (text: string) => void;
  read: ProcessText;
  dirty: boolean;
  saving: boolean;
  /** Why the last save failed; a conflict means that somebody else saved meanwhile. */
  failure: { message: string; conflict: boolean } | null;
  flush: () => Promise<boolean>;
  takeTheirs: () => Promise<void>;
  keepMine: () => Promise<boolean>;
  problems: DefinitionProblem[];
  /** The server has looked at what is stored now. */
  checked: boolean;
}

/** A process is edited as its JSON text and saved on demand: half-typed JSON cannot be stored. */
export function useProcessText(initial: Flow, editable: boolean): ProcessEditor {
  const { api, guardLeaving } = useMfe();
  const [flow, setFlow] = useState(initial);
  const [text, setText] = useState(() => writeProcess(initial.draft));
  const [stored, setStored] = useState(text);
  const [saving, setSaving] = useState(false);
  const [failure, setFailure] = useState<ProcessEditor["failure"]>(null);
  const [problems, setProblems] = useState<DefinitionProblem[]>([]);
  const [checked, setChecked] = useState(false);
  const read = useMemo(() => readProcess(text), [text]);
  const dirty = text !== stored;
  const latest = useRef({ text, read, flow, dirty });
  latest.current = { text, read, flow, dirty };

  const validate = useCallback(
    async (definition: unknown) => {
      // When the server is away, the former findings stay on screen; saving says what is wrong.
      setChecked(false);
      const result = await api.flows.validate(initial.id, definition).catch(() => null);
      if (!result) return;
      setProblems(result.problems);
      setChecked(true);
    },
    [api, initial.id],
  );
  useEffect(() => void validate(initial.draft), [validate, initial.draft]);

  const store = async (revision: number): Promise<boolean> => {
    const { text: sent, read: parsed } = latest.current;
    if (!parsed.value) {
      setFailure({ message: `Line ${parsed.fault?.line}: ${parsed.fault?.message}`, conflict: false });
      return false;
    }
    setSaving(true);
    try {
      const saved = await api.flows.update(initial.id, { draft: parsed.value, expected_revision: revision });
      setFlow(saved);
      setStored(sent);
      setFailure(null);
      void validate(parsed.value);
      return true;
    } catch (error) {
      setFailure({ message: toMessage(error), conflict: error instanceof ApiError && error.isConflict });
      return false;
    } finally {
      setSaving(false);
    }
  };
  const flush = async () => !latest.current.dirty || (await store(latest.current.flow.draft_revision));
  const keepMine = async () => {
    const current = await api.flows.get(initial.id);
    return store(current.draft_revision);
  };
  const takeTheirs = async () => {
    const current = await api.flows.get(initial.id);
    const theirs = writeProcess(current.draft);
    setFlow(current);
    setText(theirs);
    setStored(theirs);
    setFailure(null);
    void validate(current.draft);
  };

  useEffect(() => {
    guardLeaving(dirty ? "Your last changes are not saved. Leave all the same?" : null);
    if (!dirty) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => {
      guardLeaving(null);
      window.removeEventListener("beforeunload", warn);
    };
  }, [dirty, guardLeaving]);

  return {
    flow,
    setFlow,
    editable,
    text,
    setText,
    read,
    dirty,
    saving,
    failure,
    flush,
    takeTheirs,
    keepMine,
    problems,
    checked,
  };
}
