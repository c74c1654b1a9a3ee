import { createContext, useContext } from "react";

/** The expression field that had the caret last; the catalogue and the source list insert there. */
export interface ExpressionFocus {
  current: { insert: (text: string) => void } | null;
}

export const ExpressionFocusContext = createContext<ExpressionFocus>({ current: null });

export function useExpressionFocus(): ExpressionFocus {
  return useContext(ExpressionFocusContext);
}
