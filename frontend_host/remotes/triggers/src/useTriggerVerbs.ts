import type { Trigger } from "@portal/api-client";
import { useAction, useConfirm, useMfe } from "@portal/ui";

interface Verbs {
  busy: boolean;
  pause: () => Promise<void>;
  resume: () => Promise<void>;
  remove: () => Promise<void>;
}

/** What can be done with a stored trigger, each with its question and its answer. */
export function useTriggerVerbs(row: Trigger, onChanged: (row: Trigger) => void, onRemoved: () => void): Verbs {
  const { api, notify } = useMfe();
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  return {
    busy: action.busy,
    pause: async () => {
      const reason = await confirm({
        title: `Pause ${row.name}?`,
        text: "It starts nothing until it is resumed, and what it leaves out meanwhile is not made up for.",
        action: "Pause",
        reason: { label: "Why", required: false },
      });
      const stored = reason !== null && (await action.run(() => api.triggers.pause(row.id, reason)));
      if (!stored) return;
      notify({ tone: "ok", title: `${row.name} is paused.` });
      onChanged(stored);
    },
    resume: async () => {
      const stored = await action.run(() => api.triggers.resume(row.id));
      if (!stored) return;
      notify({ tone: "ok", title: `${row.name} fires again.` });
      onChanged(stored);
    },
    remove: async () => {
      const answer = await confirm({
        title: `Delete ${row.name}?`,
        text: "The record of its firings goes with it. Its runs stay. This cannot be undone.",
        action: "Delete",
        danger: true,
      });
      if (answer === null) return;
      const done = await action.run(async () => {
        await api.triggers.remove(row.id);
        return true;
      });
      if (!done) return;
      notify({ tone: "ok", title: `${row.name} was deleted.` });
      onRemoved();
    },
  };
}
