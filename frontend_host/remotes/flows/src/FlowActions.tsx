import type { Flow } from "@portal/api-client";
import { Button, Menu, Notice, TextInput, Time, useAction, useCan, useConfirm, useMfe } from "@portal/ui";
import { useEffect, useState } from "react";
import { SlaDialog } from "./dialogs/SlaDialog";

export type OpenDialog = "suggest" | "publish" | "deploy" | "run" | null;

interface FlowActionsProps {
  flow: Flow;
  setFlow: (flow: Flow) => void;
  editable: boolean;
  /** null: nothing to undo; left out: the page's own field has the browser's undo. */
  undo?: (() => void) | null;
  redo?: (() => void) | null;
  onOpen: (dialog: OpenDialog) => void;
}

/** What can be done with a flow as a whole; a load's editor also brings its own undo. */
export function FlowActions({ flow, setFlow, editable, undo, redo, onOpen }: FlowActionsProps) {
  const { api, navigate, notify } = useMfe();
  const [mayPublish, mayDeploy, mayRun] = [useCan("flow:publish"), useCan("flow:deploy"), useCan("run:start")];
  const confirm = useConfirm();
  const action = useAction({ toast: true });
  const [renaming, setRenaming] = useState(false);
  const [deadline, setDeadline] = useState(false);
  const undoable = undo !== undefined;
  useEffect(() => {
    if (!undoable) return;
    const onKey = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      // Controlled fields lose the browser's own undo; the editor's history covers typing as well.
      event.preventDefault();
      if (event.shiftKey) redo?.();
      else undo?.();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [undoable, undo, redo]);
  const archive = async () => {
    if (
      (await confirm({
        title: `Archive ${flow.name}?`,
        text: "It can no longer run. Its versions and runs are kept.",
        action: "Archive",
        danger: true,
      })) === null
    )
      return;
    const done = await action.run(async () => {
      await api.flows.archive(flow.id);
      return true;
    });
    if (!done) return;
    const { id, name } = flow;
    notify({
      tone: "ok",
      title: `${name} was archived.`,
      action: {
        label: "Undo",
        run: () => {
          api.flows.restore(id).then(
            () => notify({ tone: "ok", title: `${name} is back.` }),
            (error: Error) => notify({ tone: "bad", title: "It could not be restored.", detail: error.message }),
          );
        },
      },
    });
    navigate("/flows");
  };
  const pause = async () => {
    const reason = await confirm({
      title: `Pause ${flow.name}?`,
      text: "Neither people nor triggers start a run of it until it is resumed. Runs that have begun go on.",
      action: "Pause",
      reason: { label: "Reason", required: false },
    });
    const stored = reason !== null && (await action.run(() => api.flows.pause(flow.id, reason)));
    if (stored) setFlow(stored);
  };
  const resume = async () => {
    const stored = await action.run(() => api.flows.resume(flow.id));
    if (!stored) return;
    setFlow(stored);
    notify({ tone: "ok", title: `${flow.name} may start again.` });
  };
  const paused = Boolean(flow.paused_at);
  return (
    <>
      {editable && undoable && (
        <>
          <Button
            icon="undo"
            tone="ghost"
            aria-label="Undo"
            title="Undo (Ctrl Z)"
            disabled={!undo}
            onClick={() => undo?.()}
          />
          <Button
            icon="redo"
            tone="ghost"
            aria-label="Redo"
            title="Redo (Ctrl Shift Z)"
            disabled={!redo}
            onClick={() => redo?.()}
          />
        </>
      )}
      {mayPublish && <Button onClick={() => onOpen("publish")}>Publish</Button>}
      {mayDeploy && (
        <Button
          disabled={!flow.latest_version}
          title={flow.latest_version ? undefined : "Publish a version first"}
          onClick={() => onOpen("deploy")}
        >
          Deploy
        </Button>
      )}
      {mayRun && (
        <Button
          tone="primary"
          icon="run"
          disabled={paused}
          title={paused ? "The flow is paused" : undefined}
          onClick={() => onOpen("run")}
        >
          Run
        </Button>
      )}
      <Menu
        label="More"
        items={[
          ...(editable ? [{ label: "Rename", icon: "edit" as const, run: () => setRenaming(true) }] : []),
          { label: "Runs of this flow", icon: "history", run: () => navigate(`/runs?flow=${flow.id}`) },
          { label: "Triggers of this flow", icon: "clock", run: () => navigate(`/triggers?flow=${flow.id}`) },
          { label: "Deadline of runs", icon: "alert", run: () => setDeadline(true) },
          ...(mayDeploy
            ? [
                paused
                  ? { label: "Resume", icon: "run" as const, run: resume }
                  : { label: "Pause", icon: "stop" as const, run: pause },
              ]
            : []),
          ...(editable
            ? ["line" as const, { label: "Archive", icon: "trash" as const, danger: true, run: archive }]
            : []),
        ]}
      />
      {deadline && <SlaDialog flow={flow} onClose={() => setDeadline(false)} />}
      {renaming && <Rename flow={flow} setFlow={setFlow} onDone={() => setRenaming(false)} />}
    </>
  );
}

/** Why nothing starts a run at present. */
export function PausedNotice({ flow }: { flow: Flow }) {
  if (!flow.paused_at) return null;
  return (
    <Notice tone="warn" title="The flow is paused.">
      {flow.pause_reason && <>{flow.pause_reason} · </>}
      since <Time value={flow.paused_at} />. Neither people nor triggers start a run of it.
    </Notice>
  );
}

function Rename({ flow, setFlow, onDone }: { flow: Flow; setFlow: (flow: Flow) => void; onDone: () => void }) {
  const { api } = useMfe();
  const [name, setName] = useState(flow.name);
  const action = useAction({ toast: true });
  const submit = async () => {
    const stored = await action.run(() => api.flows.update(flow.id, { name: name.trim() }));
    if (!stored) return;
    setFlow(stored);
    onDone();
  };
  return (
    <form
      className="row"
      onSubmit={(event) => {
        event.preventDefault();
        if (name.trim()) void submit();
      }}
    >
      <TextInput
        aria-label="Name of the flow"
        value={name}
        onChange={setName}
        ref={(element: HTMLInputElement | null) => element?.focus()}
      />
      <Button type="submit" tone="primary" busy={action.busy}>
        Rename
      </Button>
      <Button icon="close" tone="ghost" aria-label="Keep the name" onClick={onDone} />
    </form>
  );
}
