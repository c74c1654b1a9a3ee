import { ApiError } from "@portal/api-client";
import { useCallback, useState } from "react";
import { toMessage } from "../feedback/states";
import { useMfe } from "../remote/context";

interface Action {
  busy: boolean;
  error: unknown;
  clear: () => void;
  /** Runs `work`; answers its value, or undefined when it failed. */
  run: <T>(work: () => Promise<T>) => Promise<T | undefined>;
}

/** A write with its busy flag and error. `toast: true` also says the error in a toast, for buttons without a form. */
export function useAction({ toast = false } = {}): Action {
  const { notify } = useMfe();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = useCallback(
    async <T>(work: () => Promise<T>): Promise<T | undefined> => {
      setBusy(true);
      setError(null);
      try {
        return await work();
      } catch (caught) {
        if ((caught as Error)?.name === "AbortError") return undefined;
        setError(caught);
        if (toast) {
          const detail = caught instanceof ApiError ? (caught.remedy ?? undefined) : undefined;
          notify({ tone: "bad", title: toMessage(caught), detail });
        }
        return undefined;
      } finally {
        setBusy(false);
      }
    },
    [notify, toast],
  );
  return { busy, error, clear: useCallback(() => setError(null), []), run };
}
