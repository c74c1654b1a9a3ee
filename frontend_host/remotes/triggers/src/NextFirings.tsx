import { formatDateTime, Time, useMfe } from "@portal/ui";

/** Moments in the person's zone, and beside them by the clock of the trigger's zone where that is another one. */
export function NextFirings({ moments, zone, label }: { moments: readonly string[]; zone: string; label: string }) {
  const { locale, timeZone } = useMfe();
  if (!moments.length) return <span className="muted">none</span>;
  const elsewhere = zone !== "" && zone !== timeZone;
  return (
    <div className={elsewhere ? "moments" : undefined}>
      {elsewhere && (
        <>
          <span className="xs muted">{timeZone}</span>
          <span className="xs muted">{zone}</span>
        </>
      )}
      <ol aria-label={label}>
        {moments.map((moment) => (
          <li key={moment}>
            <Time value={moment} />
            {elsewhere && <span className="soft nowrap">{formatDateTime(moment, locale, zone)}</span>}
          </li>
        ))}
      </ol>
    </div>
  );
}
