import { ApiError, type ProblemBody, toApiError } from "./errors";

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface HttpOptions {
  baseUrl: string;
  csrfToken: () => string;
  /** Called once the session is gone (401), so the shell can send the person to the sign-in page. */
  onSignedOut?: () => void;
  fetch?: typeof fetch;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface UploadOptions extends CallOptions {
  onProgress?: (sent: number, total: number) => void;
}

/** A page of a cursor-paged list. */
export interface Page<T> {
  results: T[];
  next: string | null;
  previous: string | null;
}

/** Builds `path?query`, leaving out empty values. */
export function buildUrl(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** The `cursor` inside a page's `next` or `previous`, which may be a whole URL or the bare cursor. */
export function cursorOf(link: string | null): string | null {
  if (!link) return null;
  const at = link.indexOf("?");
  if (at < 0) return link.includes("/") ? null : link;
  return new URLSearchParams(link.slice(at + 1)).get("cursor");
}

/** JSON over HTTP with CSRF, typed errors and abort; nothing else. */
export class Http {
  constructor(private readonly options: HttpOptions) {}

  get<T>(path: string, query?: Query, call?: CallOptions): Promise<T> {
    return this.send<T>("GET", buildUrl(path, query), undefined, call);
  }

  post<T>(path: string, body?: unknown, call?: CallOptions): Promise<T> {
    return this.send<T>("POST", path, body ?? {}, call);
  }

  put<T>(path: string, body: unknown, call?: CallOptions): Promise<T> {
    return this.send<T>("PUT", path, body, call);
  }

  patch<T>(path: string, body: unknown, call?: CallOptions): Promise<T> {
    return this.send<T>("PATCH", path, body, call);
  }

  delete(path: string, call?: CallOptions): Promise<void> {
    return this.send<void>("DELETE", path, undefined, call);
  }

  /** Uploads one file as multipart; XMLHttpRequest because fetch cannot report what was sent. */
  upload<T>(path: string, file: File, { signal, onProgress }: UploadOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.options.baseUrl + path);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRFToken", this.options.csrfToken());
      request.upload.onprogress = (event) => onProgress?.(event.loaded, event.total);
      request.onerror = () => reject(offline());
      request.onabort = () => reject(new DOMException("Upload cancelled", "AbortError"));
      request.onload = () => {
        const body = parseJson(request.responseText);
        if (request.status >= 200 && request.status < 300) resolve(body as T);
        else
          reject(new ApiError(request.status, (body as ProblemBody) ?? {}, request.getResponseHeader("x-request-id")));
      };
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      const form = new FormData();
      form.append("file", file);
      request.send(form);
    });
  }

  private async send<T>(method: string, path: string, body: unknown, { signal }: CallOptions = {}): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (method !== "GET") headers["X-CSRFToken"] = this.options.csrfToken();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response: Response;
    try {
      response = await (this.options.fetch ?? fetch)(this.options.baseUrl + path, {
        method,
        headers,
        signal,
        credentials: "same-origin",
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if ((error as Error)?.name === "AbortError") throw error;
      throw offline();
    }
    if (response.status === 401) this.options.onSignedOut?.();
    if (!response.ok) throw await toApiError(response);
    if (response.status === 204) return undefined as T;
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  }
}

function offline(): ApiError {
  return new ApiError(0, {
    title: "No connection",
    detail: "The portal cannot be reached.",
    code: "network.unreachable",
    remedy: "Check your connection; the page tries again by itself.",
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
