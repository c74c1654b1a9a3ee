// @vitest-environment happy-dom
import type { RemoteDescriptor } from "@portal/mfe-contract";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { liveAddress, readBootstrap } from "../src/host/bootstrap";
import { isTyping } from "../src/host/keyboard";
import { type MfeFailure, type MfeHost, PortalMfeElement } from "../src/host/PortalMfe";
import { applyTheme, ShellStore } from "../src/host/store";

const remote: RemoteDescriptor = {
  id: "flows",
  name: "Flows",
  version: "1.0.0",
  kind: "esm",
  routes: ["/flows"],
  navigation: [],
  permissions: [],
  module: "@portal/remotes/flows",
};

customElements.define("portal-mfe", PortalMfeElement);

let failures: MfeFailure[];
let element: PortalMfeElement;

/** Shows a remote whose module is `module`; deadlines are short. */
function show(load: () => Promise<unknown>): void {
  const host: MfeHost = {
    props: () => ({}) as never,
    load,
    report: (failure) => failures.push(failure),
    loadTimeoutMs: 1000,
    mountTimeoutMs: 500,
  };
  element = document.createElement("portal-mfe") as PortalMfeElement;
  element.configure(remote, host);
  document.body.append(element);
}

function lifecycle(changes: Record<string, unknown> = {}) {
  const done = async () => {};
  return { bootstrap: vi.fn(done), mount: vi.fn(done), update: vi.fn(done), unmount: vi.fn(done), ...changes };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, "error").mockImplementation(() => {});
  failures = [];
});

afterEach(() => {
  element?.remove();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("a remote is bootstrapped, mounted, updated and unmounted with its signal aborted", async () => {
  const module = lifecycle();
  show(async () => module);
  await vi.advanceTimersByTimeAsync(1);
  const props = module.mount.mock.calls[0]![0 as never] as unknown as { signal: AbortSignal };
  element.refresh();
  expect(module.update).toHaveBeenCalledOnce();
  element.remove();
  await vi.advanceTimersByTimeAsync(1);
  expect(module.unmount).toHaveBeenCalledOnce();
  expect(props.signal.aborted).toBe(true);
});

test("a mount that takes too long is given up, reported, and can be tried again", async () => {
  let attempt = 0;
  const signals: AbortSignal[] = [];
  const module = lifecycle({
    mount: (props: { signal: AbortSignal }) => {
      signals.push(props.signal);
      attempt += 1;
      return attempt === 1 ? new Promise(() => {}) : Promise.resolve();
    },
  });
  show(async () => module);
  await vi.advanceTimersByTimeAsync(600);
  expect(failures).toMatchObject([{ remote: "flows", phase: "mount", message: "Flows did not start in time." }]);
  expect(signals[0]!.aborted).toBe(true);
  const card = element.shadowRoot!.querySelector('[role="alert"]')!;
  expect(card.textContent).toContain(failures[0]!.reportId);
  card.querySelector<HTMLButtonElement>("button")!.click();
  await vi.advanceTimersByTimeAsync(10);
  expect(element.shadowRoot!.querySelector('[role="alert"]')).toBeNull();
  expect(attempt).toBe(2);
});

test.each([
  ["a download that never ends", () => new Promise(() => {}), "load"],
  ["a download that fails", () => Promise.reject(new TypeError("integrity")), "load"],
  ["a module without a lifecycle", async () => ({}), "load"],
  ["a mount that throws", async () => lifecycle({ mount: () => Promise.reject(new Error("boom")) }), "mount"],
])("%s ends in a card, not in a blank page", async (_name, load, phase) => {
  show(load as () => Promise<unknown>);
  await vi.advanceTimersByTimeAsync(1100);
  expect(failures.map((failure) => failure.phase)).toEqual([phase]);
  expect(element.shadowRoot!.textContent).toContain("Flows is not available");
});

test("a remote that was left before it had loaded is never mounted", async () => {
  const module = lifecycle();
  let finish: (value: unknown) => void = () => {};
  show(() => new Promise((resolve) => (finish = resolve)));
  element.remove();
  finish(module);
  await vi.advanceTimersByTimeAsync(10);
  expect(module.mount).not.toHaveBeenCalled();
  expect(failures).toEqual([]);
});

test("the socket's address follows the page's scheme", () => {
  expect(liveAddress("/ws/live", { protocol: "https:", host: "acme.example" })).toBe("wss://acme.example/ws/live");
  expect(liveAddress("/ws/live", { protocol: "http:", host: "acme.localhost:8000" })).toBe(
    "ws://acme.localhost:8000/ws/live",
  );
});

test("a page without bootstrap data says so", () => {
  expect(() => readBootstrap(document)).toThrow("no bootstrap data");
});

test("the system theme leaves the choice to the browser", () => {
  const root = document.createElement("html");
  applyTheme("dark", root);
  expect(root.dataset.theme).toBe("dark");
  applyTheme("system", root);
  expect(root.dataset.theme).toBeUndefined();
});

test("toasts go away by themselves, those with an action later", () => {
  const store = new ShellStore({ user: {} as never, toasts: [], path: "/", overlay: null, guard: null });
  store.notify({ tone: "ok", title: "Saved" });
  store.notify({ tone: "ok", title: "Archived", action: { label: "Undo", run: () => {} } });
  vi.advanceTimersByTime(5000);
  expect(store.get().toasts.map((toast) => toast.title)).toEqual(["Archived"]);
  vi.advanceTimersByTime(5000);
  expect(store.get().toasts).toEqual([]);
});

test("keys typed into a field of a shadow root are typing", () => {
  const input = document.createElement("input");
  expect(isTyping({ composedPath: () => [input] })).toBe(true);
  expect(isTyping({ composedPath: () => [document.body] })).toBe(false);
});
