import type { MfeProps } from "@portal/mfe-contract";
import { createContext, useContext } from "react";

export const MfeContext = createContext<MfeProps | null>(null);

/** What the shell handed to this micro-frontend. */
export function useMfe(): MfeProps {
  const props = useContext(MfeContext);
  if (!props) throw new Error("useMfe is used outside a micro-frontend");
  return props;
}

/** Whether the signed-in person has a permission. */
export function useCan(permission: string): boolean {
  return useMfe().permissions.has(permission);
}

/** The parameters of `pattern` (`/flows/:id`) in `pathname`, or null when it does not match. */
export function matchRoute(pattern: string, pathname: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = pathname.replace(/\/+$/, "").split("/");
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (let at = 0; at < wanted.length; at += 1) {
    const [want, have] = [wanted[at]!, given[at]!];
    if (want.startsWith(":")) params[want.slice(1)] = decodeURIComponent(have);
    else if (want !== have) return null;
  }
  return params;
}

/** Query parameters as state: reading, and replacing some of them without a new history entry. */
export function useQueryParams(): [URLSearchParams, (change: Record<string, string | null>) => void] {
  const { location, navigate } = useMfe();
  const params = new URLSearchParams(location.search);
  return [
    params,
    (change) => {
      const next = new URLSearchParams(location.search);
      for (const [name, value] of Object.entries(change)) {
        if (value) next.set(name, value);
        else next.delete(name);
      }
      const search = next.toString();
      navigate(`${location.pathname}${search ? `?${search}` : ""}`, { replace: true });
    },
  ];
}
