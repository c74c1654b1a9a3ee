import type { Api } from "@portal/api-client";
import type { LiveClient } from "@portal/live";

/** One item of the portal's navigation, declared by a micro-frontend. */
export interface NavigationItem {
  label: string;
  path: string;
  icon: string;
  order: number;
  /** Permission code needed to see the item; null for everyone signed in. */
  permission: string | null;
}

/** `manifest.json` of a micro-frontend, as its author writes it. */
export interface RemoteManifest {
  id: string;
  name: string;
  version: string;
  kind: "esm";
  routes: string[];
  navigation: NavigationItem[];
  permissions: string[];
}

/** A manifest plus what the build adds; what the server hands to the shell. */
export interface RemoteDescriptor extends RemoteManifest {
  /** Bare specifier in the page's import map. */
  module: string;
}

export interface UserInfo {
  id: string;
  email: string;
  name: string;
  timezone: string;
  locale: string;
  theme: "system" | "light" | "dark";
}

export interface TenantInfo {
  id: string;
  slug: string;
  name: string;
}

export type ToastTone = "ok" | "bad" | "info";

export interface ToastInput {
  tone: ToastTone;
  title: string;
  detail?: string;
  action?: { label: string; run: () => void };
}

/** Where the browser is, relative to nothing: the whole path and query. */
export interface RouteLocation {
  pathname: string;
  search: string;
}

/** What the shell hands to `mount` and `update`. */
export interface MfeProps {
  container: HTMLElement;
  /** Popups that must leave the flow of the page render here, inside the same shadow root. */
  popupContainer: HTMLElement;
  /** Aborted when the micro-frontend is unmounted, timed out or replaced. */
  signal: AbortSignal;
  tenant: TenantInfo;
  user: UserInfo;
  permissions: ReadonlySet<string>;
  locale: string;
  timeZone: string;
  location: RouteLocation;
  api: Api;
  live: LiveClient;
  navigate: (to: string, options?: { replace?: boolean }) => void;
  notify: (toast: ToastInput) => void;
  /** Asks the shell to warn before leaving; null removes the guard. */
  guardLeaving: (message: string | null) => void;
  /** Re-reads the signed-in person (after the profile was saved). */
  updateUser: (user: UserInfo) => void;
  setTitle: (title: string) => void;
}

/** The lifecycle every ESM micro-frontend exports. All may be called again after `unmount`. */
export interface MfeModule {
  bootstrap: (props: MfeProps) => Promise<void>;
  mount: (props: MfeProps) => Promise<void>;
  update: (props: MfeProps) => Promise<void>;
  unmount: (props: MfeProps) => Promise<void>;
}

/** Answers whether `value` is a usable lifecycle module; says what is missing otherwise. */
export function findContractBreach(value: unknown): string | null {
  const module = value as Partial<Record<keyof MfeModule, unknown>>;
  const missing = (["bootstrap", "mount", "update", "unmount"] as const).filter(
    (name) => typeof module?.[name] !== "function",
  );
  return missing.length ? `The module does not export ${missing.join(", ")}.` : null;
}

/** The remote whose route is the longest prefix of `pathname`, or null. */
export function findRemote<T extends Pick<RemoteManifest, "routes">>(
  remotes: readonly T[],
  pathname: string,
): T | null {
  let best: T | null = null;
  let length = -1;
  for (const remote of remotes) {
    for (const route of remote.routes) {
      const matches = pathname === route || pathname.startsWith(`${route}/`);
      if (matches && route.length > length) {
        best = remote;
        length = route.length;
      }
    }
  }
  return best;
}
