/** One finding inside a refused request, e.g. a field of a form or a place in an expression. */
export interface ProblemItem {
  path: string;
  code: string;
  message: string;
  severity?: "error" | "warning";
  start?: number | null;
  end?: number | null;
  hint?: string | null;
}

/** Body of a problem+json answer (RFC 9457 plus the portal's fields). */
export interface ProblemBody {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  instance?: string;
  field?: string | null;
  value?: unknown;
  remedy?: string | null;
  problems?: ProblemItem[];
  [fact: string]: unknown;
}

/** A refused or failed request; `code` is stable, `message` is for people. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly field: string | null;
  readonly remedy: string | null;
  readonly problems: readonly ProblemItem[];
  readonly requestId: string | null;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(status: number, body: ProblemBody, requestId: string | null = null) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? `http.${status}`;
    this.title = body.title ?? "Request refused";
    this.field = body.field ?? null;
    this.remedy = body.remedy ?? null;
    this.problems = body.problems ?? [];
    this.requestId = requestId;
    this.facts = body;
  }

  get isPermission(): boolean {
    return this.status === 403;
  }

  get isMissing(): boolean {
    return this.status === 404;
  }

  get isConflict(): boolean {
    return this.status === 409;
  }

  /** The network or the server is away; the same request may work later. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Messages by field path, for forms. Both `field` and `problems` are taken in. */
  messagesByPath(): Record<string, string> {
    const messages: Record<string, string> = {};
    for (const problem of this.problems) messages[problem.path] ??= problem.message;
    if (this.field) messages[this.field] ??= this.message;
    return messages;
  }
}

/** Builds the error for an answer that is not 2xx, whatever its body is. */
export async function toApiError(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id");
  const type = response.headers.get("content-type") ?? "";
  if (type.includes("json")) {
    try {
      return new ApiError(response.status, (await response.json()) as ProblemBody, requestId);
    } catch {
      // A cut-off body is reported by its status below.
    }
  }
  return new ApiError(response.status, { title: STATUS_TITLES[response.status] ?? "Request failed" }, requestId);
}

const STATUS_TITLES: Record<number, string> = {
  403: "You may not do this.",
  404: "Not found, or not yours to see.",
  413: "The upload is larger than the server accepts.",
  429: "Too many requests; wait a moment.",
  502: "The server is restarting; try again in a moment.",
  503: "The server is busy or in maintenance; try again in a moment.",
};
