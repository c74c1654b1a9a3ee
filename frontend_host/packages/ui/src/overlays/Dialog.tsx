import type { ReactNode } from "react";
import { useEffect, useId, useRef } from "react";
import { Button } from "../actions/Button";

interface DialogProps {
  title: string;
  lead?: ReactNode;
  onClose: () => void;
  kind?: "dialog" | "drawer";
  wide?: boolean;
  footer?: ReactNode;
  /** With it, body and footer are one form, and Enter submits. */
  onSubmit?: () => void;
  children?: ReactNode;
}

/** A modal on the platform's `<dialog>`: focus stays inside, Escape closes, focus returns to where it was. */
export function Dialog({ title, lead, onClose, kind = "dialog", wide, footer, onSubmit, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const root = element.getRootNode() as ShadowRoot | Document;
    const before = root.activeElement as HTMLElement | null;
    element.showModal();
    const first = element.querySelector<HTMLElement>(
      "[data-autofocus], .dialog-body input, .dialog-body select, .dialog-body textarea",
    );
    (first ?? element.querySelector<HTMLElement>("h2"))?.focus();
    return () => {
      element.close();
      before?.focus();
    };
  }, []);
  const content = (
    <>
      <div className="dialog-body">{children}</div>
      {footer && <div className="dialog-foot">{footer}</div>}
    </>
  );
  return (
    <dialog
      ref={ref}
      className={`dialog ${kind === "drawer" ? "drawer" : ""} ${wide ? "wide" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      <div className="dialog-head">
        <div>
          <h2 id={id} tabIndex={-1}>
            {title}
          </h2>
          {lead && <p>{lead}</p>}
        </div>
        <Button tone="ghost" icon="close" aria-label="Close" onClick={onClose} />
      </div>
      {onSubmit ? (
        <form
          style={{ display: "contents" }}
          onSubmit={(event) => {
            event.preventDefault();
            onSubmit();
          }}
        >
          {content}
        </form>
      ) : (
        content
      )}
    </dialog>
  );
}
