import type { JsonValue, Row } from "@portal/api-client";
import { formatDecimal, isDecimalType } from "../format/numbers";
import { useMfe } from "../remote/context";

/** One value as the source gave it: NULL is told from empty text, decimals keep all their digits. */
export function Value({ value, type }: { value: JsonValue | undefined; type?: string }) {
  const { locale } = useMfe();
  if (value === null || value === undefined) return <span className="null">null</span>;
  if (value === "") return <span className="null">empty</span>;
  if (typeof value === "object") return <span className="mono xs">{JSON.stringify(value)}</span>;
  if (type && isDecimalType(type) && typeof value === "string") return <>{formatDecimal(value, locale)}</>;
  return <>{String(value)}</>;
}

interface ValueGridProps {
  label: string;
  fields: readonly { name: string; type: string }[];
  rows: readonly Row[];
  maxHeight?: number;
}

const NUMERIC = /^(DECIMAL|NUMERIC|U?(TINY|SMALL|BIG|HUGE)?INT|INTEGER|DOUBLE|FLOAT|REAL)/i;

export function isNumericType(type: string): boolean {
  return NUMERIC.test(type) && !type.endsWith("[]");
}

/** Raw rows with their types, scrolling inside itself. */
export function ValueGrid({ label, fields, rows, maxHeight = 460 }: ValueGridProps) {
  return (
    <section className="scroll" style={{ maxHeight }} aria-label={label} tabIndex={0}>
      <table className="table grid-lines">
        <thead>
          <tr>
            {fields.map((field) => (
              <th key={field.name} scope="col">
                {field.name}
                <span className="type">{field.type}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {fields.map((field) => (
                <td key={field.name} className={isNumericType(field.type) ? "end" : undefined}>
                  <Value value={row[field.name]} type={field.type} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
