import type { MfeModule, MfeProps } from "@portal/mfe-contract";
import { Component, type ComponentType, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { ConfirmHost } from "../overlays/confirm";
import { adoptStyles, uiStyles } from "../styles";
import { MfeContext } from "./context";

interface BoundaryProps {
  onError: (error: unknown) => void;
  children: ReactNode;
}

class Boundary extends Component<BoundaryProps, { broken: boolean }> {
  override state = { broken: false };
  static getDerivedStateFromError() {
    return { broken: true };
  }
  override componentDidCatch(error: unknown) {
    this.props.onError(error);
  }
  override render() {
    return this.state.broken ? null : this.props.children;
  }
}

/**
 * Makes the lifecycle of a React micro-frontend. `mount` settles after the first paint, and rejects when the first
 * render throws; a later render error is raised on the container as a `portal-mfe-error` event.
 */
export function defineRemote(App: ComponentType, css = ""): MfeModule {
  const roots = new WeakMap<HTMLElement, Root>();
  const render = (root: Root, props: MfeProps, onMounted: () => void, onError: (error: unknown) => void) =>
    root.render(
      <StrictMode>
        <Boundary onError={onError}>
          <MfeContext value={props}>
            <ConfirmHost>
              <App />
            </ConfirmHost>
          </MfeContext>
          <Mounted report={onMounted} />
        </Boundary>
      </StrictMode>,
    );
  const raise = (container: HTMLElement) => (error: unknown) =>
    container.dispatchEvent(new CustomEvent("portal-mfe-error", { detail: error, bubbles: true, composed: true }));
  return {
    bootstrap: async () => {},
    mount: (props) =>
      new Promise<void>((resolve, reject) => {
        const scope = props.container.getRootNode() as ShadowRoot | Document;
        adoptStyles(scope, uiStyles);
        if (css) adoptStyles(scope, css);
        props.container.classList.add("root");
        const root = createRoot(props.container);
        roots.set(props.container, root);
        let settled = false;
        render(
          root,
          props,
          () => {
            settled = true;
            resolve();
          },
          (error) => {
            if (settled) raise(props.container)(error);
            else reject(error);
          },
        );
      }),
    update: async (props) => {
      const root = roots.get(props.container);
      if (root) render(root, props, () => {}, raise(props.container));
    },
    unmount: async (props) => {
      roots.get(props.container)?.unmount();
      roots.delete(props.container);
    },
  };
}

function Mounted({ report }: { report: () => void }) {
  return <span hidden ref={(node) => (node ? report() : undefined)} />;
}
