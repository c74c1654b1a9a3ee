import type { ExpressionCheck } from "@portal/api-client";
import { useMfe } from "@portal/ui";
import { useEffect, useState } from "react";
import type { CheckColumn } from "./ExpressionField";

const DELAY_MS = 350;

interface Checked {
  source: string;
  result: ExpressionCheck;
}

/** What the server says about an expression, a moment after typing stops; null while it is not known. */
export function useExpressionCheck(source: string, columns: readonly CheckColumn[], targetType: string | undefined, enabled: boolean): ExpressionCheck | null {
  const { api } = useMfe();
  const [checked, setChecked] = useState<Checked | null>(null);
  useEffect(() => {
    if (!enabled || !source.trim() || !columns.length) return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      const schema = columns.map(({ name, type, nullable }) => ({ name, type, nullable }));
      api.expressions.check({ expression: source, schema, target_type: targetType }, { signal: control.signal }).then(
        (result) => setChecked({ source, result }),
        // Without an answer the field shows no finding; validation of the whole draft still comes.
        () => {},
      );
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [api, source, columns, targetType, enabled]);
  return checked?.source === source ? checked.result : null;
}
