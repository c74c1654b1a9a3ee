import { findContractBreach, type MfeModule, type MfeProps, type RemoteDescriptor } from "@portal/mfe-contract";
import { adoptStyles, uiStyles } from "@portal/ui";
import { Deadline } from "./deadline";

/** What the shell supplies; the element adds its container and signal. */
export type HostProps = Omit<MfeProps, "container" | "popupContainer" | "signal">;

export interface MfeFailure {
  reportId: string;
  remote: string;
  phase: "load" | "mount" | "render";
  message: string;
  stack: string | null;
}

export interface MfeHost {
  props: () => HostProps;
  load: (module: string) => Promise<unknown>;
  report: (failure: MfeFailure) => void;
  loadTimeoutMs?: number;
  mountTimeoutMs?: number;
}

const SLOW_MS = 180;

/**
 * Shows one micro-frontend in its own shadow root. A load or mount that takes too long is given up for good: its
 * signal is aborted, its container is removed, and a card offers to try again. One dead remote never harms the shell.
 */
export class PortalMfeElement extends HTMLElement {
  private descriptor: RemoteDescriptor | null = null;
  private host: MfeHost | null = null;
  private control: AbortController | null = null;
  private mounted: { module: MfeModule; props: MfeProps } | null = null;

  configure(descriptor: RemoteDescriptor, host: MfeHost): void {
    this.descriptor = descriptor;
    this.host = host;
  }

  connectedCallback(): void {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    adoptStyles(root, uiStyles);
    this.addEventListener("portal-mfe-error", (event) => this.fail("render", (event as CustomEvent).detail));
    void this.begin();
  }

  disconnectedCallback(): void {
    void this.end();
  }

  /** Passes changed host properties (location, user, permissions) on. */
  refresh(): void {
    if (!this.mounted || !this.host) return;
    const { module, props } = this.mounted;
    const next = { ...props, ...this.host.props() };
    this.mounted = { module, props: next };
    module.update(next).catch((error: unknown) => this.fail("render", error));
  }

  private async begin(): Promise<void> {
    const { descriptor, host } = this;
    const root = this.shadowRoot;
    if (!descriptor || !host || !root) return;
    const control = new AbortController();
    this.control = control;
    root.replaceChildren();
    const loading = setTimeout(() => {
      if (!this.mounted && !control.signal.aborted) root.append(loadingCard());
    }, SLOW_MS);
    const container = document.createElement("div");
    const popupContainer = document.createElement("div");
    let phase: MfeFailure["phase"] = "load";
    try {
      const loaded = await new Deadline(host.loadTimeoutMs ?? 20_000, `${descriptor.name} did not load in time.`).of(
        host.load(descriptor.module),
      );
      if (control.signal.aborted) return;
      const breach = findContractBreach(loaded);
      if (breach) throw new Error(breach);
      const module = loaded as MfeModule;
      const props: MfeProps = { ...host.props(), container, popupContainer, signal: control.signal };
      phase = "mount";
      root.append(container, popupContainer);
      await new Deadline(host.mountTimeoutMs ?? 8_000, `${descriptor.name} did not start in time.`).of(
        module.bootstrap(props).then(() => module.mount(props)),
      );
      if (control.signal.aborted) {
        await module.unmount(props);
        return;
      }
      this.mounted = { module, props };
      root.querySelector(".mfe-loading")?.remove();
    } catch (error) {
      if (!control.signal.aborted) this.fail(phase, error);
    } finally {
      clearTimeout(loading);
    }
  }

  private async end(): Promise<void> {
    this.control?.abort();
    this.control = null;
    const mounted = this.mounted;
    this.mounted = null;
    try {
      await mounted?.module.unmount(mounted.props);
    } catch (error) {
      console.error(`${this.descriptor?.id} failed to unmount`, error);
    }
    this.shadowRoot?.replaceChildren();
  }

  private fail(phase: MfeFailure["phase"], error: unknown): void {
    const { descriptor, host, shadowRoot } = this;
    if (!descriptor || !host || !shadowRoot) return;
    const failure: MfeFailure = {
      reportId: crypto.randomUUID().slice(0, 8),
      remote: descriptor.id,
      phase,
      message: error instanceof Error ? error.message : String(error),
      stack: error instanceof Error ? (error.stack ?? null) : null,
    };
    console.error(`[${failure.reportId}] ${descriptor.id} failed to ${phase}`, error);
    host.report(failure);
    void this.end().then(() => {
      shadowRoot.replaceChildren(errorCard(descriptor, failure, () => void this.begin()));
    });
  }
}

function loadingCard(): HTMLElement {
  const card = document.createElement("div");
  card.className = "mfe-loading root page";
  card.setAttribute("role", "status");
  card.setAttribute("aria-label", "Loading");
  for (const width of ["240px", "70%", "90%", "60%"]) {
    const line = document.createElement("div");
    line.className = "skeleton";
    line.style.width = width;
    line.style.height = width === "240px" ? "26px" : "14px";
    card.append(line);
  }
  return card;
}

function errorCard(descriptor: RemoteDescriptor, failure: MfeFailure, retry: () => void): HTMLElement {
  const card = document.createElement("div");
  card.className = "root state";
  card.setAttribute("role", "alert");
  const title = document.createElement("h2");
  title.textContent = `${descriptor.name} is not available`;
  const text = document.createElement("p");
  text.textContent =
    failure.phase === "render"
      ? "This page met an error and was stopped. The rest of the portal works on."
      : failure.phase === "load"
        ? "It could not be downloaded, or its files are not the published ones. The rest of the portal works on."
        : `${failure.message} The rest of the portal works on.`;
  const report = document.createElement("p");
  report.className = "muted";
  report.textContent = `Report id ${failure.reportId}, version ${descriptor.version}`;
  const row = document.createElement("div");
  row.className = "row";
  const again = document.createElement("button");
  again.type = "button";
  again.className = "btn primary";
  again.textContent = "Try again";
  again.addEventListener("click", retry);
  const reload = document.createElement("button");
  reload.type = "button";
  reload.className = "btn";
  reload.textContent = "Reload the page";
  reload.addEventListener("click", () => location.reload());
  row.append(again, reload);
  card.append(title, text, report, row);
  return card;
}
