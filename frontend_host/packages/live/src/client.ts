/** Something changed; the reader re-reads it by REST. `resync` means "anything may have changed". */
export interface LiveHint {
  kind: string;
  id: string | null;
  seq?: number;
  facts?: Record<string, unknown>;
}

export type LiveState = "connecting" | "open" | "polling";

/** The part of WebSocket the client needs. */
export interface SocketLike {
  readyState: number;
  send(data: string): void;
  close(code?: number): void;
  onopen: ((event: unknown) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onerror: ((event: unknown) => void) | null;
}

export interface LiveOptions {
  url: string;
  open?: (url: string) => SocketLike;
  random?: () => number;
  /** How often readers are asked to re-read while the socket is down. */
  pollEveryMs?: number;
  baseDelayMs?: number;
  maxDelayMs?: number;
  onSignedOut?: () => void;
}

type Listener = (hint: LiveHint) => void;

const OPEN = 1;
/** Close codes by which the server says that signing in again is needed. */
const SIGNED_OUT_CODES = new Set([4401, 4403]);

/**
 * One socket for the whole page. Topics (`runs`, `run:<id>`) are counted, so two readers of one topic share it.
 *
 * Hints only say what changed: a lost one does no harm, because every listener gets `resync` after each
 * reconnection and every `pollEveryMs` while the socket is down.
 */
export class LiveClient {
  state: LiveState = "connecting";
  private socket: SocketLike | null = null;
  private readonly listeners = new Map<string, Set<Listener>>();
  private readonly stateListeners = new Set<(state: LiveState) => void>();
  private attempts = 0;
  private retryTimer: ReturnType<typeof setTimeout> | null = null;
  private pollTimer: ReturnType<typeof setInterval> | null = null;
  private stopped = true;
  private wasOpen = false;

  constructor(private readonly options: LiveOptions) {}

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    if (this.retryTimer) clearTimeout(this.retryTimer);
    this.stopPolling();
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }

  /** Tries at once, e.g. when the browser says it is online again. */
  reconnectNow(): void {
    if (this.stopped || this.socket) return;
    if (this.retryTimer) clearTimeout(this.retryTimer);
    this.connect();
  }

  /** Calls `listener` for each hint on one of `topics`; returns the function that ends it. */
  subscribe(topics: readonly string[], listener: Listener): () => void {
    const fresh: string[] = [];
    for (const topic of topics) {
      let set = this.listeners.get(topic);
      if (!set) {
        set = new Set();
        this.listeners.set(topic, set);
        fresh.push(topic);
      }
      set.add(listener);
    }
    if (fresh.length) this.send({ subscribe: fresh });
    return () => {
      const gone: string[] = [];
      for (const topic of topics) {
        const set = this.listeners.get(topic);
        if (!set?.delete(listener) || set.size) continue;
        this.listeners.delete(topic);
        gone.push(topic);
      }
      if (gone.length) this.send({ unsubscribe: gone });
    };
  }

  onState(listener: (state: LiveState) => void): () => void {
    this.stateListeners.add(listener);
    return () => this.stateListeners.delete(listener);
  }

  /** Delay before the next attempt: base × 2^attempt, capped, between half and all of it (jitter). */
  nextDelayMs(): number {
    const { baseDelayMs = 500, maxDelayMs = 30_000, random = Math.random } = this.options;
    const full = Math.min(maxDelayMs, baseDelayMs * 2 ** this.attempts);
    return full * (0.5 + random() / 2);
  }

  private connect(): void {
    this.retryTimer = null;
    const open = this.options.open ?? ((url: string) => new WebSocket(url) as unknown as SocketLike);
    let socket: SocketLike;
    try {
      socket = open(this.options.url);
    } catch {
      this.scheduleRetry();
      return;
    }
    this.socket = socket;
    socket.onopen = () => {
      this.attempts = 0;
      this.stopPolling();
      this.setState("open");
      const topics = [...this.listeners.keys()];
      if (topics.length) this.send({ subscribe: topics });
      if (this.wasOpen) this.resync();
      this.wasOpen = true;
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onerror = () => {};
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (this.stopped) return;
      if (SIGNED_OUT_CODES.has(event.code)) this.options.onSignedOut?.();
      this.scheduleRetry();
    };
  }

  private scheduleRetry(): void {
    const delay = this.nextDelayMs();
    this.attempts += 1;
    // One short interruption (a deploy) is not worth a warning; the second failed attempt is.
    this.setState(this.attempts > 1 ? "polling" : "connecting");
    this.startPolling();
    this.retryTimer = setTimeout(() => this.connect(), delay);
  }

  private receive(data: unknown): void {
    if (typeof data !== "string") return;
    let hint: LiveHint;
    try {
      hint = JSON.parse(data) as LiveHint;
    } catch {
      return;
    }
    if (!hint || typeof hint.kind !== "string") return;
    const seen = new Set<Listener>();
    for (const topic of topicsOf(hint)) {
      for (const listener of this.listeners.get(topic) ?? []) {
        if (seen.has(listener)) continue;
        seen.add(listener);
        listener(hint);
      }
    }
  }

  private resync(): void {
    const all = new Set<Listener>();
    for (const set of this.listeners.values()) for (const listener of set) all.add(listener);
    for (const listener of all) listener({ kind: "resync", id: null });
  }

  private startPolling(): void {
    this.pollTimer ??= setInterval(() => this.resync(), this.options.pollEveryMs ?? 10_000);
  }

  private stopPolling(): void {
    if (this.pollTimer) clearInterval(this.pollTimer);
    this.pollTimer = null;
  }

  private send(message: unknown): void {
    if (this.socket?.readyState === OPEN) this.socket.send(JSON.stringify(message));
  }

  private setState(state: LiveState): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.stateListeners) listener(state);
  }
}

/** Topics a hint belongs to: its kind, the plural and the one object (`run`, `runs`, `run:<id>`). */
function topicsOf(hint: LiveHint): string[] {
  const singular = hint.kind.endsWith("s") ? hint.kind.slice(0, -1) : hint.kind;
  const plural = `${singular}s`;
  const topics = [hint.kind, singular, plural];
  if (hint.id) topics.push(`${hint.kind}:${hint.id}`, `${singular}:${hint.id}`, `${plural}:${hint.id}`);
  return [...new Set(topics)];
}
