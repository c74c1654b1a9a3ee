import type { ToastInput, UserInfo } from "@portal/mfe-contract";
import { useSyncExternalStore } from "react";

export interface Toast extends ToastInput {
  id: number;
}

export interface ShellState {
  user: UserInfo;
  toasts: Toast[];
  path: string;
  overlay: "palette" | "keys" | "menu" | null;
  guard: string | null;
}

type Listener = () => void;

/** The shell's small state; components read it by `useShell`. */
export class ShellStore {
  private readonly listeners = new Set<Listener>();
  private nextToast = 1;

  constructor(private state: ShellState) {}

  get = (): ShellState => this.state;

  set = (change: Partial<ShellState>): void => {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  };

  subscribe = (listener: Listener): Listener => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Shows a toast: errors and toasts with an action stay longer. */
  notify = (input: ToastInput): void => {
    const toast: Toast = { ...input, id: this.nextToast++ };
    this.set({ toasts: [...this.state.toasts, toast].slice(-4) });
    setTimeout(() => this.dismiss(toast.id), input.tone === "bad" || input.action ? 9000 : 4500);
  };

  dismiss = (id: number): void => {
    this.set({ toasts: this.state.toasts.filter((toast) => toast.id !== id) });
  };
}

export function useShell(store: ShellStore): ShellState {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** Sets the theme on the page; `system` leaves the choice to the browser. */
export function applyTheme(theme: UserInfo["theme"], root: HTMLElement = document.documentElement): void {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
}
