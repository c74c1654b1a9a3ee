import { formatCount, useAction, useConfirm, useMfe } from "@portal/ui";

interface Decisions {
  busy: boolean;
  replaySelected: (ids: string[]) => Promise<void>;
  replayMatching: (scope: { run: string | null; flow: string | null }, count: number) => Promise<void>;
  discard: (ids: string[]) => Promise<void>;
}

/** Replay and discard, each with its count in the question before it is done. */
export function useDecisions(onDone: () => void): Decisions {
  const { api, locale, navigate, notify } = useMfe();
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const count = (rows: number) => `${formatCount(rows, locale)} ${rows === 1 ? "row" : "rows"}`;

  const replay = async (body: { ids?: string[]; run?: string; flow?: string }, rows: number) => {
    const answer = await confirm({
      title: `Replay ${count(rows)}?`,
      text: "They pass the flow again with their corrections. Those that still break a rule come back here.",
      action: `Replay ${count(rows)}`,
    });
    if (answer === null) return;
    const run = await action.run(() => api.quarantine.replay(body));
    if (!run) return;
    notify({
      tone: "ok",
      title: `Replaying ${count(rows)}.`,
      action: { label: "Watch the run", run: () => navigate(`/runs/${run.id}`) },
    });
    onDone();
  };
  return {
    busy: action.busy,
    replaySelected: (ids) => replay({ ids }, ids.length),
    replayMatching: ({ run, flow }, rows) => replay(run ? { run } : { flow: flow ?? undefined }, rows),
    discard: async (ids) => {
      const reason = await confirm({
        title: `Discard ${count(ids.length)}?`,
        text: "They never reach the target. The rows, your name and the reason are kept.",
        action: `Discard ${count(ids.length)}`,
        danger: true,
        reason: { label: "Reason", required: true },
      });
      if (reason === null) return;
      const done = await action.run(async () => {
        await api.quarantine.discard(ids, reason);
        return true;
      });
      if (!done) return;
      notify({ tone: "ok", title: `${count(ids.length)} discarded.` });
      onDone();
    },
  };
}
