import { ApiError, type TriggerCheck } from "@portal/api-client";
import { toMessage, useMfe } from "@portal/ui";
import { useEffect, useState } from "react";
import { settingsOf, type TriggerDraft } from "./draft";

const PAUSE_MS = 300;

interface Checked {
  check: TriggerCheck | null;
  /** The first problem of a setting; `mapping.x` is asked for by its whole path. */
  problemOf: (path: string) => string | null;
  /** Why nothing could be checked. */
  failure: string | null;
}

/** Asks the server about the draft when typing pauses: what is wrong, and when it fires. Late answers are ignored. */
export function useTriggerCheck(draft: TriggerDraft): Checked {
  const { api } = useMfe();
  const [check, setCheck] = useState<TriggerCheck | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const { settings } = settingsOf(draft);
  const question =
    settings &&
    JSON.stringify({
      kind: draft.kind,
      environment: draft.environment,
      ...settings,
      name: settings.name || "unnamed",
    });
  useEffect(() => {
    if (!question) return;
    const control = new AbortController();
    const timer = window.setTimeout(() => {
      api.triggers.check(JSON.parse(question), { signal: control.signal }).then(
        (answer) => {
          setCheck(answer);
          setFailure(null);
        },
        (error: unknown) => {
          if (control.signal.aborted) return;
          // A value of the wrong shape is refused as a whole; its findings are the same kind of answer.
          if (error instanceof ApiError && error.problems.length)
            setCheck({ problems: [...error.problems], description: "", moments: [] });
          else setFailure(toMessage(error));
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [api, question]);
  // What is still to be written is asked for when the form is sent.
  const open = draft.types.trim() ? "" : "types";
  const problemOf = (path: string) =>
    path === open
      ? null
      : (check?.problems.find((one) => one.path === path || one.path.startsWith(`${path}[`))?.message ?? null);
  return { check, problemOf, failure };
}
