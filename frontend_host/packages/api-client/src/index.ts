import { Http, type HttpOptions } from "./http";
import { createResources } from "./resources";

export { ApiError, type ProblemBody, type ProblemItem, toApiError } from "./errors";
export { buildUrl, type CallOptions, cursorOf, Http, type HttpOptions, type Page, type Query } from "./http";
export * from "./types";

export type Api = ReturnType<typeof createResources>;

/** The typed client of REST v2. */
export function createApi(options: HttpOptions): Api {
  return createResources(new Http(options));
}

/** Display name of a person who is given by name or as an object. */
export function nameOf(person: string | { name: string } | null | undefined): string {
  return (typeof person === "string" ? person : person?.name) || "";
}
