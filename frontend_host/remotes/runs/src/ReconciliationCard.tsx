import type { Reconciliation, Run } from "@portal/api-client";
import { nameOf } from "@portal/api-client";
import { Button, Card, formatDecimal, Icon, Notice, StatusBadge, Time, useAction, useCan, useConfirm, useMfe, useResource } from "@portal/ui";

/** Control totals on both sides. The figures are decimal strings and stay so. */
export function ReconciliationCard({ run, onSigned }: { run: Run; onSigned: () => void }) {
  const { api } = useMfe();
  const known = run.reconciliation;
  // The run carries a summary; controls, breaks and the id for signing come from the reconciliation itself.
  const full = useResource(`reconciliation ${run.id} ${known?.status ?? ""}`, (call) => api.reconciliations.list({ run: run.id }, call), {
    enabled: Boolean(known),
    live: [`run:${run.id}`],
  });
  if (!known)
    return (
      <Card title="Reconciliation">
        <p className="soft small">Control totals of both sides are compared when the rows have been written.</p>
      </Card>
    );
  const reconciliation: Reconciliation = { ...known, ...full.data?.results[0] };
  return (
    <Card title="Reconciliation" actions={<StatusBadge status={reconciliation.status} />} flush>
      <Controls reconciliation={reconciliation} />
      <Breaks breaks={reconciliation.breaks} />
      <SignOff reconciliation={reconciliation} onSigned={onSigned} />
    </Card>
  );
}

function Controls({ reconciliation }: { reconciliation: Reconciliation }) {
  const { locale } = useMfe();
  const { source, target } = reconciliation;
  const show = (value: string | number | null | undefined) =>
    value === null || value === undefined ? "–" : formatDecimal(String(value), locale);
  const controls = [...(reconciliation.controls ?? [])];
  const countListed = controls.some((control) => /count|rows/i.test(control.name));
  return (
    <div className="table-wrap">
      <table className="table controls" aria-label="Control totals">
        <thead>
          <tr>
            <th scope="col">Control</th>
            <th scope="col" className="end">
              Source
            </th>
            <th scope="col" className="end">
              Target
            </th>
            <th scope="col" className="end">
              Difference
            </th>
            <th scope="col">
              <span className="sr">Within tolerance</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {!countListed && source?.count !== undefined && (
            <tr>
              <td>Rows</td>
              <td className="end">{show(source.count)}</td>
              <td className="end">{show(target?.count)}</td>
              <td className="end muted">–</td>
              <td />
            </tr>
          )}
          {controls.map((control) => (
            <tr key={control.name}>
              <td>
                {control.name}
                {control.tolerance && control.tolerance !== "0" && <span className="sub">± {show(control.tolerance)}</span>}
              </td>
              <td className="end">{show(control.source)}</td>
              <td className="end">{show(control.target)}</td>
              <td className="end strong">{show(control.difference)}</td>
              <td>
                <span className={control.ok ? "check-mark" : "cross-mark"} title={control.ok ? "Within tolerance" : "Out of tolerance"}>
                  <Icon name={control.ok ? "check" : "close"} />
                </span>
                <span className="sr">{control.ok ? "yes" : "no"}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Breaks({ breaks }: { breaks: unknown }) {
  const list = Array.isArray(breaks) ? breaks : [];
  if (!list.length) return null;
  return (
    <details className="card-body">
      <summary className="small strong">{list.length} breaks</summary>
      <ul className="breaks mono">
        {list.slice(0, 200).map((item, at) => (
          <li key={at} className="break">
            {typeof item === "string" ? item : JSON.stringify(item)}
          </li>
        ))}
      </ul>
    </details>
  );
}

function SignOff({ reconciliation, onSigned }: { reconciliation: Reconciliation; onSigned: () => void }) {
  const { api, notify } = useMfe();
  const maySign = useCan("reconciliation:sign");
  const confirm = useConfirm();
  const action = useAction({ toast: true });
  if (reconciliation.signed_at)
    return (
      <div className="card-body">
        <Notice tone="info" title={`Signed off by ${nameOf(reconciliation.signed_by) || "an approver"}`}>
          <Time value={reconciliation.signed_at} /> {reconciliation.comment && `“${reconciliation.comment}”`}
        </Notice>
      </div>
    );
  const { id } = reconciliation;
  if (!maySign || !id) return null;
  const sign = async () => {
    const comment = await confirm({
      title: "Sign off this reconciliation?",
      text: "Your name, the time and your comment are kept with the figures as they are now.",
      action: "Sign off",
      reason: { label: "Comment", required: reconciliation.status !== "green" },
    });
    if (comment === null) return;
    const signed = await action.run(() => api.reconciliations.sign(id, comment));
    if (!signed) return;
    notify({ tone: "ok", title: "Signed off." });
    onSigned();
  };
  return (
    <div className="card-body">
      <Button icon="check" busy={action.busy} onClick={sign}>
        Sign off
      </Button>
    </div>
  );
}
