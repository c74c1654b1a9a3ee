import type { Api, ExpressionFunction } from "@portal/api-client";
import { type Resource, useMfe, useResource } from "@portal/ui";

type Catalogue = { results: ExpressionFunction[] };

/** One read for all fields of a mapping: the catalogue does not change while the page is open. */
const catalogues = new WeakMap<Api, Promise<Catalogue>>();

function readOnce(api: Api): Promise<Catalogue> {
  const known = catalogues.get(api);
  if (known) return known;
  const reading = api.expressions.functions();
  catalogues.set(api, reading);
  reading.catch(() => catalogues.delete(api));
  return reading;
}

/** The catalogue of allowed functions. */
export function useFunctions(): Resource<Catalogue> {
  const { api } = useMfe();
  return useResource("functions", () => readOnce(api));
}
