import { createContext, type ReactNode, useCallback, useContext, useState } from "react";
import { Button } from "../actions/Button";
import { TextArea } from "../forms/fields";
import { Dialog } from "./Dialog";

export interface ConfirmRequest {
  title: string;
  text: ReactNode;
  action: string;
  danger?: boolean;
  /** Asks for a reason too; the answer is its text. */
  reason?: { label: string; required: boolean };
}

type Ask = (request: ConfirmRequest) => Promise<string | null>;

const ConfirmContext = createContext<Ask>(async () => null);

/** Asks before doing. Resolves with the reason ("" when none was asked for), or null when the person stepped back. */
export function useConfirm(): Ask {
  return useContext(ConfirmContext);
}

export function ConfirmHost({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<{ request: ConfirmRequest; answer: (value: string | null) => void } | null>(null);
  const [reason, setReason] = useState("");
  const ask = useCallback<Ask>(
    (request) =>
      new Promise((resolve) => {
        setReason("");
        setOpen({
          request,
          answer: (value) => {
            setOpen(null);
            resolve(value);
          },
        });
      }),
    [],
  );
  const request = open?.request;
  const incomplete = Boolean(request?.reason?.required && !reason.trim());
  return (
    <ConfirmContext value={ask}>
      {children}
      {open && request && (
        <Dialog
          title={request.title}
          onClose={() => open.answer(null)}
          onSubmit={() => {
            if (!incomplete) open.answer(reason.trim());
          }}
          footer={
            <>
              <Button onClick={() => open.answer(null)}>Cancel</Button>
              <Button
                type="submit"
                tone={request.danger ? "danger" : "primary"}
                disabled={incomplete}
                data-autofocus={request.reason ? undefined : ""}
              >
                {request.action}
              </Button>
            </>
          }
        >
          <div className="soft">{request.text}</div>
          {request.reason && (
            <div className="field">
              <label htmlFor="confirm-reason">{request.reason.label}</label>
              <TextArea id="confirm-reason" value={reason} onChange={setReason} data-autofocus="" />
            </div>
          )}
        </Dialog>
      )}
    </ConfirmContext>
  );
}
