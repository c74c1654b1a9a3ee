import { Button } from "@portal/ui";
import { useEditor } from "./useFlowEditor";

const STATES = {
  saved: ["ok", "Saved"],
  dirty: ["", "Saving soon…"],
  saving: ["", "Saving…"],
  failed: ["bad", "Not saved"],
  conflict: ["warn", "Conflict"],
} as const;

export function SaveBadge() {
  const { save, flush, editable } = useEditor();
  if (!editable) return <span className="badge plain">You may look, not change</span>;
  const [tone, label] = STATES[save.kind];
  return (
    <span className="row gap-2" role="status">
      <span className={`badge ${tone}`} title={save.kind === "failed" ? save.message : `Revision ${save.revision}`}>
        {label}
      </span>
      {save.kind === "failed" && (
        <Button small onClick={() => void flush()}>
          Save again
        </Button>
      )}
    </span>
  );
}
