import type { ExpressionFunction } from "@portal/api-client";
import { type Resource, useMfe, useResource } from "@portal/ui";

/** The catalogue of allowed functions; it does not change while the page is open. */
export function useFunctions(): Resource<{ results: ExpressionFunction[] }> {
  const { api } = useMfe();
  return useResource("functions", api.expressions.functions);
}
