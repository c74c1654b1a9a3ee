import type { Flow } from "@portal/api-client";
import { createContext, useContext } from "react";

/** What publishing, deploying and the history need to know of the page's flow, whatever its kind. */
export interface FlowDocument {
  flow: Flow;
  setFlow: (flow: Flow) => void;
  editable: boolean;
  /** Stores what is unsaved; false when that failed. */
  flush: () => Promise<boolean>;
  problems: readonly { severity: string }[];
}

const FlowDocumentContext = createContext<FlowDocument | null>(null);
export const FlowDocumentProvider = FlowDocumentContext.Provider;

export function useFlowDocument(): FlowDocument {
  const found = useContext(FlowDocumentContext);
  if (!found) throw new Error("useFlowDocument is used outside a flow's page");
  return found;
}
