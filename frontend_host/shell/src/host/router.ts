import { findRemote, type RemoteDescriptor } from "@portal/mfe-contract";
import { registerApplication, start } from "single-spa";

/** The shell's own view of routing; single-spa stays behind it and can be replaced here. */
export interface RouterPort {
  /** Shows a remote; the router calls `hide` before it shows another. */
  show: (remote: RemoteDescriptor) => Promise<void>;
  hide: (remote: RemoteDescriptor) => Promise<void>;
  /** The address changed, whoever changed it. */
  moved: () => void;
}

/** Starts routing between `remotes`. Call once. */
export function startRouter(remotes: readonly RemoteDescriptor[], port: RouterPort): void {
  for (const remote of remotes) {
    registerApplication({
      name: remote.id,
      activeWhen: (location) => findRemote(remotes, location.pathname)?.id === remote.id,
      // `<portal-mfe>` loads and mounts with its own deadlines, so these lifecycles only place the element.
      app: async () => ({
        bootstrap: async () => {},
        mount: () => port.show(remote),
        unmount: () => port.hide(remote),
      }),
    });
  }
  window.addEventListener("single-spa:routing-event", port.moved);
  start();
}
