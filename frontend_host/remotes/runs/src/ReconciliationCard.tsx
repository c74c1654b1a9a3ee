import type { Break, Reconciliation, Run } from "@portal/api-client";
import { nameOf } from "@portal/api-client";
import {
  Button,
  Card,
  formatDecimal,
  Icon,
  Notice,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useResource,
} from "@portal/ui";

/** Control totals on both sides. The figures are decimal strings and stay so. */
export function ReconciliationCard({ run, onSigned }: { run: Run; onSigned: () => void }) {
  const { api } = useMfe();
  const known = run.reconciliation;
  // The run carries a summary; controls, breaks and the id for signing come from the reconciliation itself.
  const full = useResource(
    `reconciliation ${run.id} ${known?.status ?? ""}`,
    (call) => api.reconciliations.list({ run: run.id }, call),
    {
      enabled: Boolean(known),
      live: ["reconciliations"],
    },
  );
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
      {reconciliation.status !== "green" && (reconciliation.reasons?.length ?? 0) > 0 && (
        <ul className="card-body small soft">
          {reconciliation.reasons?.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
      <Breaks breaks={reconciliation.breaks ?? []} total={reconciliation.breaks_total ?? 0} />
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
    <ul className="controls">
      {!countListed && source?.count !== undefined && (
        <li>
          <span className="strong">Rows</span>
          <Figures
            source={show(source.count)}
            target={show(target?.count)}
            quarantined={show(reconciliation.quarantined)}
          />
        </li>
      )}
      {controls.map((control) => (
        <li key={control.name}>
          <div className="row between">
            <span className="strong">{control.name}</span>
            <span className={`row gap-1 xs ${control.ok ? "check-mark" : "cross-mark"}`}>
              <Icon name={control.ok ? "check" : "close"} size={14} />
              {control.ok ? "Agrees" : "Differs"}
              {control.tolerance && !/^0(\.0+)?$/.test(control.tolerance) && (
                <span className="muted">(± {show(control.tolerance)})</span>
              )}
            </span>
          </div>
          <Figures
            source={show(control.source)}
            target={show(control.target)}
            quarantined={
              control.quarantined === null || control.quarantined === undefined ? undefined : show(control.quarantined)
            }
            difference={show(control.difference)}
          />
        </li>
      ))}
    </ul>
  );
}

interface FiguresProps {
  source: string;
  target: string;
  quarantined?: string;
  difference?: string;
}

function Figures({ source, target, quarantined, difference }: FiguresProps) {
  return (
    <dl>
      <div>
        <dt>Source</dt>
        <dd>{source}</dd>
      </div>
      <div>
        <dt>Target</dt>
        <dd>{target}</dd>
      </div>
      {quarantined !== undefined && (
        <div>
          <dt>In quarantine</dt>
          <dd>{quarantined}</dd>
        </div>
      )}
      {difference !== undefined && (
        <div>
          <dt>Difference</dt>
          <dd className="strong">{difference}</dd>
        </div>
      )}
    </dl>
  );
}

function Breaks({ breaks, total }: { breaks: Break[]; total: number }) {
  if (!breaks.length) return null;
  return (
    <details className="card-body">
      <summary className="small strong">
        {total > breaks.length ? `${total} breaks, the first ${breaks.length}` : `${breaks.length} breaks`}
      </summary>
      <section className="breaks table-wrap" aria-label="Breaks" tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Key</th>
              <th scope="col">What</th>
              <th scope="col" className="end">
                Source
              </th>
              <th scope="col" className="end">
                Target
              </th>
            </tr>
          </thead>
          <tbody>
            {breaks.map((one, at) => (
              <tr key={at}>
                <td className="mono">{Object.values(one.key).join(" · ")}</td>
                <td>{[one.kind.replaceAll("_", " "), one.control].filter(Boolean).join(", ")}</td>
                <td className="end">{one.source ?? "–"}</td>
                <td className="end">{one.target ?? "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
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
