import type { LogLine } from "@portal/api-client";
import { useMfe } from "@portal/ui";
import { useCallback, useEffect, useRef, useState } from "react";

const PAGE = 500;
/** Older lines are dropped from memory beyond this; the whole log stays with the server. */
const KEPT = 20_000;

interface Log {
  lines: LogLine[];
  error: unknown;
  loaded: boolean;
}

/** Reads the log from its beginning and then what follows, by sequence number: hints and polls only say "look again". */
export function useLog(runId: string, active: boolean): Log {
  const { api, live } = useMfe();
  const [log, setLog] = useState<Log>({ lines: [], error: null, loaded: false });
  const after = useRef(0);
  const reading = useRef(false);
  const again = useRef(false);

  const read = useCallback(
    async (signal: AbortSignal) => {
      if (reading.current) {
        again.current = true;
        return;
      }
      reading.current = true;
      try {
        do {
          again.current = false;
          const page = await api.runs.log(runId, after.current, PAGE, { signal });
          if (signal.aborted) return;
          const fresh = page.results.filter((line) => line.seq > after.current);
          const last = fresh.at(-1);
          if (last) after.current = last.seq;
          setLog((before) => ({
            lines: fresh.length ? [...before.lines, ...fresh].slice(-KEPT) : before.lines,
            error: null,
            loaded: true,
          }));
          if (page.results.length >= PAGE && fresh.length) again.current = true;
        } while (again.current);
      } catch (error) {
        if (!signal.aborted) setLog((before) => ({ ...before, error, loaded: true }));
      } finally {
        reading.current = false;
      }
    },
    [api, runId],
  );

  useEffect(() => {
    const control = new AbortController();
    after.current = 0;
    setLog({ lines: [], error: null, loaded: false });
    // A read of the former run may still hold the flag; it was aborted and ends by itself.
    reading.current = false;
    void read(control.signal);
    const unsubscribe = live.subscribe([`run:${runId}`], () => void read(control.signal));
    const timer = active ? setInterval(() => void read(control.signal), 5000) : 0;
    return () => {
      control.abort();
      unsubscribe();
      clearInterval(timer);
    };
  }, [runId, active, live, read]);

  return log;
}
