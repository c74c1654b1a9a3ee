import type { Page } from "@portal/api-client";
import { cursorOf } from "@portal/api-client";
import { useCallback, useEffect, useRef, useState } from "react";
import { useMfe } from "../remote/context";

export interface Resource<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  /** Reads again, keeping what is shown meanwhile. */
  reload: () => void;
  /** Puts a known newer value in place, e.g. the answer of a write. */
  set: (data: T) => void;
}

interface ResourceOptions {
  /** Live topics; each hint on one of them reads again. */
  live?: readonly string[];
  /** False leaves the resource unread, e.g. while a choice is missing. */
  enabled?: boolean;
}

/** Hints arrive in bursts; one read per this many milliseconds is enough for the eye and easy on the server. */
const COALESCE_MS = 300;

/**
 * Reads something by REST and keeps it fresh. `key` names what is read: when it changes the old data is dropped, and
 * answers that arrive late for an old key are ignored. Not read while the page is hidden, but at once when it returns.
 */
export function useResource<T>(
  key: string,
  read: (call: { signal: AbortSignal }) => Promise<T>,
  { live, enabled = true }: ResourceOptions = {},
): Resource<T> {
  const mfe = useMfe();
  const [state, setState] = useState<{ key: string; data: T | undefined; error: unknown; loading: boolean }>({
    key,
    data: undefined,
    error: null,
    loading: enabled,
  });
  const [round, setRound] = useState(0);
  const reader = useRef(read);
  reader.current = read;
  const reload = useCallback(() => setRound((value) => value + 1), []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` asks for another read of the same key.
  useEffect(() => {
    if (!enabled) return;
    const control = new AbortController();
    setState((before) =>
      before.key === key ? { ...before, loading: true } : { key, data: undefined, error: null, loading: true },
    );
    reader.current({ signal: control.signal }).then(
      (data) => {
        if (!control.signal.aborted) setState({ key, data, error: null, loading: false });
      },
      (error: unknown) => {
        if (!control.signal.aborted) setState((before) => ({ ...before, key, error, loading: false }));
      },
    );
    return () => control.abort();
  }, [key, enabled, round]);

  const topics = live?.join(" ") ?? "";
  useEffect(() => {
    if (!topics || !enabled) return;
    let timer = 0;
    let missed = false;
    const soon = () => {
      if (document.hidden) {
        missed = true;
        return;
      }
      if (!timer)
        timer = window.setTimeout(() => {
          timer = 0;
          reload();
        }, COALESCE_MS);
    };
    const returned = () => {
      if (document.hidden || !missed) return;
      missed = false;
      soon();
    };
    document.addEventListener("visibilitychange", returned);
    const unsubscribe = mfe.live.subscribe(topics.split(" "), soon);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", returned);
      unsubscribe();
    };
  }, [topics, enabled, mfe.live, reload]);

  const set = useCallback((data: T) => setState({ key, data, error: null, loading: false }), [key]);
  const current = state.key === key ? state : { data: undefined, error: null, loading: enabled };
  return { data: current.data, error: current.error, loading: current.loading, reload, set };
}

export interface PagedResource<T> extends Resource<Page<T>> {
  hasPrevious: boolean;
  hasNext: boolean;
  next: () => void;
  previous: () => void;
}

/** A cursor-paged list. Changing `key` (filters, search) starts at the first page again. */
export function usePages<T>(
  key: string,
  read: (cursor: string | undefined, call: { signal: AbortSignal }) => Promise<Page<T>>,
  options: ResourceOptions = {},
): PagedResource<T> {
  const [place, setPlace] = useState<{ key: string; trail: string[] }>({ key, trail: [] });
  const trail = place.key === key ? place.trail : [];
  const cursor = trail.at(-1);
  const resource = useResource(`${key}|${cursor ?? ""}`, (call) => read(cursor, call), options);
  const nextCursor = cursorOf(resource.data?.next ?? null);
  return {
    ...resource,
    hasPrevious: trail.length > 0,
    hasNext: nextCursor !== null,
    next: () => {
      if (nextCursor !== null) setPlace({ key, trail: [...trail, nextCursor] });
    },
    previous: () => setPlace({ key, trail: trail.slice(0, -1) }),
  };
}
