import { Icon, type IconName } from "@portal/ui";
import { useEffect, useRef } from "react";
import { type ShellStore, useShell } from "../host/store";

const ICONS: Record<string, IconName> = { ok: "check", bad: "error", info: "info" };

export function Toasts({ store }: { store: ShellStore }) {
  const { toasts } = useShell(store);
  const ref = useRef<HTMLDivElement>(null);
  // The top layer, above a modal dialog, needs the popover; it is opened anew so that it is last in that layer.
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    if (element.matches(":popover-open")) element.hidePopover();
    if (toasts.length) element.showPopover();
  }, [toasts]);
  return (
    <div ref={ref} className="toasts" popover="manual" role="region" aria-label="Messages" aria-live="polite">
      {toasts.map((toast) => (
        <div key={toast.id} className={`toast ${toast.tone}`} role={toast.tone === "bad" ? "alert" : "status"}>
          <Icon name={ICONS[toast.tone]!} />
          <div className="grow">
            <div className="strong">{toast.title}</div>
            {toast.detail && <div className="soft">{toast.detail}</div>}
          </div>
          {toast.action && (
            <button
              type="button"
              className="linklike"
              onClick={() => {
                toast.action?.run();
                store.dismiss(toast.id);
              }}
            >
              {toast.action.label}
            </button>
          )}
          <button type="button" className="linklike" aria-label="Dismiss" onClick={() => store.dismiss(toast.id)}>
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
    </div>
  );
}
