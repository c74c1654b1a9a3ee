import type { JsonObject } from "@portal/api-client";

/** A typed text as a JSON object, or what is wrong with it. */
export function parseJsonObject(text: string): { value: JsonObject; fault: null } | { value: null; fault: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return { value: value as JsonObject, fault: null };
    return { value: null, fault: "A JSON object is needed: { … }." };
  } catch (error) {
    return { value: null, fault: `This is not JSON: ${(error as Error).message}` };
  }
}
