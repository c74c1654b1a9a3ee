import type { Column, ExpressionCheck } from "@portal/api-client";
import { useMfe } from "@portal/ui";
import { useEffect, useState } from "react";

const DELAY_MS = 350;

interface Checked {
  source: string;
  result: ExpressionCheck;
}

/** What the server says about an expression, a moment after typing stops; null while it is not known. */
export function useExpressionCheck(
  source: string,
  columns: readonly Column[],
  mapped: readonly Column[] | undefined,
  targetType: string | undefined,
  enabled: boolean,
): ExpressionCheck | null {
  const { api } = useMfe();
  const [checked, setChecked] = useState<Checked | null>(null);
  useEffect(() => {
    if (!enabled || !source.trim() || !columns.length) return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      const plain = ({ name, type, nullable }: Column) => ({ name, type, nullable });
      const body = {
        expression: source,
        schema: columns.map(plain),
        mapped: mapped?.map(plain),
        target_type: targetType,
      };
      api.expressions.check(body, { signal: control.signal }).then(
        (result) => setChecked({ source, result }),
        // Without an answer the field shows no finding; validation of the whole draft still comes.
        () => {},
      );
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [api, source, columns, mapped, targetType, enabled]);
  return checked?.source === source ? checked.result : null;
}
