import { type Api, createApi } from "@portal/api-client";
import { LiveClient } from "@portal/live";
import { findRemote, type NavigationItem, type RemoteDescriptor } from "@portal/mfe-contract";
import { type Bootstrap, liveAddress } from "./bootstrap";
import type { HostProps, MfeFailure, MfeHost, PortalMfeElement } from "./PortalMfe";
import { startRouter } from "./router";
import { applyTheme, ShellStore } from "./store";

/** Everything the shell's components share. Built once per page. */
export class Shell {
  readonly store: ShellStore;
  readonly api: Api;
  readonly live: LiveClient;
  readonly navigation: NavigationItem[];
  readonly permissions: ReadonlySet<string>;
  private outlet: HTMLElement | null = null;
  private active: PortalMfeElement | null = null;

  constructor(readonly boot: Bootstrap) {
    this.permissions = new Set(boot.permissions);
    this.store = new ShellStore({ user: boot.user, toasts: [], path: location.pathname, overlay: null, guard: null });
    this.api = createApi({ baseUrl: boot.apiUrl, csrfToken: () => boot.csrfToken, onSignedOut: this.signIn });
    this.live = new LiveClient({ url: liveAddress(boot.liveUrl, location), onSignedOut: this.signIn });
    this.navigation = boot.remotes
      .flatMap((remote) => remote.navigation)
      .filter((item) => !item.permission || this.permissions.has(item.permission))
      .sort((a, b) => a.order - b.order);
  }

  /** Starts routing into `outlet`; the first page is shown at once. */
  start(outlet: HTMLElement): void {
    this.outlet = outlet;
    if (location.pathname === "/") history.replaceState(null, "", "/overview");
    window.addEventListener("online", () => this.live.reconnectNow());
    window.addEventListener("beforeunload", (event) => {
      if (this.store.get().guard) event.preventDefault();
    });
    this.live.start();
    startRouter(this.boot.remotes, { show: this.show, hide: this.hide, moved: this.moved });
    this.moved();
  }

  navigate = (to: string, { replace = false } = {}): void => {
    const { guard } = this.store.get();
    const leaves = new URL(to, location.href).pathname !== location.pathname;
    if (guard && leaves && !window.confirm(guard)) return;
    if (leaves) this.store.set({ guard: null, overlay: null });
    history[replace ? "replaceState" : "pushState"](null, "", to);
    if (!replace && leaves) window.scrollTo(0, 0);
  };

  /** Saves the theme with the profile; the page changes at once. */
  setTheme = async (theme: Bootstrap["user"]["theme"]): Promise<void> => {
    const before = this.store.get().user;
    this.updateUser({ ...before, theme });
    try {
      await this.api.me.update({ theme });
    } catch {
      this.store.notify({
        tone: "bad",
        title: "The theme could not be saved.",
        detail: "It holds for this page only.",
      });
    }
  };

  updateUser = (user: Bootstrap["user"]): void => {
    this.store.set({ user });
    applyTheme(user.theme);
    document.documentElement.lang = user.locale || "en";
    this.active?.refresh();
  };

  /** Properties for remotes and for the shell's own components. */
  hostProps = (): HostProps => {
    const { user } = this.store.get();
    return {
      tenant: this.boot.tenant,
      user,
      permissions: this.permissions,
      locale: user.locale || navigator.language,
      timeZone: user.timezone || "UTC",
      location: { pathname: location.pathname, search: location.search },
      api: this.api,
      live: this.live,
      navigate: this.navigate,
      notify: this.store.notify,
      guardLeaving: this.guardLeaving,
      updateUser: this.updateUser,
      setTitle: this.setTitle,
    };
  };

  isKnownPath(pathname: string): boolean {
    return pathname === "/" || findRemote(this.boot.remotes, pathname) !== null;
  }

  /** The name of the area at this address that the person may not open, if it is one. */
  withheldAt(pathname: string): string | null {
    return findRemote(this.boot.withheld, pathname)?.name ?? null;
  }

  private guardLeaving = (message: string | null): void => {
    if (this.store.get().guard !== message) this.store.set({ guard: message });
  };

  private setTitle = (title: string): void => {
    document.title = `${title} · ${this.boot.tenant.name}`;
  };

  private signIn = (): void => {
    location.assign(`${this.boot.loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`);
  };

  private show = async (remote: RemoteDescriptor): Promise<void> => {
    const element = document.createElement("portal-mfe") as PortalMfeElement;
    element.setAttribute("name", remote.id);
    element.configure(remote, this.mfeHost);
    this.outlet?.append(element);
    this.active = element;
  };

  private hide = async (remote: RemoteDescriptor): Promise<void> => {
    this.outlet?.querySelector(`portal-mfe[name="${remote.id}"]`)?.remove();
    this.active = null;
  };

  private moved = (): void => {
    if (location.pathname === "/") {
      history.replaceState(null, "", "/overview");
      return;
    }
    this.store.set({ path: location.pathname });
    this.active?.refresh();
  };

  private readonly mfeHost: MfeHost = {
    props: this.hostProps,
    // The specifier is resolved, and the file's hash is checked, by the page's import map.
    load: (module) => import(/* @vite-ignore */ module),
    report: (failure) => this.report(failure),
  };

  private report(failure: MfeFailure): void {
    const { csrfToken, apiUrl, release } = this.boot;
    const { reportId, ...rest } = failure;
    fetch(`${apiUrl}/frontends/reports`, {
      method: "POST",
      keepalive: true,
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken },
      body: JSON.stringify({ ...rest, report_id: reportId, release, path: location.pathname }),
    }).catch(() => {
      // The card shows the id, and the console has the error; nothing more can be done offline.
    });
  }
}
