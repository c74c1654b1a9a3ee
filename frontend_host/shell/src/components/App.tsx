import { MfeContext } from "@portal/ui";
import { useEffect, useRef } from "react";
import { listenToKeys } from "../host/keyboard";
import type { Shell } from "../host/shell";
import { useShell } from "../host/store";
import { CommandPalette } from "./CommandPalette";
import { KeyboardMap } from "./KeyboardMap";
import { BottomBar, MobileMenu, Sidebar, TopBar } from "./Navigation";
import { NotFound } from "./NotFound";
import { Toasts } from "./Toasts";

const detached = document.createElement("div");
const never = new AbortController().signal;

export function App({ shell }: { shell: Shell }) {
  const outlet = useRef<HTMLElement>(null);
  const { path, overlay } = useShell(shell.store);
  useEffect(() => {
    if (!outlet.current) return;
    shell.start(outlet.current);
    listenToKeys({
      openPalette: () => shell.store.set({ overlay: "palette" }),
      openKeys: () => shell.store.set({ overlay: "keys" }),
      go: shell.navigate,
    });
  }, [shell]);
  const close = () => shell.store.set({ overlay: null });
  return (
    <MfeContext value={{ ...shell.hostProps(), container: detached, popupContainer: detached, signal: never }}>
      <div className="shell">
        <a className="skip" href="#outlet">
          Skip to the page
        </a>
        <Sidebar shell={shell} />
        <TopBar shell={shell} />
        <main id="outlet" ref={outlet} tabIndex={-1}>
          {!shell.isKnownPath(path) && <NotFound withheld={shell.withheldAt(path)} />}
        </main>
        <BottomBar shell={shell} />
        {overlay === "palette" && <CommandPalette shell={shell} onClose={close} />}
        {overlay === "keys" && <KeyboardMap onClose={close} />}
        {overlay === "menu" && <MobileMenu shell={shell} onClose={close} />}
        <Toasts store={shell.store} />
      </div>
    </MfeContext>
  );
}
